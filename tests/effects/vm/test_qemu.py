"""Real QEMU below a real libvirtd: what dies, hangs, migrates, and who it was."""

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator

import libvirt
import pytest
from lab.cluster import Cluster
from lab.machine import SHARED

from corolistener.core.actions import MigrateVm, Reason, ShutDownVm
from corolistener.core.capacity import Vm
from corolistener.core.events import CopyChanged, Event, HypervisorLost, Listed, Outcome, Result
from corolistener.core.reports import VmState
from corolistener.effects.vm import hypervisor
from corolistener.ids import NodeId

from .stages import RUNNING, SUSPENDED, UNTIL, Qemu, clean, eventually, opened

MIGRATE_URI = "qemu+tcp://{address}/system?unsafe=1"


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[Qemu, Qemu]]:
    """An effect on each of two nodes."""
    one, two = (Qemu(node.hypervisor, migrate_uri=MIGRATE_URI) for node in cluster.nodes)
    two.prefix, two.shelf = one.prefix, one.shelf
    for _ in clean(one):
        for _ in clean(two):
            yield one, two


async def running(stage: Qemu, word: str, generation: int = 1) -> Vm:
    vm = stage.vm(word)
    assert (await stage.start(vm, generation)).result is Result.DONE
    assert (await stage.resume(vm)).result is Result.DONE
    await stage.see(vm, RUNNING, generation)
    return vm


async def executes(stage: Qemu, vm: Vm) -> None:
    was = stage.count(vm)
    await eventually(lambda: stage.count(vm) > was + 1, "its guest counts on its disk")


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events if isinstance(event, HypervisorLost | Listed)]


# -- libvirtd dies, or stands still


def test_libvirtd_is_killed_and_vms_go_on(qemu: Qemu) -> None:
    async def story() -> None:
        async with opened(qemu):
            runs, rests = await running(qemu, "runs", 3), qemu.vm("rests")
            await qemu.start(rests, 4)
            await qemu.see(rests, SUSPENDED, 4)
            qemu.libvirtd.kill()
            await eventually(lambda: not qemu.told.known)
            outcome = await qemu.suspend(runs)
            assert outcome.result is Result.FAILED
            assert "does not answer" in outcome.why
            await executes(qemu, runs)
            await eventually(lambda: not qemu.libvirtd.node.pid("libvirtd"))
            await asyncio.to_thread(qemu.libvirtd.start)
            await eventually(lambda: qemu.told.known)
            assert kinds(qemu.told.events) == [Listed, HypervisorLost, Listed]
            await qemu.see(runs, RUNNING, 3)
            await qemu.see(rests, SUSPENDED, 4)
            assert (await qemu.suspend(runs)).result is Result.DONE
            await qemu.see(runs, SUSPENDED, 3)
            # What the node has is measured after the first list, so it may come later than the list.
            await eventually(lambda: [bool(each) for each in qemu.told.capacities] == [True, False, True])

    try:
        asyncio.run(story())
    finally:
        qemu.hand = libvirt.open(qemu.uri)


def test_a_vm_that_ends_while_libvirtd_is_away(qemu: Qemu) -> None:
    async def story() -> None:
        async with opened(qemu):
            vm = await running(qemu, "web")
            pid = qemu.libvirtd.processes()[vm.name]
            qemu.libvirtd.kill()
            await eventually(lambda: not qemu.told.known)
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: not qemu.libvirtd.node.pid("libvirtd"))
            await asyncio.to_thread(qemu.libvirtd.start)
            await eventually(lambda: qemu.told.known)
            await qemu.see(vm, None)

    try:
        asyncio.run(story())
    finally:
        qemu.hand = libvirt.open(qemu.uri)


def test_libvirtd_stands_still(qemu: Qemu) -> None:
    """Nothing waits for it but who asked; it is found silent by itself, and its VMs are known again when it goes on."""

    async def story() -> None:
        async with opened(qemu):
            vm = await running(qemu, "web")
            qemu.libvirtd.pause()
            try:
                asked = asyncio.create_task(qemu.suspend(vm))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asked, 0.5)  # a lane's deadline: the loop is free to keep it
                await eventually(lambda: not qemu.told.known)
                outcome = await qemu.suspend(vm)
                assert outcome.result is Result.FAILED
                assert "silent" in outcome.why
            finally:
                qemu.libvirtd.resume()
            await eventually(lambda: qemu.told.known)
            assert kinds(qemu.told.events) == [Listed, HypervisorLost, Listed]
            assert (await qemu.suspend(vm)).result is Result.DONE
            await qemu.see(vm, SUSPENDED, 1)

    asyncio.run(story())


