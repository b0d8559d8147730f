"""All votes there are, and what is a majority of them."""

from dataclasses import replace

from corolistener.core.config import NodeEntry
from corolistener.core.lease import Quorum
from corolistener.core.view import RingId
from corolistener.core.whole import Whole, wholes
from corolistener.ids import NodeId

N1, N2, N3, N4, N5 = (NodeId(number) for number in range(1, 6))
FIVE = tuple(NodeEntry(node) for node in (N1, N2, N3, N4, N5))


def test_half_is_no_majority() -> None:
    whole = Whole(((N1, 1), (N2, 1), (N3, 1), (N4, 1)))
    assert not whole.most({N1, N2}, 0)
    assert whole.most({N1, N2, N3}, 0)
    assert not whole.kept({N1, N2})


def test_weights_count_and_strangers_do_not() -> None:
    whole = Whole(((N1, 3), (N2, 1), (N3, 1)))
    assert whole.most({N1}, 0)
    assert not whole.most({N2, N3, N4, N5}, 0)


def test_the_device_counts_among_all_and_only_while_it_votes_for_us() -> None:
    whole = Whole(((N1, 1), (N2, 1)), 1)
    assert whole.most({N1}, 1)
    assert not whole.most({N1}, 0)
    assert not whole.kept({N1}), "a device has no disk"
    assert not whole.most({N1}, 5) or whole.most({N1}, 1), "it has no more votes than the list gives it"


def test_a_node_that_only_the_ledger_knows_counts() -> None:
    (whole, ledger) = wholes([FIVE[:2]], [frozenset((N3, N4, N5))], {}, 0)
    assert not whole.most({N1, N2}, 0)
    assert whole.most({N1, N2, N3}, 0)
    assert ledger.votes == ((N3, 1), (N4, 1), (N5, 1))


def test_nodes_that_were_added_are_no_majority_without_one_of_those_that_the_ledger_knew() -> None:
    """Nor is a majority of what the ledger knows now, while what it knew before is not certain to be over."""
    listed, known = wholes([FIVE], [frozenset((N1, N2, N3))], {}, 0)
    assert listed.kept({N3, N4, N5})
    assert not known.kept({N3, N4, N5})
    both = wholes([FIVE], [frozenset((N1, N2, N3, N4, N5)), frozenset((N1, N2, N3))], {}, 0)
    assert [whole.votes for whole in both] == [listed.votes, known.votes]


def test_a_node_has_the_votes_of_its_list_or_else_those_that_votequorum_says() -> None:
    _, known = wholes([FIVE[:2]], [frozenset((N1, N3, N4))], {N1: 7, N3: 2}, 0)
    assert known.votes == ((N1, 1), (N3, 2), (N4, 1))


def test_equal_lists_are_one_and_different_ones_both_count() -> None:
    assert len(wholes([FIVE, FIVE], [], {}, 0)) == 1
    both = wholes([FIVE, FIVE[:3]], [], {}, 0)
    quorum = Quorum(RingId(4, N1), True, 2, dict.fromkeys((N1, N2, N3, N4, N5), 1), wholes=both)
    assert not quorum.holds({N1, N2}), "a majority of the shorter list alone"
    assert not quorum.holds({N1, N4, N5}), "a majority of the longer list alone"
    assert quorum.holds({N1, N2, N3})


def test_votequorum_may_ask_for_more_and_two_node_for_less() -> None:
    (whole,) = wholes([FIVE[:3]], [], {}, 0)
    quorum = Quorum(RingId(4, N1), True, 3, dict.fromkeys((N1, N2, N3), 1), wholes=(whole,))
    assert not quorum.holds({N1, N2})
    (pair,) = wholes([FIVE[:2]], [], {}, 0)
    two = Quorum(RingId(4, N1), True, 1, dict.fromkeys((N1, N2), 1), exclusive=False, wholes=(pair,))
    assert two.holds({N1})
    assert not replace(two, exclusive=True).holds({N1})
