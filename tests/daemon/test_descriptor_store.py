"""systemd's store of descriptors: a real socket, real descriptors, and a program that is started again and again."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corolistener.daemon.sdnotify import FIRST, Notifier, take_kept

LIMIT_S = 60
FAR = 100
"""Descriptors to be passed wait here, so that none takes the place of another."""
TOP = Path(__file__).resolve().parents[2]

# One life of a program: what it was given, then what it does with it. It ends when its stdin does.
LIFE = """
import os, sys
from corolistener.daemon.sdnotify import Notifier, take_kept
kept, notifier, deed = take_kept(("watchdog",)), Notifier(), sys.argv[1]
left = sorted(name for name in os.environ if name.startswith("LISTEN_"))
inherited = os.system(f"test -e /proc/self/fd/{kept.get('watchdog', 99)}") == 0
print(sorted(kept), left, inherited, flush=True)
if deed == "keep":
    writing = os.open(sys.argv[2], os.O_WRONLY)
    print(notifier.keep("watchdog", writing), flush=True)
elif deed == "forget":
    print(notifier.forget("watchdog"), flush=True)
sys.stdin.read()
"""


class Systemd:
    """systemd's side of it, as sd_notify(3) and sd_listen_fds(3) have it: a socket, a store, and units that are started."""

    def __init__(self, path: Path, most: int = 1) -> None:
        self.path, self.most = path, most
        self.store: list[tuple[str, int]] = []
        self.heard: list[str] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listening.bind(str(path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._listening, 4096, 8)
            if data == b"":
                return
            self.heard.append(data.decode())
            fields = dict(line.split("=", 1) for line in data.decode().splitlines())
            if fields.get("FDSTORE") == "1" and len(self.store) < self.most:
                self.store += [(fields["FDNAME"], descriptor) for descriptor in descriptors]
                continue
            if fields.get("FDSTOREREMOVE") == "1":
                gone = [entry for entry in self.store if entry[0] == fields["FDNAME"]]
                self.store = [entry for entry in self.store if entry not in gone]
                descriptors = [*descriptors, *(descriptor for _, descriptor in gone)]
            for descriptor in descriptors:  # BARRIER=1: to close it is the answer
                os.close(descriptor)

    def start(self, deed: str, *args: str, more: tuple[tuple[str, int], ...] = ()) -> "subprocess.Popen[str]":
        """Start the program with what is in the store at 3, 4 …, and LISTEN_PID its own pid."""
        passed = [*self.store, *more]
        far = [os.dup2(descriptor, FAR + index) for index, (_, descriptor) in enumerate(passed)]
        moves = " ".join(f"{FIRST + index}<&{each} {each}<&-" for index, each in enumerate(far))
        environment = os.environ | {"NOTIFY_SOCKET": str(self.path), "PYTHONPATH": str(TOP)}
        if passed:
            environment |= {"LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": ":".join(name for name, _ in passed)}
        shell = f'export LISTEN_PID=$$; exec "$@" {moves}'
        running = subprocess.Popen(
            ["bash", "-c", shell, "unit", sys.executable, "-c", LIFE, deed, *args],
            env=environment, pass_fds=far, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for each in far:
            os.close(each)
        return running

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join(LIMIT_S)
        self._listening.close()
        for _, descriptor in self.store:
            os.close(descriptor)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    manager = Systemd(tmp_path / "notify")
    yield manager
    manager.close()


def end(running: "subprocess.Popen[str]", lines: int = 2) -> list[str]:
    """What it said first; then it was killed."""
    assert running.stdout is not None
    said = [running.stdout.readline().strip() for _ in range(lines)]
    running.kill()
    running.communicate(timeout=LIMIT_S)
    return said


def test_a_descriptor_outlives_two_processes_and_is_let_go(systemd: Systemd, tmp_path: Path) -> None:
    """The other end of a pipe sees it: it is at its end when nobody has the writing end any more, and not before."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert end(systemd.start("keep", str(pipe))) == ["[] [] False", "True"]
        assert systemd.heard[0] == "FDSTORE=1\nFDNAME=watchdog\nFDPOLL=0"
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
        assert end(systemd.start("look"), 1) == ["['watchdog'] [] False"]
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
        assert end(systemd.start("forget")) == ["['watchdog'] [] False", "True"]
        assert "FDSTOREREMOVE=1\nFDNAME=watchdog" in systemd.heard
        assert os.read(reading, 1) == b""
        assert end(systemd.start("look"), 1) == ["[] [] False"]
    finally:
        os.close(reading)


def test_others_and_doubles_are_closed(systemd: Systemd) -> None:
    """Whatever else is passed is not ours: nobody would ever close it."""
    ends = [os.pipe() for _ in range(3)]
    more = [(name, writing) for name, (_, writing) in zip(("socket", "watchdog", "watchdog"), ends, strict=True)]
    running = systemd.start("look", more=tuple(more))
    assert running.stdout is not None
    said = running.stdout.readline()
    for _, writing in ends:
        os.close(writing)
    os.set_blocking(ends[1][0], False)
    try:
        assert said == "['watchdog'] [] False\n"
        assert os.read(ends[0][0], 1) == os.read(ends[2][0], 1) == b""
        with pytest.raises(BlockingIOError):
            os.read(ends[1][0], 1)
    finally:
        running.kill()
        running.communicate(timeout=LIMIT_S)
        for reading, _ in ends:
            os.close(reading)


def test_what_was_passed_to_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are inherited by whoever is started by a unit; the descriptors are not."""
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "watchdog")
    assert take_kept(("watchdog",)) == {}
    assert "LISTEN_FDS" not in os.environ


def test_nobody_keeps_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not Notifier().keep("watchdog", 0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not Notifier().keep("watchdog", 0)
    assert not Notifier().forget("watchdog")
