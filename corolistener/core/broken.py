"""A node whose decision is broken (safety.md, "Panic"): it keeps its VMs suspended, and feeds its watchdog while that is sure.

Nothing here reads what members say, so what broke the decision cannot break this: one poisonous message that reaches every
node must leave all of them with suspended VMs, and reset none. Only one thing about the others counts: which of their daemons
are in the group, for a broken one leaves it.
"""

from dataclasses import dataclass, field

from corolistener.core.actions import Action, FeedWatchdog, Reason, StopVm, SuspendVm
from corolistener.core.events import (
    Armed,
    Copied,
    CopyChanged,
    Event,
    Finished,
    GroupChanged,
    HypervisorLost,
    Listed,
    Outcome,
    Result,
)
from corolistener.core.lease import Quorum
from corolistener.core.messages import VmState
from corolistener.core.out import Out
from corolistener.ids import Instant, NodeId, Ticket, VmName


@dataclass(slots=True)
class Held:
    """One instance. `sure`: it was suspended by this mode, and nothing has said since that it runs. `seen_running`: something
    has said so since the suspension that is in flight began."""

    uuid: str = ""
    sure: bool = False
    seen_running: bool = False
    ticket: Ticket | None = None
    stopping: bool = False
    retry_at: Instant = Instant(0)


@dataclass(slots=True)
class Broken:
    """What is left of a node. `hypervisor`: it can have VMs; `known`: the hypervisor has listed them and answers.

    `worthless_ms` is how long a quorum of others has to be in the group without a gap before the memory of what is suspended
    here is worthless, because they may have started these VMs; None for never. Then the VMs of the ledger (`placed`, with their
    UUIDs) are destroyed, because they hold the locks of their images.
    """

    out: Out
    quorum: Quorum
    hypervisor: bool
    known: bool
    watchdog_ms: int
    heartbeat_ms: int
    retry_ms: int
    worthless_ms: int | None
    placed: dict[VmName, str]
    held: dict[VmName, Held] = field(default_factory=dict)
    feeding: Ticket | None = None
    feed_at: Instant = Instant(0)
    others: tuple[NodeId, ...] = ()
    since: Instant | None = None
    """Since when a quorum of others is in the group."""
    deadline: Instant | None = None

    def step(self, event: Event, now: Instant) -> list[Action]:
        """Take in what concerns instances and watchdog; say what is left to do."""
        match event:
            case Listed(copied):
                self._listed(copied)
            case CopyChanged(name, copied, _):
                self._changed(name, copied)
            case HypervisorLost():
                self.known = False
                for each in self.held.values():
                    each.sure = False
            case Finished(ticket, outcome):
                self._finished(ticket, outcome, now)
            case Armed(timeout_ms):
                self.watchdog_ms = timeout_ms
            case GroupChanged(members):
                self.others = members
        return self.proceed(now)

    def proceed(self, now: Instant) -> list[Action]:
        """Suspend what is not surely suspended, destroy what is worthless, feed the watchdog; returns the actions."""
        worthless = self._worthless(now)
        for name, each in sorted(self.held.items()):
            if each.ticket is not None or now < each.retry_at:
                continue
            if not each.sure:
                each.ticket, each.seen_running = self.out.ticket(), False
                self.out.do(SuspendVm(each.ticket, name, Reason.BROKEN, each.uuid))
            elif worthless and name in self.placed:
                each.ticket, each.stopping = self.out.ticket(), True
                self.out.do(StopVm(each.ticket, name, Reason.WORTHLESS, each.uuid))
        if self.watchdog_ms and self.feeding is None and now >= self.feed_at and self.quiet:
            self.feeding, self.feed_at = self.out.ticket(), Instant(now + self.heartbeat_ms)
            self.out.do(FeedWatchdog(self.feeding, None))
        self.deadline = self._deadline(now)
        return self.out.take()

    @property
    def quiet(self) -> bool:
        """Every instance is surely suspended."""
        return not self.hypervisor or (self.known and all(each.sure for each in self.held.values()))

    def _listed(self, copied: tuple[Copied, ...]) -> None:
        self.known = True
        for name in self.held.keys() - {each.vm.name for each in copied}:
            self._changed(name, None)
        for each in copied:
            self._changed(each.vm.name, each)

    def _changed(self, name: VmName, copied: Copied | None) -> None:
        """An instance that is new here is suspended once whatever its state is: the memory of one may still be arriving, and
        such an instance would begin to run by itself."""
        if copied is None or self._foreign(copied):
            self.held.pop(name, None)
            return
        each = self.held.setdefault(name, Held(copied.vm.uuid))
        if copied.state is VmState.RUNNING:
            each.sure, each.seen_running, each.retry_at = False, True, Instant(0)

    def _foreign(self, copied: Copied) -> bool:
        """It is not ours to touch: another VM has this name in the ledger, or the ledger does not know it and it is not to be
        adopted; and it bears no label (core/strangers)."""
        vm, ours = copied.vm, self.placed.get(copied.vm.name)
        known = (ours is not None and vm.is_same(ours)) or (bool(vm.uuid) and vm.uuid in self.placed.values())
        return not known and not copied.generation and (ours is not None or bool(copied.unmanaged))

    def _finished(self, ticket: Ticket, outcome: Outcome, now: Instant) -> None:
        if ticket == self.feeding:
            self.feeding = None
        name = next((name for name, each in self.held.items() if each.ticket == ticket), None)
        if name is None:
            return
        each, done = self.held[name], outcome.result is Result.DONE
        each.ticket, each.retry_at = None, now if done else Instant(now + self.retry_ms)
        if done and each.stopping:
            del self.held[name]
        elif done:
            each.sure = not each.seen_running
        each.stopping = False

    def _worthless(self, now: Instant) -> bool:
        if self.worthless_ms is None or not self.quorum.exclusive or not self.quorum.holds(self.others):
            self.since = None
            return False
        self.since = self.since if self.since is not None else now
        return now >= self.since + self.worthless_ms

    def _deadline(self, now: Instant) -> Instant | None:
        at = [each.retry_at for each in self.held.values() if each.ticket is None and each.retry_at > now]
        if self.watchdog_ms:
            at.append(self.feed_at if self.feed_at > now else Instant(now + self.heartbeat_ms))
        return min(at, default=None)
