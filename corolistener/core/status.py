"""What an operator is told about this node and what it knows of the others. Facts only; words live in cli/render."""

from dataclasses import dataclass

from corolistener.core.belonging import foreign
from corolistener.core.config import ConfigId, ProofKind
from corolistener.core.differences import Difference, differences
from corolistener.core.election import has_replica, obstacles
from corolistener.core.keeping import enough, stable, told
from corolistener.core.ledger import Panic, Version
from corolistener.core.mastership import candidates, cleared
from corolistener.core.recovery import owed
from corolistener.core.start import left_ms
from corolistener.core.state import State
from corolistener.core.view import Epoch, RingId
from corolistener.core.witness import obstacle
from corolistener.ids import Instant, NodeId


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node of the nodelist. `joined` is corosync's word, `member` says that its daemon is in the group."""

    id: NodeId
    name: str
    address: str
    priority: int
    replication: bool | None
    joined: bool
    member: bool
    config: ConfigId | None
    obstacles: tuple[str, ...]
    unable: str = ""
    """Why it cannot hold what a master holds, in its own words."""


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """What this node has of the ledger. `stored` is what a loss of power would leave it.

    `open`: the line has agreed on it. `stable`: all of it is on the disks of a majority. `doubt`: why this node's ledger is no
    witness of what was committed; `waits`: why the members here must not open it; '' where there is nothing to say.
    `owner`: which cluster's ledger it is.
    """

    version: Version
    stored: Version
    open: bool
    stable: bool
    placements: int
    doubt: str = ""
    waits: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Debt:
    """A node that is gone and may have VMs that should run: how many, and the kind of proof that it runs nothing, or ''.

    `agent_waits_ms`: no member has seen the node since the cluster started, and its fence agent waits this long for it.
    """

    node: NodeId
    vms: int
    proof: str
    agent_waits_ms: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of one core. Durations in ms, `had` of a duty: True, False, or None for in doubt."""

    me: NodeId
    mode: str
    phase: str
    acting: bool
    quorate: bool
    ring: RingId
    epoch: Epoch
    master: NodeId | None
    lease_ms_left: int
    cluster: str
    agreed: ConfigId
    file: ConfigId
    nodes: tuple[NodeStatus, ...]
    duties: tuple[tuple[str, bool | None], ...]
    rewriting: str
    waits_for: tuple[NodeId, ...]
    bad_messages: int
    ledger: LedgerStatus
    owed: tuple[Debt, ...]
    proven: tuple[tuple[NodeId, str], ...]
    panic: Panic | None
    foreign: str = ""
    """Why the running corosync is not that of the file, and what to type."""
    differences: tuple[Difference, ...] = ()


def status_of(s: State, now: Instant) -> Status:
    group = s.group
    standing = {candidate.id: candidate for candidate in candidates(s)}
    replicated = has_replica(standing.values(), s.agreed, s.database)
    nodes = tuple(
        NodeStatus(
            id=entry.id,
            name=entry.name,
            address=entry.address,
            priority=entry.priority,
            replication=entry.replication,
            joined=entry.id in group.ring_nodes,
            member=entry.id in standing,
            config=group.peers[entry.id].file if entry.id in group.peers else None,
            obstacles=tuple(why.value for why in obstacles(standing[entry.id], s.agreed, replicated))
            if entry.id in standing
            else (),
            unable=group.peers[entry.id].unable if entry.id in group.peers else "",
        )
        for entry in sorted(s.nodes, key=lambda entry: entry.id)
    )
    return Status(
        me=s.me,
        mode=s.mode.value,
        phase=s.phase.value,
        acting=s.acting,
        quorate=s.quorum.quorate,
        ring=group.ring,
        epoch=s.epoch,
        master=s.master if s.quorum.quorate else None,
        lease_ms_left=max(0, s.lease.ends - now) if s.lease.ends is not None else 0,
        cluster=s.storing.cluster.name,
        agreed=s.agreed,
        file=s.storing.file,
        nodes=nodes,
        duties=tuple((duty.name.value, duty.had) for duty in s.duties.all()),
        rewriting=s.rewrite.stage.value,
        waits_for=() if not s.acting or cleared(s, now) else tuple(sorted(n for n in s.claims if n != s.me)),
        bad_messages=sum(s.bad.values()),
        ledger=_ledger(s),
        owed=tuple(_debt(s, node, now) for node in owed(s)),
        proven=tuple((node, proof.kind.value) for node, proof in sorted(s.keeping.ledger.proofs.items())),
        panic=s.keeping.ledger.panic,
        foreign=foreign(s),
        differences=differences(s),
    )


def _ledger(s: State) -> LedgerStatus:
    keeping = s.keeping
    return LedgerStatus(
        version=keeping.version,
        stored=keeping.stored,
        open=keeping.open,
        stable=stable(s) >= keeping.version.index,
        placements=len(keeping.ledger.placements),
        doubt=keeping.doubt,
        owner=keeping.ledger.cluster,
        waits=obstacle(s, enough, told) if s.quorate and s.group.settled and s.group.present and not keeping.open else "",
    )


def _debt(s: State, node: NodeId, now: Instant) -> Debt:
    proof = s.keeping.ledger.proven(node)
    vms = sum(row.on for row in s.keeping.ledger.on(node))
    waits = ProofKind.AGENT in s.config.care.proofs and proof is None and node not in s.desk.fences
    return Debt(node, vms, proof.kind.value if proof is not None else "", left_ms(s, node, now) if waits else 0)
