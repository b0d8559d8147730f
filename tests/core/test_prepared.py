"""A changed corosync.conf as the operator wants it, looked at before it is offered: which nodes may go out of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from corolistener.core import changes
from corolistener.core.capacity import Vm
from corolistener.core.config import Cluster, Config, ConfigId, NodeEntry
from corolistener.core.events import Outcome, Result
from corolistener.core.group import Peer
from corolistener.core.ledger import Known, Placed, ProofKind, Proven, Rows
from corolistener.core.machine import Core
from corolistener.core.messages import Change, PushText, RemoveNode, RevertTo
from corolistener.core.rewrite import Cause, Request
from corolistener.core.state import State
from corolistener.ids import NodeId, Ticket, VmName

ME, OTHER, GONE = NodeId(1), NodeId(2), NodeId(3)
REMOVAL = RemoveNode(GONE)
T, OLD, NEW = Ticket(7), ConfigId(1, "old"), ConfigId(2, "new")
A = Placed(Vm(VmName("a"), 1024, 1), GONE, 1)
WITHOUT = Outcome(Result.DONE, cluster=Cluster(NEW, "VMmanager", (NodeEntry(ME), NodeEntry(OTHER))))


def rewriting(change: Change = REMOVAL) -> State:
    """Node 3 is gone, VM a may run there, and an operator at node 2 wants another file."""
    s = Core(Config(ME, "boot", "run-1", Cluster(OLD, "VMmanager", ()))).state
    s.group.ring_nodes = s.group.members = (ME, OTHER)
    s.group.peers = {node: Peer(f"boot-{node}", f"run-{node}", OLD) for node in (ME, OTHER)}
    s.keeping.ledger.take(Rows(placed=(A,), known=(Known(GONE, "boot-3", 5000, 2000, 0),)))
    s.rewrite.ticket, s.rewrite.request = T, Request(Cause.PUSHED, change, OTHER, 1)
    return s


@pytest.mark.parametrize("change", [REMOVAL, PushText(b""), RevertTo(1)])
def test_a_node_that_may_run_vms_stays_whatever_leaves_it_out(change: Change) -> None:
    found = changes.prepared(rewriting(change), T, WITHOUT)
    assert found.result is Result.FAILED
    assert found.why.startswith("node 3 may still run a, and nothing proves that it does not")


def _proven(s: State) -> None:
    s.keeping.ledger.take(Rows(proven=(Proven(GONE, "boot-3", ProofKind.OPERATOR),)))


def _shut_down(s: State) -> None:
    s.keeping.ledger.take(Rows(placed=(replace(A, on=False),)))


def _elsewhere(s: State) -> None:
    s.keeping.ledger.take(Rows(placed=(replace(A, node=OTHER),)))


def _our_own(s: State) -> None:
    s.rewrite.request = Request(Cause.TAKEOVER, REMOVAL)


def _another_ticket(s: State) -> None:
    s.rewrite.ticket = Ticket(8)


@pytest.mark.parametrize("change", [_proven, _shut_down, _elsewhere, _our_own, _another_ticket])
def test_and_else_it_may_go(change: Callable[[State], None]) -> None:
    s = rewriting()
    change(s)
    assert changes.prepared(s, T, WITHOUT) is WITHOUT


def test_what_failed_or_leaves_nobody_out_is_as_it_was() -> None:
    failed = Outcome(Result.FAILED, "no such node")
    assert changes.prepared(rewriting(), T, failed) is failed
    cluster = WITHOUT.cluster
    assert cluster is not None
    all_there = replace(WITHOUT, cluster=replace(cluster, nodes=(*cluster.nodes, NodeEntry(GONE))))
    assert changes.prepared(rewriting(), T, all_there) is all_there


def adding(*votes: int, device: int = 0) -> Outcome:
    """A list of nodes with these votes, of which the first two are here."""
    nodes = tuple(NodeEntry(NodeId(node), votes=each) for node, each in enumerate(votes, 1))
    return Outcome(Result.DONE, cluster=Cluster(NEW, "VMmanager", nodes, device=device))


@pytest.mark.parametrize(
    ("wanted", "two_node", "casts", "why"),
    [
        (adding(1, 1, 1), False, 0, ""),
        (adding(1, 1, 1, 1), False, 0, "2 of 4 votes"),
        (adding(1, 1, 2), False, 0, "2 of 4 votes"),
        (adding(2, 1, 2), False, 0, ""),
        (adding(1, 1, 1, 1, device=1), False, 0, "2 of 5 votes"),
        (adding(1, 1, 1, 1, device=1), False, 1, ""),
        (adding(1, 1, 1, 1), True, 0, ""),
    ],
)
def test_a_file_that_would_cost_the_quorum_is_refused_before_it_is_written(
    wanted: Outcome, two_node: bool, casts: int, why: str
) -> None:
    s = rewriting()
    _proven(s)
    s.quorum.two_node, s.quorum.device = two_node, casts
    found = changes.prepared(s, T, wanted)
    assert (found is wanted) is not bool(why)
    assert found is wanted or (found.result is Result.FAILED and found.why.startswith(f"{why} would be here then"))


def test_what_the_cluster_itself_needs_is_not_refused_for_that() -> None:
    s = rewriting()
    _our_own(s)
    wanted = adding(1, 1, 1, 1)
    assert changes.prepared(s, T, wanted) is wanted
