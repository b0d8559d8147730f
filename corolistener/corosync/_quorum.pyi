from typing import Literal, Protocol, overload

from ._cdata import FFI, CData, Integers

class Ring(CData):
    nodeid: int
    seq: int

class Model(CData):
    model: int
    quorum_notify_fn: CData
    nodelist_notify_fn: CData

class QuorumFFI(FFI):
    @overload
    def new(self, cdecl: Literal["quorum_model_v1_data_t *"], /) -> Model: ...
    @overload
    def new(self, cdecl: Literal["int *", "uint32_t *", "quorum_handle_t *"], /) -> Integers: ...
    def cast(self, cdecl: Literal["quorum_model_data_t *"], value: Model, /) -> CData: ...

class Lib(Protocol):
    CS_DISPATCH_ONE_NONBLOCKING: int
    CS_TRACK_CURRENT: int
    CS_TRACK_CHANGES_ONLY: int
    QUORUM_MODEL_V1: int
    quorum_changed: CData
    quorum_nodelist_changed: CData
    def quorum_model_initialize(
        self, handle: Integers, model: int, model_data: CData, quorum_type: Integers, context: CData, /
    ) -> int: ...
    def quorum_finalize(self, handle: int, /) -> int: ...
    def quorum_fd_get(self, handle: int, fd: Integers, /) -> int: ...
    def quorum_dispatch(self, handle: int, dispatch_types: int, /) -> int: ...
    def quorum_getquorate(self, handle: int, quorate: Integers, /) -> int: ...
    def quorum_trackstart(self, handle: int, flags: int, /) -> int: ...
    def quorum_trackstop(self, handle: int, /) -> int: ...

ffi: QuorumFFI
lib: Lib
