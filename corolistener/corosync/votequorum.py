"""Votes, expected votes and the quorum device (libvotequorum). Raises LibraryUnavailable under any other provider."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, NamedTuple

from ._votequorum import ffi, lib
from .errors import check
from .handle import Handle, Library, c_string, text
from .values import RingId

if TYPE_CHECKING:
    from ._cdata import Array
    from ._votequorum import NodeStruct, Ring

QDEVICE = 0
"""The node id under which a StatesChanged lists the quorum device."""


class Flag(IntFlag):
    """What getinfo() says of a node and of the quorum device; unknown bits are kept."""

    TWO_NODE = 1
    QUORATE = 2
    WAIT_FOR_ALL = 4
    LAST_MAN_STANDING = 8
    AUTO_TIE_BREAKER = 16
    ALLOW_DOWNSCALE = 32
    QDEVICE_REGISTERED = 64
    QDEVICE_ALIVE = 128
    QDEVICE_CAST_VOTE = 256
    QDEVICE_MASTER_WINS = 512


class NodeState(IntEnum):
    """What votequorum thinks of a node; UNKNOWN is said of the quorum device, and stands for states new to us."""

    UNKNOWN = 0
    MEMBER = 1
    DEAD = 2
    LEAVING = 3


class Info(NamedTuple):
    """Answer of getinfo(): up to `expected_votes` about the node, then about the cluster as this node sees it.

    The flags and `qdevice_name` are those of the node; `qdevice_votes` are counted in `total_votes` if it casts them.
    """

    node: int
    state: NodeState
    votes: int
    expected_votes: int
    highest_expected: int
    total_votes: int
    quorum: int
    flags: Flag
    qdevice_votes: int
    qdevice_name: str


class Node(NamedTuple):
    """A node and its state; node QDEVICE is the quorum device."""

    node: int
    state: NodeState


class StatesChanged(NamedTuple):
    """Whether we are quorate, and every node known to votequorum, members or not, and the quorum device."""

    quorate: bool
    nodes: tuple[Node, ...]


class NodelistChanged(NamedTuple):
    """The nodes of the new `ring`; the ring id that a quorum device must answer with."""

    ring: RingId
    nodes: tuple[int, ...]


class ExpectedVotesChanged(NamedTuple):
    """The cluster's expected votes are now `expected_votes`."""

    expected_votes: int


Value = StatesChanged | NodelistChanged | ExpectedVotesChanged

_STATES = {state.value: state for state in NodeState}
_library = Library(
    ffi,
    lib.votequorum_fd_get,
    lib.votequorum_dispatch,
    lib.votequorum_finalize,
    lib.CS_DISPATCH_ONE_NONBLOCKING,
)


