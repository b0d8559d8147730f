"""How a move ends: by what both sides report of themselves in knowledge of its row, or by proofs. docs/safety.md, "Moves"."""

from dataclasses import replace

import pytest

from corolistener.core import moves
from corolistener.core.capacity import Capacity, Vm
from corolistener.core.config import Cluster, Config, ConfigId
from corolistener.core.group import Peer
from corolistener.core.ledger import Placed, Rows, Version
from corolistener.core.machine import Core
from corolistener.core.reports import Inventory, Report, Trouble, VmState
from corolistener.core.state import State
from corolistener.core.view import RingId
from corolistener.ids import Instant, NodeId, VmName

HERE, SOURCE, TARGET, NOW = NodeId(1), NodeId(2), NodeId(3), Instant(1000)
NODES = (HERE, SOURCE, TARGET)
VERSION = Version(8, 0, 7, "run-1")
A = Vm(VmName("a"), 1024, 1)
ROW = Placed(A, SOURCE, 4, TARGET)
RUNNING, SUSPENDED = VmState.RUNNING, VmState.SUSPENDED


def line(row: Placed, **inventories: Inventory) -> State:
    """Three nodes in one line; the row was changed at index 6, and everybody knew it when it last spoke."""
    file = ConfigId(1, "sha")
    s = Core(Config(HERE, "boot", "run-1", Cluster(file, "VMmanager", ()))).state
    s.group.ring, s.group.ring_nodes, s.group.members, s.group.joined = RingId(8, HERE), NODES, NODES, True
    said = {SOURCE: inventories.get("source", has()), TARGET: inventories.get("target", has())}
    for node in NODES:
        peer = Peer(f"boot-{node}", f"run-{node}", file, capacity=Capacity(node, 4096, 4))
        s.group.peers[node] = replace(peer, inventory=said.get(node, has()))
    s.keeping.version, s.keeping.open = VERSION, True
    s.keeping.ledger.take(Rows(placed=(row,)))
    s.keeping.changed[A.name] = 6
    return s


def has(*reports: Report, at: Version = VERSION, **others: object) -> Inventory:
    return replace(Inventory(reports, complete=True, at=at), **others)  # type: ignore[arg-type]


def copy(state: VmState | None, generation: int = 4, stuck: str = "") -> Report:
    return Report(A, state, generation, stuck=stuck)


def outcome(s: State, lost: set[NodeId] | None = None, now: Instant = NOW) -> Placed | None:
    return moves.ended(s, lost or set(), now).get(A.name)


LATE = Instant(NOW + moves.LIMBO_MS)
ASKED = replace(ROW, asked=True)
THERE, THERE_ANEW = replace(ROW, node=TARGET, to=NodeId(0)), replace(ROW, node=TARGET, to=NodeId(0), generation=5)
BACK, BACK_ANEW = replace(ROW, to=NodeId(0)), replace(ROW, to=NodeId(0), generation=5)


@pytest.mark.parametrize(
    ("source", "target", "lost", "soon", "late"),
    [
        (has(), has(copy(RUNNING)), set(), THERE, THERE),
        (has(), has(copy(SUSPENDED)), set(), None, THERE_ANEW),
        (has(), has(copy(None)), set(), None, None),
        (has(), has(), set(), None, THERE_ANEW),
        (has(ended=(A.name,)), has(), set(), None, replace(BACK, on=False)),
        (has(ended=(A.name,)), has(copy(SUSPENDED)), set(), None, replace(THERE_ANEW, on=False)),
        (has(copy(RUNNING)), has(copy(SUSPENDED)), set(), None, None),
        (has(copy(RUNNING)), has(), set(), None, None),
        (has(copy(RUNNING)), has(), {TARGET}, None, None),
        (has(copy(RUNNING, stuck="refused")), has(), set(), None, BACK),
        (has(copy(RUNNING, stuck="refused")), has(copy(SUSPENDED)), set(), None, None),
        (has(copy(SUSPENDED, stuck="it is suspended")), has(), set(), None, BACK_ANEW),
        (has(copy(None, stuck="refused")), has(), set(), None, None),
        (has(), has(), {TARGET}, BACK_ANEW, BACK_ANEW),
        (has(), has(), {SOURCE}, None, BACK),
        (has(), has(copy(RUNNING)), {SOURCE}, THERE, THERE),
        (has(), has(copy(SUSPENDED)), {SOURCE}, THERE_ANEW, THERE_ANEW),
    ],
)
def test_a_live_move(source: Inventory, target: Inventory, lost: set[NodeId], soon: Placed | None, late: Placed | None) -> None:
    s = line(ASKED, source=source, target=target)
    assert outcome(s, lost) == soon
    assert outcome(s, lost, LATE) == late


