"""Which members are witnesses of what was committed: core/doubts, core/witness."""

from dataclasses import replace

import pytest

from corolistener.core import keeping, witness
from corolistener.core.config import ConfigId
from corolistener.core.doubts import doubted, strangers
from corolistener.core.group import Peer, form
from corolistener.core.ledger import Known, Version
from corolistener.core.messages import Hello
from corolistener.core.state import State
from corolistener.core.view import Epoch, RingId
from corolistener.ids import NodeId
from corolistener.sim.script import Teller

N1, N2, N3 = map(NodeId, (1, 2, 3))
OLD, NEW, NOTHING = Version(8, 0, 3, "run"), Version(8, 0, 9, "run"), Version()
RING = RingId(12, N1)


def hello(ledger: Version, *heard: tuple[Version, NodeId], doubted: bool = False) -> Hello:
    told = tuple((version, (node,)) for version, node in heard)
    return Hello(
        RING, (N1, N2, N3), "boot", "run", Epoch(), ConfigId(1), ConfigId(1), (), ledger=ledger, heard=told, doubted=doubted
    )


@pytest.mark.parametrize(
    ("hellos", "nodes"),
    [
        ({N1: hello(NEW), N2: hello(NEW)}, set()),
        ({N1: hello(NEW), N2: hello(OLD)}, set()),
        ({N1: hello(OLD), N2: hello(OLD, (NEW, N1))}, {N1}),
        ({N1: hello(OLD), N2: hello(NEW, (OLD, N1))}, set()),
        ({N1: hello(NEW), N2: hello(OLD, (NEW, N1))}, set()),
        ({N1: hello(OLD), N2: hello(OLD, (NEW, N3))}, set()),
        ({N1: hello(NOTHING), N2: hello(OLD, (NEW, N1))}, set()),
        ({N1: hello(NEW, doubted=True), N2: hello(OLD)}, {N1}),
        ({N1: hello(OLD, (NEW, N2)), N2: hello(OLD, (NEW, N1))}, {N1, N2}),
    ],
)
def test_who_is_doubted(hellos: dict[NodeId, Hello], nodes: set[NodeId]) -> None:
    """A node that remembers nothing is no witness anyhow: it is not told to have gone back."""
    assert set(doubted(hellos)) == nodes
    assert {node for node, peer in form(hellos, RING).peers.items() if peer.doubt} == nodes


@pytest.mark.parametrize(
    ("owners", "aliens"),
    [
        (("a", "a", "a"), ()),
        (("a", "", ""), ()),
        (("", "", ""), ()),
        (("a", "a", "b"), (N3,)),
        (("b", "a", "a"), (N1,)),
        (("a", "b", ""), (N1, N2)),
        (("a", "b", "c"), (N1, N2, N3)),
    ],
)
def test_who_is_a_stranger(owners: tuple[str, ...], aliens: tuple[NodeId, ...]) -> None:
    """A ledger of another cluster is no witness, however new it is. If no owner has most, nobody knows which is right."""
    nodes = (N1, N2, N3)
    assert tuple(strangers(dict(zip(nodes, owners, strict=True)), owned=True)) == aliens
    hellos = {node: replace(hello(NEW), owner=owner, owned=bool(owner)) for node, owner in zip(nodes, owners, strict=True)}
    assert tuple(sorted(doubted(hellos))) == aliens


def test_nobody_is_a_stranger_before_a_ledger_has_had_a_change() -> None:
    """A first chapter may be forgotten with the few that heard of it. After one change another owner makes a stranger."""
    owners = {N1: "a", N2: "b", N3: "b"}
    assert strangers(owners, owned=False) == {}
    assert strangers(owners, owned=True) == {N1: "a"}


def test_what_a_stranger_remembers_of_the_others_says_nothing() -> None:
    hellos = {N1: hello(OLD), N2: hello(OLD), N3: hello(NEW, (NEW, N1), (NEW, N2))}
    owners = {N1: "a", N2: "a", N3: "b"}
    assert set(doubted({node: replace(each, owner=owners[node], owned=True) for node, each in hellos.items()})) == {N3}


def test_an_operators_order_makes_no_stranger_a_witness() -> None:
    s = state((OLD, ""), (NEW, ""))
    s.keeping.trusted = True
    s.group.peers = {node: replace(peer, owner=f"of {node}", owned=True) for node, peer in s.group.peers.items()}
    assert "are of several clusters" in witness.obstacle(s, keeping.enough, keeping.told)
    s.group.peers[N2] = replace(s.group.peers[N2], owner="")
    assert witness.obstacle(s, keeping.enough, keeping.told) == ""


