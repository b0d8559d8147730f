"""What happened: the only way the world reaches the core."""

from dataclasses import dataclass
from enum import Enum

from corolistener.core.actions import Lock
from corolistener.core.capacity import Vm
from corolistener.core.config import Cluster, Config
from corolistener.core.ledger import Rows, Version
from corolistener.core.messages import Change, Message
from corolistener.core.reports import VmState
from corolistener.core.view import RingId
from corolistener.core.wishes import Order
from corolistener.ids import NodeId, Ticket, VmName


class Departure(Enum):
    """Why a daemon is no longer in the group (CPG's reasons)."""

    LEAVE = "leave"
    NODEDOWN = "nodedown"
    PROCDOWN = "procdown"


@dataclass(frozen=True, slots=True)
class RingChanged:
    """CPG's totem callback: this ring, these nodes of corosync (sorted)."""

    ring: RingId
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """CPG's configuration change: the nodes whose daemon is in the group (sorted), and how it changed.

    `processes`: all that are in the group, by node and pid, where CPG was asked. Then the nodes are those of any process, and
    core/processes knows which of them are daemons.
    """

    members: tuple[NodeId, ...]
    joined: tuple[NodeId, ...] = ()
    left: tuple[tuple[NodeId, Departure], ...] = ()
    processes: tuple[tuple[NodeId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class QuorumChanged:
    """The quorum callback: corosync's word for this ring."""

    ring: RingId
    quorate: bool


@dataclass(frozen=True, slots=True)
class VotesCounted:
    """votequorum's numbers: the votes needed, each node's, and what is expected in all. `device`: what the quorum device casts
    for us; `offered`: what it could cast; `own`: what this corosync expects itself, 0 where that is not known."""

    quorum: int
    votes: tuple[tuple[NodeId, int], ...]
    expected: int
    device: int = 0
    two_node: bool = False
    offered: int = 0
    own: int = 0


@dataclass(frozen=True, slots=True)
class CorosyncLost:
    """The connection to corosync ended: certain news that no quorum is known."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message of the group, in agreed order. `pid`: which process of its node said it; 0 if that is not known."""

    sender: NodeId
    message: Message
    pid: int = 0


@dataclass(frozen=True, slots=True)
class BadMessage:
    """Bytes in the group that are no message."""

    sender: NodeId
    why: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class SendingLost:
    """The ring took no message for so long that those waiting were dropped."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """A long message of this node is on its way, in parts: the node is not silent."""

    node: NodeId
    pid: int = 0


class Result(Enum):
    """How an action ended."""

    DONE = "done"
    FAILED = "failed"
    LATER = "later"
    TIMED_OUT = "timed-out"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result`, with the world's own words in `why` where it refused. `facts` are for the note: what was found or done."""

    result: Result
    why: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    cluster: Cluster | None = None
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Finished:
    """An action has ended."""

    ticket: Ticket
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Found:
    """What a starting daemon found of a former process of the same boot: said once, before anything else."""

    address: bool = False
    locks: tuple[Lock, ...] = ()
    service: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """What corosync on this node runs with: told after connecting, before its first ring, and after every reload.

    `version` is the config_version, `cluster` its cluster name, `node` its node id, `addresses` those that its nodelist gives
    this node. `cluster`, `node` and `addresses` are '', 0 and () if they are not known.
    """

    version: int
    cluster: str = ""
    node: NodeId = NodeId(0)
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probed:
    """Why this node could not hold now what a master holds, in words; nothing where it could. Told at start and every few
    seconds."""

    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddressGone:
    """Somebody took the cloud IP off the device, or the device away."""


@dataclass(frozen=True, slots=True)
class DeviceCame:
    """The device of the cloud IP has appeared."""


@dataclass(frozen=True, slots=True)
class AddressConflict:
    """Another station answers for the cloud IP that we hold."""

    mac: str


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings were read again, or corosync's timers are known."""

    config: Config


@dataclass(frozen=True, slots=True)
class LeaveAsked:
    """SIGTERM: say goodbye and let go of everything."""


@dataclass(frozen=True, slots=True)
class ChangeAsked:
    """An operator asks for a change of corosync.conf at this node."""

    request: int
    change: Change


@dataclass(frozen=True, slots=True)
class Recalled:
    """What this node's disk remembers of the ledger: said once, before the first ring, also where it remembers nothing.

    `heard`: the newest version that each other node had announced. `doubt`: why the file is not the one that this node wrote
    last (it was restored, or is another machine's); '' where nothing speaks against it.
    """

    version: Version = Version()
    rows: Rows = Rows()
    heard: tuple[tuple[NodeId, Version], ...] = ()
    doubt: str = ""


class Pause(Enum):
    """Why a copy that is SUSPENDED executes nothing. The words are those of `Report.pause`."""

    OTHER = ""
    """Nothing that is known: a migration that is over, say."""
    CALL = "call"
    """Somebody asked the hypervisor for it: this node, or a user."""
    USER = "user"
    """Its user asked for it, and wants it to stay so."""
    BUSY = "busy"
    """The hypervisor is doing something with it (migration, dump, save, snapshot), and may let it go on by itself."""
    STARTING = "starting"
    """It is being started, and may run by itself after that."""
    IO_ERROR = "io-error"
    PANICKED = "panicked"
    WATCHDOG = "watchdog"
    """The virtual watchdog of its own system has stopped it."""


@dataclass(frozen=True, slots=True)
class Copied:
    """An instance of a VM as the hypervisor sees it. `generation` is the one that was written on it, 0 where none was.

    `unmanaged`: why the settings or its metadata would not have it adopted; '' otherwise. They decide adoption only (safety.md,
    rule 1). `let_go`: its own metadata says so, which is its user's will.

    `pause`: why it is suspended. USER means that this was written on it (`MarkVm`): also on one that runs again. `ending`: this
    daemon, or a former process of it, asked its system to shut down, and wrote that on it.
    """

    vm: Vm
    state: VmState
    generation: int = 0
    unmanaged: str = ""
    let_go: bool = False
    pause: Pause = Pause.OTHER
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """Every copy that the hypervisor has: after connecting to it, and whenever news of it may have been lost.

    `defined`: the UUIDs of all VMs that are defined, whether they run or not.
    """

    copies: tuple[Copied, ...]
    defined: tuple[tuple[VmName, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CopyChanged:
    """News of one copy. `copy` None: it is gone, and `by_user` says whether it was shut down or taken away by will.

    `by_user` None: the hypervisor has not said yet why it ended. The cause follows in a second event, or never.
    """

    name: VmName
    copy: Copied | None
    by_user: bool | None = False


@dataclass(frozen=True, slots=True)
class Defined:
    """The hypervisor has this text for a VM that it runs; `definition` is its SHA-256."""

    name: VmName
    definition: str
    text: bytes


@dataclass(frozen=True, slots=True)
class DefinitionSeen:
    """The hypervisor has a definition under this name, of the VM with this UUID; '': it has none any more."""

    name: VmName
    uuid: str


@dataclass(frozen=True, slots=True)
class Shelved:
    """The definitions that this node's disk has, by VM and SHA-256: said once, with `Recalled`."""

    definitions: tuple[tuple[VmName, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HypervisorLost:
    """The hypervisor does not answer: what its VMs do is in doubt."""


@dataclass(frozen=True, slots=True)
class Armed:
    """The watchdog of this node is armed; its timeout was read back. 0: there is none."""

    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Linked:
    """Of the nodes that this node waits for, those to which a link of knet's is connected (sorted): their corosync runs."""

    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class ConfirmAsked:
    """An operator, `by`, says at this node that a lost node runs nothing."""

    request: int
    node: NodeId
    by: str


@dataclass(frozen=True, slots=True)
class OrderAsked:
    """An operator, `by`, asks at this node for something about VMs or nodes."""

    request: int
    order: Order
    by: str = ""


@dataclass(frozen=True, slots=True)
class AlarmAsked:
    """An operator asks at this node for panic, or for its end. `at` is the wall clock, for the record only."""

    request: int
    calm: bool
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class LedgerAsked:
    """An operator, `by`, orders at this node to open the ledger with what the members here remember."""

    request: int
    by: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The deadline that the core named has come."""


Event = (
    RingChanged
    | GroupChanged
    | QuorumChanged
    | VotesCounted
    | CorosyncLost
    | Delivered
    | BadMessage
    | SendingLost
    | Speaking
    | Finished
    | Found
    | Probed
    | Running
    | AddressGone
    | DeviceCame
    | AddressConflict
    | Configured
    | LeaveAsked
    | ChangeAsked
    | Recalled
    | Listed
    | CopyChanged
    | Defined
    | DefinitionSeen
    | Shelved
    | HypervisorLost
    | Armed
    | Linked
    | ConfirmAsked
    | AlarmAsked
    | OrderAsked
    | LedgerAsked
    | TimePassed
)
