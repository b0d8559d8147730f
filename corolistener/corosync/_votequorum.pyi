from typing import Literal, Protocol, overload

from ._cdata import FFI, Array, CData, Chars, Integers

class Ring(CData):
    nodeid: int
    seq: int

class NodeStruct(CData):
    nodeid: int
    state: int

class InfoStruct(CData):
    node_id: int
    node_state: int
    node_votes: int
    node_expected_votes: int
    highest_expected: int
    total_votes: int
    quorum: int
    flags: int
    qdevice_votes: int
    qdevice_name: Chars

class Callbacks(CData):
    votequorum_quorum_notify_fn: CData
    votequorum_expectedvotes_notify_fn: CData
    votequorum_nodelist_notify_fn: CData

class VoteQuorumFFI(FFI):
    @overload
    def new(self, cdecl: Literal["votequorum_callbacks_t *"], /) -> Callbacks: ...
    @overload
    def new(self, cdecl: Literal["struct votequorum_info *"], /) -> InfoStruct: ...
    @overload
    def new(self, cdecl: Literal["votequorum_ring_id_t *"], init: dict[str, int], /) -> Array[Ring]: ...
    @overload
    def new(self, cdecl: Literal["int *", "votequorum_handle_t *"], /) -> Integers: ...

class Lib(Protocol):
    CS_DISPATCH_ONE_NONBLOCKING: int
    CS_TRACK_CURRENT: int
    CS_TRACK_CHANGES_ONLY: int
    VOTEQUORUM_QDEVICE_MAX_NAME_LEN: int
    votequorum_states_changed: CData
    votequorum_nodelist_changed: CData
    votequorum_expected_changed: CData
    def votequorum_initialize(self, handle: Integers, callbacks: Callbacks, /) -> int: ...
    def votequorum_finalize(self, handle: int, /) -> int: ...
    def votequorum_fd_get(self, handle: int, fd: Integers, /) -> int: ...
    def votequorum_dispatch(self, handle: int, dispatch_types: int, /) -> int: ...
    def votequorum_getinfo(self, handle: int, nodeid: int, info: InfoStruct, /) -> int: ...
    def votequorum_setexpected(self, handle: int, expected_votes: int, /) -> int: ...
    def votequorum_setvotes(self, handle: int, nodeid: int, votes: int, /) -> int: ...
    def votequorum_trackstart(self, handle: int, context: int, flags: int, /) -> int: ...
    def votequorum_trackstop(self, handle: int, /) -> int: ...
    def votequorum_qdevice_register(self, handle: int, name: bytes, /) -> int: ...
    def votequorum_qdevice_unregister(self, handle: int, name: bytes, /) -> int: ...
    def votequorum_qdevice_update(self, handle: int, oldname: bytes, newname: bytes, /) -> int: ...
    def votequorum_qdevice_poll(self, handle: int, name: bytes, cast_vote: int, ring_id: Ring, /) -> int: ...
    def votequorum_qdevice_master_wins(self, handle: int, name: bytes, allow: int, /) -> int: ...

ffi: VoteQuorumFFI
lib: Lib
