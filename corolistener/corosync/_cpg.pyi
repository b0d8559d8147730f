from typing import Literal, Protocol, overload

from ._cdata import FFI, Array, CData, Chars, Integers

class Name(CData):
    length: int
    value: Chars

class Address(CData):
    nodeid: int
    pid: int
    reason: int

class Ring(CData):
    nodeid: int
    seq: int

class Description(CData):
    group: Name
    nodeid: int
    pid: int

class Model(CData):
    model: int
    cpg_deliver_fn: CData
    cpg_confchg_fn: CData
    cpg_totem_confchg_fn: CData
    flags: int

class IoVec(CData):
    iov_base: CData
    iov_len: int

class CpgFFI(FFI):
    @overload
    def new(self, cdecl: Literal["cpg_model_v1_data_t *"], /) -> Model: ...
    @overload
    def new(self, cdecl: Literal["struct cpg_name *"], init: dict[str, int | bytes], /) -> Name: ...
    @overload
    def new(self, cdecl: Literal["struct iovec *"], init: dict[str, object], /) -> IoVec: ...
    @overload
    def new(self, cdecl: Literal["struct cpg_address[]"], init: int, /) -> Array[Address]: ...
    @overload
    def new(self, cdecl: Literal["struct cpg_iteration_description_t *"], /) -> Description: ...
    @overload
    def new(
        self,
        cdecl: Literal[
            "int *",
            "unsigned int *",
            "uint32_t *",
            "cpg_handle_t *",
            "cpg_iteration_handle_t *",
            "cpg_flow_control_state_t *",
        ],
        /,
    ) -> Integers: ...
    def cast(self, cdecl: Literal["cpg_model_data_t *"], value: Model, /) -> CData: ...

class Lib(Protocol):
    CS_DISPATCH_ONE_NONBLOCKING: int
    CPG_MODEL_V1: int
    CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF: int
    CPG_TYPE_AGREED: int
    CPG_FLOW_CONTROL_ENABLED: int
    CPG_MAX_NAME_LENGTH: int
    CPG_MEMBERS_MAX: int
    CPG_ITERATION_ALL: int
    cpg_delivered: CData
    cpg_group_changed: CData
    cpg_ring_changed: CData
    def cpg_model_initialize(self, handle: Integers, model: int, model_data: CData, context: CData, /) -> int: ...
    def cpg_finalize(self, handle: int, /) -> int: ...
    def cpg_fd_get(self, handle: int, fd: Integers, /) -> int: ...
    def cpg_dispatch(self, handle: int, dispatch_types: int, /) -> int: ...
    def cpg_max_atomic_msgsize_get(self, handle: int, size: Integers, /) -> int: ...
    def cpg_join(self, handle: int, group: Name, /) -> int: ...
    def cpg_leave(self, handle: int, group: Name, /) -> int: ...
    def cpg_mcast_joined(self, handle: int, guarantee: int, iovec: IoVec, iov_len: int, /) -> int: ...
    def cpg_membership_get(
        self, handle: int, group: Name, member_list: Array[Address], member_list_entries: Integers, /
    ) -> int: ...
    def cpg_local_get(self, handle: int, local_nodeid: Integers, /) -> int: ...
    def cpg_flow_control_state_get(self, handle: int, flow_control_enabled: Integers, /) -> int: ...
    def cpg_iteration_initialize(
        self, handle: int, iteration_type: int, group: CData, iteration_handle: Integers, /
    ) -> int: ...
    def cpg_iteration_next(self, handle: int, description: Description, /) -> int: ...
    def cpg_iteration_finalize(self, handle: int, /) -> int: ...

ffi: CpgFFI
lib: Lib
