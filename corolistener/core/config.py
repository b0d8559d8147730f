"""What the core is told about the cluster and about itself, and never finds out on its own."""

from dataclasses import dataclass
from enum import Enum

from corolistener.core.capacity import Capacity
from corolistener.ids import NodeId


@dataclass(frozen=True, slots=True, order=True)
class ConfigId:
    """Names one content of corosync.conf: its config_version (0 where the file has none) and the SHA-256 of its bytes."""

    version: int = 0
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.version}:{self.sha256[:8]}"


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One node of the nodelist. `replication` is None where the file does not say; `votes` are its quorum_votes."""

    id: NodeId
    name: str = ""
    address: str = ""
    priority: int = 0
    replication: bool | None = None
    votes: int = 1


@dataclass(frozen=True, slots=True)
class Cluster:
    """The facts of one corosync.conf. `nodes` is sorted by id; `ports` are ihttpd's, in the order of the file; `device` are the
    votes of the quorum device, 0 without one."""

    id: ConfigId
    name: str
    nodes: tuple[NodeEntry, ...]
    ports: tuple[int, ...] = ()
    device: int = 0

    def node(self, node: NodeId) -> NodeEntry | None:
        """The entry with this id, or None."""
        return next((entry for entry in self.nodes if entry.id == node), None)


class OnTakeover(Enum):
    """What a new master does with the priorities in corosync.conf (behaviour, "Becoming master", 5)."""

    SWAP = "swap"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class CloudAddress:
    """The address that follows the master: IPv4 or IPv6 text, prefix length, device name."""

    ip: str
    prefix: int
    device: str


KILLING_MS = 500
"""What it may take until everything of a service that was told to die is gone."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How the service can be stopped. `stop_ms`: how long a handover in order waits for a clean stop.

    `killable` False: nothing on this node can kill it (it runs elsewhere). So any stop may take `stop_ms`, and the others wait.
    """

    stop_ms: int = 60_000
    killable: bool = True

    @property
    def announced_ms(self) -> int:
        """What the others have to wait for after the lease; 0 where the grace is enough."""
        return 0 if self.killable else self.stop_ms


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in ms, the same words as in `[fencing]` of the settings; their argument is in safety.md."""

    heartbeat_ms: int = 500
    lease_ms: int = 5130
    grace_ms: int = 2000
    restart_ms: int = 5000
    hello_ms: int = 2000
    rewrite_ms: int = 10_000
    rollback_ms: int = 30_000
    retry_first_ms: int = 250
    retry_most_ms: int = 30_000
    request_ms: int = 30_000
    margin_ms: int = 1000
    agent_ms: int = 5000
    reconcile_ms: int = 90_000
    """A member that was left behind has this long to destroy its outdated copies: one try may take a lane's 60 s."""
    start_grace_ms: int = 60_000
    """After a start of the cluster fence agents wait this long for a node that no member has seen yet."""

    @property
    def orderly_ms(self) -> int:
        """A service that must be gone within `grace_ms` has this long to stop in order; the rest is for killing it."""
        return self.grace_ms - min(KILLING_MS, self.grace_ms // 4)

    @property
    def stalled_ms(self) -> int:
        """After this long without my own heartbeat the ring is stalled: the formation of another ring takes less."""
        return self.lease_ms * 3 // 4

    @property
    def vacated_ms(self) -> int:
        """After this long without contact a former master has let go of the service."""
        return self.lease_ms + self.grace_ms


class OnShutdown(Enum):
    """What becomes of the VMs of a node that leaves; what cannot be moved off is shut down and started elsewhere."""

    MIGRATE = "migrate"
    STOP = "stop"
    REFUSE = "refuse"
    """It does not leave before somebody has seen to its VMs, or asks a second time."""


class Unreconciled(Enum):
    """What becomes of a member that was left behind and does not put its VMs in order (safety.md, "Coming back")."""

    KILL = "kill"
    """corosync there is ended, so that the node is lost, and can be fenced."""
    HOLD = "hold"
    """It stays, is given nothing, and waits for the operator."""


class ProofKind(Enum):
    """Why we may believe that an incarnation of a node runs nothing any more (safety.md, "Proofs")."""

    FAREWELL = "farewell"
    AGENT = "agent"
    WATCHDOG = "watchdog"
    SUSPEND = "suspend"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Care:
    """How VMs are cared for. `hypervisor`: there is one here. `capacity` None: this node is given no VMs.

    `proofs` are those accepted, `agents` the nodes that can be fenced from here, `parallel_starts` how many VMs start on a
    node at once. `weak`: why this node's own watchdog may stand still together with the node. `weak_watchdogs`: the
    administrator knows that such nodes exist, and takes their watchdogs for a proof all the same.
    """

    hypervisor: bool = False
    capacity: Capacity | None = None
    proofs: tuple[ProofKind, ...] = (ProofKind.FAREWELL, ProofKind.AGENT, ProofKind.WATCHDOG, ProofKind.OPERATOR)
    agents: tuple[NodeId, ...] = ()
    parallel_starts: int = 4
    on_shutdown: OnShutdown = OnShutdown.MIGRATE
    disallowed: Unreconciled = Unreconciled.KILL
    weak: str = ""
    weak_watchdogs: bool = False

    def accepted(self, weak: str) -> tuple[ProofKind, ...]:
        """The proofs accepted about a node: what a node that may stand still measures itself is none, unless that is known."""
        if not weak or self.weak_watchdogs:
            return self.proofs
        return tuple(kind for kind in self.proofs if kind not in (ProofKind.WATCHDOG, ProofKind.SUSPEND))


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one Core knows before the first event.

    `boot` is the kernel's boot id, `incarnation` a nonce of this process: together they tell a restarted daemon
    from a rebooted node (CPG shows the same pid after a cut and heal). `cloud` None means no address follows.
    """

    me: NodeId
    boot: str
    incarnation: str
    cluster: Cluster
    timing: Timing = Timing()
    cloud: CloudAddress | None = None
    on_takeover: OnTakeover = OnTakeover.SWAP
    database: bool = False
    care: Care = Care()
    relied_on: tuple[tuple[str, str], ...] = ()
    """Names and values of the settings that other members rely on; those that have their defaults may be left out."""
    serving: Serving = Serving()
    pid: int = 0
    """This process, so that a Hello of it is told from a repeated one; 0: not known."""
