"""A virtual hypervisor: the copies of VMs on one machine, what it does to them, and what it tells of them.

It outlives the daemon and dies with the machine. Like libvirt it does one thing at a time to a VM, in the order of asking,
and goes on with what it was asked when nobody waits for the answer any more."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from corolistener.core.actions import EditVm, MarkVm, MigrateVm, Reason, ResumeVm, ShutDownVm, StartVm, StopVm, SuspendVm
from corolistener.core.capacity import Vm
from corolistener.core.events import Copied, CopyChanged, DefinitionSeen, Event, HypervisorLost, Listed, Outcome, Pause, Result
from corolistener.ids import NodeId, VmName
from corolistener.sim.executions import NEWS_MS, Executions
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.identity import barred
from corolistener.sim.instances import Instance, defined, image_of

VmAction = StartVm | ResumeVm | SuspendVm | StopVm | MarkVm | MigrateVm | ShutDownVm | EditVm
Answer = Callable[[Outcome], None]
Tell = Callable[[Event], None]
Reach = Callable[[NodeId, bool], "Hypervisor | None"]
"""The hypervisor of another node, where it can be reached over the network and answers; or (True) wherever it is."""

LATENCY_MS: dict[type[VmAction], tuple[int, int, int]] = {
    StartVm: (400, 100, 900),
    ResumeVm: (5, 1, 20),
    SuspendVm: (5, 1, 20),
    StopVm: (200, 20, 400),
    MarkVm: (3, 1, 10),
    MigrateVm: (1500, 100, 8000),
    ShutDownVm: (5, 1, 20),
    EditVm: (5, 1, 20),
}
GUEST_ENDS_MS = (2000, 300, 20_000)
"""How long a VM's own system takes to shut down."""
SLOW_MS = (0, 200, 3000)
SLOW_SHARE = 0.05
PREPARE_MS = (0, 0, 2000)
"""How long a migration takes until the other side expects the VM: it has to be reached, and asked."""
NOTICE_MS = (0, 0, 30_000)
"""How long who waits for a VM's memory takes to see that the machine that sent it has no power: it said no goodbye."""
LATE_SHARE, CAUSE_MS = 0.3, (20, 1, 2000)
"""So many ends are seen in a list before the event that tells their cause has been read, and so much later it is."""
CONNECT_MS = (10, 1, 300)
STUMBLES_MS = (10, 1, 50)


@dataclass(slots=True, eq=False)
class Job:
    """Something asked of a VM. `orphan`: who asked is gone; `begun`: the VM is busy with it; `arrives`: its memory is on
    its way to another machine."""

    action: VmAction
    answer: Answer
    orphan: bool = False
    begun: bool = False
    arrives: bool = False


def name_of(action: VmAction) -> VmName:
    return action.vm.name if isinstance(action, StartVm) else action.name


def kind_of(action: VmAction) -> str:
    """The name of a fault of this action: vm-start, vm-resume, vm-suspend, vm-stop, vm-mark, vm-migrate and so on."""
    return f"vm-{type(action).__name__.removesuffix('Vm').lower()}"


