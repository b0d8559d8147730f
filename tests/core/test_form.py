"""The line as it is formed from Hellos: who was left behind, who is disallowed, which file counts, who may be serving."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_messages import MESSAGES

from corolistener.core.capacity import Capacity
from corolistener.core.config import ConfigId, NodeEntry
from corolistener.core.events import GroupChanged, RingChanged
from corolistener.core.group import Group, form
from corolistener.core.messages import Committed, Hello
from corolistener.core.reports import Inventory
from corolistener.core.view import Epoch, RingId
from corolistener.ids import Instant, NodeId, VmName

RING = RingId(16, NodeId(1))
NOW = Instant(1000)
OLD, NEW = ConfigId(1, "a"), ConfigId(2, "b")
VIEW = (NodeId(1), NodeId(2), NodeId(3))
TABLE = (NodeEntry(NodeId(1), priority=5),)
BASE = Hello(RING, (NodeId(1), NodeId(2), NodeId(3)), "boot", "run", Epoch(12, 1), OLD, OLD, TABLE, master=NodeId(1))


def hellos(**changed: Hello) -> dict[NodeId, Hello]:
    """Three Hellos of nodes that were together all the time, but for the ones given as n1, n2, n3."""
    return {NodeId(n): changed.get(f"n{n}", BASE) for n in (1, 2, 3)}


def nodes(*numbers: int) -> frozenset[NodeId]:
    return frozenset(map(NodeId, numbers))


def disallowed(said: dict[NodeId, Hello]) -> frozenset[NodeId]:
    return frozenset(node for node, peer in form(said, RING).peers.items() if peer.disallowed)


def test_together_all_the_time() -> None:
    formed = form(hellos(), RING)
    assert set(formed.peers) == nodes(1, 2, 3)
    assert (formed.agreed, formed.nodes, formed.master) == (OLD, TABLE, 1)
    assert not formed.left_behind
    assert formed.epoch == Epoch(16, 0)


@pytest.mark.parametrize("step", [0, 3])
def test_the_step_rises_within_a_ring(step: int) -> None:
    assert form(hellos(n2=replace(BASE, epoch=Epoch(16, step))), RING).epoch == Epoch(16, step + 1)


@pytest.mark.parametrize(
    ("others", "starting"),
    [
        ((), True),
        ((replace(BASE, starting=True),), True),
        ((BASE,), False),
        ((replace(BASE, starting=True), BASE), False),
    ],
)
def test_a_start_goes_on_until_one_of_a_line_says_that_it_is_over(others: tuple[Hello, ...], starting: bool) -> None:
    """A daemon that is restarted says nothing about it; one that was of a line before does."""
    anew = replace(BASE, epoch=Epoch(), starting=False)
    assert form({NodeId(n): each for n, each in enumerate((anew, *others), 1)}, RING).starting == starting


BEHIND = replace(BASE, epoch=Epoch(8, 0))


@pytest.mark.parametrize(
    ("hello", "shut_out"),
    [
        (BEHIND, False),
        (replace(BEHIND, dirty=True), True),
        (replace(BEHIND, holding=True), True),
        (replace(BASE, lapsed=True), False),
        (replace(BASE, lapsed=True, dirty=True), True),
        (replace(BASE, holding=True), False),
        (replace(BASE, dirty=True), False),
        (replace(BASE, disallowed=True), True),
        (replace(BASE, epoch=Epoch()), False),
        (replace(BASE, epoch=Epoch(), holding=True), True),
    ],
)
def test_who_was_left_behind_with_duties_is_disallowed(hello: Hello, shut_out: bool) -> None:
    assert disallowed(hellos(n3=hello)) == (nodes(3) if shut_out else nodes())


def test_whose_daemon_was_restarted_was_not_left_behind() -> None:
    waiting = replace(BASE, pending=(NodeId(3),))
    said = hellos(n1=waiting, n2=waiting, n3=replace(BASE, epoch=Epoch(), holding=True))
    assert disallowed(said) == nodes()
    assert form(said, RING).claims == nodes(3)
    assert form(said, RING).pending == nodes()


@pytest.mark.parametrize(
    ("mine", "theirs", "lapsed", "shut_out"),
    [
        (VIEW, VIEW, False, False),
        (VIEW, VIEW, True, True),
        (VIEW, VIEW[:2], False, True),
        (VIEW[:2], VIEW, False, True),
        ((), VIEW, False, True),
        (VIEW, (), False, True),
    ],
)
def test_who_was_of_the_newest_line_all_the_time_was_not_left_behind(
    mine: tuple[NodeId, ...], theirs: tuple[NodeId, ...], lapsed: bool, shut_out: bool
) -> None:
    """Its Hello may have an older place: a new process does not know the votes yet, or the line stepped meanwhile."""
    late = replace(BASE, epoch=Epoch(), holding=True, lapsed=lapsed, view=mine)
    others = replace(BASE, view=theirs)
    assert disallowed(hellos(n1=replace(BASE, view=VIEW), n2=others, n3=late)) == (nodes(3) if shut_out else nodes())


def test_a_higher_step_of_the_same_ring_is_newer() -> None:
    said = hellos(n1=replace(BASE, epoch=Epoch(12, 2)), n2=replace(BASE, epoch=Epoch(12, 2)), n3=replace(BASE, holding=True))
    assert disallowed(said) == nodes(3)


def test_where_all_lapsed_nobody_was_left_behind() -> None:
    lapsed = replace(BASE, lapsed=True, dirty=True)
    assert disallowed(hellos(n1=lapsed, n2=lapsed, n3=lapsed)) == nodes()


def test_where_all_would_be_disallowed_the_newest_are_not() -> None:
    out = replace(BASE, disallowed=True)
    said = hellos(n1=out, n2=out, n3=replace(BEHIND, dirty=True))
    assert disallowed(said) == nodes(3)


def test_the_file_of_the_newest_counts_and_among_them_the_highest_version() -> None:
    newer = replace(BASE, agreed=NEW, nodes=())
    assert form(hellos(n2=newer), RING).agreed == NEW
    assert form(hellos(n2=newer), RING).nodes == ()
    assert form(hellos(n2=replace(newer, epoch=Epoch(8, 0))), RING).agreed == OLD


def test_of_two_files_with_one_version_the_lowest_nodes_counts() -> None:
    other = ConfigId(1, "other")
    assert form(hellos(n1=replace(BASE, agreed=other)), RING).agreed == other
    assert form(hellos(n2=replace(BASE, agreed=other)), RING).agreed == OLD


def test_what_was_committed_while_they_spoke_counts() -> None:
    formed = form(hellos(), RING, Committed(NEW, OLD, ()))
    assert (formed.agreed, formed.nodes) == (NEW, ())
    assert form(hellos(n1=replace(BASE, agreed=ConfigId(3, "c"))), RING, Committed(NEW, OLD, ())).agreed == ConfigId(3, "c")


def test_claims_are_those_who_hold_and_those_out_of_sight() -> None:
    said = hellos(n1=replace(BASE, holding=True, claims=nodes_of(2, 7)), n2=replace(BASE, claims=nodes_of(8)))
    assert form(said, RING).claims == nodes(1, 7, 8)


def nodes_of(*numbers: int) -> tuple[NodeId, ...]:
    return tuple(map(NodeId, numbers))


def test_who_holds_vouches_like_who_remembers() -> None:
    fresh = replace(BASE, epoch=Epoch())
    assert form(hellos(n1=fresh, n2=fresh, n3=fresh), RING).remembering == nodes()
    assert form(hellos(n1=replace(fresh, holding=True), n2=fresh), RING).remembering == nodes(1, 3)


def test_a_database_that_one_knows_of_is_everybodys() -> None:
    assert not form(hellos(), RING).database
    assert form(hellos(n3=replace(BASE, database=True)), RING).database
    assert not form(hellos(n3=replace(BEHIND, database=True)), RING).database


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES[Hello], min_size=1, max_size=4))
def test_the_order_of_speaking_does_not_matter_and_somebody_is_always_allowed(said: list[Hello]) -> None:
    by_node = {NodeId(n): hello for n, hello in enumerate(said, 1)}
    formed = form(by_node, RING)
    for order in permutations(by_node):
        assert form({node: by_node[node] for node in order}, RING) == formed
    assert not all(peer.disallowed for peer in formed.peers.values())
    assert not formed.pending & set(by_node)


def test_the_newest_file_that_came_into_force_while_hellos_are_said_counts() -> None:
    group = Group(NodeId(1))
    for config in (NEW, ConfigId(4, "d"), ConfigId(3, "c")):
        group.came_into_force(Committed(config, OLD, TABLE, False))
    assert group.committed is not None
    assert group.committed.config == ConfigId(4, "d")
    group.withdrawn(NEW)
    assert group.committed is not None
    group.withdrawn(ConfigId(4, "d"))
    assert group.committed is None


def seen_by_two() -> tuple[Group, Group]:
    """A ring that has lost a node, and before anybody has spoken: node 1 is of a line that goes on in it, node 2 is of none."""
    seen = Group(NodeId(1)), Group(NodeId(2))
    for group in seen:
        group.group_changed(GroupChanged(BASE.members, BASE.members), NOW)
        group.ring_changed(RingChanged(RingId(12, NodeId(1)), (*BASE.members, NodeId(4))), NOW)
    seen[0].said = {NodeId(n): BASE for n in (1, 3)}
    seen[0].close_round(NOW)
    for group in seen:
        group.ring_changed(RingChanged(RING, BASE.members), NOW)
    assert [group.open for group in seen] == [False, True]
    return seen


def test_what_was_committed_before_the_first_hello_counts_for_all_of_them() -> None:
    """Node 1 said its Hello before it was told; for it the Hello opens the round, for node 2 that was open."""
    found = []
    for group in seen_by_two():
        group.came_into_force(Committed(NEW, OLD, TABLE))
        for node in BASE.members:
            group.hello(node, BASE, NOW)
        assert group.complete
        found.append(group.close_round(NOW))
    assert found[0] == found[1]
    assert found[0].agreed == NEW


def test_who_was_absent_before_the_first_hello_is_not_waited_for_by_any_of_them() -> None:
    found = []
    for group in seen_by_two():
        group.lose(NodeId(3))
        for node in (1, 2):
            group.hello(NodeId(node), BASE, NOW)
        assert group.complete
        found.append(group.close_round(NOW))
        group.hello(NodeId(3), BASE, NOW)
        assert not group.complete, "now it speaks, and a new round waits for all"
    assert found[0] == found[1]
    assert set(found[0].peers) == nodes(1, 2)


def test_another_group_or_ring_begins_anew() -> None:
    for group in seen_by_two():
        for change in (
            lambda group=group: group.group_changed(GroupChanged(BASE.members, (), ()), NOW),
            lambda group=group: group.ring_changed(RingChanged(RingId(20, NodeId(1)), BASE.members), NOW),
        ):
            group.lose(NodeId(3))
            group.came_into_force(Committed(NEW, OLD, TABLE))
            change()
            assert (group.excused, group.committed) == (set(), None)


def test_what_a_member_has_changes_nothing_else_that_is_known_of_it() -> None:
    group, said = seen_by_two()[0], Inventory(ended=(VmName("a"),), complete=True)
    before = replace(
        group.peers[NodeId(3)], boot="b", incarnation="i", running=7, holding=True, capacity=Capacity(NodeId(3), 1, 1)
    )
    group.peers[NodeId(3)] = before
    group.inventoried(NodeId(3), said)
    assert group.peers[NodeId(3)] == replace(before, inventory=said)
