"""The virtual hypervisor keeps the promises that the core rests on, and counts what executes where."""

from dataclasses import replace

from corolistener.core.actions import MarkVm, Reason, ResumeVm, StartVm, StopVm, SuspendVm, Until
from corolistener.core.capacity import Vm
from corolistener.core.events import CopyChanged, Event, HypervisorLost, Listed, Outcome, Result
from corolistener.core.reports import VmState
from corolistener.core.view import NO_RING
from corolistener.ids import Instant, NodeId, Ticket, VmName
from corolistener.sim.executions import Executions
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.hypervisor import Hypervisor, VmAction
from corolistener.sim.instances import definition

N1, N2 = NodeId(1), NodeId(2)
A = VmName("a")
VM = Vm(A, 1024, storages=frozenset({"shared"}))
UNTIL, PLACED, T = Until(NO_RING, Instant(0)), Reason.PLACED, Ticket(1)
START, RESUME = StartVm(T, VM, 3, UNTIL, PLACED), ResumeVm(T, A, UNTIL, PLACED)
SUSPEND, STOP, MARK = SuspendVm(T, A, PLACED), StopVm(T, A, PLACED), MarkVm(T, A, 7)


class Scene:
    """One hypervisor, its clock, and what it said."""

    def __init__(self, node: NodeId = N1, executions: Executions | None = None) -> None:
        self.heap = Heap()
        self.executions = executions or Executions()
        self.faults: set[str] = set()
        self.hypervisor = Hypervisor(node, self.heap, Chance(), self.executions, self.faults, lambda other, anyway: None)
        self.hypervisor.storages.add("shared")
        self.news: list[Event] = []
        self.answers: list[Outcome] = []

    def connect(self) -> None:
        self.hypervisor.connect(self.news.append)
        self.heap.run(self.heap.now + 1000)

    def ask(self, *actions: VmAction, wait: int = 10_000) -> list[Result]:
        """How they ended, in the order of ending."""
        self.answers.clear()
        for action in actions:
            self.hypervisor.ask(action, self.answers.append)
        self.heap.run(self.heap.now + wait)
        return [outcome.result for outcome in self.answers]


def test_a_copy_is_created_suspended_and_runs_when_it_is_resumed() -> None:
    s = Scene()
    assert s.ask(START) == [Result.DONE]
    assert not s.hypervisor.copies[A].running
    assert s.hypervisor.copies[A].generation == 3
    assert s.ask(RESUME) == [Result.DONE]
    assert [each.node for each in s.executions.on(N1)] == [N1]


def test_what_is_done_already_is_done() -> None:
    s = Scene()
    assert s.ask(SUSPEND, STOP) == [Result.DONE, Result.DONE]
    assert s.ask(START, START, RESUME, RESUME) == [Result.DONE] * 4
    assert s.hypervisor.copies[A].running


def test_a_copy_that_runs_is_not_replaced_by_a_start() -> None:
    s = Scene()
    s.hypervisor.start_by_hand(VM, stray=False)
    assert s.ask(START) == [Result.DONE]
    assert s.hypervisor.copies[A].running
    assert s.hypervisor.copies[A].generation == 0


def test_without_storage_nothing_starts() -> None:
    s = Scene()
    s.hypervisor.storages.clear()
    assert s.ask(START) == [Result.FAILED]
    assert "shared" in s.answers[0].why
    assert not s.hypervisor.copies


def test_one_vm_is_asked_one_thing_at_a_time_in_order() -> None:
    s = Scene()
    assert s.ask(START, RESUME, MARK, SUSPEND) == [Result.DONE] * 4
    assert not s.hypervisor.copies[A].running
    assert s.hypervisor.copies[A].generation == 7
    assert [(each.since, each.to) for each in s.executions.past] == [(405, 413)]


def test_what_hangs_is_done_when_it_works_again_and_what_waits_behind_it() -> None:
    s = Scene()
    s.ask(START)
    s.faults.add("vm-resume")
    assert s.ask(RESUME, SUSPEND) == []
    s.faults.clear()
    s.hypervisor.go_on()
    s.heap.run(s.heap.now + 1000)
    assert [outcome.result for outcome in s.answers] == [Result.DONE, Result.DONE]
    assert not s.hypervisor.copies[A].running
    assert len(s.executions.past) == 1


def test_what_a_dead_daemon_had_begun_is_still_done_and_what_hung_never() -> None:
    s = Scene()
    s.hypervisor.ask(START, s.answers.append)
    s.hypervisor.disconnect()
    s.heap.run(5000)
    assert A in s.hypervisor.copies
    s.faults.add("vm-resume")
    s.hypervisor.ask(RESUME, s.answers.append)
    s.hypervisor.disconnect()
    s.faults.clear()
    s.hypervisor.go_on()
    s.heap.run(20_000)
    assert not s.hypervisor.copies[A].running


def test_a_daemon_is_told_everything_once_and_then_what_changes() -> None:
    s = Scene()
    s.hypervisor.start_by_hand(VM, stray=False)
    s.connect()
    assert isinstance(s.news[0], Listed)
    assert [(copied.vm.name, copied.state, copied.generation) for copied in s.news[0].copies] == [(A, VmState.RUNNING, 0)]
    s.ask(SUSPEND)
    s.hypervisor.end_by_hand(A)
    s.heap.run(s.heap.now + 1000)
    changed = [event for event in s.news if isinstance(event, CopyChanged)]
    assert [(event.copy.state if event.copy else None, event.by_user) for event in changed] == [
        (VmState.SUSPENDED, False),
        (None, True),
    ]


def test_libvirtd_dies_and_its_vms_do_not() -> None:
    s = Scene()
    s.connect()
    s.hypervisor.start_by_hand(VM, stray=False)
    s.hypervisor.stop()
    assert s.ask(SUSPEND) == [Result.FAILED]
    assert isinstance(s.news[-1], HypervisorLost)
    assert s.executions.on(N1)
    s.hypervisor.start(s.news.append)
    s.heap.run(s.heap.now + 1000)
    assert isinstance(s.news[-1], Listed)


def test_a_machine_without_power_executes_nothing() -> None:
    s = Scene()
    s.hypervisor.start_by_hand(VM, stray=False)
    s.heap.run(100)
    s.hypervisor.ask(SUSPEND, s.answers.append)
    s.hypervisor.power_off()
    s.heap.run(5000)
    assert not s.executions.on(N1)
    assert not s.answers
    assert [(each.since, each.to) for each in s.executions.past] == [(0, 100)]


def test_twice_is_noticed_at_the_instant() -> None:
    executions = Executions()
    executions.begin(A, N1, 5, stray=False)
    executions.end(A, N1, 7)
    executions.begin(A, N2, 7, stray=False)
    assert not executions.twice
    executions.begin(A, N1, 8, stray=False)
    assert executions.twice == {A}
    executions.end(A, N2, 9)
    assert not executions.twice


def test_equal_vms_have_one_definition() -> None:
    """However their sets came to be: else a seed would be another run in another process."""
    one, same = frozenset((NodeId(1), NodeId(9))), frozenset((NodeId(9), NodeId(1)))
    assert repr(one) != repr(same), "Python keeps these two in the order in which they came"
    assert definition(replace(VM, nodes=one)) == definition(replace(VM, nodes=same)) != definition(VM)
