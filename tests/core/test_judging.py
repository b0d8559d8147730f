"""What an agent's word is worth while corosync still sees the node, and what is forgotten with a ring that took nothing."""

from dataclasses import replace

import pytest
from test_invariants import GONE, ME, NOW, OTHER, ROW, acting

from corolistener.core import keeping, orders, recovery
from corolistener.core.actions import DropAddress, KillService, Multicast, ReleaseLock, Spare, SuspendVm
from corolistener.core.capacity import Capacity
from corolistener.core.config import CloudAddress, ProofKind
from corolistener.core.events import Outcome, Result, SendingLost
from corolistener.core.fencing import Attempt
from corolistener.core.instance import Copy
from corolistener.core.ledger import EMPTY, Known, Proven, Rows, Version
from corolistener.core.messages import Chapter, Hello, Ordered, Refused
from corolistener.core.placing import what_if
from corolistener.core.reports import Inventory
from corolistener.core.wishes import FenceOrder
from corolistener.ids import Instant, Ticket, VmName

AGENT_MS = 5000


def test_an_agent_is_believed_when_corosync_has_lost_the_node_too() -> None:
    s = acting().state
    attempt = s.fencing.attempts[GONE] = Attempt("boot-3", done_at=NOW)
    s.group.ring_nodes = (ME, OTHER, GONE)
    recovery._judge(s, GONE, attempt, Instant(NOW + AGENT_MS - 1))
    assert attempt.done_at == NOW
    recovery._judge(s, GONE, attempt, Instant(NOW + AGENT_MS))
    assert (attempt.done_at, attempt.failures, s.fencing.evidence) == (None, 1, {})
    attempt.done_at, s.group.ring_nodes = NOW, (ME, OTHER)
    recovery._judge(s, GONE, attempt, Instant(NOW + 1))
    assert s.fencing.evidence[GONE].kind is ProofKind.AGENT
    assert s.fencing.attempts == {}


@pytest.mark.parametrize(
    ("result", "done", "failures"), [(Result.DONE, True, 0), (Result.SUPERSEDED, False, 0), (Result.FAILED, False, 1)]
)
def test_an_agent_ends(result: Result, done: bool, failures: int) -> None:
    s = acting().state
    attempt = s.fencing.attempts[GONE] = Attempt("boot-3", Ticket(7))
    assert recovery.fenced(s, Ticket(7), Outcome(result), NOW)
    assert (attempt.ticket, attempt.done_at is not None, attempt.failures) == (None, done, failures)
    assert not recovery.fenced(s, Ticket(7), Outcome(result), NOW)


def test_success_about_a_node_that_is_back_proves_nothing() -> None:
    s = acting().state
    attempt = s.fencing.attempts[OTHER] = Attempt("boot-2", Ticket(7))
    recovery.fenced(s, Ticket(7), Outcome(Result.DONE), NOW)
    assert (attempt.done_at, attempt.failures) == (None, 1)


def test_where_no_agent_is_accepted_none_is_tried() -> None:
    core = acting(replace(ROW, node=GONE))
    s = core.state
    s.keeping.ledger.take(Rows(known=(Known(GONE, "boot-3", 5130, 2000),)))
    s.config = replace(s.config, care=replace(s.config.care, proofs=()))
    recovery._fence(s, NOW)
    assert s.fencing.attempts == {}


def test_a_ring_that_took_nothing_makes_this_node_say_hello_again() -> None:
    core = acting()
    s = core.state
    s.keeping.proposing, s.adopt_until = True, NOW
    said = core.step(SendingLost(), NOW)
    assert not s.keeping.proposing
    assert [each for each in said if isinstance(each, Multicast) and isinstance(each.message, Hello)]


def test_a_broken_node_lets_go_of_everything_and_decides_nothing_more() -> None:
    core = acting(ROW)
    core.state.config = replace(core.state.config, cloud=CloudAddress("192.0.2.10", 32, "vmbr0"))
    core.state.copies.vms[ROW.vm.name] = Copy(ROW.vm)
    kinds = [type(each) for each in core.surrender()]
    assert kinds == [DropAddress, ReleaseLock, ReleaseLock, KillService, SuspendVm]
    assert core.next_deadline() is None
    assert core.step(SendingLost(), NOW) == []


def test_what_if_a_node_were_lost() -> None:
    core = acting(ROW)
    s = core.state
    free = Inventory(complete=True)
    s.group.peers[OTHER] = replace(s.group.peers[OTHER], capacity=Capacity(OTHER, 4096, 4), inventory=free)
    planned = what_if(s, [ME])
    assert [(each.vm.name, each.node) for each in planned.placements] == [(ROW.vm.name, OTHER)]
    assert what_if(s, [GONE]).placements == ()
    assert what_if(s, [ME, OTHER]).owed[0].vm == ROW.vm


def test_what_is_owed_is_shown_with_its_proof() -> None:
    core = acting(replace(ROW, node=GONE))
    assert [(debt.node, debt.vms, debt.proof) for debt in core.status(NOW).owed] == [(GONE, 1, "")]
    core.state.keeping.ledger.take(Rows(proven=(Proven(GONE, "boot-3", ProofKind.AGENT),)))
    assert [(debt.node, debt.vms, debt.proof) for debt in core.status(NOW).owed] == [(GONE, 1, "agent")]


def test_a_fence_is_ordered_of_a_node_that_was_of_the_quorum_once() -> None:
    s = acting().state
    s.config = replace(s.config, care=replace(s.config.care, agents=(GONE,)))
    s.desk.queue.append((ME, Ordered(4, FenceOrder(GONE))))
    assert orders.next_rows(s) == EMPTY
    (said,) = s.out.take()
    assert isinstance(said, Multicast)
    assert isinstance(said.message, Refused)
    assert (said.message.request, said.message.code) == (4, "unknown-node")


def test_a_chapter_that_goes_on_from_what_is_not_here_is_answered_by_a_hello() -> None:
    s = acting().state
    s.keeping.close()
    keeping.chapter_delivered(s, OTHER, Chapter(s.group.line, Version(4, 0, 9, "run-9"), "run-2", EMPTY, whole=False))
    assert s.restate
    assert not s.keeping.open


def test_whatever_falls_due_is_considered() -> None:
    """One VM's time had come and gone, and when another's came, the master took it for the first one's."""
    s = acting().state
    first, second = VmName("x"), VmName("y")
    s.desk.again = {first: NOW, second: Instant(NOW + 1)}
    recovery._changes(s, NOW)
    considered = s.considered
    assert s.desk.again == {second: NOW + 1}
    recovery._changes(s, Instant(NOW + 1))
    assert s.considered != considered


def test_an_agent_is_told_once_to_give_up_a_node_that_is_back() -> None:
    s = acting().state
    s.fencing.attempts = {OTHER: Attempt("boot-2", Ticket(7)), GONE: Attempt("boot-3", Ticket(8))}
    recovery._spare(s)
    assert [each for each in s.out.take() if isinstance(each, Spare)] == [Spare(Ticket(1), OTHER)]
    recovery._spare(s)
    assert s.out.take() == []
