"""What an agent's word is worth while corosync still sees the node, and what is forgotten with a ring that took nothing."""

import pytest
from test_invariants import GONE, ME, NOW, OTHER, ROW, acting

from corolistener.core import recovery
from corolistener.core.actions import Multicast
from corolistener.core.config import ProofKind
from corolistener.core.events import Outcome, Result, SendingLost
from corolistener.core.fencing import Attempt
from corolistener.core.ledger import Known, Rows
from corolistener.core.messages import Hello
from corolistener.ids import Instant, Ticket

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
    core = acting(ROW.__class__(ROW.vm, GONE, 1))
    s = core.state
    s.keeping.ledger.take(Rows(known=(Known(GONE, "boot-3", 5130, 2000),)))
    s.config = s.config.__class__(s.config.me, "boot", "run-1", s.config.cluster, care=s.config.care.__class__(proofs=()))
    recovery._fence(s, NOW)
    assert s.fencing.attempts == {}


def test_a_ring_that_took_nothing_makes_this_node_say_hello_again() -> None:
    core = acting()
    s = core.state
    s.keeping.proposing, s.adopt_until = True, NOW
    said = core.step(SendingLost(), NOW)
    assert not s.keeping.proposing
    assert [each for each in said if isinstance(each, Multicast) and isinstance(each.message, Hello)]
