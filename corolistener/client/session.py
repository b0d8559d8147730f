"""One conversation with the daemon over one of its sockets. For example:

with corolistener.client.connect() as daemon:
    print(daemon.status()["master"])
"""

from __future__ import annotations

import os
import socket
import time

from corolistener.errors import CorolistenerError, RequestRefused
from corolistener.wire.control import ADMIN, CLIENT, RUN_DIRECTORY, Decoder, FrameError, encode

TYPE_CHECKING = False  # importing typing takes longer than asking the daemon
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

SILENCE_S = 5.0
"""How long the daemon may say nothing before it counts as stuck."""
READ = 1 << 16
AGAIN_S = 0.01
"""Between two tries to connect, while the daemon has many connections to take."""


class ClientError(CorolistenerError):
    """The daemon cannot be asked, or does not answer as it should. `why` says what to look at."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


def connect(run_dir: str = RUN_DIRECTORY, timeout_s: float = SILENCE_S) -> Client:
    """A session on the client socket, for who may read. Raises ClientError."""
    return Client(f"{run_dir}/{CLIENT}", timeout_s)


def connect_to_read(run_dir: str = RUN_DIRECTORY, timeout_s: float = SILENCE_S) -> Client:
    """A session for a program that only reads: root's never waits behind those of others. Raises ClientError."""
    return (connect_admin if os.geteuid() == 0 else connect)(run_dir, timeout_s)


def connect_admin(run_dir: str = RUN_DIRECTORY, timeout_s: float = SILENCE_S) -> Client:
    """A session on the admin socket, for root. Raises ClientError."""
    return Client(f"{run_dir}/{ADMIN}", timeout_s)


class Client:
    """A session; a context manager; for one thread at a time. After a ClientError it is closed."""

    def __init__(self, path: str, timeout_s: float = SILENCE_S) -> None:
        """Connect to the socket at `path`; no answer may be `timeout_s` seconds late. Raises ClientError."""
        self.path, self.timeout_s = path, timeout_s
        self._last = 0
        self._decoder = Decoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._connect(path)
        except OSError as error:
            self.close()
            raise ClientError(_explain(path, error)) from None

    def _connect(self, path: str) -> None:
        """Wait for a place in the daemon's queue as for an answer."""
        end = time.monotonic() + self.timeout_s
        while True:
            try:
                self._socket.connect(path)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise TimeoutError(0, "the daemon takes no connection") from None
                time.sleep(AGAIN_S)
            else:
                return

    def status(self) -> dict[str, Any]:
        """What the daemon knows; keys in wire/control.py. Raises ClientError."""
        return self.request("status")

    def request(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Ask and wait for the answer; `on_progress` is called with each progress on the way.

        Raises RequestRefused with the daemon's code and text, ClientError if there is no answer to be had.
        """
        self._last += 1
        self._send({"id": self._last, "verb": verb, "args": args or {}})
        for frame in self._frames():
            if frame.get("id") not in (self._last, None):  # null: the daemon could not read the request
                continue
            if "progress" not in frame:
                return self._answer(frame)
            if on_progress:
                on_progress(frame["progress"])
        raise self._failed("the daemon hung up")

    def _send(self, frame: dict[str, Any]) -> None:
        try:
            self._socket.sendall(encode(frame))
        except (OSError, FrameError) as error:
            raise self._failed(self._words(error)) from None

    def _frames(self) -> Iterator[dict[str, Any]]:
        """Frames as they come, what an earlier request left first; ends when the daemon hangs up."""
        data = b""
        while True:
            try:
                yield from self._decoder.feed(data)
                data = self._socket.recv(READ)
            except (OSError, FrameError) as error:
                raise self._failed(self._words(error)) from None
            if not data:
                return

    def _answer(self, frame: dict[str, Any]) -> dict[str, Any]:
        """The good answer of a final frame. Raises RequestRefused for the other one, ClientError for neither."""
        ok, error = frame.get("ok"), frame.get("error")
        if isinstance(ok, dict):
            return ok
        if isinstance(error, dict):
            raise RequestRefused(str(error.get("code", "")), str(error.get("text", "")))
        raise self._failed("an answer that is neither ok nor error")

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"the daemon says nothing for {self.timeout_s:g} s"
        return getattr(error, "strerror", None) or str(error)

    def _failed(self, why: str) -> ClientError:
        self.close()
        return ClientError(f"{self.path}: {why}")

    def close(self) -> None:
        """Hang up; also twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _explain(path: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{path}: permission denied; be root, or for what only reads in the group of [control] group"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no daemon at {path}; start it with `systemctl start corolistener`"
    return f"{path}: {error.strerror or error}"
