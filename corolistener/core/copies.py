"""The copies of VMs on this node, and what is to become of each: level-triggered, like the duties of a master."""

from collections.abc import Container
from dataclasses import dataclass, field
from enum import Enum

from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.events import Copied, Outcome, Result
from corolistener.core.messages import Inventory, VmState
from corolistener.ids import Instant, NodeId, Ticket, VmName

Key = tuple[VmName, str]
"""A VM and the SHA-256 of a definition of it."""


class Aim(Enum):
    """What is wanted of a copy."""

    KEEP = "keep"
    """Whatever it is, until more is known."""
    RUN = "run"
    SUSPEND = "suspend"
    DESTROY = "destroy"
    MOVE = "move"
    """It is to run on the node that it goes to, without being stopped."""
    END = "end"
    """It is to shut down, and is destroyed if it does not."""


class Deed(Enum):
    """The next thing to do with a copy."""

    START = "start"
    RESUME = "resume"
    SUSPEND = "suspend"
    DESTROY = "destroy"
    MARK = "mark"
    MIGRATE = "migrate"
    SHUT_DOWN = "shut-down"


CRASHES_MOST, STARTS_MOST = 3, 3
"""So often a VM may crash within CRASHES_MS, or fail to start, before its node gives it up."""
CRASHES_MS = 600_000
SHUT_DOWN_MS = 60_000
"""How long a VM's own system has to shut down."""
CAUSE_MS = 3000
"""How long the cause of an end may be late. An end without a cause counts as a crash after this time."""


