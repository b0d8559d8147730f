"""When corosync is ended on a member that was left behind: only by a master that may act, and only if nothing is lost by it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from corolistener.core import unreconciled
from corolistener.core.actions import KillNode
from corolistener.core.capacity import Vm
from corolistener.core.config import Cluster, Config, ConfigId, Unreconciled
from corolistener.core.group import Peer
from corolistener.core.lease import Quorum
from corolistener.core.ledger import Excused, Panic, Placed, Rows, Version
from corolistener.core.machine import Core
from corolistener.core.reports import Inventory, Report, VmState
from corolistener.core.state import State
from corolistener.core.view import RingId
from corolistener.ids import Instant, NodeId, VmName

ME, OTHER, BACK, BEGIN = NodeId(1), NodeId(2), NodeId(3), Instant(1000)
NODES, RING = (ME, OTHER, BACK), RingId(8, ME)
A = Vm(VmName("a"), 1024, 1)
STALE = Report(A, VmState.SUSPENDED, 1)


def master(*copies: Report) -> State:
    """The master of three: VM a runs on node 2, and node 3 is back with these copies."""
    file = ConfigId(1, "sha")
    s = Core(Config(ME, "boot", "run-1", Cluster(file, "VMmanager", ()))).state
    s.group.ring, s.group.ring_nodes, s.group.members, s.group.joined = RING, NODES, NODES, True
    for node in NODES:
        s.group.peers[node] = Peer(f"boot-{node}", f"run-{node}", file, disallowed=node == BACK)
    s.group.peers[BACK] = replace(s.group.peers[BACK], inventory=Inventory(copies or (STALE,), complete=True))
    s.quorum = Quorum(RING, True, 2, dict.fromkeys(NODES, 1), expected=3)
    s.keeping.version, s.keeping.open, s.keeping.reached = Version(8, 0, 7, "run-1"), True, 7
    s.keeping.ledger.take(Rows(placed=(Placed(A, OTHER, 2),)))
    s.acting, s.master, s.lease.ends = True, ME, Instant(10**9)
    return s


def ended(s: State, now: Instant) -> list[NodeId]:
    unreconciled.end(s, now)
    return [action.node for action in s.out.take() if isinstance(action, KillNode)]


def late(s: State) -> Instant:
    return Instant(BEGIN + s.config.timing.reconcile_ms)


def test_it_has_its_time_and_then_the_same_time_again() -> None:
    s = master()
    assert ended(s, BEGIN) == []
    assert unreconciled.deadline(s) == [late(s)]
    assert ended(s, Instant(late(s) - 1)) == []
    assert ended(s, late(s)) == [BACK]
    assert ended(s, Instant(late(s) + 1)) == []
    assert unreconciled.deadline(s) == [late(s) + s.config.timing.reconcile_ms]


def test_a_line_that_is_formed_anew_gives_it_no_more_time_and_another_master_does() -> None:
    s = master()
    ended(s, BEGIN)
    s.group.open = True
    assert ended(s, late(s)) == []
    s.group.open = False
    assert ended(s, late(s)) == [BACK]
    s = master()
    ended(s, BEGIN)
    s.acting = False
    ended(s, Instant(BEGIN + 1))
    s.acting = True
    assert ended(s, late(s)) == []


def _excused(s: State) -> None:
    s.keeping.ledger.take(Rows(excused=(Excused(BACK, False, "ops"),)))


def _held(s: State) -> None:
    s.config = replace(s.config, care=replace(s.config.care, disallowed=Unreconciled.HOLD))


def _needed(s: State) -> None:
    s.quorum.votes = {ME: 1, OTHER: 0, BACK: 1}


def _panic(s: State) -> None:
    s.keeping.ledger.take(Rows(panic=Panic("drill", "now")))


def _admitted(s: State) -> None:
    s.group.peers[BACK] = replace(s.group.peers[BACK], disallowed=False)


def _unstable(s: State) -> None:
    s.keeping.reached = -1


def _gone(s: State) -> None:
    s.group.members = (ME, OTHER)


def _moved_there(s: State) -> None:
    s.keeping.ledger.take(Rows(placed=(Placed(A, BACK, 3),)))


@pytest.mark.parametrize("change", [_excused, _held, _needed, _panic, _admitted, _unstable, _gone, _moved_there])
def test_it_stays(change: Callable[[State], None]) -> None:
    s = master()
    ended(s, BEGIN)
    change(s)
    assert ended(s, late(s)) == []


@pytest.mark.parametrize(
    ("copies", "ends"),
    [
        ((STALE,), True),
        ((replace(STALE, state=VmState.RUNNING),), True),
        ((replace(STALE, state=None),), True),
        ((replace(STALE, stray=True, state=VmState.RUNNING),), True),
        ((replace(STALE, stray=True),), False),
        ((Report(Vm(VmName("unknown"), 1024, 1), VmState.RUNNING, 0),), False),
    ],
)
def test_what_counts_as_outdated(copies: tuple[Report, ...], ends: bool) -> None:
    s = master(*copies)
    ended(s, BEGIN)
    assert ended(s, late(s)) == [BACK] * ends
