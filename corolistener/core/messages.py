"""What daemons say to each other in the group, in corosync's agreed order.

`ring` is the ring in which the sender spoke. Every type has a place in wire/ring.py; fields may be added with defaults
(an older peer ignores what it does not know), never renamed or given another meaning.
"""

from dataclasses import dataclass

from corolistener.core.capacity import Capacity
from corolistener.core.config import ConfigId, NodeEntry
from corolistener.core.edits import AddNode as AddNode
from corolistener.core.edits import Change as Change
from corolistener.core.edits import EditNode as EditNode
from corolistener.core.edits import PushText as PushText
from corolistener.core.edits import RemoveNode as RemoveNode
from corolistener.core.edits import Restamp as Restamp
from corolistener.core.edits import RevertTo as RevertTo
from corolistener.core.edits import SetPriorities as SetPriorities
from corolistener.core.ledger import Rows, Version
from corolistener.core.reports import NO_INVENTORY as NO_INVENTORY
from corolistener.core.reports import Inventory as Inventory
from corolistener.core.reports import Report as Report
from corolistener.core.reports import Trouble as Trouble
from corolistener.core.reports import VmState as VmState
from corolistener.core.view import Epoch, RingId
from corolistener.core.wishes import Order
from corolistener.ids import NodeId, VmName

PROTOCOL = 2
PARTS_SINCE = 2
"""The protocol since which long messages are sent in parts."""
TEXT_MOST = 512 * 1024
"""Bytes of a corosync.conf that the ring carries."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A snapshot of the sender, said by everybody whenever somebody may have joined.

    It counts for one round only: `ring` and `members` (the group, sorted) must be those of the receiver. `epoch` is the
    last place on the quorate line that the sender was part of; `lapsed` says that it lost its lease since; `dirty` that it
    had duties when it left; `holding` that it still may have address or service. `file` is its corosync.conf, `running` the
    version its corosync works with (0: not known), `agreed` the file in force with the table `nodes`; `database` says that
    one is configured. `claims` are the nodes that may be serving, `pending` the ones whose daemon is being restarted,
    `master` the one it follows. `view` are the nodes of the line that the sender is of while it speaks.

    For VMs: `ledger` is the newest version it has; `lease_ms` (0: it announces nothing), `grace_ms` and `watchdog_ms` (0: none
    is armed) say when it has suspended everything or is reset, once it is lost; `capacity` None: it is not to be given VMs.
    `met` are the nodes that the sender, or a member that told it, has seen since the cluster started (core/start). `doubted`:
    its ledger is no witness of what was committed; `heard`: which nodes announced to have stored which version (core/witness).
    `weak`: why the sender's watchdog may stand still together with it (core/ledger, Known). `relied_on`: the settings that
    others rely on (core/differences). `owner`: the cluster that its ledger belongs to (core/doubts); `owned`: the
    ledger has had a change, so every majority knows that owner.

    `stop_ms`: its service cannot be killed and may run so long after its lease (0: no longer than `grace_ms`). `unattended`:
    those of `claims` whose daemon was not there when they were lost: the passing of time proves nothing about them. `first`:
    the master, if it is still the one that was elected when the cluster was started, else 0. `starting`: no master that the
    sender knows of could act. `unable`: why the sender cannot hold what a master holds. `pid`: the sender's process; 0 in the
    Hellos of older versions (core/processes).
    """

    ring: RingId
    members: tuple[NodeId, ...]
    boot: str
    incarnation: str
    epoch: Epoch
    file: ConfigId
    agreed: ConfigId
    nodes: tuple[NodeEntry, ...]
    lapsed: bool = False
    dirty: bool = False
    disallowed: bool = False
    holding: bool = False
    database: bool = False
    master: NodeId = NodeId(0)
    claims: tuple[NodeId, ...] = ()
    pending: tuple[NodeId, ...] = ()
    running: int = 0
    protocol: int = PROTOCOL
    ledger: Version = Version()
    lease_ms: int = 0
    grace_ms: int = 0
    watchdog_ms: int = 0
    capacity: Capacity | None = None
    inventory: Inventory = NO_INVENTORY
    view: tuple[NodeId, ...] = ()
    met: tuple[NodeId, ...] = ()
    doubted: bool = False
    heard: tuple[tuple[Version, tuple[NodeId, ...]], ...] = ()
    weak: str = ""
    relied_on: tuple[tuple[str, str], ...] = ()
    stop_ms: int = 0
    unattended: tuple[NodeId, ...] = ()
    first: NodeId = NodeId(0)
    unable: str = ""
    owner: str = ""
    owned: bool = False
    pid: int = 0
    starting: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """I am alive in this ring. `count` tells my own heartbeats apart; `stored` is the ledger that a loss of power leaves me.

    `protocol`: 1 where the sender does not say.
    """

    ring: RingId
    count: int
    stored: Version = Version()
    protocol: int = 1


