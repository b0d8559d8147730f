"""What a master has: address, database, service lock, service, relocated lock. Each is wanted or not, had or not.

Level-triggered: whatever happened before, the difference between wanted and had says what to do next. So a lost answer, a
restart or a change of mind in the middle needs no case of its own.
"""

from dataclasses import dataclass, field
from enum import Enum

from corolistener.core.config import Timing
from corolistener.core.events import Outcome, Result
from corolistener.ids import Instant, Ticket


class DutyName(Enum):
    """In the order of taking."""

    ADDRESS = "address"
    DATABASE = "database"
    SERVICE_LOCK = "service-lock"
    SERVICE = "service"
    RELOCATED_LOCK = "relocated-lock"


@dataclass(slots=True)
class Duty:
    """One thing a master has. `had` None means in doubt: an action failed or timed out half-way. `found`: a former process
    of this boot left it, and it is to be looked at once more. `gone`: it was taken away while an action was under way.
    `hard`: the newest action does not let it go in order, it kills."""

    name: DutyName
    had: bool | None = False
    found: bool = False
    gone: bool = False
    hard: bool = False
    ticket: Ticket | None = None
    toward: bool = False
    tried: bool = False
    failures: int = 0
    retry_at: Instant = Instant(0)

    def due(self, wanted: bool, now: Instant) -> bool:
        """An action toward `wanted` is to be taken now."""
        if self.ticket is not None:
            return self.toward != wanted
        if self.had is wanted:
            return False
        return now >= self.retry_at or self.toward != wanted

    def begin(self, ticket: Ticket, wanted: bool, hard: bool = False) -> None:
        if self.toward != wanted:
            self.failures, self.tried = 0, False
        if hard and not self.hard:
            self.failures = 0
        self.ticket, self.toward, self.had, self.hard = ticket, wanted, None, hard

    def end(self, ticket: Ticket, outcome: Outcome, now: Instant, timing: Timing) -> bool:
        """Take in how the action ended; False if it was not the newest one of this duty."""
        if ticket != self.ticket:
            return False
        self.ticket, self.found = None, False
        gone, self.gone = self.gone and self.toward, False
        if outcome.result is Result.DONE:
            self.had, self.failures, self.retry_at, self.tried = None if gone else self.toward, 0, now, True
        elif outcome.result is Result.SUPERSEDED:
            self.retry_at = now
        else:
            self.tried = True
            self.failures += 1
            pause = min(timing.retry_most_ms, timing.retry_first_ms * 2 ** min(self.failures - 1, 16))
            self.retry_at = Instant(now + pause)
        return True

    @property
    def keeps(self) -> bool:
        """It is had, or being taken: what once was right to take is not given back half-way."""
        return self.had is True or (self.ticket is not None and self.toward)

    def lost(self, now: Instant) -> None:
        """The world took it away: it is to be taken again at once, or when what is under way has ended."""
        self.gone = self.ticket is not None
        if not self.gone:
            self.had, self.retry_at = None, now

    def deadline(self, wanted: bool) -> Instant | None:
        return self.retry_at if self.ticket is None and self.had is not wanted else None


@dataclass(slots=True)
class Duties:
    """All five, and what is wanted of them."""

    address: Duty = field(default_factory=lambda: Duty(DutyName.ADDRESS))
    database: Duty = field(default_factory=lambda: Duty(DutyName.DATABASE))
    service_lock: Duty = field(default_factory=lambda: Duty(DutyName.SERVICE_LOCK))
    service: Duty = field(default_factory=lambda: Duty(DutyName.SERVICE))
    relocated_lock: Duty = field(default_factory=lambda: Duty(DutyName.RELOCATED_LOCK))

    def all(self) -> tuple[Duty, ...]:
        return (self.address, self.database, self.service_lock, self.service, self.relocated_lock)

    def visible(self) -> tuple[Duty, ...]:
        """Those that users meet: a database taken into use is not given back by letting go."""
        return (self.address, self.service_lock, self.service, self.relocated_lock)

    @property
    def nothing_held(self) -> bool:
        return all(duty.had is False and duty.ticket is None for duty in self.visible())

    @property
    def nothing_serves(self) -> bool:
        """Nothing is held that keeps another node from being master. A lock file that cannot be removed, because its file
        system is read-only, is on this node alone: removing it is tried again and again, and nobody waits for that."""
        locks = (self.service_lock, self.relocated_lock)
        stuck = [lock for lock in locks if not lock.toward and lock.failures]
        return all((duty.had is False and duty.ticket is None) or duty in stuck for duty in self.visible())

    def taken(self, addressed: bool) -> bool:
        """Everything a master has is had, or was tried and is being retried: what comes after may go on."""
        visible = self.visible() if addressed else self.visible()[1:]
        stuck = self.database.tried and self.database.had is not True
        return all(duty.had or (duty.tried and duty.toward) or (stuck and duty is not self.address) for duty in visible)


def wanted(duties: Duties, acting: bool, cleared: bool, planned: bool, addressed: bool) -> dict[DutyName, bool]:
    """What is wanted of each duty now.

    `acting`: this node is master and may act. `cleared`: no former master can still run the service. `planned`: we let go
    by our own will, service first. `addressed`: a cloud IP is configured.
    """
    if not acting:
        serving = duties.service.had is not False or duties.service.ticket is not None
        late = planned and serving and not (duties.service.tried and not duties.service.toward)
        kept = {duty.name: late and duty.had is True for duty in duties.all()}
        return {**kept, DutyName.DATABASE: False, DutyName.SERVICE: False}
    addressing = addressed and not (duties.address.had or (duties.address.tried and duties.address.toward))
    start = cleared and not addressing
    relocated = duties.relocated_lock.keeps
    moved = relocated or duties.database.had is True
    locked = duties.service_lock.had is True or duties.service_lock.found
    return {
        DutyName.ADDRESS: addressed,
        DutyName.DATABASE: duties.database.keeps or (start and not relocated),
        DutyName.SERVICE_LOCK: duties.service_lock.keeps or (start and moved),
        DutyName.SERVICE: duties.service.keeps or (start and moved and locked),
        DutyName.RELOCATED_LOCK: relocated or (start and duties.service.had is True),
    }
