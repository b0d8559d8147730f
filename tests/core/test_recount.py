"""When votequorum is told what it expects: core/recount."""

import pytest

from corolistener.core import recount
from corolistener.core.actions import Action, TellExpected
from corolistener.core.config import Cluster, Config, ConfigId
from corolistener.core.events import QuorumChanged
from corolistener.core.lease import Quorum
from corolistener.core.machine import Core
from corolistener.core.state import State
from corolistener.core.view import RingId
from corolistener.ids import Instant, NodeId

N1, N2, N3 = map(NodeId, (1, 2, 3))
RING, NEXT = RingId(8, N1), RingId(12, N1)
ALL = (N1, N2, N3)


@pytest.mark.parametrize(
    ("needed", "own", "here", "device", "wrong"),
    [
        (4, 3, ALL, 0, True),
        (2, 3, ALL, 0, False),
        (3, 3, (N1,), 0, True),
        (2, 3, (N1,), 0, False),
        (4, 7, ALL, 0, False),
        (4, 0, ALL, 0, False),
        (1, 2, (N1,), 0, False),
        (3, 2, ALL, 2, False),
        (3, 2, ALL, 0, True),
    ],
)
def test_what_is_too_much(needed: int, own: int, here: tuple[NodeId, ...], device: int, wrong: bool) -> None:
    """More than a majority of what this corosync expects, and of the votes that are there, with the device's. Without a number
    of its own nothing is known."""
    quorum = Quorum(RING, needed=needed, own=own, device=device, votes=dict.fromkeys(ALL, 1))
    assert recount.asks_too_much(quorum, here) == wrong


def stuck() -> State:
    """Three nodes on a ring, and votequorum asks for four votes of three."""
    s = Core(Config(N1, "boot", "run-1", Cluster(ConfigId(1), "VMmanager", ()))).state
    s.group.ring, s.group.ring_nodes = RING, ALL
    s.quorum = Quorum(RING, needed=4, own=3, votes=dict.fromkeys(ALL, 1))
    return s


def told(s: State, now: int) -> list[Action]:
    recount.tend(s, Instant(now))
    return [each for each in s.out.take() if isinstance(each, TellExpected)]


def heard(s: State, quorate: bool, now: int, ring: RingId = RING) -> None:
    recount.heard(s, QuorumChanged(ring, quorate), Instant(now))


def test_it_is_told_when_announcements_have_had_their_time_and_again_if_that_did_not_help() -> None:
    s = stuck()
    heard(s, True, 0)
    assert told(s, 0) == []
    heard(s, False, 100)
    assert told(s, 100) == []
    due = recount.deadline(s)
    assert due == 100 + recount.ARRIVES_MS
    assert [each.votes for each in told(s, due) if isinstance(each, TellExpected)] == [3]
    assert told(s, due + recount.ARRIVES_MS - 1) == []
    heard(s, False, due)  # a word that says nothing new
    assert len(told(s, due + recount.ARRIVES_MS)) == 1
    assert told(s, 100 + recount.WATCHED_MS) == []
    assert recount.deadline(s) is None


def test_what_comes_by_itself_is_left_alone() -> None:
    s = stuck()
    heard(s, True, 0)
    heard(s, False, 100)
    told(s, 100)
    s.quorum.needed = 2
    assert told(s, 100 + recount.ARRIVES_MS) == []
    assert recount.deadline(s) is None


@pytest.mark.parametrize("how", ["lost with a node", "never had", "another ring since", "had again"])
def test_a_quorum_that_no_reload_has_cost_is_left_alone(how: str) -> None:
    s = stuck()
    match how:
        case "lost with a node":
            heard(s, True, 0, RingId(4, N1))
            heard(s, False, 100)
        case "never had":
            heard(s, False, 100)
        case "another ring since":
            heard(s, True, 0)
            heard(s, False, 100)
            s.group.ring = NEXT
        case "had again":
            heard(s, True, 0)
            heard(s, False, 100)
            heard(s, True, 200)
    assert told(s, 300) == []
    assert told(s, 300 + recount.ARRIVES_MS) == []
