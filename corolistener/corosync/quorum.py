"""Membership and quorum as corosync itself sees them (libquorum, model V1).

`corolistener -l` imports this without a daemon to ask, hence nothing here imports typing.
"""

from __future__ import annotations

from collections import namedtuple
from enum import IntEnum

from ._quorum import ffi, lib
from .errors import check
from .handle import TYPE_CHECKING, Handle, Library
from .values import RingId

if TYPE_CHECKING:
    from typing import NamedTuple

    from ._cdata import Array
    from ._quorum import Ring


class Type(IntEnum):
    """Whether corosync has a quorum provider; without one (FREE) every partition counts as quorate."""

    FREE = 0
    SET = 1


if TYPE_CHECKING:

    class QuorumChanged(NamedTuple):
        """Whether the partition `ring` is quorate, and its nodes."""

        quorate: bool
        ring: RingId
        nodes: tuple[int, ...]

    class NodelistChanged(NamedTuple):
        """The nodes of the new `ring`, and the difference to the one before."""

        ring: RingId
        members: tuple[int, ...]
        joined: tuple[int, ...]
        left: tuple[int, ...]

    Value = QuorumChanged | NodelistChanged

else:
    QuorumChanged = namedtuple("QuorumChanged", "quorate ring nodes")
    NodelistChanged = namedtuple("NodelistChanged", "ring members joined left")

_library = Library(ffi, lib.quorum_fd_get, lib.quorum_dispatch, lib.quorum_finalize, lib.CS_DISPATCH_ONE_NONBLOCKING)


class Quorum(Handle):
    """A connection to the quorum service. Values, once tracked: QuorumChanged, NodelistChanged.

    `type` says whether there is a provider at all.
    """

    def __init__(self) -> None:
        """Connect; raises LibraryUnavailable without corosync, Access without the right, TryAgain when it is busy."""
        model = ffi.new("quorum_model_v1_data_t *")
        model.model = lib.QUORUM_MODEL_V1
        model.quorum_notify_fn, model.nodelist_notify_fn = lib.quorum_changed, lib.quorum_nodelist_changed
        handle, kind = ffi.new("quorum_handle_t *"), ffi.new("uint32_t *")
        data = ffi.cast("quorum_model_data_t *", model)
        status = lib.quorum_model_initialize(handle, lib.QUORUM_MODEL_V1, data, kind, ffi.NULL)
        check("quorum_model_initialize", status)
        super().__init__(_library, handle[0])
        self.type = Type(kind[0])

    def dispatch(self) -> list[Value]:
        """What has happened since the last call, oldest first; never blocks. See Handle for what it raises."""
        return self._dispatch()

    def getquorate(self) -> bool:
        """Whether this node's partition is quorate now."""
        quorate = ffi.new("int *")
        self._call(lib.quorum_getquorate, quorate)
        return bool(quorate[0])

    def trackstart(self, *, current: bool = True, changes: bool = True) -> None:
        """Ask for values: of the state there is (`current`), and of every change from now on (`changes`).

        A NodelistChanged comes first, then its QuorumChanged. Raises Exist if changes are tracked already; the state
        is sent all the same.
        """
        flags = (lib.CS_TRACK_CURRENT if current else 0) | (lib.CS_TRACK_CHANGES_ONLY if changes else 0)
        self._call(lib.quorum_trackstart, flags)

    def trackstop(self) -> None:
        """No more values; no error if there was no trackstart()."""
        self._call(lib.quorum_trackstop)


def _nodes(nodes: Array[int], count: int) -> tuple[int, ...]:
    return tuple(ffi.unpack(nodes, count)) if count else ()


@ffi.def_extern("quorum_changed", onerror=_library.failed)
def _quorum_changed(handle: int, quorate: int, ring: Ring, count: int, nodes: Array[int]) -> None:
    value = QuorumChanged(bool(quorate), RingId(ring.nodeid, ring.seq), _nodes(nodes, count))
    _library.inboxes[handle].values.append(value)


@ffi.def_extern("quorum_nodelist_changed", onerror=_library.failed)
def _nodelist_changed(
    handle: int,
    ring: Ring,
    members_count: int,
    members: Array[int],
    joined_count: int,
    joined: Array[int],
    left_count: int,
    left: Array[int],
) -> None:
    lists = ((members, members_count), (joined, joined_count), (left, left_count))
    value = NodelistChanged(RingId(ring.nodeid, ring.seq), *(_nodes(*one) for one in lists))
    _library.inboxes[handle].values.append(value)
