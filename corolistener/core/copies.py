"""The copies of VMs on this node, and what is to become of each: level-triggered, like the duties of a master."""

from dataclasses import dataclass, field
from enum import Enum

from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.events import Copied, Outcome, Result
from corolistener.core.ledger import Placed
from corolistener.core.messages import Inventory, Report, Trouble, VmState
from corolistener.ids import Instant, NodeId, Ticket, VmName


class Aim(Enum):
    """What is wanted of a copy."""

    KEEP = "keep"
    """Whatever it is, until more is known."""
    RUN = "run"
    SUSPEND = "suspend"
    DESTROY = "destroy"


class Deed(Enum):
    """The next thing to do with a copy."""

    START = "start"
    RESUME = "resume"
    SUSPEND = "suspend"
    DESTROY = "destroy"
    MARK = "mark"


@dataclass(slots=True)
class Copy:
    """One VM's copy here. `state` is the hypervisor's word, None where there is no copy. `doubt`: the word may be outdated.

    `generation` is the one it was started in, 0 where nobody knows. `stray`: it was running, though it belongs elsewhere.
    `ended`: its user shut it down, and the ledger does not say so yet. `started`: the generation that the deed under way gives.
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
    why: str = ""
    given_up: bool = False

    @property
    def risky(self) -> bool:
        """Something that may make it run is under way."""
        return self.ticket is not None and self.deed in (Deed.START, Deed.RESUME)

    @property
    def quiet(self) -> bool:
        """It executes nothing, and nothing that would change that is under way or in doubt."""
        return self.state is not VmState.RUNNING and not self.risky and not self.doubt

    @property
    def failing(self) -> bool:
        """It cannot be kept running here: it is tried again, or given up."""
        return self.given_up or (bool(self.failures) and self.deed in (Deed.START, Deed.RESUME))

    @property
    def idle(self) -> bool:
        """There is nothing to remember of it."""
        return self.state is None and not self.doubt and self.ticket is None and not self.ended and not self.failures

    def begin(self, ticket: Ticket, deed: Deed, generation: int) -> None:
        self.doubt = self.doubt or self.risky
        if deed is not self.deed:
            self.failures = 0
        self.ticket, self.deed, self.started = ticket, deed, generation

    def end(self, outcome: Outcome, now: Instant, timing: Timing) -> None:
        """The deed has ended as told. One that failed may have worked all the same; what may not run is not left for long."""
        self.ticket = None
        match outcome.result:
            case Result.SUPERSEDED:
                self.retry_at = now
            case Result.DONE:
                self.failures, self.retry_at, self.doubt = 0, now, False
                self._done()
            case _:
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
                self.state = VmState.SUSPENDED
            case Deed.DESTROY:
                self.state, self.generation, self.stray = None, 0, False
            case Deed.MARK:
                self.generation = self.started

    def next(self, aim: Aim, generation: int, now: Instant) -> Deed | None:
        """What to do now towards `aim`; `generation` is that of the placement."""
        deed = self._toward(aim, generation)
        if self.ticket is not None:
            # What may not run is suspended or destroyed at once; everything else waits for what is under way.
            return deed if deed in (Deed.SUSPEND, Deed.DESTROY) and self.deed not in (deed, Deed.DESTROY) else None
        return deed if deed is not None and (now >= self.retry_at or deed is not self.deed) else None

    def _toward(self, aim: Aim, generation: int) -> Deed | None:
        match aim, self.state:
            case Aim.KEEP, None | VmState.SUSPENDED if self.doubt:
                return Deed.SUSPEND  # it was not made to run, and that is to be sure
            case Aim.SUSPEND, _:
                return None if self.quiet else Deed.SUSPEND
            case Aim.DESTROY, _:
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
    held: bool = False
    told: Inventory | None = None
    turn: int = 0
    """Counts what has changed."""
    looked: object = None
    """What was looked at when nothing was left to do."""

    @property
    def quiet(self) -> bool:
        """Everything is confirmed suspended: nothing runs, nothing is on its way, nothing is in doubt."""
        return self.known and all(copy.quiet for copy in self.vms.values())

    @property
    def any(self) -> bool:
        """There is a copy, or may be one."""
        return any(copy.state is not None or copy.doubt or copy.risky for copy in self.vms.values())

    def listed(self, seen: tuple[Copied, ...]) -> None:
        """The hypervisor's whole list. It answers, so whatever failed is tried again at once."""
        self.known = True
        for copy in self.vms.values():
            copy.retry_at = Instant(0)
        self.turn += 1
        for name in set(self.vms) - {each.vm.name for each in seen}:
            self.gone(name, by_user=False)
        for each in seen:
            self.seen(each)

    def seen(self, copied: Copied) -> None:
        """The hypervisor's word on one copy."""
        copy = self.vms.setdefault(copied.vm.name, Copy(copied.vm))
        self.turn += 1
        copy.vm, copy.state, copy.generation, copy.doubt = copied.vm, copied.state, copied.generation, False
        if copied.state is VmState.RUNNING:
            copy.ended = False

    def gone(self, name: VmName, by_user: bool) -> None:
        """There is no copy any more."""
        copy = self.vms.get(name)
        self.turn += 1
        if copy is not None:
            copy.state, copy.generation, copy.stray, copy.doubt = None, 0, False, False
            copy.ended = copy.ended or by_user

    def lost(self) -> None:
        """The hypervisor does not answer: nothing is known but what there may be."""
        self.known = False
        self.turn += 1
        for copy in self.vms.values():
            copy.doubt = True

    def inventory(self) -> Inventory:
        """What the others are told."""
        copies = [copy for _, copy in sorted(self.vms.items()) if copy.state is not None or copy.doubt or copy.risky]
        return Inventory(
            copies=tuple(Report(each.vm, None if each.doubt else each.state, each.generation, each.stray) for each in copies),
            ended=tuple(sorted(name for name, copy in self.vms.items() if copy.ended)),
            troubles=tuple(Trouble(name, copy.why, copy.given_up) for name, copy in sorted(self.vms.items()) if copy.failing),
            complete=self.known,
        )


def aim(copy: Copy, placed: Placed | None, me: NodeId, licensed: bool, held: bool, firm: bool, due: bool) -> Aim:
    """What is wanted of a copy, its VM's placement being `placed`.

    `licensed`: this node has a lease. `held`: it has lost one since it last was admitted. `firm`: the placement is stable in
    a ledger that is open, which alone lets anything be started, resumed or destroyed. `due`: it may be started now.
    """
    here = firm and placed is not None and placed.node == me
    if not licensed or (copy.stray and not here):
        return Aim.SUSPEND
    if firm and placed is not None and me not in placed.holders:
        # A stale copy is suspended, and worthless.
        return Aim.DESTROY if copy.quiet else Aim.SUSPEND
    if held:
        return Aim.SUSPEND
    if not firm or placed is None or placed.frozen or placed.node != me or not placed.on or copy.ended:
        return Aim.KEEP
    unmarked = copy.state is VmState.RUNNING and copy.generation == 0
    if copy.state is not None and copy.generation != placed.generation and not unmarked:
        return Aim.DESTROY
    return Aim.RUN if copy.state is not None or due else Aim.KEEP