@dataclass(slots=True)
class Copy:
    """One VM's copy here. `state` is the hypervisor's word, None where there is no copy. `doubt`: the word may be outdated.

    `generation` is the one it was started in, 0 where nobody knows. `stray`: it was running, though it belongs elsewhere.
    `ended`: its user shut it down, and the ledger does not say so yet. `started`: the generation that the deed under way gives.
    `definition`: the last one of its VM that every member was told. `arriving`: it is suspended because its memory is still
    coming from another node, as far as anybody knows: it starts by itself when all of it is here.

    Of its end: `ended_at`, since when it is gone without a known cause, and `ended_running`, that it was running until then.
    `assumed`: the last crash was only assumed, because no cause came in time. `crash_untold`: the log does not say so yet.

    Of its troubles: `crashes` since `crashed_at`, `why` the last deed failed, `gave_up` the generation in which this node tries
    no more; that is a promise to the master, who may then place it elsewhere. Of its shutdown: since when it was asked for that
    (`asked_at`), until when a former process of this boot may have asked it (`former`), and `stopping`, that an operator wants
    it to stay down. Of a migration: the move that was `tried`, and why it is `stuck`.

    `unmanaged`: why the settings or its metadata would not have it adopted; `let_go`: its metadata says so. `foreign`: it is
    another VM than the ledger's, or one that the ledger does not know and that is not to be adopted: it is never touched.
    """

    vm: Vm
    state: VmState | None = None
    doubt: bool = False
    generation: int = 0
    stray: bool = False
    ended: bool = False
    ticket: Ticket | None = None
    deed: Deed | None = None
    started: int = 0
    failures: int = 0
    retry_at: Instant = Instant(0)
    definition: str = ""
    arriving: bool = False
    why: str = ""
    crashes: int = 0
    crashed_at: Instant = Instant(0)
    gave_up: int = 0
    asked_at: Instant | None = None
    former: Instant = Instant(0)
    stopping: bool = False
    tried: tuple[int, NodeId] | None = None
    stuck: str = ""
    ended_at: Instant | None = None
    ended_running: bool = False
    assumed: bool = False
    crash_untold: bool = False
    unmanaged: str = ""
    let_go: bool = False
    foreign: bool = False

    @property
    def reported(self) -> tuple[object, ...]:
        """What a word of the hypervisor may change."""
        seen = (self.vm, self.state, self.generation, self.unmanaged, self.let_go)
        return (*seen, self.doubt, self.arriving, self.definition, self.ended, self.ended_at)

    @property
    def risky(self) -> bool:
        """Something that may make it run, here or elsewhere, is under way."""
        return self.ticket is not None and self.deed in (Deed.START, Deed.RESUME, Deed.MIGRATE)

    @property
    def there(self) -> bool:
        """There is something to tell the others of: a copy, a doubt, or an end of which the cause is not known yet."""
        return self.state is not None or self.doubt or self.risky or self.ended_at is not None

    def ends_by_us(self, now: Instant) -> bool:
        """If it ends now, that is because this node wanted it."""
        return self.asked_at is not None or now < self.former or (self.ticket is not None and self.deed is Deed.DESTROY)

    @property
    def quiet(self) -> bool:
        """It executes nothing, and nothing that would change that is under way or in doubt; what is not ours does not count."""
        if self.foreign:
            return not self.risky
        return self.state is not VmState.RUNNING and not self.risky and not self.doubt and not self.arriving

    @property
    def failing(self) -> bool:
        """It cannot be kept running here: it is tried again, or given up."""
        return bool(self.gave_up or self.crashes) or (bool(self.failures) and self.deed in (Deed.START, Deed.RESUME))

    @property
    def idle(self) -> bool:
        """There is nothing to remember of it."""
        return (
            self.state is None
            and not self.doubt
            and self.ticket is None
            and not self.ended
            and self.ended_at is None
            and not self.failures
            and not self.crashes
            and not self.gave_up
        )

    def begin(self, ticket: Ticket, deed: Deed, generation: int) -> None:
        self.doubt = self.doubt or self.risky
        if deed is not self.deed:
            self.failures = 0
        if deed is Deed.START:
            self.ended_at, self.assumed = None, False
        self.ticket, self.deed, self.started = ticket, deed, generation

    def end(self, outcome: Outcome, now: Instant, timing: Timing) -> None:
        """The deed has ended as told. One that failed may have worked all the same; what may not run is not left for long."""
        self.ticket = None
        match outcome.result:
            case Result.SUPERSEDED:
                self.retry_at = now
                if self.deed is Deed.MIGRATE:
                    self.tried = None  # it was not even begun
            case Result.DONE:
                self.failures, self.retry_at, self.doubt = 0, now, False
                self._done()
            case _ if self.deed is Deed.MIGRATE:
                # Where it is now, running or not, the hypervisors tell; one that did not end in time may still be under way.
                self.stuck, self.retry_at = outcome.why or outcome.result.value, now
                self.doubt = self.doubt or outcome.result is Result.TIMED_OUT
            case _:
                self.why = outcome.why or outcome.result.value
                self.doubt = self.doubt or self.deed in (Deed.START, Deed.RESUME)
                self.failures += 1
                doublings = 0 if self.deed is Deed.SUSPEND else min(self.failures - 1, 16)
                pause = min(timing.retry_most_ms, timing.retry_first_ms * 2**doublings)
                self.retry_at = Instant(now + pause)

    def _done(self) -> None:
        match self.deed:
            case Deed.START:
                self.state, self.generation = VmState.SUSPENDED, self.started
            case Deed.RESUME:
                self.state = VmState.RUNNING
            case Deed.SUSPEND if self.state is not None:
                self.state, self.arriving = VmState.SUSPENDED, False
            case Deed.DESTROY | Deed.MIGRATE:
                self.ended_at = None
                self.gone()
            case Deed.MARK:
                self.generation = self.started

    def gone(self) -> None:
        """There is no copy any more."""
        self.ended = self.ended or self.stopping
        self.state, self.generation, self.stray, self.doubt, self.arriving = None, 0, False, False, False
        self.unmanaged, self.let_go, self.foreign = "", False, False
        self.stopping, self.asked_at = False, None

    def vanished(self, own: bool, now: Instant) -> None:
        """There is no copy any more, and the cause is not known yet. Until it is, nothing is decided about the VM."""
        if not own and self.state is not None and not self.arriving and not self.stopping:
            leaves = self.deed is Deed.MIGRATE and self.tried is not None
            self.ended_at, self.ended_running = now, self.state is VmState.RUNNING and not leaves
        self.gone()

    def explain(self, now: Instant, timing: Timing) -> bool:
        """The cause of the end did not come in time: it counts as a crash. True if that is news."""
        if self.ended_at is None or now < self.ended_at + CAUSE_MS:
            return False
        self.ended_at = None
        if self.ended_running:
            self.crashed(now, timing)
            self.assumed = True
        return True

    def crashed(self, now: Instant, timing: Timing) -> None:
        """It ended, and nobody wanted that: it is started again at once, and later the next times."""
        if not self.crashes or now >= self.crashed_at + CRASHES_MS:
            self.crashes, self.crashed_at = 0, now
        self.crashes += 1
        self.why, self.crash_untold = "it crashed", True
        self.retry_at = Instant(now + (timing.retry_first_ms * 2**self.crashes if self.crashes > 1 else 0))
        self.failures, self.deed = max(self.failures, 1), Deed.START

    def asked_again(self) -> None:
        """The master wants it once more: what was is forgotten."""
        self.gave_up = self.crashes = self.failures = 0
        self.why, self.retry_at = "", Instant(0)

    def next(self, aim: Aim, generation: int, now: Instant) -> Deed | None:
        """What to do now towards `aim`; `generation` is that of the placement."""
        deed = self._toward(aim, generation)
        if self.ticket is not None:
            # What may not run is suspended or destroyed at once; everything else waits for what is under way.
            return deed if deed in (Deed.SUSPEND, Deed.DESTROY) and self.deed not in (deed, Deed.DESTROY) else None
        if aim is Aim.END and self.asked_at is not None and self.state is not None:
            return Deed.DESTROY if now >= self.asked_at + SHUT_DOWN_MS and now >= self.retry_at else None
        return deed if deed is not None and (now >= self.retry_at or deed is not self.deed) else None

    def _toward(self, aim: Aim, generation: int) -> Deed | None:
        match aim, self.state:
            case Aim.KEEP, None | VmState.SUSPENDED if self.doubt:
                return Deed.SUSPEND  # it was not made to run, and that is to be sure
            case Aim.SUSPEND, _:
                return None if self.quiet else Deed.SUSPEND
            case Aim.DESTROY, _:
                return Deed.DESTROY if self.state is not None or self.doubt or self.risky else None
            case Aim.MOVE, VmState.RUNNING:
                return Deed.MIGRATE
            case Aim.END, VmState.RUNNING if not self.stray:
                return Deed.SHUT_DOWN
            case Aim.END, _:
                return Deed.DESTROY if self.state is not None or self.doubt or self.risky else None
            case Aim.RUN, None:
                return Deed.START
            case Aim.RUN, VmState.SUSPENDED:
                return Deed.RESUME
            case Aim.RUN, VmState.RUNNING if self.doubt:
                return Deed.RESUME  # done if it runs, and then that is sure
            case Aim.RUN, VmState.RUNNING if self.generation != generation:
                return Deed.MARK
        return None


