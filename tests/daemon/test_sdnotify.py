"""systemd's protocol, heard on a real socket as systemd would."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corolistener.daemon.sdnotify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd listens on, named in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@corolistener-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name[0] == "@" else name)
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def test_ready_status_watchdog_stopping(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "9000000")
    notifier = Notifier()
    assert notifier.watchdog_s == 3
    notifier.ready()
    notifier.status("master, quorate")
    notifier.status("master, quorate")
    notifier.feed()
    notifier.stopping()
    heard = [systemd.recv(4096).decode() for _ in range(4)]
    assert heard == [f"READY=1\nMAINPID={os.getpid()}", "STATUS=master, quorate", "WATCHDOG=1", "STOPPING=1"]


def test_a_watchdog_for_another_process_is_not_fed(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "9000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert Notifier().watchdog_s is None


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    silent = Notifier()
    silent.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    deaf = Notifier()
    deaf.ready()
    assert silent.watchdog_s is deaf.watchdog_s is None
