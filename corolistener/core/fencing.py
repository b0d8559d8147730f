"""Proofs about lost nodes: what counts, from when on, and what this node has seen of them. Rules: safety.md, "Proofs"."""

from dataclasses import dataclass, field

from corolistener.core.config import ProofKind, Timing
from corolistener.core.ledger import Known, Proven
from corolistener.ids import Instant, NodeId, Ticket


@dataclass(slots=True)
class Attempt:
    """A fence agent at work on an incarnation, or waiting to be tried again. `done_at`: it said that the node is off.
    `spared`: it was told to give up."""

    boot: str
    ticket: Ticket | None = None
    failures: int = 0
    retry_at: Instant = Instant(0)
    done_at: Instant | None = None
    spared: bool = False


@dataclass(slots=True)
class Awaited:
    """A node that no member has seen since the cluster started: `since` when this node waits for it, and `until` when no fence
    agent is used on it. `alive`: it showed signs of life when this node last looked."""

    since: Instant
    until: Instant
    alive: bool = False


@dataclass(slots=True)
class Fencing:
    """What this node has seen of lost nodes. `gone`: since when each is out of its sight. `alive`: those whose daemon was there
    when they were lost. `spared`: those that may be restarting corosync, and until when no agent touches them. `evidence`: what
    may become a proof. `attempts`: what this node's agents are doing. `met`: the nodes that a member has seen in this life of
    the cluster. `awaited`: those that no member has seen (core/start). `linked`: those that a link of knet's reaches."""

    gone: dict[NodeId, Instant] = field(default_factory=dict)
    alive: set[NodeId] = field(default_factory=set)
    spared: dict[NodeId, Instant] = field(default_factory=dict)
    evidence: dict[NodeId, Proven] = field(default_factory=dict)
    attempts: dict[NodeId, Attempt] = field(default_factory=dict)
    met: frozenset[NodeId] = frozenset()
    awaited: dict[NodeId, Awaited] = field(default_factory=dict)
    linked: frozenset[NodeId] = frozenset()

    @property
    def missed(self) -> bool:
        """Something was seen of nodes that are gone."""
        return bool(self.gone or self.alive or self.spared or self.evidence)

    def returned(self, node: NodeId) -> None:
        """It is here: whatever was seen of its absence is void."""
        self.gone.pop(node, None)
        self.alive.discard(node)
        self.spared.pop(node, None)
        self.evidence.pop(node, None)
        self.awaited.pop(node, None)

    def blind(self) -> None:
        """This node was not part of a line: it does not know who came and went meanwhile, so all deadlines begin anew."""
        self.gone.clear()
        self.alive.clear()
        self.spared.clear()
        self.evidence.clear()
        self.awaited.clear()


def deadline_ms(kind: ProofKind, known: Known, timing: Timing) -> int | None:
    """How long after its loss a node has suspended everything, or was reset; None where the kind proves nothing about it."""
    suspended = known.lease_ms + known.grace_ms + timing.margin_ms
    match kind:
        case ProofKind.WATCHDOG:
            return suspended + known.watchdog_ms if known.watchdog_ms else None
        case ProofKind.SUSPEND:
            return suspended
    return None


def proof(
    node: NodeId, known: Known, fencing: Fencing, accepted: tuple[ProofKind, ...], exclusive: bool, timing: Timing, now: Instant
) -> Proven | None:
    """The first acceptable proof about the node's newest known incarnation, or None. The loss must be in `fencing.gone`."""
    seen = fencing.evidence.get(node)
    if seen is not None and seen.boot == known.boot and seen.kind in accepted and now >= believed_at(seen, known, fencing):
        return seen
    for kind in (ProofKind.WATCHDOG, ProofKind.SUSPEND):
        waits = deadline_ms(kind, known, timing)
        trusted = kind is ProofKind.WATCHDOG or node in fencing.alive
        if kind in accepted and exclusive and waits is not None and trusted and now >= fencing.gone[node] + waits:
            return Proven(node, known.boot, kind)
    return None


def believed_at(seen: Proven, known: Known, fencing: Fencing) -> Instant:
    """When this evidence counts. People look at one machine and mean another, or speak before they pull the plug: an operator's
    word waits until a node with a daemon that works has let go of everything by itself."""
    early = seen.kind is ProofKind.OPERATOR
    return Instant(fencing.gone[seen.node] + (known.lease_ms + known.grace_ms if early else 0))


def proof_due(
    node: NodeId, known: Known, fencing: Fencing, accepted: tuple[ProofKind, ...], exclusive: bool, timing: Timing
) -> Instant | None:
    """When a proof by the passing of time, or evidence that waits, is there, if one is coming."""
    waits = [
        each
        for kind in accepted
        if (each := deadline_ms(kind, known, timing)) is not None and (kind is ProofKind.WATCHDOG or node in fencing.alive)
    ]
    due = [Instant(fencing.gone[node] + min(waits))] if waits and exclusive and node in fencing.gone else []
    seen = fencing.evidence.get(node)
    if seen is not None and seen.kind in accepted and node in fencing.gone:
        due.append(believed_at(seen, known, fencing))
    return min(due, default=None)
