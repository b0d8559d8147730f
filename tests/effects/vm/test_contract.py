"""What every hypervisor promises the core, the simulator's as the real ones."""

import asyncio

import pytest

from corolistener.core.events import Result

from .stages import RUNNING, SUSPENDED, Stage, eventually, opened


def test_a_copy_begins_suspended_and_knows_its_generation(stage: Stage) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            assert (await stage.start(vm, 4)).result is Result.DONE
            await stage.see(vm, SUSPENDED, 4)
            assert (await stage.resume(vm)).result is Result.DONE
            await stage.see(vm, RUNNING, 4)
            assert (await stage.suspend(vm)).result is Result.DONE
            await stage.see(vm, SUSPENDED, 4)
            assert (await stage.mark(vm, 5)).result is Result.DONE
            await stage.see(vm, SUSPENDED, 5)
            assert (await stage.stop(vm)).result is Result.DONE
            await stage.see(vm, None)
            await eventually(lambda: stage.told.ended[vm.name] is False, "it was us")

    asyncio.run(story())


def test_everything_may_be_done_twice(stage: Stage) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            for act in (stage.start, stage.start, stage.resume, stage.resume, stage.start):
                assert (await act(vm)).result is Result.DONE
            await stage.see(vm, RUNNING, 1)
            for act in (stage.suspend, stage.suspend, stage.stop, stage.stop, stage.suspend):
                assert (await act(vm)).result is Result.DONE
            await stage.see(vm, None)

    asyncio.run(story())


def test_what_is_not_there_is_not_resumed(stage: Stage) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            for act in (stage.resume, lambda vm: stage.mark(vm, 3)):
                outcome = await act(vm)
                assert outcome.result is Result.FAILED
                assert outcome.why
                assert "\n" not in outcome.why
            for act in (stage.suspend, stage.stop):
                assert (await act(vm)).result is Result.DONE

    asyncio.run(story())


def test_a_copy_that_was_started_by_hand_has_no_generation(stage: Stage) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            stage.start_by_hand(vm)
            await stage.see(vm, RUNNING, 0)
            await stage.mark(vm, 9)
            await stage.see(vm, RUNNING, 9)
            stage.suspend_by_hand(vm)
            await stage.see(vm, SUSPENDED, 9)
            stage.start_by_hand(vm)
            await stage.see(vm, RUNNING, 9)
            stage.end_by_hand(vm)
            await stage.see(vm, None)
            stage.start_by_hand(vm)
            await stage.see(vm, RUNNING, 0)

    asyncio.run(story())


def test_whether_a_user_ended_it(stage: Stage) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.resume(vm)
            await stage.see(vm, RUNNING, 1)
            stage.end_by_hand(vm)
            await eventually(lambda: stage.told.ended.get(vm.name) is True)
            await stage.see(vm, None)

    asyncio.run(story())


def test_a_crash_is_nobodys_will(stage: Stage) -> None:
    if not stage.crashes:
        pytest.skip("libvirt's test hypervisor lets nothing crash")

    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.resume(vm)
            await stage.see(vm, RUNNING, 1)
            stage.crash(vm)
            await stage.see(vm, None)
            await eventually(lambda: stage.told.ended[vm.name] is False)

    asyncio.run(story())


def test_the_next_daemon_is_told_everything(stage: Stage) -> None:
    async def story() -> None:
        runs, rests, gone = stage.vm("runs"), stage.vm("rests"), stage.vm("gone")
        async with opened(stage):
            for generation, vm in enumerate((runs, rests, gone), 1):
                await stage.start(vm, generation)
            await stage.resume(runs)
            await stage.see(runs, RUNNING, 1)
        stage.end_by_hand(gone)
        async with opened(stage):
            await stage.see(runs, RUNNING, 1)
            await stage.see(rests, SUSPENDED, 2)
            await stage.see(gone, None)

    asyncio.run(story())
