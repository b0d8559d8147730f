"""The server of the two sockets in the run directory: who may ask what, and how much of it at once.

It decides nothing: every request goes to the Handler. What a client does can end its own connection, nothing else.
"""

import asyncio
import contextlib
import grp
import os
import shutil
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from corolistener.daemon.asked import one_line, shown
from corolistener.daemon.readers import FRAME_MOST, PIECE, Readers, Snapshots, Spent
from corolistener.errors import ConfigError, CorolistenerError, EffectError, RequestRefused
from corolistener.wire.control import ADMIN, CLIENT, QUEUED, VERBS, Decoder, FrameError, answer_of, encode, request_of

Frame = dict[str, Any]

CONNECTIONS = 128
"""Connections of root at once, both sockets together; the next one is hung up on. Readers have places of their own."""
REQUESTS = 16
"""Unanswered requests of one connection; the next one is answered `busy`."""
ACCEPT_REST_S, ACCEPT_FAILED_S = 0.002, 1.0
"""Pauses after a connection to the socket for everybody, and after one that the kernel could not give us: a flood of
connections costs the loop a tenth at most. Root's programs come through the other socket."""
UNSENT = 64 * 1024
"""Bytes that the transport holds for a client beyond the kernel's buffer; after that frames queue, up to QUEUED."""
PEERCRED = struct.Struct("iII")
PRIVATE = ".control"
"""A directory only root enters: a socket gets its owner and mode there before anybody can reach it."""


class Peer(NamedTuple):
    """Who asks: SO_PEERCRED of the process, and through which socket it came."""

    pid: int
    uid: int
    gid: int
    socket: str

    @property
    def admin(self) -> bool:
        """May ask for everything: it came through the admin socket and is root, or who we are ourselves."""
        return self.socket == ADMIN and self.privileged

    @property
    def privileged(self) -> bool:
        """Waits for nobody: it is root (libvirt's hook is), or who we are ourselves."""
        return self.uid in (0, os.geteuid())


class Handler(Protocol):
    """Who answers.

    `request` gets every verb of VERBS but `status`, already permitted. It raises RequestRefused or another
    CorolistenerError to refuse, and is cancelled when the client hangs up. `note` tells the log.
    """

    def status(self) -> dict[str, Any]: ...

    async def request(
        self, verb: str, args: dict[str, Any], progress: Callable[[dict[str, Any]], None], peer: Peer
    ) -> dict[str, Any]: ...

    def note(self, code: str, fields: Mapping[str, str]) -> None: ...


