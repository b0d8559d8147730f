"""Core: one event in, a list of actions out. It decides; it never waits.

Read `step` first: whatever the event was, what it changed is taken in by one handler; then one level-triggered pass says
who is master, whether that is this node, and what differs between what should be and what is.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from corolistener.core import (
    ability,
    address,
    care,
    carriage,
    changes,
    keeping,
    leaving,
    line,
    mastership,
    orders,
    passes,
    recount,
    recovery,
    serving,
    unreconciled,
    watchdog,
    witness,
)
from corolistener.core.actions import (
    Action,
    DropAddress,
    KillService,
    Lock,
    Reason,
    ReleaseLock,
)
from corolistener.core.broken import Broken, Held
from corolistener.core.clearance import objection
from corolistener.core.config import Config
from corolistener.core.delivery import deliver
from corolistener.core.events import (
    AddressConflict,
    AddressGone,
    AlarmAsked,
    Armed,
    BadMessage,
    ChangeAsked,
    Configured,
    ConfirmAsked,
    CopyChanged,
    CorosyncLost,
    Defined,
    DefinitionSeen,
    Delivered,
    DeviceCame,
    Event,
    Finished,
    Found,
    GroupChanged,
    HypervisorLost,
    LeaveAsked,
    LedgerAsked,
    Linked,
    Listed,
    OrderAsked,
    Probed,
    QuorumChanged,
    Recalled,
    Result,
    RingChanged,
    Running,
    SendingLost,
    Shelved,
    Speaking,
    TimePassed,
    VotesCounted,
)
from corolistener.core.group import Group
from corolistener.core.lifecycle import Mode
from corolistener.core.messages import Heartbeat
from corolistener.core.notes import NoteCode
from corolistener.core.processes import Processes
from corolistener.core.reconcile import tell
from corolistener.core.state import State
from corolistener.core.status import Status, status_of
from corolistener.core.storing import Storing
from corolistener.ids import Instant, NodeId, VmName

STALL_HEARTBEATS = 4


class Core:
    """The decision of one node. Mutable inside, deterministic outside: same config, same events, same actions."""

    def __init__(self, config: Config) -> None:
        cluster = config.cluster
        self.state = State(
            config=config,
            group=Group(config.me),
            processes=Processes(config.me, config.pid),
            storing=Storing(config.me, cluster.id, cluster),
            agreed=cluster.id,
            nodes=cluster.nodes,
            database=config.database,
            lease_ms=config.timing.lease_ms,
            serves_ms=serving.initial_ms(config.serving, config.timing),
        )
        self.broken: Broken | None = None
        self.turns = 0
        """Counts steps that were more than the pulse: others change nothing but leases, and when each member was last heard."""

    def step(self, event: Event, now: Instant) -> list[Action]:
        """Take one event in, at the node's own time `now` in ms, and say what is to be done. Raises nothing of its own."""
        s = self.state
        if self.broken is not None:
            return self.broken.step(event, now)
        if s.mode is Mode.LEFT:
            return []
        if s.adopt_until is None:
            s.adopt_until = Instant(now + s.config.timing.restart_ms)
        self._notice_stall(now)
        if s.lease.ends is not None and now >= s.lease.ends:
            line.lapse(s, Reason.LEASE_ENDED)
        quiet, before = passes.quiet(s, event), passes.looked_at(s)
        self._take_in(event, now)
        carriage.notice_stall(s, now)
        if quiet and before == passes.looked_at(s) and passes.at_rest(s, now):
            self._beat(now)
            self.turns += isinstance(event, Delivered) and not isinstance(event.message, Heartbeat)
        else:
            self.turns += 1
            line.weigh(s, now)
            if passes.electing(event):
                mastership.choose(s)
            self._decide(now)
        actions = s.out.take()
        s.deadline = self._deadline()
        return actions

    def _beat(self, now: Instant) -> None:
        line.beat(self.state, now)
        watchdog.feed(self.state, now)

    def _notice_stall(self, now: Instant) -> None:
        """After a pause of this process the silence of the others is my own: give them their time again."""
        s = self.state
        if s.last_step and now - s.last_step > STALL_HEARTBEATS * s.config.timing.heartbeat_ms:
            s.group.seen = dict.fromkeys(s.group.seen, now)
            s.group.round_since = now
        s.last_step = now

    def _decide(self, now: Instant) -> None:
        """The level-triggered pass."""
        s, before = self.state, len(self.state.out.actions)
        leaving.proceed(s, now)
        line.keep_up(s, now)
        ability.proceed(s, now)
        mastership.act(s, now)
        mastership.forget(s, now)
        mastership.fulfil(s, now)
        changes.rewrite(s, now)
        changes.expire(s, now)
        orders.expire(s, now)
        mastership.say(s, now)
        keeping.keep(s, now)
        care.tend(s, now)
        watchdog.feed(s, now)
        care.say(s, now)
        recovery.decide(s, now)
        unreconciled.end(s, now)
        recount.tend(s, now)
        s.silent = all(map(passes.ends_there, s.out.actions[before:]))
        s.due = self._due()

    def _take_in(self, event: Event, now: Instant) -> None:
        for each in self.state.processes.sift(event, self.state.out):
            self._take(each, now)

    def _take(self, event: Event, now: Instant) -> None:
        s = self.state
        match event:
            case Delivered(sender, message):
                deliver(s, sender, message, now)
            case TimePassed():
                pass
            case Finished():
                self._finish(event, now)
            case RingChanged():
                line.ring_changed(s, event, now)
            case GroupChanged():
                line.group_changed(s, event, now)
            case QuorumChanged():
                line.quorum_changed(s, event, now)
                recount.heard(s, event, now)
            case VotesCounted():
                line.votes_counted(s, event)
            case CorosyncLost():
                line.corosync_lost(s, now)
            case BadMessage(sender, why):
                self._bad_message(sender, why)
            case SendingLost() | Speaking():
                carriage.carried(s, event, now)
            case Found():
                self._found(event)
            case Probed():
                ability.probed(s, event, now)
            case Running():
                s.storing.running, s.runs = event.version, event
            case AddressGone() | DeviceCame() | AddressConflict():
                address.heard(s, event, now)
            case Configured(config):
                self._configured(config)
            case LeaveAsked():
                leaving.asked(s, now)
            case ChangeAsked():
                changes.asked(s, event, now)
            case Recalled():
                keeping.recalled(s, event)
                line.recalled(s)
            case Listed() | CopyChanged() | HypervisorLost() | DefinitionSeen():
                care.seen(s, event, now)
            case Defined():
                s.shelf.defined(event, s.out)
            case Shelved():
                s.shelf.recalled(event)
            case OrderAsked():
                orders.asked(s, event, now)
            case Armed() | Linked():
                self._told(event)
            case LedgerAsked():
                witness.asked(s, event, keeping.enough, keeping.told)
            case ConfirmAsked() | AlarmAsked():
                recovery.asked(s, event, now)
            case _:
                assert_never(event)

    def _finish(self, event: Finished, now: Instant) -> None:
        s = self.state
        for duty in s.duties.all():
            if duty.end(event.ticket, event.outcome, now, s.config.timing):
                tell(duty, event.outcome, now, s.out)
                return
        if orders.finished(s, event.ticket, event.outcome):
            return
        if s.shelf.finished(event.ticket, event.outcome, now, s.config.timing.retry_most_ms, s.out):
            return
        if care.finished(s, event.ticket, event.outcome, now) or recovery.fenced(s, event.ticket, event.outcome, now):
            return
        timing = s.config.timing
        if keeping.written(s, event.ticket, event.outcome, now, timing):
            return
        outcome = changes.prepared(s, event.ticket, event.outcome)
        if s.rewrite.finished(event.ticket, outcome, s.storing, now, timing, s.out):
            return
        if s.storing.finished(event.ticket, event.outcome, now, timing, s.out):
            return
        if event.outcome.result in (Result.FAILED, Result.TIMED_OUT):
            s.out.note(NoteCode.EFFECT_FAILED, result=event.outcome.result.value, why=event.outcome.why)

    def _bad_message(self, sender: NodeId, why: str) -> None:
        """Counted always, told at 1, 2, 4, 8 …: a flood must not fill the log."""
        count = self.state.bad[sender] = self.state.bad.get(sender, 0) + 1
        if count & (count - 1) == 0:
            self.state.out.note(NoteCode.PEER_MESSAGE, node=sender, count=count, why=why)

    def _found(self, found: Found) -> None:
        """What a former process of this boot left stays as it is until a view says whose it is.

        The service lock says that the database was taken; without the service, that it may just be starting.
        """
        duties = self.state.duties
        duties.database.had = Lock.SERVICE in found.locks
        duties.address.had = duties.address.found = found.address
        duties.service_lock.had = duties.service_lock.found = Lock.SERVICE in found.locks
        duties.relocated_lock.had = duties.relocated_lock.found = Lock.RELOCATED in found.locks
        duties.service.had = True if found.service else None if duties.service_lock.had else False
        duties.service.found = found.service
        if not duties.nothing_held:
            locks = ",".join(lock.value for lock in found.locks)
            self.state.out.note(NoteCode.ADOPTED, address=found.address, locks=locks, service=found.service)

    def _told(self, event: Armed | Linked) -> None:
        s = self.state
        match event:
            case Armed(timeout_ms):
                s.restate = s.restate or timeout_ms != s.watchdog_ms
                s.watchdog_ms = timeout_ms
            case Linked(nodes):
                s.fencing.linked = frozenset(nodes)

    def _configured(self, config: Config) -> None:
        s, announced = self.state, care.announced(self.state)
        old, s.config = s.config, config
        line.shorten(s, config.timing.lease_ms)
        serving.shorten(s)
        if old.cloud is not None and old.cloud != config.cloud and s.duties.address.had is not False:
            s.out.do(DropAddress(s.out.ticket(), old.cloud, Reason.CONFIGURED))
            s.duties.address.ticket, s.duties.address.had = None, False
        s.restate = s.restate or old.database != config.database or old.care.capacity != config.care.capacity
        s.restate = s.restate or announced != care.announced(s) or old.relied_on != config.relied_on
        if s.storing.found(config.cluster):
            # An administrator edited the file by hand, or `config pull` fetched it: the master decides whether it is newer.
            s.out.note(NoteCode.FOREIGN_VERSION, version=config.cluster.id.version, agreed=s.agreed.version)
            if not s.group.formed_once:
                s.agreed, s.nodes = config.cluster.id, config.cluster.nodes

    def surrender(self) -> list[Action]:
        """An invariant was violated: let go of everything, and decide nothing more (safety.md, "Panic").

        What is left is to keep the VMs suspended (core/broken). They are all suspended once, whatever is known of them.
        """
        s = self.state
        least, disarmed = care.least_ms(s), s.mode is Mode.LEFT or s.disarming
        s.mode, s.acting, s.lease.ends = Mode.BROKEN, False, None
        s.out.take()
        if s.config.cloud is not None:
            s.out.do(DropAddress(s.out.ticket(), s.config.cloud, Reason.BROKEN))
        for lock in Lock:
            s.out.do(ReleaseLock(s.out.ticket(), lock, Reason.BROKEN))
        # Nobody here decides later that a stop takes too long: the others count with its end.
        s.out.do(KillService(s.out.ticket(), Reason.BROKEN))
        timing = s.config.timing
        self.broken = Broken(
            out=s.out,
            quorum=replace(s.quorum),
            hypervisor=s.config.care.hypervisor,
            known=s.copies.known,
            watchdog_ms=0 if disarmed else s.watchdog_ms,
            heartbeat_ms=timing.heartbeat_ms,
            retry_ms=timing.retry_first_ms,
            worthless_ms=s.lease_ms + least if least is not None and s.leased else None,
            placed={name: row.vm.uuid for name, row in s.keeping.ledger.placements.items()},
            held={name: Held(copy.vm.uuid) for name, copy in s.copies.vms.items() if not copy.foreign},
            feeding=s.feeding,
        )
        return self.broken.proceed(s.last_step)

    def next_deadline(self) -> Instant | None:
        """When to call `step(TimePassed())` at the latest; None for never. It may be too early, never too late."""
        return self.state.deadline if self.broken is None else self.broken.deadline

    def _deadline(self) -> Instant | None:
        """The pulse goes on, and what a pass is to look at falls due."""
        s = self.state
        if s.mode is Mode.LEFT:
            return None
        beat_at = s.lease.next_at if s.lease.in_flight is None and s.group.joined else None
        feed_at = s.feed_at if s.watchdog_ms and s.feeding is None else None
        return _next((s.due, s.lease.ends, beat_at, feed_at, s.lease.stalls_at(s.config.timing.stalled_ms)), s.last_step)

    def _due(self) -> Instant | None:
        """When a pass is to look again, though nothing happens; what it has looked at is not due any more."""
        s = self.state
        timing = s.config.timing
        at: list[Instant | None] = [s.adopt_until if s.mode is Mode.ADOPTING else None, s.farewell_at]
        if s.group.joined:
            if s.group.open:
                at += s.group.hellos_due(timing.hello_ms)
            at += [Instant(since + timing.restart_ms) for since in s.group.pending.values()]
            at += s.group.declared.values()
            if s.lease.ends is not None:
                at += s.group.silences(timing.lease_ms, s.last_step)
        if s.acting:
            at += mastership.waits(s)
        at += [duty.deadline(duty.toward) for duty in s.duties.all()]
        at += [serving.deadline(s), ability.deadline(s)]
        at.append(s.rewrite.retry_at if s.rewrite.idle else s.rewrite.deadline)
        at += s.storing.deadline()
        at += s.requests.values()
        at += orders.deadline(s)
        at += s.shelf.deadline()
        at += care.deadline(s)
        at += leaving.deadline(s)
        at += recovery.deadline(s)
        at += unreconciled.deadline(s)
        at += [keeping.deadline(s), recount.deadline(s)]
        if s.void is not None:
            at.append(s.void.until)
        if s.acting:
            at.append(s.reload_at)
        return _next(at, s.last_step)

    def status(self, now: Instant) -> Status:
        """What an operator is told."""
        return status_of(self.state, now)

    def objection(self, name: VmName, now: Instant, uuid: str = "", sharing: tuple[VmName, ...] = ()) -> str:
        """Why this VM must not be started on this node now, whoever asks; '' if it may. `uuid` '' is not known; `sharing` are
        the VMs that have a disk of it."""
        return objection(self.state, name, now, uuid, sharing)


def _next(at: Iterable[Instant | None], last: Instant) -> Instant | None:
    """The first of them after the last step; every step asks."""
    found = None
    for instant in at:
        if instant is not None and instant > last and (found is None or instant < found):
            found = instant
    return found
