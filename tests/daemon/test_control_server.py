"""The two sockets: who may ask, what a client can break, and what stays of it."""

import asyncio
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import corolistener
from corolistener.daemon.control import CONNECTIONS, REQUESTS, ControlServer
from corolistener.errors import ConfigError, EffectError, RequestRefused
from corolistener.wire.control import ADMIN, CLIENT, QUEUED, Decoder, encode
from daemon.serving import STATUS, Told, serving

LIMIT_S = 30


@pytest.fixture
def handler() -> Told:
    return Told()


@pytest.fixture
def run_dir(tmp_path: Path, handler: Told) -> Iterator[Path]:
    with serving(str(tmp_path / "run"), handler):
        yield tmp_path / "run"


class Raw:
    """A client that can say anything."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(path))
        self.decoder = Decoder()

    def send(self, *frames: dict[str, Any]) -> None:
        self.socket.sendall(b"".join(encode(frame) for frame in frames))

    def receive(self) -> dict[str, Any]:
        data = b""
        while True:
            for frame in self.decoder.feed(data):
                return frame
            data = self.socket.recv(65536)
            if not data:
                return {}

    def hung_up(self) -> bool:
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


def until(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return bool(found)


def test_the_sockets_have_their_final_modes_and_nothing_else_is_left(run_dir: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run_dir.iterdir()}
    assert modes == {CLIENT: 0o660, ADMIN: 0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to a group")
def test_the_client_socket_belongs_to_the_group_and_the_admin_socket_does_not(tmp_path: Path) -> None:
    with serving(str(tmp_path / "run"), Told(), group="adm"):
        assert (tmp_path / "run" / CLIENT).group() == "adm"
        assert (tmp_path / "run" / ADMIN).group() == "root"


def test_an_unknown_group_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no group 'no-such-group'"):
        ControlServer(str(tmp_path), "no-such-group", Told())


@pytest.mark.parametrize("name", [CLIENT, ADMIN])
def test_status_is_for_both_sockets(run_dir: Path, name: str) -> None:
    client = Raw(run_dir / name)
    client.send({"id": 5, "verb": "status"})
    assert client.receive() == {"id": 5, "ok": STATUS}


def test_an_admin_request_on_the_client_socket_is_not_permitted(run_dir: Path, handler: Told) -> None:
    client = Raw(run_dir / CLIENT)
    client.send({"id": 1, "verb": "node-remove", "args": {"id": 7}})
    answer = client.receive()
    assert (answer["id"], answer["error"]["code"]) == (1, "not-permitted")
    assert handler.asked == []


def test_an_unknown_verb_is_refused_and_the_connection_lives(run_dir: Path) -> None:
    client = Raw(run_dir / CLIENT)
    client.send({"id": 1, "verb": "dance"})
    assert client.receive()["error"]["code"] == "unknown-verb"
    client.send({"id": 2, "verb": "status"})
    assert client.receive()["id"] == 2


def test_progress_comes_before_the_answer(run_dir: Path, handler: Told) -> None:
    async def answer(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
        progress({"code": "offered", "version": 8})
        await asyncio.sleep(0)
        progress({"code": "stored"})
        return {"version": args["version"], "pid": peer.pid, "admin": peer.admin}

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.send({"id": 3, "verb": "config-revert", "args": {"version": 8}})
    assert [client.receive() for _ in range(3)] == [
        {"id": 3, "progress": {"code": "offered", "version": 8}},
        {"id": 3, "progress": {"code": "stored"}},
        {"id": 3, "ok": {"version": 8, "pid": os.getpid(), "admin": True}},
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestRefused("not-master", "there is no master"), "not-master"),
        (ConfigError("/etc/x", 3, "bad line"), "failed"),
        (ZeroDivisionError("oops"), "internal"),
    ],
)
def test_an_error_is_answered_and_the_connection_lives(run_dir: Path, handler: Told, error: Exception, code: str) -> None:
    async def answer(*_: Any) -> dict[str, Any]:
        raise error

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.send({"id": 1, "verb": "join-token"})
    assert client.receive()["error"]["code"] == code
    assert [note[0] for note in handler.notes] == (["control-error"] if code == "internal" else [])
    client.send({"id": 2, "verb": "status"})
    assert "ok" in client.receive()


def test_a_status_that_fails_is_answered_too(run_dir: Path, handler: Told) -> None:
    handler.reply = {"odd": object()}
    handler.status = lambda: 1 // 0  # type: ignore[method-assign,assignment,return-value]
    client = Raw(run_dir / CLIENT)
    client.send({"id": 1, "verb": "status"})
    assert client.receive()["error"]["code"] == "internal"


def test_an_answer_over_the_limit_becomes_an_error(run_dir: Path, handler: Told) -> None:
    handler.reply = {"text": "x" * (1 << 20)}
    client = Raw(run_dir / CLIENT)
    client.send({"id": 1, "verb": "status"})
    assert client.receive()["error"]["code"] == "too-big"


@pytest.mark.parametrize(
    ("bytes_", "number", "why"),
    [
        (struct.pack(">I", 3) + b"{]}", None, "not JSON"),
        (struct.pack(">I", 0), None, "not JSON"),
        (struct.pack(">I", 2) + b"[]", None, "a list instead of an object"),
        (encode({"verb": "status"}), None, "without a whole number as id"),
        (encode({"id": "1", "verb": "status"}), None, "without a whole number as id"),
        (struct.pack(">I", 5025) + b'{"id":' + b"9" * 5000 + b',"verb":"status"}  ', None, "without a whole number as id"),
        (encode({"id": 7, "verb": 1}), 7, "without a verb"),
        (encode({"id": 7, "verb": "status", "args": []}), 7, "args are no object"),
    ],
)
def test_what_is_no_request_is_answered_and_the_connection_lives(
    run_dir: Path, handler: Told, bytes_: bytes, number: int | None, why: str
) -> None:
    client = Raw(run_dir / CLIENT)
    client.socket.sendall(bytes_ + encode({"id": 8, "verb": "status"}))
    answer = client.receive()
    assert (answer["id"], answer["error"]["code"]) == (number, "bad-frame")
    assert why in answer["error"]["text"]
    assert client.receive() == {"id": 8, "ok": STATUS}
    assert [note[0] for note in handler.notes] == ["control-bad-frame"]
    assert handler.notes[0][1]["pid"] == str(os.getpid())


@pytest.mark.parametrize("bytes_", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">I", 1 << 21)])
def test_a_frame_that_is_too_long_ends_that_connection_only(run_dir: Path, handler: Told, bytes_: bytes) -> None:
    other, bad = Raw(run_dir / CLIENT), Raw(run_dir / CLIENT)
    bad.socket.sendall(bytes_)
    answer = bad.receive()
    assert (answer["id"], answer["error"]["code"]) == (None, "bad-frame")
    assert bad.hung_up()
    assert [note[0] for note in handler.notes] == ["control-bad-frame"]
    other.send({"id": 1, "verb": "status"})
    assert other.receive()["id"] == 1


def test_what_was_asked_before_a_frame_that_is_too_long_is_answered(run_dir: Path, handler: Told) -> None:
    async def answer(*_: Any) -> dict[str, Any]:
        await asyncio.sleep(0.2)
        return {"in_force": True}

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.socket.sendall(encode({"id": 1, "verb": "recover"}) + struct.pack(">I", 1 << 21) + b"{}" * 10)
    assert client.receive()["error"]["code"] == "bad-frame"
    assert client.receive() == {"id": 1, "ok": {"in_force": True}}
    assert client.hung_up()


def test_the_words_of_a_client_come_back_on_one_line(run_dir: Path, handler: Told) -> None:
    async def answer(verb: str, args: dict[str, Any], *_: Any) -> dict[str, Any]:
        raise RequestRefused("unknown-vm", f"no managed vm is named {args['vm']}")

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.send({"id": 1, "verb": "vm-stop", "args": {"vm": "a\n\x1b[2Jb\ud800"}})
    assert client.receive()["error"]["text"] == "no managed vm is named a??[2Jb?"


def test_a_request_in_pieces_is_understood(run_dir: Path) -> None:
    client = Raw(run_dir / CLIENT)
    for byte in encode({"id": 1, "verb": "status"}):
        client.socket.sendall(bytes([byte]))
    assert client.receive()["id"] == 1


def test_a_client_that_does_not_read_is_disconnected_and_noted(run_dir: Path, handler: Told) -> None:
    gone = threading.Event()
    sent = 0

    async def answer(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
        nonlocal sent
        try:
            while True:
                progress({"code": "stored", "why": "x" * 10_000})
                sent += 1
                await asyncio.sleep(0)
        finally:
            gone.set()

    handler.answer = answer
    slow, other = Raw(run_dir / ADMIN), Raw(run_dir / CLIENT)
    slow.send({"id": 1, "verb": "config-push", "args": {"text": ""}})
    assert gone.wait(LIMIT_S)
    assert [note[0] for note in handler.notes] == ["control-slow"]
    assert QUEUED < sent < 4 * QUEUED
    other.send({"id": 1, "verb": "status"})
    assert other.receive()["id"] == 1


def test_a_slow_client_that_reads_in_time_gets_everything_in_order(run_dir: Path, handler: Told) -> None:
    async def answer(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
        for number in range(100):
            progress({"code": "stored", "number": number, "why": "x" * 10_000})
        return {}

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.send({"id": 1, "verb": "config-push", "args": {"text": ""}})
    numbers, decoder = [], client.decoder
    while len(numbers) < 101:
        for frame in decoder.feed(client.socket.recv(4096)):
            numbers.append(frame["progress"]["number"] if "progress" in frame else "done")
    assert numbers == [*range(100), "done"]


def test_hanging_up_cancels_what_was_asked(run_dir: Path, handler: Told) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def answer(*_: Any) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.send({"id": 1, "verb": "join-token"})
    assert begun.wait(LIMIT_S)
    client.socket.close()
    assert cancelled.wait(LIMIT_S)


def test_too_many_unanswered_requests_are_refused(run_dir: Path, handler: Told) -> None:
    async def answer(*_: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    handler.answer = answer
    client = Raw(run_dir / ADMIN)
    client.send(*({"id": number, "verb": "join-token"} for number in range(REQUESTS + 1)))
    refused = client.receive()
    assert (refused["id"], refused["error"]["code"]) == (REQUESTS, "busy")


def test_one_connection_too_many_is_hung_up_on(run_dir: Path, handler: Told) -> None:
    clients = [Raw(run_dir / CLIENT) for _ in range(CONNECTIONS)]
    clients[-1].send({"id": 1, "verb": "status"})
    assert clients[-1].receive()["id"] == 1
    assert Raw(run_dir / CLIENT).hung_up()
    assert [note[0] for note in handler.notes] == ["control-full"]
    clients.pop().socket.close()

    def admitted() -> bool:
        late = Raw(run_dir / CLIENT)
        try:
            late.send({"id": 1, "verb": "status"})
            return bool(late.receive())
        except OSError:
            return False

    assert until(admitted)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(tmp_path / "run" / CLIENT))
    stale.close()
    (tmp_path / "run" / ".control").mkdir()
    (tmp_path / "run" / ".control" / "leftover").touch()
    with serving(str(tmp_path / "run"), Told()):
        client = Raw(tmp_path / "run" / CLIENT)
        client.send({"id": 1, "verb": "status"})
        assert client.receive()["id"] == 1


def test_a_second_daemon_is_refused_and_the_first_keeps_its_sockets(run_dir: Path) -> None:
    with pytest.raises(EffectError, match="another daemon listens"), serving(str(run_dir), Told()):
        pass
    client = Raw(run_dir / CLIENT)
    client.send({"id": 1, "verb": "status"})
    assert client.receive()["id"] == 1


def test_closing_removes_the_sockets_but_not_those_of_a_successor(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with serving(str(run), Told()):
        (run / CLIENT).unlink()
        successor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        successor.bind(str(run / CLIENT))
    assert [path.name for path in run.iterdir()] == [CLIENT]
    successor.close()


def test_closing_hangs_up_on_everybody(tmp_path: Path) -> None:
    with serving(str(tmp_path / "run"), Told()):
        client = Raw(tmp_path / "run" / CLIENT)
        client.send({"id": 1, "verb": "status"})
        assert client.receive()["id"] == 1
    assert client.hung_up()


def test_a_directory_that_cannot_be_is_an_effect_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EffectError, match="control sockets in"), serving(str(tmp_path / "file" / "run"), Told()):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_not_even_the_admin_socket_obeys_somebody_else(run_dir: Path, handler: Told) -> None:
    """The mode keeps others out; credentials are looked at as well, for who was handed the socket."""
    for path in (run_dir, *run_dir.parents):
        if path.owner() == "root" and path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    (run_dir / ADMIN).chmod(0o666)
    script = f"""
import os, sys
os.setgid(65534); os.setuid(65534)
from corolistener.client import Client, RequestRefused
try:
    Client({str(run_dir / ADMIN)!r}).request("join-token")
except RequestRefused as error:
    sys.exit(0 if error.code == "not-permitted" else 3)
"""
    root = str(Path(corolistener.__file__).parents[1])
    code = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": root}, check=False).returncode
    assert code == 0
    assert handler.asked == []
