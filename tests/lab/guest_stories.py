"""What runs inside a guest (lab.kernel_guest): this checkout's own watchdog against the kernel's ioctls.

Each story prints what it has seen. Some end by being reset: then what they printed last is all there is.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from corolistener.core.actions import DisarmWatchdog, FeedWatchdog
from corolistener.effects.watchdog import Mode, Watchdog
from corolistener.effects.watchdog_device import DeviceFile
from corolistener.errors import EffectError
from corolistener.ids import Ticket

EVERY_S = 0.2
LONG_S = 40
"""Longer than any timeout here: a guest that is still there then has not been reset, and ends by itself."""
STATE = Path("/sys/class/watchdog/watchdog0/state")


def tell(**facts: object) -> None:
    print("story:", *(f"{name}={value}" for name, value in facts.items()), flush=True)


def state() -> str:
    """Whether the kernel takes the device to be armed."""
    return STATE.read_text().strip()


def watchdog(timeout_ms: int, mode: Mode = Mode.REQUIRED, **options: object) -> Watchdog:
    return Watchdog(mode, DeviceFile(), timeout_ms, **options)  # type: ignore[arg-type]


async def feed_for(dog: Watchdog, seconds: float) -> None:
    """Feed as the daemon does, and say how long the longest feed took."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        await dog.perform(FeedWatchdog(Ticket(1), None))
        longest = max(longest, time.monotonic() - begun)
        await asyncio.sleep(EVERY_S)
    tell(fed_s=seconds, longest_ms=f"{longest * 1000:.3f}")


async def disarm(dog: Watchdog) -> None:
    outcome = await dog.perform(DisarmWatchdog(Ticket(2)))
    tell(disarmed=dict(outcome.facts)["stopped"])


class Keeper:
    """A process that keeps what it is sent, as systemd does: over a socket, with SCM_RIGHTS."""

    def __init__(self) -> None:
        self._ours, its = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            _, (first, *_), _, _ = socket.recv_fds(its, 16, 1)
            its.send(b"kept")
            its.recv(16)
            socket.send_fds(its, [b"here"], [first])
            os.close(first)
            its.recv(16)
            os._exit(0)
        its.close()

    def keep(self, descriptor: int) -> bool:
        socket.send_fds(self._ours, [b"keep"], [descriptor])
        return self._ours.recv(16) == b"kept"

    def hand_over(self) -> int:
        self._ours.send(b"give")
        return socket.recv_fds(self._ours, 16, 1)[1][0]


def child(work: Callable[[], Awaitable[None]]) -> int:
    """Run a coroutine in a process of its own, and wait until it ends."""
    pid = os.fork()
    if pid == 0:
        asyncio.run(work())  # type: ignore[arg-type]
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def fed() -> None:
    """Fed for longer than its timeout, by two processes of which the first is killed; disarmed, and nobody feeds; armed again
    and starved, while the process lives on."""
    keeper = Keeper()

    async def first() -> None:
        dog = watchdog(4000, keep=keeper.keep)
        tell(opened=await dog.open(), **dict(dog.found))
        await feed_for(dog, 3)
        os.kill(os.getpid(), signal.SIGKILL)

    async def second() -> None:
        dog = watchdog(60_000, kept=keeper.hand_over())
        tell(opened=await dog.open(), **dict(dog.found))
        await feed_for(dog, 3)
        await disarm(dog)
        try:
            await dog.perform(FeedWatchdog(Ticket(3), None))
        except EffectError as error:
            tell(refused=error.why)

    tell(ended=child(first))
    tell(ended=child(second))
    await asyncio.sleep(5)
    tell(alive=True)
    await clipped()
    await starved()


async def clipped() -> None:
    """Timeouts that the device cannot have: what counts is the one that it has instead. And one that is too short for us."""
    for asked_ms in (3500, 5_000_000):
        dog = watchdog(asked_ms)
        tell(asked_ms=asked_ms, timeout_ms=await dog.open())
        await disarm(dog)
    short = watchdog(3000, Mode.AUTOMATIC, longer_than_ms=5000)
    tell(timeout_ms=await short.open(), unused=dict(short.found)["unused"])
    tell(state=state())


async def starved() -> None:
    dog = watchdog(2000)
    tell(timeout_ms=await dog.open())
    await feed_for(dog, 3)
    tell(starving=True)
    await asyncio.sleep(LONG_S)


async def killed() -> None:
    """The process that had it dies, and nobody kept its descriptor: what starts next must not feed it by opening it."""

    async def first() -> None:
        tell(timeout_ms=await watchdog(2000).open())
        os.kill(os.getpid(), signal.SIGKILL)

    tell(ended=child(first))
    for _ in range(int(LONG_S / EVERY_S)):
        dog = watchdog(2000, Mode.AUTOMATIC)
        tell(timeout_ms=await dog.open(), unused=dict(dog.found)["unused"])
        await asyncio.sleep(EVERY_S)


async def adopted() -> None:
    """A process dies between stopping the device and giving it back: who takes over arms it anew. Then daemons crash over
    and over, and each is given the descriptor: that alone feeds nothing."""
    device = DeviceFile()
    taken = device.take(None, 3000)
    assert taken.descriptor is not None
    kept = os.dup(taken.descriptor)
    device.stop()
    await asyncio.sleep(4)
    tell(alive=True, state=state())
    for _ in range(int(LONG_S / EVERY_S)):
        again = watchdog(60_000, kept=os.dup(kept))
        tell(timeout_ms=await again.open(), adopted=dict(again.found)["adopted"], state=state())
        await again.close()
        await asyncio.sleep(EVERY_S)


async def nowayout() -> None:
    """A driver that never lets go: it is recognised, disarming is refused, and the machine is reset."""
    dog = watchdog(2000)
    tell(opened=await dog.open(), **dict(dog.found))
    try:
        await disarm(dog)
    except EffectError as error:
        tell(refused=error.why)
    await feed_for(dog, 3)
    tell(starving=True)
    await asyncio.sleep(LONG_S)


STORIES = {each.__name__: each for each in (fed, killed, adopted, nowayout)}

if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