def test_many_calls_are_under_way_when_libvirtd_stands_still(qemu: Qemu) -> None:
    """On one connection they would take the process with them (libvirt 9.0)."""

    async def story() -> None:
        async with opened(qemu):
            vms = [await running(qemu, "web"), *(qemu.vm(f"not{number}") for number in range(20))]
            qemu.libvirtd.pause()
            try:
                asked = [asyncio.create_task(qemu.suspend(vm)) for vm in vms]
                await eventually(lambda: not qemu.told.known)
                assert {each.result for each in await asyncio.gather(*asked)} == {Result.FAILED}
            finally:
                qemu.libvirtd.resume()
            await eventually(lambda: qemu.told.known)
            await qemu.see(vms[0], SUSPENDED, 1)  # what was asked is done, though nobody waits for it any more
            assert (await qemu.resume(vms[0])).result is Result.DONE
            await executes(qemu, vms[0])

    asyncio.run(story())


def test_the_effect_is_closed_while_libvirtd_stands_still(qemu: Qemu) -> None:
    async def story() -> None:
        async with opened(qemu):
            vm = await running(qemu, "web")
            qemu.libvirtd.pause()
            try:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(qemu.suspend(vm), 0.5)
                await qemu.close()
            finally:
                qemu.libvirtd.resume()
        await eventually(lambda: qemu.domain(vm).isActive())

    asyncio.run(story())


# -- calls that hang

SLOW = """\
#!/bin/sh
case "$*" in *guest=*slow*) if [ ! -e {go} ]; then read -r _ <{fifo}; fi ;; esac
exec /usr/bin/qemu-system-x86_64 "$@"
"""


class Sluggish:
    """A QEMU that does not begin before `go`."""

    emulator, fifo, going = "/tmp/slow-qemu", "/tmp/slow-fifo", "/tmp/slow-go"

    def __init__(self, stage: Qemu) -> None:
        self.node = stage.libvirtd.node
        self.node.path(self.emulator).write_text(SLOW.format(fifo=self.fifo, go=self.going))
        self.node.path(self.emulator).chmod(0o755)
        self.node.path(self.going).unlink(missing_ok=True)
        if not self.node.path(self.fifo).exists():
            os.mkfifo(self.node.path(self.fifo))

    def vm(self, stage: Qemu) -> Vm:
        vm = stage.vm("slow")
        text = stage.text(vm.name).replace("/usr/bin/qemu-system-x86_64", self.emulator)
        stage.shelf[vm.name, vm.definition] = text.encode()
        return vm

    def hangs(self, vm: Vm) -> bool:
        return any(self.emulator in each.argv for each in self.node.processes() if f"guest={vm.name}" in " ".join(each.argv))

    def go(self) -> None:
        self.node.path(self.going).touch()
        with self.node.path(self.fifo).open("w") as end:
            end.write("\n")


def test_a_start_that_hangs_does_not_keep_others_from_being_suspended(qemu: Qemu) -> None:
    async def story() -> None:
        async with opened(qemu):
            sluggish = Sluggish(qemu)
            other, slow = await running(qemu, "other"), sluggish.vm(qemu)
            start = asyncio.create_task(qemu.start(slow, 2))
            await eventually(lambda: sluggish.hangs(slow))
            assert (await qemu.suspend(other)).result is Result.DONE
            await qemu.see(other, SUSPENDED, 1)
            start.cancel()  # what the lane does when it is to let go
            assert (await qemu.suspend(slow)).result is Result.DONE, "it begins suspended"
            sluggish.go()
            await qemu.see(slow, SUSPENDED, 2)
            assert qemu.domain(slow).state()[0] == libvirt.VIR_DOMAIN_PAUSED

    asyncio.run(story())


def test_a_start_that_hangs_is_ended_by_a_stop(qemu: Qemu) -> None:
    async def story() -> None:
        async with opened(qemu):
            sluggish = Sluggish(qemu)
            slow = sluggish.vm(qemu)
            start = asyncio.create_task(qemu.start(slow, 2))
            await eventually(lambda: sluggish.hangs(slow))
            start.cancel()
            assert (await qemu.stop(slow)).result is Result.DONE
            assert not qemu.domain(slow).isActive()
            assert not sluggish.hangs(slow)
            await qemu.see(slow, None)
            assert not qemu.told.ended.get(slow.name)

    asyncio.run(story())


