"""Which process of a node is its daemon: whatever another one joins, leaves or says counts for nothing."""

from collections.abc import Iterable
from typing import Any

import pytest

from corolistener.core.config import ConfigId
from corolistener.core.events import BadMessage, CorosyncLost, Delivered, Departure, Event, GroupChanged, Speaking
from corolistener.core.messages import Committed, Farewell, Heartbeat, Hello, Message, Vacated
from corolistener.core.notes import Note, NoteCode
from corolistener.core.out import Out
from corolistener.core.processes import Processes
from corolistener.core.view import Epoch, RingId
from corolistener.ids import NodeId

ME, OTHER = NodeId(1), NodeId(2)
OWN, DAEMON, STRANGER, NEXT = 10, 20, 21, 22
RING = RingId(4, ME)


def hello(pid: int) -> Hello:
    return Hello(RING, (ME, OTHER), "boot", "run", Epoch(), ConfigId(1, ""), ConfigId(1, ""), (), pid=pid)


class Group:
    """CPG's news of processes, as this node hears them."""

    def __init__(self) -> None:
        self.processes, self.out = Processes(ME, OWN), Out()
        self.there: set[tuple[NodeId, int]] = set()

    def joins(self, *processes: tuple[NodeId, int]) -> tuple[Event, ...]:
        self.there |= set(processes)
        return self._changed(joined=tuple(sorted({node for node, _ in processes})))

    def leaves(self, *processes: tuple[NodeId, int], why: Departure = Departure.PROCDOWN) -> tuple[Event, ...]:
        self.there -= set(processes)
        return self._changed(left=tuple((node, why) for node, _ in processes))

    def _changed(self, **what: Any) -> tuple[Event, ...]:
        nodes = tuple(sorted({node for node, _ in self.there}))
        return self.processes.sift(GroupChanged(nodes, processes=tuple(sorted(self.there)), **what), self.out)

    def says(self, node: NodeId, pid: int, message: Message) -> list[Event]:
        return list(self.processes.sift(Delivered(node, message, pid), self.out))

    def heard(self, node: NodeId, pid: int) -> bool:
        return bool(self.says(node, pid, Heartbeat(RING, 1)))

    def begun(self) -> "Group":
        """This daemon and the other node's, both have said Hello."""
        self.joins((ME, OWN))
        self.joins((OTHER, DAEMON))
        self.says(ME, OWN, hello(OWN))
        self.says(OTHER, DAEMON, hello(DAEMON))
        return self


@pytest.fixture
def group() -> Group:
    return Group().begun()


def nodes(events: Iterable[Event]) -> list[tuple[Any, ...]]:
    return [(each.members, each.joined, each.left) for each in events if isinstance(each, GroupChanged)]


def test_the_end_of_another_process_is_no_news(group: Group) -> None:
    assert nodes(group.joins((OTHER, STRANGER))) == [((ME, OTHER), (OTHER,), ())]
    group.says(OTHER, DAEMON, hello(DAEMON))
    assert group.leaves((OTHER, STRANGER)) == ()
    assert group.heard(OTHER, DAEMON)


def test_what_another_process_says_is_not_heard(group: Group) -> None:
    group.joins((OTHER, STRANGER), (ME, STRANGER))
    for node in (ME, OTHER):
        for message in (Heartbeat(RING, 1), Farewell(), hello(DAEMON), hello(OWN)):
            assert group.says(node, STRANGER, message) == []
    for event in (BadMessage(OTHER, "noise", STRANGER), Speaking(OTHER, STRANGER), BadMessage(ME, "noise", STRANGER)):
        assert group.processes.sift(event, group.out) == ()
    assert group.heard(OTHER, DAEMON)
    assert group.heard(ME, OWN)


def test_another_process_is_told_once(group: Group) -> None:
    group.joins((OTHER, STRANGER))
    for _ in range(3):
        group.says(OTHER, DAEMON, hello(DAEMON))
    told = [each for each in group.out.take() if isinstance(each, Note)]
    assert [(each.code, dict(each.fields)) for each in told] == [
        (NoteCode.SECOND_PROCESS, {"node": str(OTHER), "pid": str(STRANGER), "daemon": str(DAEMON)})
    ]


def test_a_daemon_that_ends_beside_another_process_is_gone(group: Group) -> None:
    group.joins((OTHER, STRANGER))
    group.says(OTHER, DAEMON, hello(DAEMON))
    assert nodes(group.leaves((OTHER, DAEMON))) == [((ME,), (), ((OTHER, Departure.PROCDOWN),))]
    assert not group.heard(OTHER, STRANGER)
    group.leaves((OTHER, STRANGER))
    assert nodes(group.joins((OTHER, NEXT))) == [((ME, OTHER), (OTHER,), ())]


