"""All votes that there are: what a quorum must be a majority of, whatever votequorum counts at the moment.

votequorum's own numbers exclude nobody. Two parts of a cluster can be quorate at once: with an expected_votes that is
smaller than the sum of all votes, after last_man_standing's window, after `corosync-quorumtool -e`, or when one side has read
a smaller file. Rule: safety.md, "Rules that attacks on the running system added", 3.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from corolistener.core.config import NodeEntry
from corolistener.ids import NodeId


@dataclass(frozen=True, slots=True)
class Whole:
    """One list of nodes with their votes, and the votes that a quorum device could cast."""

    votes: tuple[tuple[NodeId, int], ...]
    device: int = 0

    @staticmethod
    def of_votes(votes: Mapping[NodeId, int], device: int) -> "Whole":
        return Whole(tuple(sorted(votes.items())), device)

    @property
    def nodes(self) -> frozenset[NodeId]:
        return frozenset(node for node, _ in self.votes)

    def most(self, nodes: Collection[NodeId], device: int) -> bool:
        """These nodes, with as many votes of the device, have more than half of all votes."""
        more = min(device, self.device)
        return 2 * (self.of(nodes) + more) > self.all + self.device

    def kept(self, nodes: Collection[NodeId]) -> bool:
        """These nodes have more than half of the nodes' votes: a device has no disk."""
        return 2 * self.of(nodes) > self.all

    def met(self, nodes: Collection[NodeId]) -> bool:
        """Every majority of the nodes' votes has one of these nodes: the others are none. Half of the votes is enough."""
        return 2 * self.of(nodes) >= self.all

    def of(self, nodes: Collection[NodeId]) -> int:
        return sum(votes for node, votes in self.votes if node in nodes)

    @property
    def all(self) -> int:
        """The votes of all nodes."""
        return sum(votes for _, votes in self.votes)


def wholes(
    lists: Iterable[tuple[NodeEntry, ...]], known: Collection[frozenset[NodeId]], votes: Mapping[NodeId, int], device: int
) -> tuple[Whole, ...]:
    """Every list that may be in force, each with the nodes that the ledger knows and it does not name; and the nodes that the
    ledger knows alone. `votes`: those of nodes that no list names, else they have one.

    While a change of the list is under way both count, the one in force and the one on this node's disk: a majority of each
    has a node in common with every majority of the other. The same holds for the nodes that the ledger knows (`known`: now,
    and when all of it was last stable): nodes that were added while others are away are no majority without one of those that
    had what was committed before.
    """
    entries = [{entry.id: entry.votes for entry in listed} for listed in lists]
    every = {node: votes.get(node, 1) for nodes in known for node in nodes}
    for each in entries:
        every |= each
    ledger = {node: every[node] for nodes in known for node in nodes}
    found = [Whole.of_votes(ledger | listed, device) for listed in entries]
    for alone in ({node: every[node] for node in nodes} for nodes in known if nodes):
        found.append(Whole.of_votes(alone, min(device, sum(alone.values()) - 1)))  # it never outvotes all of them
    return tuple(dict.fromkeys(found))
