"""Ends of instances on real libvirt: many at a time, while the machine has other work."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

from corolistener.core.events import CopyChanged

from .stages import RUNNING, Qemu, eventually, opened

VMS, AT_A_TIME, ROUNDS = 8, 4, 3


def _busy() -> None:
    while True:
        pass


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Processes that do nothing but work."""
    workers = [multiprocessing.get_context("fork").Process(target=_busy, daemon=True) for _ in range(processes)]
    for each in workers:
        each.start()
    try:
        yield
    finally:
        for each in workers:
            each.kill()
            each.join()


def test_what_users_destroy_and_undefine_is_never_told_as_a_crash(qemu: Qemu) -> None:
    """libvirt's list does not show it before its event has been read: the first word must not be the wrong one."""

    async def story() -> None:
        async with opened(qemu):
            machines = [qemu.vm(f"end{number}") for number in range(VMS)]
            for _ in range(ROUNDS):
                for vm in machines:
                    await asyncio.to_thread(qemu.start_by_hand, vm)
                for vm in machines:
                    await qemu.see(vm, RUNNING)
                begun = len(qemu.told.events)
                with load(2):
                    for first in range(0, VMS, AT_A_TIME):
                        await asyncio.gather(*(asyncio.to_thread(end, qemu, vm.name) for vm in machines[first:][:AT_A_TIME]))
                    await eventually(
                        lambda begun=begun: len(causes(qemu, begun)) == VMS, lambda begun=begun: causes(qemu, begun)
                    )
                told = [each for each in qemu.told.events[begun:] if isinstance(each, CopyChanged) and each.copy is None]
                assert [each.name for each in told if each.by_user is False] == []
                assert set(causes(qemu, begun).values()) == {True}
                for vm in machines:
                    qemu.told.ended.pop(vm.name, None)

    asyncio.run(story())


def causes(stage: Qemu, begun: int) -> dict[str, bool]:
    """The causes that were told since then."""
    ends = [each for each in stage.told.events[begun:] if isinstance(each, CopyChanged) and each.copy is None]
    return {each.name: each.by_user for each in ends if each.by_user is not None}


def end(stage: Qemu, name: str) -> None:
    domain = stage.hand.lookupByName(name)
    domain.destroy()
    time.sleep(0)
    domain.undefine()