@pytest.mark.parametrize(
    ("source", "lost"),
    [(has(), set()), (has(), {SOURCE}), (has(copy(RUNNING, stuck="refused")), set()), (has(copy(SUSPENDED, stuck="x")), set())],
)
def test_that_nothing_came_is_believed_only_when_it_is_said_after_the_end(source: Inventory, lost: set[NodeId]) -> None:
    """What a migration brought was the other side's doing: that there is none may have been said before it came."""
    s = line(ROW, source=source)
    s.desk.limbo[A.name] = Instant(0)
    assert outcome(s, lost, LATE) == ASKED
    assert A.name not in s.desk.limbo, "and from then on its hypervisor's news have their time"
    assert outcome(line(ASKED, source=source, target=has(at=replace(VERSION, index=0))), lost, LATE) is None


@pytest.mark.parametrize(
    ("source", "target", "lost", "ended"),
    [
        (has(), has(), set(), replace(THERE_ANEW, live=True)),
        (has(copy(RUNNING)), has(), set(), None),
        (has(copy(RUNNING)), has(), {TARGET}, BACK),
    ],
)
def test_a_move_that_is_not_live(source: Inventory, target: Inventory, lost: set[NodeId], ended: Placed | None) -> None:
    assert outcome(line(replace(ROW, live=False), source=source, target=target), lost) == ended


@pytest.mark.parametrize(
    "at",
    [Version(), replace(VERSION, index=5), replace(VERSION, seq=4), replace(VERSION, chapter=1), replace(VERSION, opener="x")],
)
def test_a_word_that_does_not_know_the_row_counts_for_nothing(at: Version) -> None:
    assert moves.released(line(ROW), ROW, SOURCE)
    assert not moves.released(line(ROW, source=has(at=at)), ROW, SOURCE)


def test_a_word_counts_from_an_admitted_member_that_sees_everything() -> None:
    assert not moves.released(line(ROW, source=has(complete=False)), ROW, SOURCE)
    assert not moves.released(line(ROW, source=has(copy(None))), ROW, SOURCE)
    s = line(ROW)
    s.group.peers[SOURCE] = replace(s.group.peers[SOURCE], disallowed=True)
    assert not moves.released(s, ROW, SOURCE)
    s = line(ROW)
    s.group.members = (HERE, TARGET)
    assert not moves.released(s, ROW, SOURCE)
    s = line(ROW)
    s.keeping.open = False
    assert not moves.released(s, ROW, SOURCE)
    assert not moves.released(line(ROW), ROW, NodeId(9))


def test_giving_up_is_a_promise_for_one_generation_by_the_node_of_the_placement() -> None:
    row = replace(ROW, to=NodeId(0))
    for generation, promised in ((4, True), (3, False), (0, False)):
        s = line(row, source=has(troubles=(Trouble(A.name, "it crashed", generation),)))
        assert moves.released(s, row, SOURCE) is promised
        assert list(moves.given_up(s, NOW)) == [A.name] * promised
    s = line(row, target=has(troubles=(Trouble(A.name, "it crashed", 4),)))
    assert not moves.released(s, row, TARGET)
    assert moves.given_up(s, NOW) == {}


def test_what_is_shut_down_is_released_by_who_has_none() -> None:
    row = replace(ROW, to=NodeId(0), on=False)
    assert moves.released(line(row), row, SOURCE)
    assert not moves.released(line(row, source=has(copy(SUSPENDED))), row, SOURCE)


def test_nothing_is_decided_about_a_frozen_vm_that_moves() -> None:
    assert outcome(line(replace(ROW, frozen="runs twice"), target=has(copy(RUNNING)))) is None


def test_a_vm_may_be_on_its_way_to_the_target_alone() -> None:
    s = line(ROW)
    assert [node for node in NODES if moves.incoming(s, node)] == [TARGET]


def test_waiting_begins_anew_with_every_move() -> None:
    s = line(ASKED)
    assert outcome(s) is None
    s.keeping.ledger.take(Rows(placed=(replace(ROW, to=NodeId(0)),)))
    assert moves.ended(s, set(), LATE) == {}
    s.keeping.ledger.take(Rows(placed=(ASKED,)))
    assert outcome(s, now=LATE) is None
    assert moves.due(s) == [Instant(LATE + moves.LIMBO_MS)]