@dataclass(frozen=True, slots=True)
class Released:
    """I have let go of address, locks and service, as long as the line is still this one."""

    line: Epoch


@dataclass(frozen=True, slots=True)
class Vacated:
    """The daemon of this node has ended for good, and what it held is let go: address, locks and service. It is no word about
    VMs. The sender is a small program, not a daemon: process `pid`, 0 in an older version."""

    pid: int = 0


@dataclass(frozen=True, slots=True)
class Able:
    """Why the sender cannot hold what a master holds; '' when it can again."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    """This node's daemon is silent or gone for too long: it counts as lost until it says Hello again."""

    ring: RingId
    node: NodeId


@dataclass(frozen=True, slots=True)
class Farewell:
    """I have let go of everything and leave: nobody needs to wait for me. No VM runs here, and none is on its way."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """The ledger is open in `line`: who has version `base` goes on from there, with a higher version.

    `whole` says that `rows` are the content of `base`, for those who do not have it.
    """

    line: Epoch
    base: Version
    opener: str
    rows: Rows
    whole: bool


@dataclass(frozen=True, slots=True)
class Entries:
    """The master's change of the ledger, if its version is still `at`."""

    at: Version
    rows: Rows


@dataclass(frozen=True, slots=True)
class Confirm:
    """An operator says that this node runs nothing, and who said so."""

    node: NodeId
    boot: str
    by: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An operator asks for panic, or (`calm`) for its end."""

    calm: bool
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """An operator orders to open the ledger with what the members of this ring remember, though they may not know all."""

    ring: RingId
    by: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The master admits a disallowed node again."""

    node: NodeId
    incarnation: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """An operator's order, asked at the sender by `by`, to be carried out by the master or by the node that has the VM."""

    request: int
    order: Order
    by: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """`request` of `node` is being carried out. `where`: the node that it is about, 0 for none."""

    node: NodeId
    request: int
    where: NodeId = NodeId(0)


@dataclass(frozen=True, slots=True)
class Definition:
    """The text that a hypervisor starts a VM from; `definition` is its SHA-256."""

    name: VmName
    definition: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Lacking:
    """Please tell the definitions of these VMs. `of` is who shall."""

    of: NodeId
    definitions: tuple[tuple[VmName, str], ...]


@dataclass(frozen=True, slots=True)
class Proposed:
    """An operator's change, asked at the sender, to be carried out by the master."""

    request: int
    change: Change


@dataclass(frozen=True, slots=True)
class Refused:
    """The master does not carry out `request` of `node`."""

    node: NodeId
    request: int
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """The master offers a new file. `asked_by` and `request` name the operator's request, 0 where there is none."""

    config: ConfigId
    base: ConfigId
    cause: str
    nodes: tuple[NodeEntry, ...]
    asked_by: NodeId = NodeId(0)
    request: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Please send the text of this file. `of` is who shall send it."""

    config: ConfigId
    of: NodeId


@dataclass(frozen=True, slots=True)
class Text:
    """The bytes of a file."""

    config: ConfigId
    text: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """The file is on my disk; my corosync runs with version `running` (0: not known)."""

    config: ConfigId
    running: int = 0


@dataclass(frozen=True, slots=True)
class Unstored:
    """I cannot store that file."""

    config: ConfigId
    why: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The file is in force from here on. `watched` says that an administrator changed it: it is rolled back if a
    node is lost soon."""

    config: ConfigId
    base: ConfigId
    nodes: tuple[NodeEntry, ...]
    watched: bool = False
    asked_by: NodeId = NodeId(0)
    request: int = 0


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The offer is void: put the file before it back."""

    config: ConfigId
    base: ConfigId
    why: str
    asked_by: NodeId = NodeId(0)
    request: int = 0


Message = (
    Hello
    | Heartbeat
    | Released
    | Vacated
    | Able
    | Absent
    | Farewell
    | Inventory
    | Chapter
    | Entries
    | Confirm
    | Alarm
    | OpenLedger
    | Verdict
    | Proposed
    | Ordered
    | Granted
    | Definition
    | Lacking
    | Refused
    | Offer
    | Wanted
    | Text
    | Stored
    | Unstored
    | Committed
    | Withdrawn
)
