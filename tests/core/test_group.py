"""What is asked of the group at every turn, against its plain definition."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from corolistener.core.config import ConfigId
from corolistener.core.group import Group, Peer
from corolistener.core.messages import Stored
from corolistener.core.reports import Inventory
from corolistener.ids import Instant, NodeId

ME = NodeId(1)
LEASE_MS = 10


def group(*numbers: int) -> Group:
    nodes = tuple(map(NodeId, numbers))
    peers = {node: Peer(f"boot{node}", f"run{node}", ConfigId(1, "a")) for node in nodes}
    return Group(ME, ring_nodes=nodes, members=nodes, joined=True, peers=peers)


def test_the_files_are_those_of_now() -> None:
    made, new = group(1, 2, 3), ConfigId(2, "b")
    assert set(made.files.values()) == {ConfigId(1, "a")}
    made.stored(NodeId(2), Stored(new))
    assert made.files[NodeId(2)] == new
    made.inventoried(NodeId(2), Inventory(complete=True))
    assert made.files[NodeId(2)] == new
    made.members = (NodeId(1), NodeId(3))
    assert set(made.files) == {1, 3}, "its daemon is not in the group"
    made.peers[NodeId(3)] = replace(made.peers[NodeId(3)], file=new)
    assert made.files == {1: ConfigId(1, "a"), 3: new}


@given(st.dictionaries(st.integers(1, 9), st.integers(0, 40), min_size=1), st.integers(0, 40))
def test_the_next_silence(seen: dict[int, int], last: int) -> None:
    """The first instant after `last` at which another node has been silent for a lease; that this one is, nobody declares."""
    made = group(*seen)
    made.seen = {NodeId(node): Instant(at) for node, at in seen.items()}
    found = [at for at in made.silences(LEASE_MS, Instant(last)) if at > last]
    plain = [at + LEASE_MS for node, at in seen.items() if node != ME and at + LEASE_MS > last]
    assert min(found, default=None) == min(plain, default=None)


@given(st.dictionaries(st.integers(1, 9), st.integers(0, 40)), st.integers(0, 40))
def test_who_is_silent(seen: dict[int, int], now: int) -> None:
    made = group(1, *seen)
    made.seen = {NodeId(node): Instant(at) for node, at in seen.items()}
    plain = {node for node, at in seen.items() if node != ME and now >= at + LEASE_MS}
    assert set(made.silent(Instant(now), 50, LEASE_MS, 70)) == plain
    assert made.silent(Instant(now), 50, None, 70) == (), "without a lease of my own I say nothing of others"