def test_a_resume_that_nobody_waits_for_counts_as_running(qemu: Qemu) -> None:
    """QEMU stands still with a resume in its hands: its copy is not suspended for sure before that has come back."""

    async def story() -> None:
        async with opened(qemu):
            vm = qemu.vm("web")
            await qemu.start(vm)
            await qemu.see(vm, SUSPENDED, 1)
            pid = qemu.libvirtd.processes()[vm.name]
            os.kill(pid, signal.SIGSTOP)
            try:
                resume = asyncio.create_task(qemu.resume(vm))
                await asyncio.sleep(0.5)
                resume.cancel()
                suspend = asyncio.create_task(qemu.suspend(vm))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(suspend), 2)
                qemu.effect_._look_at(vm.name)
                await qemu.see(vm, RUNNING, 1)
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (await suspend).result is Result.DONE
            assert qemu.domain(vm).state()[0] == libvirt.VIR_DOMAIN_PAUSED
            await qemu.see(vm, SUSPENDED, 1)

    asyncio.run(story())


def test_ten_are_suspended_at_once(qemu: Qemu, capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        async with opened(qemu):
            vms = [await running(qemu, f"vm{number}") for number in range(10)]
            for _ in range(3):
                begun = time.monotonic()
                took: list[float] = []

                async def one(vm: Vm, begun: float = begun, took: list[float] = took) -> Outcome:
                    outcome = await qemu.suspend(vm)
                    took.append((time.monotonic() - begun) * 1000)
                    return outcome

                assert {each.result for each in await asyncio.gather(*map(one, vms))} == {Result.DONE}
                assert {qemu.domain(vm).state()[0] for vm in vms} == {libvirt.VIR_DOMAIN_PAUSED}
                with capsys.disabled():
                    print(f"\nten suspends at once: median {statistics.median(took):.1f} ms, last {max(took):.1f} ms")
                for vm in vms:
                    assert (await qemu.resume(vm)).result is Result.DONE
            alone: list[float] = []
            for vm in vms:
                begun = time.monotonic()
                await qemu.suspend(vm)
                alone.append((time.monotonic() - begun) * 1000)
            with capsys.disabled():
                print(f"one after another: median {statistics.median(alone):.1f} ms, longest {max(alone):.1f} ms")

    asyncio.run(story())


# -- who ended it


@pytest.mark.parametrize("who", ["us", "user", "guest's node"])
def test_who_shut_it_down(qemu: Qemu, who: str) -> None:
    async def story() -> None:
        async with opened(qemu):
            vm = await running(qemu, "web")
            await executes(qemu, vm)
            match who:
                case "us":
                    assert (await qemu.do(ShutDownVm(qemu.ticket(), vm.name, Reason.MOVED))).result is Result.DONE
                case "user":
                    qemu.domain(vm).shutdown()
                case _:
                    os.kill(qemu.libvirtd.processes()[vm.name], signal.SIGTERM)
            await qemu.see(vm, None)
            assert qemu.told.ended[vm.name] is (who == "user")

    asyncio.run(story())


# -- libvirt's own words


def test_why_a_vm_does_not_start(pair: tuple[Qemu, Qemu]) -> None:
    async def story() -> None:
        one, two = pair
        async with opened(one), opened(two):
            vm = await running(one, "web")
            outcome = await two.start(vm)
            assert outcome.result is Result.FAILED
            assert 'Failed to get "write" lock' in outcome.why
            assert "\n" not in outcome.why
            await two.see(vm, None)
            gone = one.vm("gone")
            one.libvirtd.node.cluster.storage.image(gone.name).unlink()
            outcome = await one.start(gone)
            assert outcome.result is Result.FAILED
            assert f"{gone.name}.img" in outcome.why

    asyncio.run(story())


def test_a_saved_memory_is_not_taken_up_again(qemu: Qemu) -> None:
    """The VM may have run elsewhere since."""

    async def story() -> None:
        async with opened(qemu):
            vm = await running(qemu, "web")
            qemu.domain(vm).managedSave()
            await qemu.see(vm, None)
            assert qemu.told.ended[vm.name] is True
            try:
                outcome = await qemu.start(vm, 2)
                assert outcome.result is Result.FAILED
                assert "its memory was saved here" in outcome.why
                await qemu.stop(vm, Reason.MOVED)
                assert qemu.domain(vm).hasManagedSaveImage(), "and it is not thrown away either"
            finally:
                qemu.domain(vm).managedSaveRemove()
            assert (await qemu.start(vm, 2)).result is Result.DONE

    asyncio.run(story())


def test_a_change_that_libvirt_does_not_tell(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "REFRESH_S", 0.2)

    async def story() -> None:
        async with opened(qemu):
            vm = await running(qemu, "web")
            before = qemu.told.copies[vm.name].vm.definition
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | libvirt.VIR_DOMAIN_MEM_MAXIMUM
            qemu.domain(vm).setMemoryFlags(32768, flags)
            await eventually(lambda: qemu.told.copies[vm.name].vm.definition != before)
            text = qemu.told.texts[vm.name, qemu.told.copies[vm.name].vm.definition]
            assert b'<memory unit="KiB">32768</memory>' in text
            assert qemu.told.copies[vm.name].vm.memory_kib == 16384, "what it has until it is started again"

    asyncio.run(story())


# -- migration


def migration(stage: Qemu, vm: Vm, to: Qemu) -> MigrateVm:
    return MigrateVm(stage.ticket(), vm.name, NodeId(2), to.libvirtd.node.address, UNTIL, Reason.PLACED)


def test_a_copy_goes_to_another_node(pair: tuple[Qemu, Qemu]) -> None:
    async def story() -> None:
        one, two = pair
        async with opened(one), opened(two):
            vm = await running(one, "web", 6)
            await executes(one, vm)
            definition = one.told.copies[vm.name].vm.definition
            outcome = await one.do(migration(one, vm, two))
            assert outcome.result is Result.DONE, outcome.why
            await one.see(vm, None)
            assert one.told.ended[vm.name] is False, "it lives"
            await two.see(vm, RUNNING, 6)
            told = [each.copy for each in two.told.events if isinstance(each, CopyChanged) and each.copy is not None]
            assert {copy.vm.definition for copy in told} == {definition}, "also while it is arriving"
            await eventually(lambda: (vm.name, definition) in two.told.texts)
            await executes(two, vm)
            assert vm.name not in one.libvirtd.states(), "it is defined where it lives"
            assert two.libvirtd.states()[vm.name] == "running"
            assert one.effect_.migrations() == {}

    asyncio.run(story())


async def under_way(one: Qemu, two: Qemu) -> tuple[Vm, "asyncio.Task[Outcome]"]:
    """A migration that takes its time: 10 MiB that do not compress, at 1 MiB/s."""
    noise = one.libvirtd.node.cluster.storage.directory / "noise"
    noise.write_bytes(random.Random(1).randbytes(10 << 20))
    one.options = ("-device", f"loader,file={SHARED}/noise,addr=0x200000,force-raw=on")
    vm = await running(one, "web")
    one.domain(vm).migrateSetMaxSpeed(1)
    task = asyncio.create_task(one.do(migration(one, vm, two)))
    await two.see(vm, SUSPENDED, 1)
    await eventually(lambda: one.effect_.migrations()[vm.name] != (0, 0))
    return vm, task


def test_a_migration_that_nobody_waits_for_ends(pair: tuple[Qemu, Qemu]) -> None:
    async def story() -> None:
        one, two = pair
        async with opened(one), opened(two):
            vm, task = await under_way(one, two)
            task.cancel()
            await two.see(vm, None)
            await one.see(vm, RUNNING, 1)
            await executes(one, vm)

    asyncio.run(story())


def test_a_vm_that_leaves_is_suspended(pair: tuple[Qemu, Qemu]) -> None:
    async def story() -> None:
        one, two = pair
        async with opened(one), opened(two):
            vm, task = await under_way(one, two)
            task.cancel()
            assert (await one.suspend(vm)).result is Result.DONE
            assert one.domain(vm).state()[0] == libvirt.VIR_DOMAIN_PAUSED
            await two.see(vm, None)
            await one.see(vm, SUSPENDED, 1)

    asyncio.run(story())


def test_a_vm_that_arrives_is_not_suspended_but_refused(pair: tuple[Qemu, Qemu]) -> None:
    async def story() -> None:
        one, two = pair
        async with opened(one), opened(two):
            vm, task = await under_way(one, two)
            outcome = await two.resume(vm)
            assert outcome.result is Result.FAILED
            assert "arriving" in outcome.why
            outcome = await two.suspend(vm)
            assert (outcome.result, outcome.facts) == (Result.DONE, (("incoming", "destroyed"),))
            assert (await task).result is Result.FAILED
            await two.see(vm, None)
            await one.see(vm, RUNNING, 1)
            ran = [each.copy.state for each in two.told.events if isinstance(each, CopyChanged) and each.copy is not None]
            assert VmState.RUNNING not in ran
            await executes(one, vm)

    asyncio.run(story())
