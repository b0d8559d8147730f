"""Closed process groups: agreed multicast, group membership, and the ring underneath (libcpg, model V1)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from ._cpg import ffi, lib
from .errors import BadHandle, Exist, NameTooLong, NoSections, NotExist, check
from .handle import Handle, Library, encoded, text
from .values import RingId

if TYPE_CHECKING:
    from ._cdata import Array, CData
    from ._cpg import Address, Name, Ring


class Reason(IntEnum):
    """Why a process is in the joined or left list; UNDEFINED in lists of members."""

    UNDEFINED = 0
    JOIN = 1
    LEAVE = 2
    NODEDOWN = 3
    NODEUP = 4
    PROCDOWN = 5


class Process(NamedTuple):
    """A process in a group."""

    node: int
    pid: int
    reason: Reason = Reason.UNDEFINED


class Delivered(NamedTuple):
    """A message in a group of ours, in the same order on every member; our own messages come back as well."""

    group: str
    node: int
    pid: int
    message: bytes


class GroupChanged(NamedTuple):
    """The processes now in `group`, and who left and joined since the GroupChanged before."""

    group: str
    members: tuple[Process, ...]
    left: tuple[Process, ...]
    joined: tuple[Process, ...]


class RingChanged(NamedTuple):
    """The ring's new id and the node ids in it, whether or not they are in a group. One also follows our own join()."""

    ring: RingId
    members: tuple[int, ...]


Value = Delivered | GroupChanged | RingChanged

_REASONS = {reason.value: reason for reason in Reason}
_library = Library(ffi, lib.cpg_fd_get, lib.cpg_dispatch, lib.cpg_finalize, lib.CS_DISPATCH_ONE_NONBLOCKING)


class Cpg(Handle):
    """A connection to cpg, good for one group, once. Values: Delivered, GroupChanged, RingChanged."""

    def __init__(self) -> None:
        """Connect; raises LibraryUnavailable without corosync, Access without the right, TryAgain when it is busy."""
        model = ffi.new("cpg_model_v1_data_t *")
        model.model = lib.CPG_MODEL_V1
        model.cpg_deliver_fn = lib.cpg_delivered
        model.cpg_confchg_fn = lib.cpg_group_changed
        model.cpg_totem_confchg_fn = lib.cpg_ring_changed
        model.flags = lib.CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF
        handle = ffi.new("cpg_handle_t *")
        status = lib.cpg_model_initialize(handle, lib.CPG_MODEL_V1, ffi.cast("cpg_model_data_t *", model), ffi.NULL)
        check("cpg_model_initialize", status)
        super().__init__(_library, handle[0])
        self._group: Name | None = None
        self._left = False

    def dispatch(self) -> list[Value]:
        """What has happened since the last call, oldest first; never blocks. See Handle for what it raises."""
        return self._dispatch()

    def join(self, group: str | bytes) -> None:
        """Join `group`, at most 128 bytes; a GroupChanged with ourselves in it says when that is done.

        Raises Exist if this handle has joined before or another of this process is in the group, and TryAgain while
        corosync still remembers an earlier handle of this process there.
        """
        if self._group is not None:  # corosync 3.1 never forgets a leave; libcpg would ask it for ever, in C
            raise Exist("cpg_join")
        name = _name("cpg_join", group)
        self._call(lib.cpg_join, name)
        self._group = name

    def leave(self) -> None:
        """Leave the group, which is this handle's last act: close it. Raises NotExist if it is in none."""
        self._call(lib.cpg_leave, self._joined("cpg_leave"))
        self._left = True

    def mcast(self, message: bytes) -> None:
        """Send to the group we joined, in agreed order; raises TryAgain when corosync's queue is full.

        A message larger than max_atomic_msgsize() is sent in pieces, which takes its time here, and delivered whole;
        Interrupt says that the group changed meanwhile and nobody gets it. Raises NotExist if we are in no group.
        """
        self._joined("cpg_mcast_joined")  # corosync would only log it, and the message be lost
        base = ffi.from_buffer(message)
        iovec = ffi.new("struct iovec *", {"iov_base": base, "iov_len": len(message)})
        self._call(lib.cpg_mcast_joined, lib.CPG_TYPE_AGREED, iovec, 1)

    def membership(self, group: str | bytes) -> tuple[Process, ...]:
        """The processes in `group`, which may be any group; empty if there is none of that name."""
        members, count = ffi.new("struct cpg_address[]", lib.CPG_MEMBERS_MAX), ffi.new("int *")
        self._call(lib.cpg_membership_get, _name("cpg_membership_get", group), members, count)
        return _processes(members, count[0])

    def groups(self) -> dict[str, tuple[Process, ...]]:
        """All groups on this ring and the processes in each."""
        iteration, description = ffi.new("cpg_iteration_handle_t *"), ffi.new("struct cpg_iteration_description_t *")
        self._call(lib.cpg_iteration_initialize, lib.CPG_ITERATION_ALL, ffi.NULL, iteration)
        found: dict[str, tuple[Process, ...]] = {}
        try:
            while (status := lib.cpg_iteration_next(iteration[0], description)) != NoSections.status:
                check("cpg_iteration_next", status)
                group = _text(description.group)
                found[group] = (*found.get(group, ()), Process(description.nodeid, description.pid))
        finally:
            lib.cpg_iteration_finalize(iteration[0])
        return found

    def local_nodeid(self) -> int:
        """This node's id."""
        node = ffi.new("unsigned int *")
        self._call(lib.cpg_local_get, node)
        return node[0]

    def max_atomic_msgsize(self) -> int:
        """Bytes of the largest message that is not sent in pieces."""
        size = ffi.new("uint32_t *")
        self._call(lib.cpg_max_atomic_msgsize_get, size)
        return size[0]

    def flow_controlled(self) -> bool:
        """Whether mcast() would raise TryAgain now."""
        state = ffi.new("cpg_flow_control_state_t *")
        self._call(lib.cpg_flow_control_state_get, state)
        return state[0] == lib.CPG_FLOW_CONTROL_ENABLED

    def _joined(self, call: str) -> Name:
        """The group we are in; leaving another one by name would stall this handle for ever."""
        if not self._handle:
            raise BadHandle(call)
        if self._group is None or self._left:
            raise NotExist(call)
        return self._group