def state(*versions: tuple[Version, str], nodes: int = 3) -> State:
    """Nodes with a vote each, of which those with these versions and doubts are here."""
    teller = Teller()
    teller.play([f"nodes {nodes}", "boot", "settle"])
    s = teller.w.daemons[N1].pump.core.state
    peer = s.group.peers[N1]
    s.group.peers = {NodeId(n): replace(peer, ledger=version, doubt=doubt) for n, (version, doubt) in enumerate(versions, 1)}
    assert s.group.present == tuple(s.group.peers)
    return s


@pytest.mark.parametrize(
    ("versions", "opens"),
    [
        ([(NEW, ""), (OLD, "")], True),
        ([(NEW, ""), (NOTHING, "")], False),
        ([(NEW, "restored"), (OLD, "")], False),
        ([(NEW, "restored"), (OLD, ""), (OLD, "")], True),
        ([(NOTHING, ""), (NOTHING, "")], True),
        ([(NEW, "restored"), (NOTHING, ""), (NOTHING, "")], False),
        ([(NEW, "restored"), (OLD, "restored"), (OLD, "restored")], False),
    ],
)
def test_a_doubted_node_is_as_one_that_remembers_nothing(versions: list[tuple[Version, str]], opens: bool) -> None:
    s = state(*versions)
    assert (witness.obstacle(s, keeping.enough, keeping.told) == "") == opens
    s.keeping.trusted = True
    assert witness.obstacle(s, keeping.enough, keeping.told) == "", "an operator's order opens it with what is here"
    assert max(witness.versions(s).values()) == max(version for version, _ in versions)


def test_what_is_heard_is_told_by_version() -> None:
    s = state((NEW, ""))
    s.keeping.heard = {N3: OLD, N2: NEW, N1: OLD}
    assert witness.heard(s) == ((OLD, (N1, N3)), (NEW, (N2,)))


def test_peers_of_an_older_program_doubt_nobody() -> None:
    assert Peer("boot", "run", ConfigId()).doubt == ""


def test_a_node_that_the_newest_ledger_does_not_know_is_new_and_a_witness() -> None:
    """Else no cluster could grow from one node to two."""
    s = state((NEW, ""), (NOTHING, ""))
    del s.keeping.ledger.known[N2]
    assert witness.obstacle(s, keeping.enough, keeping.told) == ""
    s.group.peers[N2] = replace(s.group.peers[N2], doubt="restored")
    assert "2 do not count" in witness.obstacle(s, keeping.enough, keeping.told)


@pytest.mark.parametrize(
    ("versions", "opens"),
    [
        ([(NEW, ""), (NOTHING, "")], True),
        ([(NEW, ""), (OLD, "restored")], True),
        ([(NEW, "restored"), (NOTHING, "")], False),
        ([(NOTHING, ""), (NOTHING, "")], True),
        ([(NEW, "")], False),
        ([(NOTHING, "")], False),
    ],
)
def test_one_of_two_disks_that_forgot_nothing_is_enough_where_both_nodes_are_here(
    versions: list[tuple[Version, str]], opens: bool
) -> None:
    """Nothing was ever committed without it. Alone, or where nobody remembers anything, a majority has to be here."""
    s = state(*versions, nodes=2)
    s.keeping.ledger.known = {node: Known(node, "boot", 5000, 2000) for node in (N1, N2)}
    assert (witness.obstacle(s, keeping.enough, keeping.told) == "") == opens


FIRST = Version(8, 0, 0, "run")


def test_a_first_chapter_that_reached_few_disks_needs_no_majority_where_every_node_is_here() -> None:
    """Nobody else could know more. With a change in it, or with a node out of sight, somebody could."""
    versions = ((FIRST, ""), *[(NOTHING, "")] * 4)
    s = state(*versions, nodes=5)
    s.keeping.ledger.placements.clear()
    s.keeping.ledger.known = {NodeId(node): Known(NodeId(node), "boot", 5000, 2000) for node in range(1, 6)}
    assert witness.obstacle(s, keeping.enough, keeping.told) == ""
    s.group.peers[N3] = replace(s.group.peers[N3], owned=True)
    assert "(1) are no majority" in witness.obstacle(s, keeping.enough, keeping.told)
    s.group.peers[N3] = replace(s.group.peers[N3], owned=False)
    del s.group.peers[NodeId(5)]
    assert "(1) are no majority" in witness.obstacle(s, keeping.enough, keeping.told)