class ControlServer:
    """Both sockets, from start() to close(). `group` may read: its name, or "" for root alone."""

    def __init__(self, run_dir: str, group: str, handler: Handler) -> None:
        """Raises ConfigError if there is no such group."""
        self._directory, self._gid, self.handler = Path(run_dir), group_id(group), handler
        self._listeners: list[asyncio.Task[None]] = []
        self._made: dict[Path, tuple[int, int]] = {}
        self._connections: set[Connection] = set()
        self.readers, self.snapshots = Readers(handler.note), Snapshots()

    async def start(self) -> None:
        """Listen. Raises EffectError if another daemon already does, or the directory does not let us."""
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name, mode in ((CLIENT, 0o660), (ADMIN, 0o600)):
                await self._listen(name, mode)
        except OSError as error:
            await self.close()
            raise EffectError(f"control sockets in {self._directory}", error.strerror or str(error)) from None
        except EffectError:
            await self.close()
            raise

    async def _listen(self, name: str, mode: int) -> None:
        path = self._directory / name
        if somebody_listens(path):
            raise EffectError(f"control socket {path}", "another daemon listens there")
        listener = self._bind(path, mode)
        self._listeners.append(asyncio.get_running_loop().create_task(self._accept(listener, name)))

    async def _accept(self, listener: socket.socket, name: str) -> None:
        """Take connections, one at a time, until the server is closed."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    ours, _ = await loop.sock_accept(listener)
                    await loop.connect_accepted_socket(lambda: Connection(self, name), ours)
                except OSError as error:
                    self.handler.note("control-full", {"why": error.strerror or str(error)})
                    await asyncio.sleep(ACCEPT_FAILED_S)
                if name == CLIENT:
                    await asyncio.sleep(ACCEPT_REST_S)

    def _bind(self, path: Path, mode: int) -> socket.socket:
        """A listening socket that appears at `path` with its final owner and mode, in place of a stale one."""
        private = self._directory / PRIVATE
        shutil.rmtree(private, ignore_errors=True)
        private.mkdir(mode=0o700)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            new = private / path.name
            listener.bind(str(new))
            new.chmod(mode)
            if mode & 0o070 and self._gid is not None:
                os.chown(new, -1, self._gid)
            listener.listen(CONNECTIONS)
            listener.setblocking(False)
            new.rename(path)
        except OSError:
            listener.close()
            raise
        finally:
            shutil.rmtree(private, ignore_errors=True)
        found = path.stat()
        self._made[path] = (found.st_dev, found.st_ino)
        return listener

    async def close(self) -> None:
        """Hang up on everybody and remove the socket files that are still ours."""
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        for connection in list(self._connections):
            connection.hang_up()
        self.readers.close()
        for path, made in self._made.items():
            with contextlib.suppress(OSError):
                found = path.lstat()
                if (found.st_dev, found.st_ino) == made:
                    path.unlink()
        self._listeners.clear()
        self._made.clear()
        await asyncio.sleep(0)

    def admit(self, connection: "Connection") -> bool:
        """Whether there is room for one more connection."""
        if not connection.peer.privileged:
            if not self.readers.admit(connection):
                return False
        elif sum(each.peer.privileged for each in self._connections) >= CONNECTIONS:
            self.handler.note("control-full", {"connections": str(CONNECTIONS)})
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: "Connection") -> None:
        """The connection has ended."""
        self._connections.discard(connection)
        self.readers.forget(connection)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: ControlServer, name: str) -> None:
        self._server, self._name = server, name
        self._decoder = Decoder()
        self._unsent: deque[bytes | memoryview] = deque()
        self.since = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused = False
        self._later, self._queued, self._ending = b"", False, False
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=UNSENT)
        ours = transport.get_extra_info("socket")
        pid, uid, gid = PEERCRED.unpack(ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEERCRED.size))
        self.peer = Peer(pid, uid, gid, self._name)
        self.uid = uid
        if not self.peer.privileged:
            self._decoder = Decoder(FRAME_MOST)
        if not self._server.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        for task in self._tasks:
            task.cancel()

    @property
    def busy(self) -> bool:
        """It has asked and waits, or does not read."""
        return self._queued or bool(self._tasks or self._unsent or self._paused)

    @property
    def unread(self) -> bytes | None:
        """If it does not read: the text of its answer, as far as it is held here. Else None."""
        return self._answer if self._unsent or self._paused else None

    def data_received(self, data: bytes) -> None:
        if not self.peer.privileged:
            self._transport.pause_reading()
            self._later = data
            self._wait()
            return
        while not self._transport.is_closing() and not self._ending:
            try:
                for frame in self._decoder.feed(data):
                    self._asked(*request_of(frame))
                return
            except FrameError as error:
                self._unreadable(error)
                data = b""

    def _unreadable(self, error: FrameError) -> None:
        """Answer what is no request, too; what follows it may be one."""
        self._tell("control-bad-frame", why=str(error))
        self._send({"id": error.number, "error": {"code": "bad-frame", "text": str(error)}})
        if error.ends:
            self._ending = True
            self._transport.pause_reading()
            self._end()

    def _end(self) -> None:
        """Nothing more can be read: hang up as soon as everything is answered."""
        if not self._tasks:
            self._transport.close()

    def turn(self) -> None:
        """A reader's next request; when there is none, it may say more."""
        self._queued = False
        if self._transport.is_closing() or self._ending or self.busy:
            return
        data, self._later = self._later, b""
        try:
            frame = next(self._decoder.feed(data), None)
            if frame is None:
                self._transport.resume_reading()
            else:
                self._asked(*request_of(frame))
                if not self._tasks:
                    self._go_on()
        except FrameError as error:
            self._unreadable(error)
            self._go_on()

    def _go_on(self) -> None:
        """Its last answer is on its way: the next turn may be its own."""
        if not (self.peer.privileged or self.busy or self._ending or self._transport.is_closing()):
            self._wait()

    def _wait(self) -> None:
        """For this reader's next turn."""
        self._queued, self.since = True, time.monotonic()
        self._server.readers.ready(self)

    def _asked(self, number: int, verb: str, args: Frame) -> None:
        """Refuse at once what must be; give the rest a task."""
        refusal = self._refusal(verb)
        if refusal:
            self._send({"id": number, "error": _error(refusal)})
            return
        task = asyncio.get_running_loop().create_task(self._carry_out(number, verb, args))
        self._tasks.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._ending:
            self._end()
        self._go_on()

    def _refusal(self, verb: str) -> RequestRefused | None:
        if verb not in VERBS:
            return RequestRefused("unknown-verb", f"this daemon does not know {shown(verb)}")
        if VERBS[verb] == ADMIN and not self.peer.admin:
            return RequestRefused("not-permitted", f"{verb} is for root on the admin socket")
        if len(self._tasks) >= REQUESTS:
            return RequestRefused("busy", f"{REQUESTS} requests of this connection are not answered yet")
        return None

    async def _carry_out(self, number: int, verb: str, args: Frame) -> None:
        def progress(fields: Frame) -> None:
            self._send({"id": number, "progress": fields})

        handler = self._server.handler
        try:
            if not self.peer.privileged:
                text = await self._for_readers(verb, args)
                self._write(*answer_of(number, text), answer=text)
                return
            if verb == "status":
                answer = {"ok": handler.status()}
            else:
                answer = {"ok": await handler.request(verb, args, progress, self.peer)}
        except CorolistenerError as error:
            answer = {"error": _error(error)}
        except Exception as error:  # noqa: BLE001 - one request must not end the daemon; the log gets what happened
            self._tell("control-error", verb=verb, why=repr(error))
            answer = {"error": {"code": "internal", "text": f"{verb} failed inside the daemon; its log says why"}}
        self._send({"id": number, **answer})

    async def _for_readers(self, verb: str, args: Frame) -> bytes:
        """The answer that all readers get who ask so, as text. The loop's time for it is taken from all readers' share."""
        handler, spent = self._server.handler, Spent()

        async def make() -> Frame:
            if verb == "status":
                return handler.status()
            return await handler.request(verb, args, lambda fields: None, self.peer)

        try:
            return await spent.of(self._server.snapshots.answer(verb, args, make))
        finally:
            self._server.readers.rest(spent.seconds)

    def _send(self, frame: Frame) -> None:
        """Write a frame now, or queue it for a client that is slow; hang up on one that does not read at all."""
        if self._transport.is_closing():
            return
        try:
            data = encode(frame)
        except FrameError as error:
            data = encode({"id": frame["id"], "error": {"code": "too-big", "text": str(error)}})
        if not self.peer.privileged:
            self._write(data, answer=data)
        elif not self._paused:
            self._transport.write(data)
        elif len(self._unsent) < QUEUED:
            self._unsent.append(data)
        else:
            self._tell("control-slow", queued=str(QUEUED))
            self.hang_up()

    def _write(self, *frame: bytes, answer: bytes) -> None:
        """To a reader, piece by piece: what it does not take costs it its connection, and us one piece."""
        if self._transport.is_closing():
            return
        for data in frame:
            view = memoryview(data)
            self._unsent.extend(view[at : at + PIECE] for at in range(0, len(data), PIECE))
        self._answer = answer
        if not self._paused:
            self.resume_writing()
        if self._unsent:
            self._server.readers.holds()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused, self.since = False, time.monotonic()
        while self._unsent and not self._paused:
            self._transport.write(self._unsent.popleft())
        if not self._unsent:
            self._answer = b""
        if not self._paused and not self._tasks:
            self._go_on()

    def hang_up(self) -> None:
        """End the connection without waiting for the client to read."""
        self._unsent.clear()
        self._answer = b""
        self._transport.abort()

    def _tell(self, code: str, **fields: str) -> None:
        note = self._server.handler.note if self.peer.privileged else self._server.readers.note
        note(code, {"pid": str(self.peer.pid), "uid": str(self.peer.uid), **fields})


def _error(error: CorolistenerError) -> dict[str, str]:
    code = error.code if isinstance(error, RequestRefused) else "failed"
    return {"code": code, "text": one_line(str(error))}


def somebody_listens(path: Path) -> bool:
    """Whether a process accepts connections at this socket file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its backlog is full: somebody is there, and busy
            return True
        except OSError:
            return False
    return True


def group_id(group: str) -> int | None:
    """The number of a group, None for "". Raises ConfigError if there is no such group."""
    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        raise ConfigError("[control] group", 0, f"there is no group {group!r} on this machine") from None
