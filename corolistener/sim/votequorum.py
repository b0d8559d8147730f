"""A virtual votequorum: how many votes each node has, how many are expected, and which rings are quorate.

What is true of the real one (votequorum(5), exec/votequorum.c) is true here: the highest expected number among the members
counts; quorum never falls by a change of the ring, only by an announcement; last_man_standing expects after its window what is
there; auto_tie_breaker lets half of the votes be enough; allow_downscale expects less after a clean leave; two_node asks for
one vote; wait_for_all for everybody once; and a quorum device votes for one ring only, or for none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from corolistener.core.events import VotesCounted
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.tree import parse
from corolistener.ids import NodeId

WINDOW_MS = 10_000
"""last_man_standing_window's default."""
DEVICE = "\tdevice {\n\t\tmodel: net\n\t\tvotes: %d\n\t\tnet {\n\t\t\thost: arbiter\n\t\t}\n\t}\n"
FLAGS = ("wait_for_all", "last_man_standing", "auto_tie_breaker", "allow_downscale")


@dataclass(frozen=True, slots=True)
class QuorumOptions:
    """What a cluster's corosync.conf says about votes. `votes`: each node's, () for one each; `expected` 0: the file does not
    say; `device` 0: there is no quorum device; `flags` are some of FLAGS."""

    votes: tuple[int, ...] = ()
    expected: int = 0
    device: int = 0
    flags: tuple[str, ...] = ()

    def votes_of(self, number: int) -> int:
        """The votes of the node with this place in the list, from 0 on."""
        return self.votes[number] if self.votes else 1

    def lines(self) -> str:
        """Their lines of the section `quorum`."""
        found = [f"\texpected_votes: {self.expected}\n"] * bool(self.expected) + [f"\t{flag}: 1\n" for flag in self.flags]
        if self.device:
            found.append(
                f"\tdevice {{\n\t\tmodel: net\n\t\tvotes: {self.device}\n\t\tnet {{\n\t\t\thost: arbiter\n\t\t}}\n\t}}\n"
            )
        return "".join(found)

    def words(self) -> list[str]:
        """Their words in a story's `nodes`."""
        return [
            *[f"votes={','.join(map(str, self.votes))}"] * bool(self.votes),
            *[f"expected={self.expected}"] * bool(self.expected),
            *[f"device={self.device}"] * bool(self.device),
            *self.flags,
        ]


def read_quorum(words: Iterable[str]) -> QuorumOptions:
    """The inverse of `words`; other words are left alone. Raises ValueError for a number that is none."""
    named = dict(word.split("=", 1) for word in words if "=" in word)
    votes = tuple(int(text) for text in named["votes"].split(",")) if "votes" in named else ()
    flags = tuple(flag for flag in FLAGS if flag in words)
    return QuorumOptions(votes, int(named.get("expected", 0)), int(named.get("device", 0)), flags)


class FileRead(NamedTuple):
    """What corosync takes from its file. `expected` is what the file says, or else the sum of all votes."""

    version: int
    votes: tuple[tuple[NodeId, int], ...]
    expected: int
    device: int = 0
    two_node: bool = False
    wait_for_all: bool = False
    last_man_standing: bool = False
    auto_tie_breaker: bool = False
    allow_downscale: bool = False
    cluster: str = ""

    @property
    def listed(self) -> tuple[NodeId, ...]:
        return tuple(node for node, _ in self.votes)


def file_read(text: bytes, path: str) -> FileRead:
    """The same from a file's bytes. Raises ConfigError where it cannot be read."""
    facts = read_facts(parse(text, path))
    votes = tuple(sorted((node.nodeid, node.votes) for node in facts.nodes))
    expected = facts.expected_votes or sum(count for _, count in votes) + facts.device_votes
    return FileRead(
        facts.config_version,
        votes,
        expected,
        facts.device_votes,
        facts.two_node,
        facts.wait_for_all or facts.two_node,
        facts.last_man_standing,
        facts.auto_tie_breaker,
        facts.allow_downscale,
        facts.cluster_name,
    )


def half(votes: int) -> int:
    """The least that is more than half."""
    return votes // 2 + 1


