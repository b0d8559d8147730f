"""Programs without privileges: many that ask, many that do not read, many that are idle; root is answered as if alone."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corolistener.client.session import Client
from corolistener.daemon.readers import FRAME_MOST, PLACES, PLACES_EACH, REST, SNAPSHOT_S, Readers
from corolistener.wire.control import ADMIN, CLIENT
from daemon.serving import STATUS, Told, serving

NOBODY, OTHER = 65534, 65533
VMS: dict[str, Any] = {"vms": [{"name": f"vm{number}" * 20} for number in range(500)], "more": None}
ASKERS = """
import sys, socket
from corolistener.wire.control import Decoder, encode
path, many, times, reads = sys.argv[1], *map(int, sys.argv[2:5])
clients = []
for _ in range(many):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    client.settimeout(60)
    clients.append((client, Decoder()))
print("connected", flush=True)
answers = ended = 0
for number in range(times):
    for client, _ in clients:
        try:
            client.sendall(encode({"id": number, "verb": "vms"}))
        except OSError:
            pass
    for client, decoder in clients if reads else ():
        found = None
        data = b""
        try:
            while (found := next(decoder.feed(data), None)) is None:
                if not (data := client.recv(65536)):
                    ended += 1
                    break
        except OSError:
            ended += 1
        answers += found is not None
print("answers", answers, flush=True)
sys.stdin.read()
"""


async def answer(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
    return VMS if verb == "vms" else {"in_force": True}


@pytest.fixture
def handler() -> Told:
    return Told(answer)


@pytest.fixture
def run_dir(handler: Told) -> Iterator[Path]:
    """Where everybody may enter: pytest's own directories are for root alone."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        with serving(f"{directory}/run", handler):
            yield Path(directory, "run")


@pytest.fixture
def crowd(run_dir: Path) -> Iterator[Any]:
    """Starts processes of a user with so many connections."""
    processes: list[subprocess.Popen[str]] = []

    def start(uid: int, many: int, times: int, reads: bool) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", ASKERS, str(run_dir / CLIENT), str(many), str(times), str(int(reads))]
        process = subprocess.Popen(argv, user=uid, group=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def root_is_answered(run_dir: Path) -> None:
    with Client(str(run_dir / ADMIN), 60) as root:
        assert root.request("panic", {"reason": "a test"}) == {"in_force": True}
        assert root.status() == STATUS
    with Client(str(run_dir / CLIENT), 60) as hook:
        assert hook.request("may-start", {"vm": "web"}) == {"in_force": True}


def test_many_who_ask_share_one_answer(run_dir: Path, handler: Told, crowd: Any) -> None:
    began = time.monotonic()
    process = crowd(NOBODY, PLACES_EACH, 30, True)
    root_is_answered(run_dir)
    assert said(process) == f"answers {30 * PLACES_EACH}\n"
    made = sum(verb == "vms" for verb, _ in handler.asked)
    assert 1 <= made <= (time.monotonic() - began) / SNAPSHOT_S + 1
    root_is_answered(run_dir)


def test_those_who_do_not_read_and_the_idle_take_no_place_of_root(run_dir: Path, handler: Told, crowd: Any) -> None:
    crowd(NOBODY, 40, 3, False)
    crowd(OTHER, 140, 0, False)
    crowd(NOBODY, 60, 3, False)
    root_is_answered(run_dir)
    with Client(str(run_dir / ADMIN), 60) as one, Client(str(run_dir / CLIENT), 60) as two:
        assert one.status() == two.status() == STATUS
    assert any(code == "control-full" for code, _ in handler.notes)
    assert len([code for code, _ in handler.notes if code == "control-full"]) < 20


def test_an_idle_one_makes_way_for_the_same_user(run_dir: Path, crowd: Any) -> None:
    crowd(NOBODY, PLACES, 0, False)
    asking = crowd(NOBODY, 1, 1, True)
    assert said(asking) == "answers 1\n"


def test_a_long_request_of_a_reader_is_refused(run_dir: Path, handler: Told) -> None:
    program = f"""
import socket, struct
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
client.settimeout(60)
client.connect({str(run_dir / CLIENT)!r})
client.sendall(struct.pack(">I", {FRAME_MOST} + 1))
print(client.recv(1000)[4:].decode())
try:
    print(client.recv(10) == b"")
except ConnectionResetError:
    print(True)
"""
    done = subprocess.run([sys.executable, "-c", program], user=NOBODY, group=0, capture_output=True, text=True, timeout=100)
    answer, ended = done.stdout.splitlines()
    assert '"id":null,"error":{"code":"bad-frame"' in answer
    assert ended == "True", done.stderr
    assert handler.noted.wait(30)
    assert [code for code, _ in handler.notes] == ["control-bad-frame"]


def test_pipelined_requests_are_answered_in_their_order(run_dir: Path) -> None:
    program = f"""
import socket
from corolistener.wire.control import Decoder, encode
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
client.settimeout(60)
client.connect({str(run_dir / CLIENT)!r})
verbs = ("vms", "status", "no-verb", "panic") * 10
client.sendall(b"".join(encode({{"id": number, "verb": verb}}) for number, verb in enumerate(verbs)))
decoder, found = Decoder(), []
while len(found) < 40:
    found += decoder.feed(client.recv(65536))
print([each["id"] for each in found] == list(range(40)), sum("ok" in each for each in found))
"""
    done = subprocess.run([sys.executable, "-c", program], user=NOBODY, group=0, capture_output=True, text=True, timeout=100)
    assert done.stdout == "True 20\n", done.stderr


class Asker:
    """A reader that only asks."""

    uid, since, busy = NOBODY, 0.0, False

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def turn(self) -> None:
        self.asked.set()

    def hang_up(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("waiting", [True, False])
def test_after_a_long_turn_readers_rest_whether_or_not_one_was_waiting(waiting: bool) -> None:
    async def story() -> None:
        readers, asker, took = Readers(lambda code, fields: None), Asker(), 0.02
        assert readers.admit(asker)
        if waiting:
            readers.ready(asker)
        began = asyncio.get_running_loop().time()
        readers.rest(took)
        if not waiting:
            readers.ready(asker)
        await asker.asked.wait()
        readers.close()
        assert asyncio.get_running_loop().time() >= began + REST * took

    asyncio.run(story())