class VoteQuorum(Handle):
    """A connection to votequorum. Values, once tracked: StatesChanged, NodelistChanged, ExpectedVotesChanged."""

    def __init__(self) -> None:
        """Connect; raises LibraryUnavailable without corosync, Access without the right, TryAgain when it is busy."""
        callbacks = ffi.new("votequorum_callbacks_t *")
        callbacks.votequorum_quorum_notify_fn = lib.votequorum_states_changed
        callbacks.votequorum_nodelist_notify_fn = lib.votequorum_nodelist_changed
        callbacks.votequorum_expectedvotes_notify_fn = lib.votequorum_expected_changed
        handle = ffi.new("votequorum_handle_t *")
        check("votequorum_initialize", lib.votequorum_initialize(handle, callbacks))
        super().__init__(_library, handle[0])

    def dispatch(self) -> list[Value]:
        """What has happened since the last call, oldest first; never blocks. See Handle for what it raises."""
        return self._dispatch()

    def getinfo(self, node: int) -> Info:
        """What is known of `node`, 0 being this one; raises NotExist for a node never seen."""
        info = ffi.new("struct votequorum_info *")
        self._call(lib.votequorum_getinfo, node, info)
        return Info(
            info.node_id,
            _STATES.get(info.node_state, NodeState.UNKNOWN),
            info.node_votes,
            info.node_expected_votes,
            info.highest_expected,
            info.total_votes,
            info.quorum,
            Flag(info.flags),
            info.qdevice_votes,
            text(ffi.string(info.qdevice_name)),
        )

    def setexpected(self, votes: int) -> None:
        """Set the expected votes of the cluster, on all nodes.

        Raises InvalidParam for less than the votes present, and for so many that quorum would be lost.
        """
        self._call(lib.votequorum_setexpected, votes)

    def setvotes(self, node: int, votes: int) -> None:
        """Set the votes of a node; raises NameNotFound for a node never seen, InvalidParam if quorum would be lost."""
        self._call(lib.votequorum_setvotes, node, votes)

    def trackstart(self, *, current: bool = True, changes: bool = True) -> None:
        """Ask for values: of the state there is (`current`), and of every change from now on (`changes`)."""
        flags = (lib.CS_TRACK_CURRENT if current else 0) | (lib.CS_TRACK_CHANGES_ONLY if changes else 0)
        self._call(lib.votequorum_trackstart, 0, flags)

    def trackstop(self) -> None:
        """No more values; raises NotExist if there was no trackstart(changes=True)."""
        self._call(lib.votequorum_trackstop)

    def qdevice_register(self, name: str) -> None:
        """Give this node a quorum device, dead until polled; raises Exist if there is one of another name.

        It counts only if `quorum.device.model` is configured. It belongs to no connection: whoever knows the name may
        poll and unregister it.
        """
        self._call(lib.votequorum_qdevice_register, _device("votequorum_qdevice_register", name))

    def qdevice_unregister(self, name: str) -> None:
        """Take the quorum device away; raises InvalidParam for another name, NotExist if there is none."""
        self._call(lib.votequorum_qdevice_unregister, _device("votequorum_qdevice_unregister", name))

    def qdevice_update(self, name: str, new_name: str) -> None:
        """Rename the quorum device; raises InvalidParam for another name, NotExist if there is none."""
        call = "votequorum_qdevice_update"
        self._call(lib.votequorum_qdevice_update, _device(call, name), _device(call, new_name))

    def qdevice_poll(self, name: str, cast_vote: bool, ring: RingId) -> None:
        """Show that the device is alive, and whether it votes; to be repeated within `quorum.device.timeout` ms.

        `ring` is that of the newest NodelistChanged; raises MessageError for another ring, InvalidParam for another
        name, NotExist if there is no device.
        """
        ring_id = ffi.new("votequorum_ring_id_t *", {"nodeid": ring.node, "seq": ring.seq})
        self._call(lib.votequorum_qdevice_poll, _device("votequorum_qdevice_poll", name), cast_vote, ring_id[0])

    def qdevice_master_wins(self, name: str, allow: bool) -> None:
        """Say whether this partition may stay quorate by the device's vote alone; errors as in qdevice_update()."""
        self._call(lib.votequorum_qdevice_master_wins, _device("votequorum_qdevice_master_wins", name), allow)


def _device(call: str, name: str) -> bytes:
    return c_string(call, name, lib.VOTEQUORUM_QDEVICE_MAX_NAME_LEN - 1)


@ffi.def_extern("votequorum_states_changed", onerror=_library.failed)
def _states_changed(handle: int, context: int, quorate: int, count: int, nodes: Array[NodeStruct]) -> None:
    found = (nodes[i] for i in range(count))
    states = tuple(Node(one.nodeid, _STATES.get(one.state, NodeState.UNKNOWN)) for one in found)
    _library.inboxes[handle].values.append(StatesChanged(bool(quorate), states))


@ffi.def_extern("votequorum_nodelist_changed", onerror=_library.failed)
def _nodelist_changed(handle: int, context: int, ring: Ring, count: int, nodes: Array[int]) -> None:
    members = tuple(ffi.unpack(nodes, count)) if count else ()
    _library.inboxes[handle].values.append(NodelistChanged(RingId(ring.nodeid, ring.seq), members))


@ffi.def_extern("votequorum_expected_changed", onerror=_library.failed)
def _expected_changed(handle: int, context: int, expected_votes: int) -> None:
    _library.inboxes[handle].values.append(ExpectedVotesChanged(expected_votes))
