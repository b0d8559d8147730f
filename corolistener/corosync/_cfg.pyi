from typing import Literal, Protocol, overload

from ._cdata import FFI, Array, CData, Chars, Integers

class Address(CData):
    address_length: int
    address: Chars

class LinkStruct(CData):
    enabled: int
    connected: int
    dynconnected: int
    mtu: int
    src_ipaddr: Chars
    dst_ipaddr: Chars

class StatusStruct(CData):
    nodeid: int
    reachable: int
    remote: int
    external: int
    onwire_min: int
    onwire_max: int
    onwire_ver: int
    link_status: Array[LinkStruct]

class Callbacks(CData):
    corosync_cfg_shutdown_callback: CData

class SockAddr(CData):
    sa_family: int

class CfgFFI(FFI):
    @overload
    def new(self, cdecl: Literal["corosync_cfg_callbacks_t *"], /) -> Callbacks: ...
    @overload
    def new(self, cdecl: Literal["struct corosync_cfg_node_status_v1 *"], /) -> StatusStruct: ...
    @overload
    def new(self, cdecl: Literal["corosync_cfg_node_address_t[]"], init: int, /) -> Array[Address]: ...
    @overload
    def new(self, cdecl: Literal["int *", "unsigned int *", "corosync_cfg_handle_t *"], /) -> Integers: ...
    @overload
    def cast(self, cdecl: Literal["struct sockaddr *"], value: Chars, /) -> SockAddr: ...
    @overload
    def cast(self, cdecl: Literal["struct sockaddr_in *", "struct sockaddr_in6 *"], value: Chars, /) -> CData: ...
    def addressof(self, cdata: CData, field: Literal["sin_addr", "sin6_addr"], /) -> CData: ...

class Lib(Protocol):
    CS_DISPATCH_ONE_NONBLOCKING: int
    AF_INET6: int
    CFG_MAX_LINKS: int
    CFG_NODE_STATUS_V1: int
    COROSYNC_CFG_SHUTDOWN_FLAG_NO: int
    COROSYNC_CFG_SHUTDOWN_FLAG_YES: int
    cfg_shutdown_requested: CData
    def corosync_cfg_initialize(self, handle: Integers, callbacks: Callbacks, /) -> int: ...
    def corosync_cfg_finalize(self, handle: int, /) -> int: ...
    def corosync_cfg_fd_get(self, handle: int, fd: Integers, /) -> int: ...
    def corosync_cfg_dispatch(self, handle: int, dispatch_flags: int, /) -> int: ...
    def corosync_cfg_node_status_get(self, handle: int, nodeid: int, version: int, status: StatusStruct, /) -> int: ...
    def corosync_cfg_kill_node(self, handle: int, nodeid: int, reason: bytes, /) -> int: ...
    def corosync_cfg_trackstart(self, handle: int, track_flags: int, /) -> int: ...
    def corosync_cfg_trackstop(self, handle: int, /) -> int: ...
    def corosync_cfg_try_shutdown(self, handle: int, flags: int, /) -> int: ...
    def corosync_cfg_replyto_shutdown(self, handle: int, flags: int, /) -> int: ...
    def corosync_cfg_get_node_addrs(
        self, handle: int, nodeid: int, max_addrs: int, num_addrs: Integers, addrs: Array[Address], /
    ) -> int: ...
    def corosync_cfg_local_get(self, handle: int, local_nodeid: Integers, /) -> int: ...
    def corosync_cfg_reload_config(self, handle: int, /) -> int: ...
    def corosync_cfg_reopen_log_files(self, handle: int, /) -> int: ...

ffi: CfgFFI
lib: Lib
