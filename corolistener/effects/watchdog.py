"""The effect of lane `watchdog`: a device that resets this machine unless it is fed (docs/safety.md).

- Armed once, it is fed only by FeedWatchdog and stopped only by DisarmWatchdog: the core has told the others what they may
  build on it. So whatever else ends this process (an error, SIGKILL, a restart) lets it tick on.
- Opening and closing a device feed it, and the feeds of a process that crashes and comes back would keep a machine alive whose
  VMs nobody looks after. So the descriptor is kept by somebody else (systemd) while the process is restarted, and
  taking it back feeds nothing.
- A feed is one short call, in a thread of its own all the same: there are devices (IPMI's) whose driver waits for a slow
  neighbour, and the loop may not. The thread does nothing unless it is told to, and a feed that would have to wait for the one
  before is refused: it would come later than it was allowed to.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from corolistener.core.actions import DisarmWatchdog, FeedWatchdog
from corolistener.core.events import Outcome, Result
from corolistener.errors import EffectError

T = TypeVar("T")
Facts = tuple[tuple[str, str], ...]
PRIORITY = 1
"""Real-time priority of the thread, as the loop's: where VMs keep every processor busy an ordinary one would feed late."""


class Mode(Enum):
    """Whether a watchdog is used: it must be there, it is used if it is there, it is never armed."""

    REQUIRED = "required"
    AUTOMATIC = "automatic"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Taken:
    """A watchdog that ticks. `timeout_ms` was read back.

    `adopted`: it ticked before, and was not fed now. `stoppable` False: nothing but a reset ends it (nowayout).
    `descriptor` is what somebody may keep for the next process; None where that is not how it survives one.
    """

    identity: str
    timeout_ms: int
    adopted: bool
    stoppable: bool
    descriptor: int | None


class Device(Protocol):
    """A watchdog's device. Every call may block, is made from one thread, and raises EffectError with what to do."""

    def take(self, kept: int | None, timeout_ms: int) -> Taken:
        """Arm it, with this timeout if it can have it; or take over the descriptor `kept`, and then feed nothing.

        It refuses one that the end of this process would stop, and stops it again.
        """

    def feed(self) -> None:
        """Let its timeout begin anew."""

    def stop(self) -> None:
        """Stop it; raises EffectError where it cannot be stopped."""

    def release(self) -> None:
        """Give the stopped device back."""


class Watchdog:
    """This machine's watchdog, if it has one. `found` says after open() what there is, as facts for a note.

    `kept` is the descriptor that a former process left, `keep` asks somebody to hold one for the next (False: nobody does)
    and `forget` asks to let it go; both may block for a moment. A timeout that is not `longer_than_ms` is of no use: a
    restart of the daemon could outlast it. Such a watchdog is given back, if it lets itself be stopped.
    """

    def __init__(
        self,
        mode: Mode,
        device: Device,
        timeout_ms: int,
        *,
        longer_than_ms: int = 0,
        kept: int | None = None,
        keep: Callable[[int], bool] = lambda descriptor: False,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self._mode, self._device, self._timeout_ms, self._longer_than_ms = mode, device, timeout_ms, longer_than_ms
        self._kept, self._keep, self._forget = kept, keep, forget
        self._thread = ThreadPoolExecutor(1, "watchdog", _go_before_others)
        self._feeding: Future[None] | None = None
        self._armed = False
        self.found: Facts = ()

    async def open(self) -> int:
        """Arm it, or take over what a former process armed; the timeout in ms that was read back, 0 where there is none.

        One that was left armed is taken over in every mode: the others were told of it, and only DisarmWatchdog may
        end that. Raises EffectError where one is required and there is none.
        """
        if self._mode is Mode.OFF and self._kept is None:
            self.found = (("mode", "off"),)
            return 0
        try:
            taken = await self._in_thread(self._take)
        except EffectError as error:
            if self._mode is Mode.REQUIRED:
                raise
            self.found = (("mode", self._mode.value), ("unused", error.why))
            return 0
        self._armed = True
        return taken.timeout_ms

    async def close(self) -> None:
        """Give the thread back. The device ticks on, its descriptor stays open: closing the last one would feed it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def perform(self, action: FeedWatchdog | DisarmWatchdog) -> Outcome:
        """Carry out one action of lane `watchdog`; raises EffectError with what the device said."""
        match action:
            case FeedWatchdog():
                await self._feed()
                return Outcome(Result.DONE)
            case DisarmWatchdog():
                if not self._armed:
                    return Outcome(Result.DONE, facts=(("armed", "no"),))
                await self._in_thread(self._disarm)
                return Outcome(Result.DONE, facts=(("stopped", "yes"),))

    async def _feed(self) -> None:
        if not self._armed:
            raise EffectError("FeedWatchdog", "no watchdog is armed")
        if self._feeding is not None and not self._feeding.done():
            raise EffectError("FeedWatchdog", "the device has not answered the feed before this one")
        self._feeding = self._thread.submit(self._device.feed)
        await asyncio.wrap_future(self._feeding)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -- from here on in the thread

    def _take(self) -> Taken:
        taken = self._device.take(self._kept, self._timeout_ms)
        if taken.timeout_ms <= self._longer_than_ms and not taken.adopted and taken.stoppable:
            self._device.stop()
            self._device.release()
            why = f"{taken.identity} has a timeout of {taken.timeout_ms} ms, and a restart may take {self._longer_than_ms} ms"
            raise EffectError("watchdog", why)
        kept = taken.adopted or (taken.descriptor is not None and self._keep(taken.descriptor))
        self.found = (
            ("mode", self._mode.value),
            ("identity", taken.identity),
            ("timeout_ms", str(taken.timeout_ms)),
            ("asked_ms", str(self._timeout_ms)),
            ("adopted", _word(taken.adopted)),
            ("kept", _word(kept)),
            ("stoppable", _word(taken.stoppable)),
        )
        return taken

    def _disarm(self) -> None:
        """Stopped first, let go of afterwards: whoever dies in between leaves a stopped device, or one that resets."""
        self._device.stop()
        self._armed = False
        self._forget()
        self._device.release()


def _go_before_others() -> None:
    with contextlib.suppress(OSError):  # not allowed here: then as the loop, which says so
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))


def _word(fact: bool) -> str:
    return "yes" if fact else "no"
