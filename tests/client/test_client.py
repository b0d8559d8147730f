"""The client library against the real server, and against servers that misbehave."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daemon.serving import STATUS, Told, serving

import corolistener.client
from corolistener.client import Client, ClientError, RequestRefused
from corolistener.errors import CorolistenerError
from corolistener.wire.control import encode


@pytest.fixture
def handler() -> Told:
    return Told()


@pytest.fixture
def run_dir(tmp_path: Path, handler: Told) -> Iterator[str]:
    with serving(str(tmp_path), handler):
        yield str(tmp_path)


@contextmanager
def answering(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does one thing to one client."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener.accept()[0] as client:
            answer(client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(path)
    finally:
        thread.join(30)
        listener.close()


def test_status(run_dir: str) -> None:
    with corolistener.client.connect(run_dir=run_dir) as daemon:
        assert daemon.status() == STATUS
        assert daemon.status() == STATUS


def test_a_request_that_cannot_be_read_is_refused_though_its_answer_has_no_id(run_dir: str) -> None:
    with corolistener.client.connect(run_dir=run_dir) as daemon:
        daemon._last = 2**53
        with pytest.raises(RequestRefused) as found:
            daemon.status()
        assert found.value.code == "bad-frame"


def test_a_request_with_progress(run_dir: str, handler: Told) -> None:
    async def answer(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
        progress({"code": "offered", "version": 8})
        return {"verb": verb, "args": args}

    handler.answer = answer
    seen: list[dict[str, Any]] = []
    with corolistener.client.connect_admin(run_dir) as daemon:
        got = daemon.request("node-add", {"address": "10.0.0.4"}, seen.append)
        assert daemon.request("join-token") == {"verb": "join-token", "args": {}}
    assert got == {"verb": "node-add", "args": {"address": "10.0.0.4"}}
    assert seen == [{"code": "offered", "version": 8}]


def test_a_refusal_carries_its_code(run_dir: str) -> None:
    with corolistener.client.connect(run_dir) as daemon:
        with pytest.raises(RequestRefused, match="root on the admin socket") as refused:
            daemon.request("config-revert", {"version": 1})
        assert refused.value.code == "not-permitted"
        assert daemon.status()["role"] == "master"


def test_an_exception_of_the_callback_is_its_own(run_dir: str, handler: Told) -> None:
    async def answer(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
        progress({"code": "offered"})
        return {}

    def broken(_: dict[str, Any]) -> None:
        raise BrokenPipeError("stdout is gone")

    handler.answer = answer
    with corolistener.client.connect_admin(run_dir) as daemon, pytest.raises(BrokenPipeError):
        daemon.request("join-token", {}, broken)


def test_without_a_daemon(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"no daemon at .*; start it with"):
        corolistener.client.connect(str(tmp_path))
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(tmp_path / "client"))
    stale.close()
    with pytest.raises(CorolistenerError, match="no daemon at"):
        corolistener.client.connect(str(tmp_path))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda client: client.recv(100), "hung up"),
        (lambda client: (client.recv(100), client.sendall(struct.pack(">I", 3) + b"[1]")), "instead of an object"),
        (lambda client: (client.recv(100), client.sendall(encode({"id": 1}))), "neither ok nor error"),
        (lambda client: (client.recv(100), client.sendall(encode({"id": 9, "ok": {}}))), "hung up"),
        (lambda client: (client.recv(100), client.sendall(b"\0\0")), "hung up"),
    ],
)
def test_a_server_that_misbehaves_is_a_client_error(tmp_path: Path, answer: Any, why: str) -> None:
    with answering(tmp_path / "s", answer) as path, pytest.raises(ClientError, match=why):
        Client(path).status()


def test_a_silent_daemon_does_not_hang_its_clients(tmp_path: Path) -> None:
    asked = threading.Event()
    with answering(tmp_path / "s", lambda _: asked.wait(30)) as path:
        with pytest.raises(ClientError, match=r"says nothing for 0\.1 s"):
            Client(path, timeout_s=0.1).status()
        asked.set()


def test_a_request_that_is_too_big_is_not_sent(run_dir: str) -> None:
    with corolistener.client.connect_admin(run_dir) as daemon, pytest.raises(ClientError, match="at most"):
        daemon.request("config-push", {"text": "x" * (1 << 20)})
