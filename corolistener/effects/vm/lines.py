"""Connections to one libvirtd, and what it tells of its own accord.

libvirt's calls block, so each runs in a thread (effects/detached), and on a connection that no other thread uses: with two
calls under way on one connection to a libvirtd that stands still, libvirt 9.0 takes the process with it, as it does when a
connection is closed under a call. So one connection hears, and calls nothing before its end; each of the others carries one
call at a time. libvirtd answers five calls of one client at once anyway.

What libvirt tells comes in its event loop, one daemon thread for the whole process, which also sends the keepalives that
find a libvirtd that stands still. Nothing but copying and handing over happens in there.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import libvirt

from corolistener.effects.detached import detached

KEEPALIVE_S, KEEPALIVES = 1, 4
"""A libvirtd that is silent for so many seconds, and one more, is lost."""
LINES_WARM = 8
LINES_MOST = 32
"""libvirtd has 20 workers for everybody: more calls than that wait there instead of here."""
ALONE = "TEST"
"""libvirt's test hypervisor: its VMs live in this process, in one connection that any thread may use."""
EVENTS = (
    *("METADATA_CHANGE", "DEVICE_ADDED", "DEVICE_REMOVED", "BLOCK_JOB_2", "DISK_CHANGE", "TRAY_CHANGE"),
    *("JOB_COMPLETED", "MEMORY_DEVICE_SIZE_CHANGE", "REBOOT"),
)
"""After each of these a VM is read anew. A snapshot of disks, and a change of the definition alone, send none: see files.py."""

T = TypeVar("T")
Domain = Any
Connection = Any


class Fault(Exception):
    """libvirt does not do what it was asked, or does not answer; str() is its words in one line."""


@dataclass(frozen=True, slots=True)
class Told:
    """libvirt's news. `kind`: lifecycle, changed (metadata, device, disk), pool, closed. `name` is the VM's or the pool's."""

    kind: str
    name: str = ""
    event: int = 0
    detail: int = 0


Hear = Callable[[Told], None]
"""Called in libvirt's thread."""


def words(error: Exception) -> str:
    """libvirt's own words in one line."""
    text = (error.get_error_message() if isinstance(error, libvirt.libvirtError) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def code(error: Exception) -> int:
    """libvirt's number of an error, 0 where it is none of its."""
    return int(error.get_error_code() or 0) if isinstance(error, libvirt.libvirtError) else 0


def plainly(work: Callable[[], T]) -> Callable[[], T]:
    """`work` with a Fault instead of libvirt's error.

    That one would carry its frames, and in them domains whose last reference may end a connection, out of the thread: the
    end of a connection is a call that may hang.
    """

    def plain() -> T:
        try:
            return work()
        except libvirt.libvirtError as error:
            why = words(error)
        raise Fault(why)

    return plain


async def within(limit_s: float, work: Callable[[], T]) -> T:
    """What `work` gives, in a thread. Raises Fault, and TimeoutError when it takes longer; it goes on then."""
    async with asyncio.timeout(limit_s):  # not wait_for: that one may swallow a cancellation
        return await detached(plainly(work))


class Lines:
    """One life of the connection to `uri`: as long as the line that hears stands. Everything here blocks."""

    def __init__(self, uri: str, hear: Hear) -> None:
        self._uri, self._hear = uri, hear
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._count = 0
        self._closed = False
        self._ear: Connection = None
        self._ends: list[Callable[[], object]] = []
        self.kind = ""

    def connect(self) -> None:
        """Open the line that hears. Raises libvirtError, Fault."""
        _run_event_loop()
        ear = libvirt.open(self._uri)
        with contextlib.suppress(libvirt.libvirtError):  # a hypervisor without a daemon has nothing to keep alive
            ear.setKeepAlive(KEEPALIVE_S, KEEPALIVES)
        self.kind = str(ear.getType())
        ends = listen(ear, self._hear)
        with self._changed:
            self._ear, self._ends = ear, ends
            late = self._closed
        if late:
            self.close()
            raise Fault("closed")

    @contextlib.contextmanager
    def line(self) -> Iterator[Connection]:
        """A connection for this thread alone, for a few calls. Raises libvirtError, Fault."""
        if self.kind == ALONE:
            yield self._ear
            return
        connection = self._take()
        try:
            yield connection
        finally:
            self._give(connection)

    def warm(self) -> None:
        """Have some lines open before they are needed: to open ten costs more than ten suspends. Raises as `line`."""
        with contextlib.ExitStack() as stack:
            for _ in range(LINES_WARM):
                stack.enter_context(self.line())

    def _take(self) -> Connection:
        with self._changed:
            while True:
                if self._closed or self._ear is None:
                    raise Fault("the connection is closed")
                while self._idle:
                    connection = self._idle.pop()
                    if connection.isAlive():
                        return connection
                    self._count -= 1
                if self._count < LINES_MOST:
                    self._count += 1
                    break
                self._changed.wait()
        try:
            return libvirt.open(self._uri)
        except libvirt.libvirtError:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise

    def _give(self, connection: Connection) -> None:
        with self._changed:
            closed = self._closed
            if not closed:
                self._idle.append(connection)
                self._changed.notify()
        if closed:
            _end(connection)

    def close(self) -> None:
        """End all connections; those under a call end with it. It may hang as long as libvirtd does."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            ear, self._ear = self._ear, None
            ends, self._ends = self._ends, []
            self._changed.notify_all()
        for each in ends:
            with contextlib.suppress(libvirt.libvirtError):
                each()
        for connection in (ear, *idle):
            if connection is not None:
                _end(connection)


def _end(connection: Connection) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


def listen(connection: Connection, hear: Hear) -> list[Callable[[], object]]:
    """Hear what libvirt tells; the calls that end it, without which the connection would never end."""

    def lifecycle(_c: object, domain: Domain, event: int, detail: int, _o: object) -> None:
        hear(Told("lifecycle", domain.name(), event, detail))

    def changed(_c: object, domain: Domain, *_: object) -> None:
        hear(Told("changed", domain.name()))

    def pooled(_c: object, pool: Any, event: int, detail: int, _o: object) -> None:
        hear(Told("pool", pool.name(), event, detail))

    def closed(_c: object, reason: int, _o: object) -> None:
        hear(Told("closed", detail=reason))

    number = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
    ends: list[Callable[[], object]] = [partial(connection.domainEventDeregisterAny, number)]
    for name in EVENTS:
        with contextlib.suppress(libvirt.libvirtError):  # not every hypervisor tells everything
            kind = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}")
            number = connection.domainEventRegisterAny(None, kind, changed, None)
            ends.append(partial(connection.domainEventDeregisterAny, number))
    with contextlib.suppress(libvirt.libvirtError):
        number = connection.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, pooled, None)
        ends.append(partial(connection.storagePoolEventDeregisterAny, number))
    with contextlib.suppress(libvirt.libvirtError):
        connection.registerCloseCallback(closed, None)
        ends.append(connection.unregisterCloseCallback)
    return ends


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