@dataclass(slots=True)
class Copies:
    """All of them. `known`: the hypervisor has listed them and answers. `held`: they stay suspended until the ledger of a
    quorate line is stable and this node is admitted. `told`: the inventory that the others know."""

    vms: dict[VmName, Copy] = field(default_factory=dict)
    known: bool = False
    met: bool = False
    """The hypervisor has listed them before."""
    held: bool = False
    since: Instant | None = None
    """Since when nothing may run here; None while it may."""
    told: Inventory | None = None
    turn: int = 0
    """Counts what has changed."""
    begun: int = 0
    """Counts deeds."""
    upto: int = 0
    """The index of the ledger's last change of a VM that is here or belongs here: when that is stable, all of it is firm."""
    waiting: set[VmName] = field(default_factory=set)
    """The VMs that belong here and do not run, or move: what others say of these may matter."""
    compared: tuple[object, ...] = ()
    """For what nothing new was found to tell the others."""
    looked: object = None
    """What was looked at when nothing was left to do."""

    @property
    def quiet(self) -> bool:
        """Everything is confirmed suspended: nothing runs, nothing is on its way, nothing is in doubt."""
        return self.known and all(copy.quiet for copy in self.vms.values())

    @property
    def any(self) -> bool:
        """There is a copy that is ours, or may be one."""
        return any((copy.state is not None or copy.doubt or copy.risky) and not copy.foreign for copy in self.vms.values())

    def listed(
        self, seen: tuple[Copied, ...], now: Instant, spread: Container[Key] = (), coming: Container[VmName] = ()
    ) -> None:
        """The hypervisor's whole list. It answers, so whatever failed is tried again at once.

        What is there when this process begins may be about to shut down because a former one asked it to.
        """
        first, self.known, self.met = not self.met, True, True
        for copy in self.vms.values():
            copy.retry_at = Instant(0)
        self.turn += 1
        for name in set(self.vms) - {each.vm.name for each in seen}:
            copy = self.vms[name]
            copy.vanished(copy.foreign or copy.ends_by_us(now), now)
        for each in seen:
            self.seen(each, spread, coming)
            if first:
                self.vms[each.vm.name].former = Instant(now + SHUT_DOWN_MS)

    def seen(self, copied: Copied, spread: Container[Key] = (), coming: Container[VmName] = ()) -> None:
        """The hypervisor's word on one copy. `spread` are the definitions that every member was told, `coming` the VMs that are
        on their way to this node."""
        copy = self.vms.setdefault(copied.vm.name, Copy(copied.vm))
        if not copy.vm.is_same(copied.vm.uuid):
            copy.gone()  # another VM has this name now
        was, before = copy.state, copy.reported
        copy.vm, copy.state, copy.generation, copy.doubt = copied.vm, copied.state, copied.generation, False
        copy.unmanaged, copy.let_go = copied.unmanaged, copied.let_go
        fresh = was is None or copy.arriving
        copy.arriving = fresh and copied.vm.name in coming and copied.state is VmState.SUSPENDED
        if (copied.vm.name, copied.vm.definition) in spread:
            copy.definition = copied.vm.definition
        copy.ended_at, copy.assumed = None, False
        if copied.state is VmState.RUNNING:
            copy.ended = False
        if copy.reported != before:  # the hypervisor is asked about each again and again: mostly it has no news
            self.turn += 1

    def gone(self, name: VmName, by_user: bool | None, now: Instant, timing: Timing) -> None:
        """There is no copy any more. Who was asked by us to shut down did not do so by its user's will, and what was known to
        be gone has not ended once more: that is late news, of one that was destroyed before the next one was begun.

        An end has one cause. An end of which the cause is not known yet (`by_user` None) waits for it; a crash that was only
        assumed is taken back when the user's will is told before the next start.
        """
        copy = self.vms.get(name)
        self.turn += 1
        if copy is None:
            return
        if copy.foreign:
            copy.gone()
            return
        own = copy.ends_by_us(now)
        leaves = copy.ticket is not None and copy.deed is Deed.MIGRATE
        if by_user is None:
            copy.vanished(own, now)
            return
        waited = copy.ended_at is not None
        ran = copy.state is VmState.RUNNING or (waited and copy.ended_running)
        if not by_user and not own and not leaves and ran:
            copy.crashed(now, timing)
        if by_user and not own and (copy.state is not None or copy.doubt or waited or copy.assumed):
            copy.ended = True
            if copy.assumed:
                copy.crashes -= 1
                copy.failures, copy.why = 0, ""
        copy.ended_at, copy.assumed = None, False
        copy.gone()

    def spread(self, key: Key) -> None:
        """Every member was told this definition."""
        copy = self.vms.get(key[0])
        if copy is not None and copy.vm.definition == key[1] != copy.definition:
            copy.definition = key[1]
            self.turn += 1

    def lost(self) -> None:
        """The hypervisor does not answer: nothing is known but what there may be."""
        self.known = False
        self.turn += 1
        for copy in self.vms.values():
            copy.doubt = True
