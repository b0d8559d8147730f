"""Lanes: actions of one neighbour in their order, each ending in exactly one outcome.

A lane runs one action at a time. What may be superseded (it carries `until`) is looked at again immediately before it
starts; an action that lets go ends a taking one that is still running, so that a slow start never delays a stop. What
outlives its deadline ends as TIMED_OUT, and what it says later is not listened to.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from corolistener.core.actions import (
    DisarmWatchdog,
    DropAddress,
    EditVm,
    KillService,
    MarkVm,
    MigrateVm,
    ReleaseLock,
    ShutDownVm,
    Spare,
    StopService,
    StopVm,
    SuspendVm,
    TicketedAction,
    Until,
)
from corolistener.core.events import Outcome, Result
from corolistener.core.families import Family
from corolistener.core.view import RingId
from corolistener.engine.ports import Cancel, Effect
from corolistener.ids import Instant, Ticket

DEADLINES_MS: dict[Family, int] = {
    "address": 5_000,
    "lock": 5_000,
    "service": 60_000,
    "config": 30_000,
    "store": 30_000,
    "vm": 60_000,
    "fence": 120_000,
    "watchdog": 5_000,
    "corosync": 5_000,
}
MIGRATION_MS = 3_600_000
"""A large VM takes its time, and one that is still on its way must not be taken to be here."""
KILL_MS = 5_000
"""What hangs while it is to be killed is to be killed again soon."""
MOST = 64
"""Actions that may wait in one lane; more is a fault of the neighbour, and the newest ends as failed."""

Ended = Callable[[Ticket, Outcome], None]


def until_of(action: TicketedAction) -> Until | None:
    """The bound of an action that takes something; None for one that may run at any time."""
    return getattr(action, "until", None)


def yields(action: TicketedAction) -> bool:
    """It is ended by what lets go: it takes something, or does a VM no good that hangs and must be suspended."""
    return until_of(action) is not None or isinstance(action, MarkVm | ShutDownVm | EditVm)


def lets_go(action: TicketedAction) -> bool:
    """It ends an action that yields and is still under way, and those that wait, in its lane."""
    return isinstance(
        action, KillService | DropAddress | ReleaseLock | StopService | SuspendVm | StopVm | DisarmWatchdog | Spare
    )


@dataclass(slots=True)
class Lane:
    """One neighbour's order domain. `ended` is told how each action ended, from inside `submit`, `expire` or the effect."""

    effect: Effect
    deadline_ms: int
    ended: Ended
    waiting: deque[TicketedAction] = field(default_factory=deque)
    running: TicketedAction | None = None
    cancel: Cancel | None = None
    expires: Instant | None = None

    def submit(self, action: TicketedAction, ring: RingId, now: Instant) -> None:
        """Put an action at the end of the lane, and start it if nothing runs."""
        if lets_go(action):
            self._supersede(all_of_them=isinstance(action, KillService))
        if len(self.waiting) >= MOST:
            self.ended(action.ticket, Outcome(Result.FAILED, f"more than {MOST} actions wait"))
            return
        self.waiting.append(action)
        self.advance(ring, now)

    def _supersede(self, all_of_them: bool) -> None:
        """Nothing that takes has a meaning before something that lets go, and nothing at all before something that kills."""
        takes = [action for action in self.waiting if all_of_them or yields(action)]
        self.waiting = deque(action for action in self.waiting if action not in takes)
        if self.running is not None and (all_of_them or yields(self.running)):
            takes.insert(0, self.running)
            self._stop()
        for action in takes:
            self.ended(action.ticket, Outcome(Result.SUPERSEDED))

    def _stop(self) -> None:
        cancel, self.running, self.cancel, self.expires = self.cancel, None, None, None
        if cancel is not None:
            cancel()

    def advance(self, ring: RingId, now: Instant) -> None:
        """Start what can be started."""
        while self.running is None and self.waiting:
            action = self.waiting.popleft()
            until = until_of(action)
            if until is not None and (until.ring != ring or now >= until.not_after):
                self.ended(action.ticket, Outcome(Result.SUPERSEDED))
                continue
            self._start(action, now)

    def _start(self, action: TicketedAction, now: Instant) -> None:
        self.running, self.expires = action, Instant(now + self._within_ms(action))
        finished = False

        def finish(outcome: Outcome) -> None:
            nonlocal finished
            if finished or self.running is not action:
                return
            finished = True
            self.running, self.cancel, self.expires = None, None, None
            self.ended(action.ticket, outcome)

        try:
            cancel = self.effect.start(action, finish)
        except Exception as error:  # noqa: BLE001 - the lane runner's contract: every ticket ends, whatever the port did
            finish(Outcome(Result.FAILED, f"{type(error).__name__}: {error}"))
            return
        if self.running is action:
            self.cancel = cancel

    def _within_ms(self, action: TicketedAction) -> int:
        if isinstance(action, KillService):
            return KILL_MS
        if isinstance(action, StopService):
            return self.deadline_ms + KILL_MS  # the core kills what does not stop in time: then this has no say
        return MIGRATION_MS if isinstance(action, MigrateVm) else self.deadline_ms

    def expire(self, now: Instant) -> None:
        """End what has outlived its deadline."""
        if self.running is not None and self.expires is not None and now >= self.expires:
            action = self.running
            self._stop()
            why = f"no end within {self._within_ms(action)} ms"
            self.ended(action.ticket, Outcome(Result.TIMED_OUT, why))

    @property
    def idle(self) -> bool:
        return self.running is None and not self.waiting