class Hypervisor:
    """One machine's. `faults` are shared with the machine: `vm-start` in it hangs, `vm-start-fails` fails.

    `storages` are those that this machine reaches; `hidden`: the VMs that its settings would not have adopted; `answers` False:
    its daemon (libvirtd) is down, its VMs go on; `able_at`: since when nothing has hindered it.
    """

    def __init__(
        self, node: NodeId, heap: Heap, chance: Chance, executions: Executions, faults: set[str], reach: Reach
    ) -> None:
        self.node, self.heap, self.chance, self.executions, self.faults = node, heap, chance, executions, faults
        self.reach = reach
        self.locked: Callable[[Vm], bool] = lambda vm: False
        self.copies: dict[VmName, Instance] = {}
        self.storages: set[str] = set()
        self.hidden: set[VmName] = set()
        self.defined: dict[VmName, str] = {}
        self.jobs: dict[VmName, deque[Job]] = {}
        self.answers = True
        self.frozen = False
        self.life = self.life_at = 0
        self.listener: Tell | None = None
        self.news_due = 0
        self.able_at = 0
        self.turns: dict[VmName, int] = {}
        self.unheard: dict[VmName, bool] = {}
        self.full = False
        """There is no room left on the storage: what runs is paused by an I/O error at once."""
        self.stumbles: list[tuple[int, VmName]] = []
        """When it was so after a resumption."""
        """Ends between the beginning of a connection and its first list: their events are read after the list."""

    # Who listens

    def connect(self, listener: Tell) -> None:
        """A daemon connects: it is told everything after a moment, and from then on what changes."""
        self.listener = None
        life = self.life = self.life + 1
        self.life_at = self.heap.now
        self.unheard.clear()

        def connected() -> None:
            if self.life == life and self.answers:
                self.listener, self.able_at = listener, self.heap.now
                for _, copy in sorted(self.copies.items()):
                    if self.copied(copy).vm.definition:
                        listener(defined(copy.vm))
                told = tuple(self.copied(copy) for _, copy in sorted(self.copies.items()))
                listener(Listed(told, tuple(sorted(self.defined.items()))))
                for name, by_user in sorted(self.unheard.items()):
                    if name not in self.copies:
                        self._ended(name, by_user)

        self.heap.after(self.chance.vary(*CONNECT_MS), connected)

    def disconnect(self) -> None:
        """The daemon is gone; what it had asked and is being done may still be done, but nothing that hangs ever is."""
        self.listener = None
        self.life += 1
        self.life_at = self.heap.now
        for name, jobs in self.jobs.items():
            for job in jobs:
                job.orphan = True
            kept = [job for job in jobs if job.begun and kind_of(job.action) not in self.faults]
            self._give_up(job for job in jobs if job not in kept)
            self.jobs[name] = deque(kept)

    def _tell(self, say: Callable[[], Event | None]) -> None:
        """News keep their order, and come a little late; mostly they say what was so when it happened."""
        life, listener = self.life, self.listener
        if listener is None:
            return
        self.news_due = max(self.news_due, self.heap.now + self.chance.vary(*NEWS_MS))

        def tell() -> None:
            if self.life == life and self.listener is listener and (event := say()) is not None:
                listener(event)

        self.heap.at(self.news_due, tell)

    def changed(self, name: VmName, by_user: bool = False) -> None:
        copy = self.copies.get(name)
        if copy is None:
            self._ended(name, by_user)
            return
        told = self.copied(copy)
        if told.vm.definition:
            text = defined(copy.vm)
            self._tell(lambda: text)
        changed, turn = CopyChanged(name, told), self.turns.get(name, 0)
        self._tell(lambda: changed if self.turns.get(name, 0) == turn else None)

    def _ended(self, name: VmName, by_user: bool, late_ms: int | None = None) -> None:
        """The end of a copy. Sometimes a list shows it before the event that tells its cause has been read."""
        if self.listener is None:
            self.unheard[name] = by_user
            return
        turn = self.turns.get(name, 0)

        def cause() -> Event | None:
            current = self.turns.get(name, 0) == turn and name not in self.copies
            return CopyChanged(name, None, by_user) if current else None

        if late_ms is not None or self.chance.happens(LATE_SHARE):
            self._tell(lambda: CopyChanged(name, None, None) if self.turns.get(name, 0) == turn else None)
            self.heap.after(late_ms or self.chance.vary(*CAUSE_MS), lambda: self._tell(cause))
        else:
            self._tell(lambda: CopyChanged(name, None, by_user) if self.turns.get(name, 0) == turn else None)

    def _stopped(self, name: VmName) -> None:
        """The word of a copy that was destroyed for us may come when the next one is being started: then nobody knows any more
        by whose will it ended."""

        def said() -> Event:
            anew = any(isinstance(job.action, StartVm) and job.begun for job in self.jobs.get(name, ()))
            return CopyChanged(name, None, by_user=anew and self.chance.happens(0.5))

        self.turns[name] = self.turns.get(name, 0) + 1  # what was read before it was destroyed is old
        self._tell(said)

    def copied(self, copy: Instance) -> Copied:
        """What a daemon is told of an instance, whatever the settings say."""
        return copy.copied(copy.vm.name in self.hidden)

    def define(self, name: VmName, uuid: str) -> None:
        """A definition comes, or (uuid '') goes."""
        if self.defined.get(name, "") != uuid:
            self.defined.update({name: uuid}) if uuid else self.defined.pop(name)
            self._tell(lambda: DefinitionSeen(name, uuid))

    # What is asked

    def ask(self, action: VmAction, answer: Answer) -> None:
        """Put it behind what the VM is busy with."""
        if not self.answers:
            self.heap.after(1, lambda: answer(Outcome(Result.FAILED, "the hypervisor does not answer")))
            return
        jobs = self.jobs.setdefault(name_of(action), deque())
        busy = jobs and (jobs[0].begun or jobs[0].arrives)
        if busy and isinstance(jobs[0].action, MigrateVm) and isinstance(action, SuspendVm | StopVm):
            self._end_migration(jobs.popleft(), "canceled by client")
        jobs.append(Job(action, answer))
        self._advance(name_of(action))

    def _advance(self, name: VmName) -> None:
        jobs = self.jobs.get(name)
        if not jobs:
            self.jobs.pop(name, None)
            return
        job = jobs[0]
        if job.begun or self.frozen or kind_of(job.action) in self.faults:
            return
        job.begun = True
        if isinstance(job.action, MigrateVm) and not job.arrives:
            self.heap.after(self.chance.vary(*PREPARE_MS), lambda: self._prepared(name, job))
        else:
            self._go(name, job)

    def _prepared(self, name: VmName, job: Job) -> None:
        """The other side is asked to expect a VM, and from now on its memory goes there; or it refuses."""
        if job not in self.jobs.get(name, ()) or not isinstance(job.action, MigrateVm):
            return
        if self.frozen or kind_of(job.action) in self.faults:
            job.begun = False
            return
        job.arrives = self._arrive(job.action)
        if job.arrives:
            self._go(name, job)
        else:
            self.heap.after(20, lambda: self._end(name, job))

    def _go(self, name: VmName, job: Job) -> None:
        slow = self.chance.happens(SLOW_SHARE)
        takes = self.chance.vary(*(SLOW_MS if slow else LATENCY_MS[type(job.action)]))
        if isinstance(job.action, StartVm):
            self.heap.after(self.chance.vary(takes, 0, takes), lambda: self._make(name, job))
        self.heap.after(takes, lambda: self._end(name, job))

    def _make(self, name: VmName, job: Job) -> None:
        """A copy that is being started is seen before it has its label; not after that, for whoever looked looks again then."""
        hindered = self.frozen or any(fault.startswith("vm-start") for fault in self.faults)
        if job not in self.jobs.get(name, ()) or name in self.copies or hindered or not isinstance(job.action, StartVm):
            return
        if barred(self, job.action.vm):
            return
        if job.action.vm.storages <= self.storages and not self.locked(job.action.vm):
            copy = self.copies[name] = Instance(job.action.vm, making=True)
            self._tell(lambda: CopyChanged(name, self.copied(copy)) if copy.making else None)

    def _end(self, name: VmName, job: Job) -> None:
        if job not in self.jobs.get(name, ()):
            return
        if self.frozen or kind_of(job.action) in self.faults:
            job.begun = False
            return
        self.jobs[name].remove(job)
        outcome = self.carry_out(job.action)
        if outcome.result is not Result.DONE:
            self.changed(name)  # whoever asked looks again when the call has come back
        self._advance(name)
        job.answer(outcome)

    def go_on(self) -> None:
        """A fault or a standstill is over: what waited is begun."""
        self.able_at = self.heap.now
        for name in sorted(self.jobs):
            self._advance(name)

    def carry_out(self, action: VmAction) -> Outcome:
        """At this instant."""
        if f"{kind_of(action)}-fails" in self.faults:
            return Outcome(Result.FAILED, "internal error")
        name = name_of(action)
        copy = self.copies.get(name)
        uuid = action.vm.uuid if isinstance(action, StartVm) else action.uuid
        if copy is not None and not copy.vm.is_same(uuid):
            gone = isinstance(action, SuspendVm | StopVm)
            return Outcome(Result.DONE) if gone else Outcome(Result.FAILED, "another VM of this name is here")
        match action:
            case StartVm(vm=vm, generation=generation):
                if why := barred(self, vm):
                    return Outcome(Result.FAILED, why)
                if copy is None and not vm.storages <= self.storages:
                    return Outcome(Result.FAILED, f"cannot access storage {min(vm.storages - self.storages)}")
                if copy is None and self.locked(vm):
                    return Outcome(Result.FAILED, 'Failed to get "write" lock: is another process using the image?')
                if copy is None:
                    copy = self.copies[name] = Instance(vm, making=True)
                if copy.making:
                    copy.generation, copy.making = generation, False
                    self.define(name, vm.uuid)
            case ResumeVm():
                if copy is None or copy.arriving:
                    return Outcome(Result.FAILED, "no such domain" if copy is None else "its memory is still arriving")
                if not copy.running and copy.pause in (Pause.BUSY, Pause.PANICKED):
                    busy = copy.pause is Pause.BUSY
                    return Outcome(Result.FAILED, "cannot acquire state change lock" if busy else "its system has crashed")
                self._run(copy, stray=False)
            case SuspendVm():
                if copy is not None and copy.arriving:
                    del self.copies[name]  # it would go on by itself
                elif copy is not None and (copy.running or copy.pause is Pause.BUSY):
                    copy.labelled = copy.labelled and not copy.running
                    self._halt(copy, Pause.CALL)
            case StopVm():
                if copy is not None:
                    self._halt(copy)
                    del self.copies[name]
                if isinstance(action, StopVm) and action.reason is Reason.MOVED and uuid == self.defined.get(name):
                    self.define(name, "")
                self._stopped(name)
                return Outcome(Result.DONE)
            case MarkVm(generation=generation):
                if copy is None:
                    return Outcome(Result.FAILED, "no such domain")
                if "vm-mark-lost" not in self.faults:
                    copy.generation, copy.labelled = generation, action.suspended
            case MigrateVm():
                return self._migrated(action, copy)
            case ShutDownVm() | EditVm():
                if copy is None:
                    return Outcome(Result.FAILED, "no such domain")
                if isinstance(action, ShutDownVm):
                    copy.ending = True
                    self.heap.after(self.chance.vary(*GUEST_ENDS_MS), lambda: self._guest_ends(name, copy))
        self.changed(name)
        return Outcome(Result.DONE)

    def _guest_ends(self, name: VmName, copy: Instance) -> None:
        """Its own system has come to the end of its shutdown, if it was not stopped in it."""
        if self.copies.get(name) is copy and copy.running and not self.frozen:
            self.end_by_hand(name)

    # Migration: the memory arrives over there in a copy that does not run yet; this one halts, that one runs, this one goes

    def _arrive(self, action: MigrateVm) -> bool:
        copy, other = self.copies.get(action.name), self.reach(action.to, False)
        if copy is None or not copy.running or other is None or action.name in other.copies or other.frozen:
            return False
        if not copy.vm.storages <= other.storages:
            return False
        other.copies[action.name] = Instance(copy.vm, generation=copy.generation, arriving=True)
        other.changed(action.name)
        return True

    def _migrated(self, action: MigrateVm, copy: Instance | None) -> Outcome:
        """The switch. Cut in the middle it may leave both, and only the new one runs (`vm-migrate-halves`)."""
        name, other = action.name, self.reach(action.to, False)
        arrived = other.copies.get(name) if other is not None else None
        if other is None or arrived is None or not arrived.arriving or copy is None or not copy.running:
            self._leave_over(action)
            return Outcome(Result.FAILED, "unable to connect to server" if other is None else "operation failed: job failed")
        self._halt(copy)
        arrived.arriving = False
        other._run(arrived, stray=False)
        other.changed(name)
        if f"{kind_of(action)}-halves" in self.faults:
            self.changed(name)
            return Outcome(Result.FAILED, "connection reset by peer")
        del self.copies[name]
        other.define(name, copy.vm.uuid)
        self.define(name, "")
        self.changed(name)
        return Outcome(Result.DONE)

    def _end_migration(self, job: Job, why: str) -> None:
        assert isinstance(job.action, MigrateVm)
        self._leave_over(job.action)
        self.heap.after(1, lambda: job.answer(Outcome(Result.FAILED, why)))

    def _give_up(self, jobs: Iterable[Job]) -> None:
        """These are not carried on."""
        for job in jobs:
            if job.arrives and isinstance(job.action, MigrateVm):
                self._leave_over(job.action)

    def _leave_over(self, action: MigrateVm) -> None:
        """What had arrived of it is worth nothing; the machine over there finds out by itself."""
        other = self.reach(action.to, True)
        if other is not None:
            other.forget_arriving(action.name)

    def _vanish(self, jobs: Iterable[Job]) -> None:
        """The power is gone: who waits for what was being sent notices that in a while."""
        for job in jobs:
            other = self.reach(job.action.to, True) if job.arrives and isinstance(job.action, MigrateVm) else None
            copy = other.copies.get(name_of(job.action)) if other is not None else None
            if other is not None and copy is not None:
                forget = partial(other.forget_arriving, copy.vm.name, copy)
                self.heap.after(self.chance.vary(*NOTICE_MS), forget)

    def forget_arriving(self, name: VmName, which: Instance | None = None) -> None:
        """Its source is gone: the process that waited for its memory ends, if it is still `which`."""
        copy = self.copies.get(name)
        if copy is not None and copy.arriving and which in (None, copy):
            del self.copies[name]
            self.changed(name)

    def _run(self, copy: Instance, stray: bool, by_hand: bool = False) -> None:
        copy.running = True
        if self.full:
            self.heap.after(self.chance.vary(*STUMBLES_MS), lambda: self.stumble(copy, resumed=True))
        self.executions.begin(image_of(copy.vm), self.node, self.heap.now, stray, by_hand)

    def _halt(self, copy: Instance, pause: Pause = Pause.OTHER) -> None:
        copy.running, copy.pause, copy.since = False, pause, self.heap.now
        self.executions.end(image_of(copy.vm), self.node, self.heap.now)

    # By hand, and by itself

    def start_by_hand(self, vm: Vm, stray: bool) -> None:
        """A user starts it here; a suspended copy is resumed."""
        copy = self.copies.setdefault(vm.name, Instance(vm))
        if not copy.arriving:
            self.define(vm.name, vm.uuid)
            self._run(copy, stray, by_hand=True)
            self.changed(vm.name)

    def suspend_by_hand(self, name: VmName, pause: Pause = Pause.CALL) -> Instance | None:
        """A user suspends it, or it is paused for another reason; what was running then."""
        copy = self.copies.get(name)
        if copy is None or not copy.running:
            return None
        self._halt(copy, pause)
        self.changed(name)
        return copy

    def stumble(self, copy: Instance, resumed: bool = False) -> None:
        """It writes, and there is no room."""
        if self.full and copy.running and self.copies.get(copy.vm.name) is copy and not self.frozen:
            self._halt(copy, Pause.IO_ERROR)
            if resumed:
                self.stumbles.append((self.heap.now, copy.vm.name))
            self.changed(copy.vm.name)

    def be_busy(self, name: VmName, lasts: int) -> None:
        """A user has it dumped, say: it is paused for so long, and goes on by itself, unless that is ended."""
        copy = self.suspend_by_hand(name, Pause.BUSY)
        since = self.heap.now

        def over() -> None:
            still = copy is not None and self.copies.get(name) is copy and copy.pause is Pause.BUSY and copy.since == since
            if copy is not None and still and not copy.running and not self.frozen:
                self._run(copy, stray=False, by_hand=True)
                self.changed(name)

        self.heap.after(lasts, over)

    def end_by_hand(self, name: VmName, by_user: bool = True, late_ms: int | None = None) -> None:
        """It shuts down, is destroyed by a user, or (`by_user` False) crashes. `late_ms`: so much later the cause is told."""
        copy = self.copies.pop(name, None)
        if copy is not None:
            self._halt(copy)
            self._ended(name, by_user, late_ms)

    # Its own life

    def stop(self) -> None:
        """libvirtd dies: what it was doing was done or not, and who asked is told that it failed. VMs go on."""
        if not self.answers:
            return
        self.answers, self.life_at = False, self.heap.now
        if self.listener is not None:
            self.listener(HypervisorLost())
        self.listener = None
        waiting, self.jobs = [job for _, jobs in sorted(self.jobs.items()) for job in jobs], {}
        for job in waiting:
            if job.begun and not self.frozen and kind_of(job.action) not in self.faults and self.chance.happens(0.5):
                self.carry_out(job.action)
            else:
                self._give_up([job])
            if not job.orphan:
                self.heap.after(1, lambda job=job: job.answer(Outcome(Result.FAILED, "connection reset")))  # type: ignore[misc]

    def start(self, listener: Tell | None) -> None:
        """libvirtd is up again."""
        if not self.answers:
            self.answers = True
            if listener is not None:
                self.connect(listener)

    def power_off(self) -> None:
        self._vanish(job for jobs in self.jobs.values() for job in jobs)
        for copy in self.copies.values():
            self._halt(copy)
        self.copies.clear()
        self.jobs.clear()
        self.listener = None
        self.life += 1
        self.answers, self.frozen = True, False
