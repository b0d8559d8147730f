"""Connections to one libvirtd, and what it tells of its own accord.

libvirt's calls block, so each runs in a thread (effects/detached). libvirtd works on five requests of one client at a time:
calls that hang would keep others waiting in its queue, so another connection is opened before one is full.

What libvirt tells comes in its event loop, one daemon thread for the whole process, which also sends the keepalives that
find a libvirtd that stands still. Nothing but copying and handing over happens in there.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import libvirt

KEEPALIVE_S, KEEPALIVES = 1, 4
"""A libvirtd that is silent for so many seconds, and one more, has no connection any more."""
CALLS_MOST = 4
LINES_MOST = 16
ALONE = "TEST"
"""libvirt's test hypervisor: its VMs live in the connection."""

Domain = Any
Connection = Any


class Away(Exception):
    """libvirt does not answer, or not any more; str() is one line."""


@dataclass(frozen=True, slots=True)
class Told:
    """libvirt's news. `kind`: lifecycle, changed (metadata or a device), pool, closed. `name` is the VM's or the pool's."""

    kind: str
    name: str = ""
    event: int = 0
    detail: int = 0


Hear = Callable[[Told], None]
"""Called in libvirt's thread."""


def words(error: BaseException) -> str:
    """libvirt's own words in one line."""
    text = (error.get_error_message() if isinstance(error, libvirt.libvirtError) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def code(error: BaseException) -> int:
    """libvirt's number of an error, 0 where it is none of its."""
    return (error.get_error_code() or 0) if isinstance(error, libvirt.libvirtError) else 0


class Lines:
    """One life of the connection to `uri`: as long as the first of its lines stands, which also hears.

    Everything here blocks but `ready`; `line` may be used by many threads.
    """

    def __init__(self, uri: str, hear: Hear) -> None:
        self._uri, self._hear = uri, hear
        self._lock = threading.Lock()
        self._busy: dict[Connection, int] = {}
        self._opening = 0
        self._closed = False
        self._first: Connection = None
        self._ears: list[Callable[[], object]] = []
        self.kind = ""
        self.pools: dict[str, str] = {}
        """Paths of the declared pools that are active, by their declared names; whoever looks them up writes here."""

    def connect(self) -> None:
        """Open the first line and listen on it. Raises Away."""
        _run_event_loop()
        try:
            first = _open(self._uri)
            self.kind = str(first.getType())
            self._listen(first)
        except libvirt.libvirtError as error:
            raise Away(words(error)) from error
        with self._lock:
            self._first = first
            self._busy[first] = 0
            late = self._closed
        if late:
            self.close()
            raise Away("closed")

    def _listen(self, connection: Connection) -> None:
        hear = self._hear

        def lifecycle(_c: object, domain: Domain, event: int, detail: int, _o: object) -> None:
            hear(Told("lifecycle", domain.name(), event, detail))

        def changed(_c: object, domain: Domain, *_: object) -> None:
            hear(Told("changed", domain.name()))

        def pool(_c: object, found: Any, event: int, detail: int, _o: object) -> None:
            hear(Told("pool", found.name(), event, detail))

        def closed(_c: object, reason: int, _o: object) -> None:
            hear(Told("closed", detail=reason))

        handle = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
        self._ears.append(partial(connection.domainEventDeregisterAny, handle))
        for number in ("METADATA_CHANGE", "DEVICE_ADDED", "DEVICE_REMOVED", "MIGRATION_ITERATION"):
            with contextlib.suppress(libvirt.libvirtError):  # not every hypervisor tells everything
                which = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{number}")
                other = connection.domainEventRegisterAny(None, which, changed, None)
                self._ears.append(partial(connection.domainEventDeregisterAny, other))
        with contextlib.suppress(libvirt.libvirtError):
            watched = connection.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, pool, None)
            self._ears.append(partial(connection.storagePoolEventDeregisterAny, watched))
        with contextlib.suppress(libvirt.libvirtError):
            connection.registerCloseCallback(closed, None)
            self._ears.append(connection.unregisterCloseCallback)

    @contextlib.contextmanager
    def line(self) -> Iterator[Connection]:
        """A connection for a few calls. Raises Away."""
        connection = self._pick()
        try:
            yield connection
        finally:
            with self._lock:
                if connection in self._busy:
                    self._busy[connection] -= 1

    def _pick(self) -> Connection:
        with self._lock:
            if self._closed or self._first is None:
                raise Away("the connection is closed")
            for dead in [each for each in self._busy if each is not self._first and not each.isAlive()]:
                del self._busy[dead]
            best = min(self._busy, key=lambda each: self._busy[each])
            full = self._busy[best] >= CALLS_MOST and self.kind != ALONE
            if not full or len(self._busy) + self._opening >= LINES_MOST:
                self._busy[best] += 1
                return best
            self._opening += 1
        try:
            return self._another()
        except libvirt.libvirtError as error:
            raise Away(words(error)) from error
        finally:
            with self._lock:
                self._opening -= 1

    def _another(self) -> Connection:
        connection = _open(self._uri)
        with self._lock:
            if not self._closed:
                self._busy[connection] = 1
                return connection
        connection.close()
        raise Away("the connection is closed")

    def close(self) -> None:
        """End all connections; every call under way ends with an error."""
        with self._lock:
            self._closed = True
            connections, self._busy, self._first = list(self._busy), {}, None
            ears, self._ears = self._ears, []
        for each in ears:
            with contextlib.suppress(libvirt.libvirtError):
                each()
        for connection in connections:
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()


def _open(uri: str) -> Connection:
    connection = libvirt.open(uri)
    with contextlib.suppress(libvirt.libvirtError):  # a hypervisor without a daemon has nothing to keep alive
        connection.setKeepAlive(KEEPALIVE_S, KEEPALIVES)
    return connection


_once = threading.Lock()
_turning: list[threading.Thread] = []


def _run_event_loop() -> None:
    """Before the first connection: libvirt has one event loop in a process, and no way to end it."""
    with _once:
        if _turning:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else it writes every error to stderr as well
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_turn, name="libvirt", daemon=True)
        _turning.append(thread)
        thread.start()


def _turn() -> None:
    while True:
        # It returns after every event; what it raises is a fault of one round.
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.virEventRunDefaultImpl()
