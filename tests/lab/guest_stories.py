"""What runs inside a guest (lab.guest): this checkout's own watchdog against the kernel's ioctls.

Each story prints what it has seen. Some end by being reset: then what they printed last is all there is.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable

from corolistener.core.actions import DisarmWatchdog, FeedWatchdog
from corolistener.effects.watchdog import Mode, Watchdog
from corolistener.effects.watchdog_device import DeviceFile
from corolistener.errors import EffectError
from corolistener.ids import Ticket

EVERY_S = 0.2
LONG_S = 3600  # no guest lives so long


def tell(**facts: object) -> None:
    print("story:", *(f"{name}={value}" for name, value in facts.items()), flush=True)


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
    """Fed for longer than its timeout, by two processes of which the first is killed; disarmed; then nobody feeds."""
    keeper = Keeper()

    async def first() -> None:
        dog = watchdog(4000, keep=keeper.keep)
        tell(timeout_ms=await dog.open(), **dict(dog.found))
        await feed_for(dog, 5)
        os.kill(os.getpid(), signal.SIGKILL)

    async def second() -> None:
        dog = watchdog(60_000, kept=keeper.hand_over())
        tell(timeout_ms=await dog.open(), **dict(dog.found))
        await feed_for(dog, 5)
        await disarm(dog)
        try:
            await dog.perform(FeedWatchdog(Ticket(3), None))
        except EffectError as error:
            tell(refused=error.why)

    tell(ended=child(first))
    tell(ended=child(second))
    time.sleep(6)
    tell(alive=True)
    dog = watchdog(3500)
    tell(timeout_ms=await dog.open(), **dict(dog.found))
    await disarm(dog)
    await clipped()


async def clipped() -> None:
    """A timeout that the driver refuses: what counts is the one that it has instead; and one that is too short for us."""
    dog = watchdog(5_000_000)
    tell(asked_ms=5_000_000, timeout_ms=await dog.open())
    await disarm(dog)
    short = watchdog(3000, Mode.AUTOMATIC, longer_than_ms=5000)
    tell(timeout_ms=await short.open(), **dict(short.found))
    tell(state=open("/sys/class/watchdog/watchdog0/state").read().strip())


async def starved() -> None:
    """Fed for a while, then no more, while the process lives on."""
    dog = watchdog(2000)
    tell(timeout_ms=await dog.open())
    await feed_for(dog, 1)
    tell(starving=True)
    await asyncio.sleep(LONG_S)


async def killed() -> None:
    """The process that had it dies, and nobody kept its descriptor: what starts next must not feed it by opening it."""

    async def first() -> None:
        tell(timeout_ms=await watchdog(2000).open())
        os.kill(os.getpid(), signal.SIGKILL)

    tell(ended=child(first))
    while True:
        dog = watchdog(2000, Mode.AUTOMATIC)
        tell(timeout_ms=await dog.open(), **dict(dog.found))
        await asyncio.sleep(EVERY_S)


async def adopted() -> None:
    """A daemon that crashes over and over and is given the descriptor each time: that alone feeds nothing."""
    dog = watchdog(3000)
    kept: list[int] = []
    dog = watchdog(3000, keep=lambda descriptor: not kept.append(os.dup(descriptor)))
    await dog.open()
    while True:
        again = watchdog(3000, kept=os.dup(kept[0]))
        tell(timeout_ms=await again.open(), **dict(again.found))
        await again.close()
        await asyncio.sleep(EVERY_S)


async def nowayout() -> None:
    """A driver that never lets go: it is recognised, disarming is refused, and the machine is reset."""
    dog = watchdog(2000)
    tell(timeout_ms=await dog.open(), **dict(dog.found))
    try:
        await disarm(dog)
    except EffectError as error:
        tell(refused=error.why)
    await feed_for(dog, 3)
    await asyncio.sleep(LONG_S)


async def stopped() -> None:
    """A process that died between stopping the device and giving it back: who takes over arms it anew."""
    device = DeviceFile()
    taken = device.take(None, 2000)
    assert taken.descriptor is not None
    kept = os.dup(taken.descriptor)
    device.stop()
    time.sleep(3)
    tell(alive=True)
    dog = watchdog(2000, kept=kept)
    tell(timeout_ms=await dog.open(), **dict(dog.found))
    await asyncio.sleep(LONG_S)


STORIES = {each.__name__: each for each in (fed, starved, killed, adopted, nowayout, stopped)}

if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]]())