def test_whoever_joins_has_all_agree_again_on_who_is_there(group: Group) -> None:
    group.joins((OTHER, STRANGER))
    group.says(OTHER, DAEMON, hello(DAEMON))
    group.leaves((OTHER, DAEMON))
    assert nodes(group.joins((NodeId(3), 30))) == [((ME, OTHER, NodeId(3)), (NodeId(3),), ())]


@pytest.mark.parametrize("first", ["leave", "hello"])
def test_a_leave_that_comes_late_does_not_take_the_next_daemon_with_it(group: Group, first: str) -> None:
    assert group.processes.newcomers == set()
    group.joins((OTHER, NEXT))
    assert group.processes.newcomers == {OTHER}
    if first == "leave":
        assert nodes(group.leaves((OTHER, DAEMON))) == [((ME, OTHER), (), ((OTHER, Departure.PROCDOWN),))]
    assert group.says(OTHER, NEXT, hello(NEXT)) == [Delivered(OTHER, hello(NEXT), NEXT)]
    if first == "hello":
        assert group.leaves((OTHER, DAEMON)) == ()
    assert group.heard(OTHER, NEXT)
    assert not group.heard(OTHER, DAEMON)
    assert group.processes.newcomers == set()


def test_the_next_daemon_may_be_one_that_was_beside_the_last(group: Group) -> None:
    group.joins((OTHER, NEXT))
    group.says(OTHER, DAEMON, hello(DAEMON))
    group.leaves((OTHER, DAEMON))
    found = group.says(OTHER, NEXT, hello(NEXT))
    assert nodes(found[:1]) == [((ME, OTHER), (OTHER,), ())]
    assert found[1:] == [Delivered(OTHER, hello(NEXT), NEXT)]


def test_a_process_that_has_said_no_hello_is_not_heard_but_known_to_speak(group: Group) -> None:
    new = NodeId(3)
    group.joins((new, 30))
    assert group.says(new, 30, Heartbeat(RING, 1)) == group.says(new, 30, Farewell()) == []
    assert group.processes.sift(Speaking(new, 30), group.out) == (Speaking(new, 30),)
    assert group.processes.sift(BadMessage(new, "another version", 30), group.out) != ()
    assert group.says(new, 30, Vacated(30)) != []
    assert group.says(new, 30, Vacated(31)) == []


def test_a_node_that_is_lost_takes_all_its_processes_with_it(group: Group) -> None:
    group.joins((OTHER, STRANGER))
    group.says(OTHER, DAEMON, hello(DAEMON))
    lost = group.leaves((OTHER, DAEMON), (OTHER, STRANGER), why=Departure.NODEDOWN)
    assert nodes(lost) == [((ME,), (), ((OTHER, Departure.NODEDOWN),))]
    assert nodes(group.joins((OTHER, STRANGER), (OTHER, NEXT))) == [((ME, OTHER), (OTHER,), ())]
    assert group.says(OTHER, NEXT, hello(NEXT)) == [Delivered(OTHER, hello(NEXT), NEXT)]


def test_an_older_daemon_does_not_name_its_process(group: Group) -> None:
    group.joins((NodeId(3), 30))
    assert group.says(NodeId(3), 30, hello(0)) != []
    assert group.heard(NodeId(3), 30)


def test_events_without_processes_pass_as_they_are() -> None:
    processes, out = Processes(ME), Out()
    events = GroupChanged((ME, OTHER), (OTHER,)), Delivered(OTHER, Farewell()), BadMessage(OTHER, "noise"), Speaking(OTHER)
    for event in events:
        assert processes.sift(event, out) == (event,)


def test_without_corosync_nothing_is_known(group: Group) -> None:
    assert group.processes.sift(CorosyncLost(), group.out) == (CorosyncLost(),)
    assert group.processes == Processes(ME, OWN)


@pytest.mark.parametrize(
    ("speaks", "again", "counts"),
    [
        (DAEMON, False, True),
        (STRANGER, False, False),
        (DAEMON, True, False),
    ],
)
def test_what_was_committed_before_the_first_hello_counts_with_it(speaks: int, again: bool, counts: bool) -> None:
    """The others have taken it in before they said Hello, and this node would be of their line with an older file (seed 4367).
    If the group changes once more, all Hellos of it are later ones."""
    group = Group()
    group.joins((ME, OWN))
    group.joins((OTHER, DAEMON), (OTHER, STRANGER))
    committed = Committed(ConfigId(2, "b"), ConfigId(1, "a"), ())
    assert group.says(OTHER, DAEMON, committed) == []
    if again:
        group.joins((NodeId(7), 71))
    found = [each.message for each in group.says(OTHER, speaks, hello(speaks)) if isinstance(each, Delivered)]
    assert found == [*[committed] * counts, hello(speaks)]
    assert group.says(OTHER, speaks, committed) != [], "the daemon is known now"
