"""Control of corosync itself: addresses and links of nodes, reload, shutdown and the vote about it (libcfg)."""

from __future__ import annotations

import socket
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from ._cfg import ffi, lib
from .errors import check
from .handle import Handle, Library, c_string, text

if TYPE_CHECKING:
    from ._cfg import Address, LinkStruct

MOST_REASON = 255
"""Bytes of the reason of kill_node()."""


class Shutdown(IntEnum):
    """How to leave the cluster: ask the trackers and obey them, ask and ignore their votes, or do not ask."""

    REQUEST = 0
    REGARDLESS = 1
    IMMEDIATE = 2


class ShutdownRequested(NamedTuple):
    """corosync on this node is asked to shut down; answer with reply_to_shutdown() before `cfg.shutdown_timeout` ms."""

    flags: Shutdown


class Link(NamedTuple):
    """One knet link from here to a node: `connected` is knet's view, a suspicion and never a proof. `mtu` in bytes.

    The addresses are knet's text; an IPv6 one ends in `%` and the index of its interface.
    """

    number: int
    connected: bool
    dynconnected: bool
    mtu: int
    source: str
    destination: str


class NodeStatus(NamedTuple):
    """What knet knows of a node; `links` are the enabled ones. The onwire versions are of knet's protocol."""

    node: int
    reachable: bool
    remote: bool
    external: bool
    onwire_min: int
    onwire_max: int
    onwire: int
    links: tuple[Link, ...]


_library = Library(
    ffi,
    lib.corosync_cfg_fd_get,
    lib.corosync_cfg_dispatch,
    lib.corosync_cfg_finalize,
    lib.CS_DISPATCH_ONE_NONBLOCKING,
)


class Cfg(Handle):
    """A connection to the cfg service. Values, once tracked: ShutdownRequested."""

    def __init__(self) -> None:
        """Connect; raises LibraryUnavailable without corosync, Access without the right, TryAgain when it is busy."""
        callbacks = ffi.new("corosync_cfg_callbacks_t *")
        callbacks.corosync_cfg_shutdown_callback = lib.cfg_shutdown_requested
        handle = ffi.new("corosync_cfg_handle_t *")
        check("corosync_cfg_initialize", lib.corosync_cfg_initialize(handle, callbacks))
        super().__init__(_library, handle[0])

    def dispatch(self) -> list[ShutdownRequested]:
        """What has happened since the last call, oldest first; never blocks. See Handle for what it raises."""
        return self._dispatch()

    def local_get(self) -> int:
        """This node's id."""
        node = ffi.new("unsigned int *")
        self._call(lib.corosync_cfg_local_get, node)
        return node[0]

    def get_node_addrs(self, node: int) -> tuple[str, ...]:
        """Addresses of a node, 0 being this one, in the order of its links; raises NotExist for no node of the ring.

        corosync 3.1.7 gives every address the family of the first: where a node has links of both families, believe
        only that one, and take the others from node_status().
        """
        addresses, count = ffi.new("corosync_cfg_node_address_t[]", lib.CFG_MAX_LINKS), ffi.new("int *")
        self._call(lib.corosync_cfg_get_node_addrs, node, lib.CFG_MAX_LINKS, count, addresses)
        return tuple(_address(addresses[i]) for i in range(count[0]))

    def node_status(self, node: int) -> NodeStatus:
        """What knet knows of a node and its links; raises FailedOperation for a node that is not configured."""
        status = ffi.new("struct corosync_cfg_node_status_v1 *")
        self._call(lib.corosync_cfg_node_status_get, node, lib.CFG_NODE_STATUS_V1, status)
        links = enumerate(status.link_status[i] for i in range(lib.CFG_MAX_LINKS))
        return NodeStatus(
            status.nodeid,
            bool(status.reachable),
            bool(status.remote),
            bool(status.external),
            status.onwire_min,
            status.onwire_max,
            status.onwire_ver,
            tuple(_link(number, link) for number, link in links if link.enabled),
        )

    def reload_config(self) -> None:
        """Make every node read its own corosync.conf again.

        A node whose file is not acceptable goes on with what it has. If that is this node, InvalidParam is raised, and
        the others have reloaded all the same. Of another node only its own cmap tells: bad values leave the error in
        `config.reload_status` (1 is good); a file that does not parse leaves that as it was, but
        `config.totemconfig_reload_in_progress` at 1 until the next reload (3.1.7). A node that is not on the ring at
        this moment is not reached.
        """
        self._call(lib.corosync_cfg_reload_config)

    def reopen_log_files(self) -> None:
        """Make corosync on this node open its log files again, after they were rotated."""
        self._call(lib.corosync_cfg_reopen_log_files)

    def kill_node(self, node: int, reason: str) -> None:
        """Make corosync on a node exit at once with `reason`, at most 255 bytes, in its log. It is no fencing.

        Raises NotExist for a node that is not on the ring.
        """
        self._call(lib.corosync_cfg_kill_node, node, c_string("corosync_cfg_kill_node", reason, MOST_REASON))

    def try_shutdown(self, flags: Shutdown = Shutdown.REQUEST) -> None:
        """Shut corosync on this node down. Waits for the trackers' votes: give it a thread and a handle of its own.

        Raises Busy if the trackers refused or one did not answer in time, Exist while another request runs.
        """
        self._call(lib.corosync_cfg_try_shutdown, flags)

    def reply_to_shutdown(self, agree: bool) -> None:
        """Vote about the ShutdownRequested; one vote against stops a REQUEST. Without a request nothing happens."""
        reply = lib.COROSYNC_CFG_SHUTDOWN_FLAG_YES if agree else lib.COROSYNC_CFG_SHUTDOWN_FLAG_NO
        self._call(lib.corosync_cfg_replyto_shutdown, reply)

    def trackstart(self) -> None:
        """Be asked before a shutdown; who is asked and does not answer makes a REQUEST fail."""
        self._call(lib.corosync_cfg_trackstart, 0)

    def trackstop(self) -> None:
        """No longer be asked."""
        self._call(lib.corosync_cfg_trackstop)


def _address(address: Address) -> str:
    """sockaddr_in or sockaddr_in6 as text."""
    if ffi.cast("struct sockaddr *", address.address).sa_family == lib.AF_INET6:
        in6 = ffi.addressof(ffi.cast("struct sockaddr_in6 *", address.address), "sin6_addr")
        return socket.inet_ntop(socket.AF_INET6, ffi.buffer(in6)[:])
    in4 = ffi.addressof(ffi.cast("struct sockaddr_in *", address.address), "sin_addr")
    return socket.inet_ntop(socket.AF_INET, ffi.buffer(in4)[:])


def _link(number: int, link: LinkStruct) -> Link:
    return Link(
        number,
        bool(link.connected),
        bool(link.dynconnected),
        link.mtu,
        text(ffi.string(link.src_ipaddr)),
        text(ffi.string(link.dst_ipaddr)),
    )


@ffi.def_extern("cfg_shutdown_requested", onerror=_library.failed)
def _shutdown_requested(handle: int, flags: int) -> None:
    _library.inboxes[handle].values.append(ShutdownRequested(Shutdown(flags)))