def _name(call: str, group: str | bytes) -> Name:
    raw = encoded(group)
    if len(raw) > lib.CPG_MAX_NAME_LENGTH:
        raise NameTooLong(call)
    return ffi.new("struct cpg_name *", {"length": len(raw), "value": raw})


def _text(name: Name) -> str:
    return text(ffi.unpack(name.value, name.length))


def _processes(addresses: Array[Address], count: int) -> tuple[Process, ...]:
    found = (addresses[i] for i in range(count))
    return tuple(Process(one.nodeid, one.pid, _REASONS.get(one.reason, Reason.UNDEFINED)) for one in found)


@ffi.def_extern("cpg_delivered", onerror=_library.failed)
def _delivered(handle: int, group: Name, node: int, pid: int, message: CData, size: int) -> None:
    _library.inboxes[handle].values.append(Delivered(_text(group), node, pid, ffi.buffer(message, size)[:]))


@ffi.def_extern("cpg_group_changed", onerror=_library.failed)
def _group_changed(
    handle: int,
    group: Name,
    members: Array[Address],
    members_count: int,
    left: Array[Address],
    left_count: int,
    joined: Array[Address],
    joined_count: int,
) -> None:
    lists = ((members, members_count), (left, left_count), (joined, joined_count))
    _library.inboxes[handle].values.append(GroupChanged(_text(group), *(_processes(*one) for one in lists)))


@ffi.def_extern("cpg_ring_changed", onerror=_library.failed)
def _ring_changed(handle: int, ring: Ring, count: int, members: Array[int]) -> None:
    value = RingChanged(RingId(ring.nodeid, ring.seq), tuple(ffi.unpack(members, count)))
    _library.inboxes[handle].values.append(value)