@dataclass(slots=True)
class Counting:
    """One node's votequorum. `waits`: it has not seen everybody yet; `casts`: the quorum device votes for its ring."""

    node: NodeId
    file: FileRead
    expected: int
    quorum: int
    waits: bool
    casts: bool = False

    @staticmethod
    def begin(node: NodeId, file: FileRead) -> "Counting":
        """corosync starts."""
        return Counting(node, file, file.expected, half(file.expected), file.wait_for_all)

    @property
    def own(self) -> int:
        return dict(self.file.votes).get(self.node, 1)

    @property
    def device(self) -> int:
        return self.file.device if self.casts else 0


Members = Mapping[NodeId, Counting]


def total(ring: Members) -> int:
    """The votes of a ring: its nodes' and, where it votes for them, the device's."""
    return sum(each.own for each in ring.values()) + max((each.device for each in ring.values()), default=0)


def joined(ring: Members, cleanly: bool) -> None:
    """A ring has formed, of these. `cleanly`: who is missing said goodbye."""
    highest, there = max(each.expected for each in ring.values()), total(ring)
    for each in ring.values():
        each.expected = highest
        each.quorum = max(each.quorum, half(highest), half(there))
        if cleanly and each.file.allow_downscale and each.expected > each.file.expected:
            expect(each, max(each.file.expected, there), there)
    seen = there >= highest or set(next(iter(ring.values())).file.listed) <= ring.keys()
    if seen or any(not each.waits for each in ring.values()):
        for each in ring.values():
            each.waits = False


def expect(counting: Counting, votes: int, there: int) -> None:
    """An announcement: only that lets the quorum fall."""
    counting.expected, counting.quorum = votes, max(half(votes), half(there))


def quorate(ring: Members, node: NodeId) -> bool:
    """votequorum's word."""
    here, there = ring[node], total(ring)
    if here.waits:
        return False
    if there >= needed(ring, node):
        return True
    tied = here.file.auto_tie_breaker and not here.file.device and 2 * there == here.expected
    return tied and min(here.file.listed) in ring


def needed(ring: Members, node: NodeId) -> int:
    return 1 if ring[node].file.two_node and len(ring) <= 2 else ring[node].quorum


def counted(ring: Members, node: NodeId) -> VotesCounted:
    """votequorum's numbers."""
    here = ring[node]
    votes = dict(here.file.votes) | {other: each.own for other, each in ring.items()}
    two_node, offered = here.file.two_node, here.file.device
    return VotesCounted(
        needed(ring, node), tuple(sorted(votes.items())), here.expected, here.device, two_node, offered, here.expected
    )


def stands_alone(ring: Members) -> bool:
    """The window is over: what is there is what is expected. False where nothing changes by that."""
    there = total(ring)
    lms = [each for each in ring.values() if each.file.last_man_standing and each.expected > there]
    if not lms or not all(quorate(ring, node) for node in ring):
        return False
    for each in ring.values():
        expect(each, there, there)
    return True


def reread(ring: Members, files: Mapping[NodeId, FileRead], crossing: bool) -> None:
    """Every node reads its own file again; whoever is to expect other votes than before says so to all, and the last word
    counts. `crossing`: these words cross, so that all expect the same in the end and yet none lets its quorum fall."""
    said: list[int] = []
    for node, each in ring.items():
        each.file = files[node]
        if each.file.expected != each.expected:
            said.append(each.file.expected)
    there = total(ring)
    for each in ring.values():
        before = each.quorum
        if said:
            expect(each, said[-1], there)
        each.quorum = max(each.quorum, before if crossing or not said else 0, half(there))


def disagree(ring: Members, files: Mapping[NodeId, FileRead]) -> bool:
    """Some are to expect others votes than others are."""
    return len({files[node].expected for node in ring}) > 1 or len({each.expected for each in ring.values()}) > 1


def told(ring: Members, votes: int) -> bool:
    """Somebody tells votequorum what to expect (`corosync-quorumtool -e`).

    False if it refuses: fewer than there are, or so many that these are no quorum.
    """
    there = total(ring)
    if votes < there or half(votes) > there:
        return False
    for each in ring.values():
        expect(each, votes, there)
    return True
