"""Many connections of one program to the daemon's sockets: each request has to be answered once, clearly and in time."""

import os
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corolistener.client import connect_admin
from corolistener.daemon.readers import FRAME_MOST
from corolistener.wire.control import ADMIN, CLIENT, MOST, Decoder

from .model import Model, Sent

PLACES = {"admin": (ADMIN, 12), "hook": (CLIENT, 4), "reader": (CLIENT, 4)}
"""Who asks: on which socket, and over how many connections. A reader is a process of another user."""
AT_ONCE = {"admin": 12, "hook": 12, "reader": 2}
"""Requests of a connection that are not answered yet."""
LATE_S = 120.0
"""An answer that has not come in this time does not come: no verb waits longer than 10 s; a busy machine needs more."""
TEXT_MOST = 2000
"""Characters of an error's text."""
STATUS_EVERY = 2000
NOBODY = 65534
READER = """
import socket, sys
over = socket.socket(fileno=int(sys.argv[1]))
while over.recv(1):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.connect(sys.argv[2])
    socket.send_fds(over, [b"1"], [one.fileno()])
    one.close()
"""


class Wrong(AssertionError):
    """The daemon did not answer as it must."""


class Readers:
    """Connections of a user without privileges: a process of that user makes them and hands them over."""

    def __init__(self, path: Path) -> None:
        self._over, theirs = socket.socketpair()
        inside = os.open(path.parent, os.O_PATH)  # a test's directory may be inside one that is root's alone
        argv = [sys.executable, "-c", READER, str(theirs.fileno()), f"/proc/self/fd/{inside}/{path.name}"]
        descriptors = [theirs.fileno(), inside]
        self._process = subprocess.Popen(argv, pass_fds=descriptors, user=NOBODY, group=NOBODY, extra_groups=[])
        theirs.close()
        os.close(inside)

    def connect(self) -> socket.socket:
        self._over.sendall(b"1")
        _, (descriptor,), _, _ = socket.recv_fds(self._over, 1, 1)
        return socket.socket(fileno=descriptor)

    def close(self) -> None:
        self._over.close()
        self._process.wait(60)


@dataclass
class Line:
    """One connection, with what is not answered yet, and the bytes of requests that the kernel has not taken."""

    who: str
    socket: socket.socket
    decoder: Decoder = field(default_factory=lambda: Decoder(1 << 26))
    unsent: bytes = b""
    waits: int = 0
    ends: bool = False
    torn: bool = False
    since: float = field(default_factory=time.monotonic)
    last: bytes = b""


class Asker:
    """`run` sends requests of the model and judges what comes back. `codes` counts the answers."""

    def __init__(self, run_dir: Path, seed: int) -> None:
        self.run_dir, self.model = run_dir, Model(seed)
        self.sent = self.answered = 0
        self.codes: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._numbers = 0
        self._selector = selectors.DefaultSelector()
        self._readers: Readers | None = None
        self._lines: list[Line] = []

    def open(self) -> None:
        """Connect. Readers are there only if this process may make one."""
        if os.geteuid() == 0:
            self._readers = Readers(self.run_dir / CLIENT)
        for who, (_, many) in PLACES.items():
            for _ in range(many if who != "reader" or self._readers else 0):
                self._connect(who)

    def _connect(self, who: str) -> None:
        if who == "reader":
            assert self._readers is not None
            one = self._readers.connect()
        else:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.connect(str(self.run_dir / PLACES[who][0]))
        one.setblocking(False)
        line = Line(who, one)
        self._lines.append(line)
        self._selector.register(one, selectors.EVENT_READ, line)

    def _end(self, line: Line) -> None:
        self._selector.unregister(line.socket)
        line.socket.close()
        self._lines.remove(line)

    def close(self) -> None:
        for line in list(self._lines):
            self._end(line)
        self._selector.close()
        if self._readers is not None:
            self._readers.close()

    def run(self, requests: int, look: Callable[[], None] = lambda: None) -> None:
        """So many requests, each answered; `look` is called now and then. Raises Wrong."""
        end, looked = self.sent + requests, time.monotonic()
        while self.sent < end or any(line.waits for line in self._lines):
            for line in list(self._lines):
                while self.sent < end and line.waits < AT_ONCE[line.who] and not line.ends and not line.unsent:
                    self._ask(line)
            for key, _ in self._selector.select(0.2):
                self._heard(key.data)
            if time.monotonic() > looked + 1:
                looked = time.monotonic()
                self._late()
                self._status()
                look()

    def _ask(self, line: Line) -> None:
        self._numbers += 1
        self.sent += 1
        sent = self.model.request(self._numbers, FRAME_MOST if line.who == "reader" else MOST, line.who == "admin")
        line.since = time.monotonic() if not line.waits else line.since
        line.waits, line.ends, line.last = line.waits + sent.answered, sent.ends, sent.data
        line.torn = not sent.answered
        line.unsent = sent.data
        self._flush(line, sent)

    def _flush(self, line: Line, sent: Sent | None = None) -> None:
        try:
            line.unsent = line.unsent[line.socket.send(line.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            line.unsent = b""  # the daemon has read enough of it to hang up
        if line.ends and not line.unsent:
            try:
                line.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.unsent else 0)
        self._selector.modify(line.socket, events, line)

    def _heard(self, line: Line) -> None:
        if line.unsent:
            self._flush(line)
        try:
            data = line.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        for frame in line.decoder.feed(data):
            if "progress" not in frame:
                self._judge(line, frame)
        if not data:
            if (line.waits and not line.torn) or not line.ends:
                raise Wrong(f"{line.who}: hung up on, {line.waits} requests not answered, after {_shown(line.last)}")
            self._end(line)
            self._connect(line.who)

    def _judge(self, line: Line, frame: dict[str, Any]) -> None:
        line.waits -= 1
        self.answered += 1
        line.since, took = time.monotonic(), time.monotonic() - line.since
        self.slowest_s = max(self.slowest_s, took)
        if line.waits < 0:
            raise Wrong(f"{line.who}: more answers than requests: {frame}")
        if "error" not in frame:
            self.codes["ok"] += 1
            return
        code, text = frame["error"]["code"], frame["error"]["text"]
        self.codes[code] += 1
        if not text or not text.isprintable() or len(text) > TEXT_MOST or code == "internal":
            raise Wrong(f"{line.who}: no clear answer: {frame} after {_shown(line.last)}")

    def _late(self) -> None:
        for line in self._lines:
            if line.waits and time.monotonic() > line.since + LATE_S:
                raise Wrong(f"{line.who}: {line.waits} requests not answered for {LATE_S:g} s, the last: {_shown(line.last)}")

    def _status(self) -> None:
        """The decision goes on: the lease is there, and who asks is answered."""
        with connect_admin(str(self.run_dir), LATE_S) as daemon:
            status = daemon.status()
        if not status["lease"]["valid"] or not status["quorate"] or status["mode"] != "running":
            raise Wrong(f"the decision does not go on: {status}")


def _shown(data: bytes) -> str:
    return ascii(data[:300]) + f" ({len(data)} bytes)"
