"""One VM's process on this node: what is known of it, what is wanted of it, and the next step toward that."""

from dataclasses import dataclass
from enum import Enum

from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.events import Outcome, Pause, Result
from corolistener.core.reports import VmState
from corolistener.ids import Instant, NodeId, Ticket


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

    Of its pause: `pause`, why it is suspended; `labelled`, that it bears the label of a pause by its user; `ours`, that this
    node asked for the suspension; `woken`, that an operator ended the user's pause; `unseen`, that this node resumed it and
    the hypervisor has told nothing since: its first report may be older than that. `pauses` that are troubles came in a row,
    the last at `paused_at`; before `again_at` it is neither resumed nor started again. `elsewhere`: the generation in which
    another node should try. `pause_untold`: the log does not say so yet. `marks`: so often a label did not stay.

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
    unmanaged: str = ""
    let_go: bool = False
    foreign: bool = False
    ended_at: Instant | None = None
    ended_running: bool = False
    assumed: bool = False
    crash_untold: bool = False
    pause: Pause = Pause.OTHER
    labelled: bool = False
    ours: bool = False
    woken: bool = False
    unseen: bool = False
    pauses: int = 0
    paused_at: Instant = Instant(0)
    again_at: Instant = Instant(0)
    elsewhere: int = 0
    pause_untold: bool = False
    marks: int = 0

    @property
    def reported(self) -> tuple[object, ...]:
        """What a word of the hypervisor may change."""
        ends, pauses = (self.ended, self.ended_at), (self.pause, self.labelled, self.pauses)
        seen = (self.vm, self.state, self.generation, self.unmanaged, self.let_go)
        return (*seen, self.doubt, self.arriving, self.definition, ends, pauses)

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
    def ran(self) -> bool:
        """Its end would be a crash: it runs, or this node made it and nothing has stopped it since."""
        return self.state is VmState.RUNNING or (self.state is not None and self.deed in (Deed.START, Deed.RESUME))

    @property
    def quiet(self) -> bool:
        """It executes nothing, and nothing that would change that is under way or in doubt; what is not ours does not count."""
        if self.foreign:
            return not self.risky
        return self.state is not VmState.RUNNING and not (self.risky or self.doubt or self.arriving or self.busy)

    @property
    def busy(self) -> bool:
        """The hypervisor is doing something with it, and may let it run after that without being asked."""
        return self.state is VmState.SUSPENDED and self.pause in (Pause.BUSY, Pause.STARTING)

    @property
    def failing(self) -> bool:
        """It cannot be kept running here: it is tried again, or given up."""
        return bool(self.gave_up or self.crashes or self.pauses) or (
            bool(self.failures) and self.deed in (Deed.START, Deed.RESUME)
        )

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
        self.ours = self.ours or deed is Deed.SUSPEND
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
                if self.deed is Deed.MARK:
                    self.marks += 1  # until the hypervisor's word shows the label
                    self.retry_at = Instant(now + min(timing.retry_most_ms, timing.retry_first_ms * 2 ** min(self.marks, 16)))
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
                self.state, self.generation, self.pause = VmState.SUSPENDED, self.started, Pause.CALL
            case Deed.RESUME:
                self.state, self.pause, self.unseen = VmState.RUNNING, Pause.OTHER, True
            case Deed.SUSPEND if self.state is not None:
                was_paused = self.state is VmState.SUSPENDED and not self.busy
                self.state, self.arriving, self.pause = VmState.SUSPENDED, False, self.pause if was_paused else Pause.CALL
            case Deed.DESTROY | Deed.MIGRATE:
                self.ended_at = None
                self.gone()
            case Deed.MARK:
                self.generation, self.labelled = self.started, self.pause is Pause.USER

    def gone(self) -> None:
        """There is no copy any more."""
        self.ended = self.ended or self.stopping
        self.state, self.generation, self.stray, self.doubt, self.arriving = None, 0, False, False, False
        self.pause, self.labelled, self.ours, self.woken, self.elsewhere = Pause.OTHER, False, False, False, 0
        self.unseen = False
        self.pauses = 0  # those of another instance
        self.unmanaged, self.let_go, self.foreign = "", False, False
        self.stopping, self.asked_at = False, None

    def becomes(self, vm: Vm) -> None:
        """Another VM has this name now. Forget how the former one ended and its troubles."""
        self.vm, self.ended, self.ended_at, self.assumed = vm, False, None, False
        self.asked_again()

    def vanished(self, own: bool, now: Instant) -> None:
        """There is no copy any more, and the cause is not known yet. Until it is, nothing is decided about the VM."""
        if not own and self.state is not None and not self.arriving and not self.stopping:
            leaves = self.deed is Deed.MIGRATE and self.tried is not None
            self.ended_at, self.ended_running = now, self.ran and not leaves
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
        self.retry_at = self.again_at = Instant(now + (timing.retry_first_ms * 2**self.crashes if self.crashes > 1 else 0))
        self.failures, self.deed = max(self.failures, 1), Deed.START

    def asked_again(self) -> None:
        """The master wants it once more: what was is forgotten."""
        self.gave_up = self.crashes = self.failures = self.pauses = self.elsewhere = 0
        self.why, self.retry_at, self.again_at = "", Instant(0), Instant(0)

    def next(self, aim: Aim, generation: int, now: Instant) -> Deed | None:
        """What to do now towards `aim`; `generation` is that of the placement."""
        deed = self._toward(aim, generation)
        if self.ticket is not None:
            # What may not run is suspended or destroyed at once; everything else waits for what is under way.
            return deed if deed in (Deed.SUSPEND, Deed.DESTROY) and self.deed not in (deed, Deed.DESTROY) else None
        if aim is Aim.END and self.asked_at is not None and self.state is not None:
            return Deed.DESTROY if now >= self.asked_at + SHUT_DOWN_MS and now >= self.retry_at else None
        if aim is Aim.RUN and deed is not Deed.MARK and now < self.again_at:
            return None
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
            case Aim.END, VmState.SUSPENDED if self.busy:
                return None  # it ends by itself, and then it runs
            case Aim.END, _:
                return Deed.DESTROY if self.state is not None or self.doubt or self.risky else None
            case Aim.RUN, None:
                return Deed.START
            case Aim.RUN, VmState.SUSPENDED:
                return self._unpaused()
            case Aim.RUN, VmState.RUNNING if self.doubt:
                return Deed.RESUME  # done if it runs, and then that is sure
            case Aim.RUN, VmState.RUNNING if self.generation != generation or self.labelled:
                return Deed.MARK
        return None

    def _unpaused(self) -> Deed | None:
        """The next step toward running of one that is suspended: it depends on the reason."""
        match self.pause:
            case Pause.BUSY | Pause.STARTING:
                return None
            case Pause.USER:
                return None if self.labelled else Deed.MARK
            case Pause.PANICKED:
                return Deed.DESTROY  # nothing but a start helps
            case _:
                return Deed.RESUME
