"""SIGHUP reads everything again beside the loop; SIGUSR1 opens the log anew and reads nothing."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from corolistener.core.config import Cluster
from corolistener.daemon import main
from corolistener.daemon import settings as settings_module
from corolistener.daemon.notes import Log
from corolistener.daemon.settings import Settings
from corolistener.errors import ConfigError

LIMIT_S = 30.0


class Said:
    """As much of a Node as the shell touches: it keeps what was done to it, in order."""

    def __init__(self, log: Log) -> None:
        self.done: list[str] = []
        self.log, self.notifier, self.settings = log, self, Settings()
        self.file = 1
        self.left = asyncio.Event()

    @property
    def pump(self) -> Any:
        """`pump.core.state.storing` is this object as well."""
        return self

    core = state = storing = pump

    def reloading(self) -> None:
        self.done.append("reloading")

    def ready(self) -> None:
        self.done.append("ready")

    def reconfigure(self, settings: Settings, cluster: object) -> None:
        self.done.append(f"reconfigure {cluster}")


@pytest.fixture
def lived(tmp_path: Path) -> Callable[[Callable[[Said], Awaitable[None]]], str]:
    """Lives a story with a shell that catches signals; returns what the log says."""

    def lived(story: Callable[[Said], Awaitable[None]]) -> str:
        async def run() -> None:
            node = Said(log)
            main._Shell(None, node, None).catch_signals()  # type: ignore[arg-type]
            await story(node)

        path = tmp_path / "log"
        log = Log(str(path))
        try:
            asyncio.run(run())
        finally:
            log.close()
        return path.read_text()

    return lived


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_resolver_that_hangs_does_not_hang_the_loop(lived: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, asked = threading.Event(), threading.Event()

    def whoami(settings: Settings) -> tuple[int, str]:
        asked.set()
        assert go_on.wait(LIMIT_S)
        return 1, "new"

    monkeypatch.setattr(settings_module, "load_to_run", lambda path: Settings())
    monkeypatch.setattr(main, "whoami", whoami)

    async def story(node: Said) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(asked.is_set)  # the loop turns while the thread waits
        assert node.done == ["reloading"]
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        go_on.set()
        await until(lambda: len(node.done) == 6)
        assert node.done == ["reloading", "reconfigure new", "ready"] * 2, "one more signal, once more"

    lived(story)


def test_what_was_installed_meanwhile_is_not_forgotten(lived: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[Said] = []
    read: list[int] = []

    def whoami(settings: Settings) -> tuple[int, int]:
        [node] = nodes
        read.append(node.file)
        node.file = 2  # a transaction ends while the old file has just been read
        return 1, read[-1]

    monkeypatch.setattr(settings_module, "load_to_run", lambda path: Settings())
    monkeypatch.setattr(main, "whoami", whoami)

    async def story(node: Said) -> None:
        nodes.append(node)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "ready" in node.done)
        assert node.done == ["reloading", "reconfigure 2", "ready"]

    lived(story)
    assert read == [1, 2]


@pytest.mark.parametrize("error", [ConfigError("f", 3, "no"), OSError("disk")])
def test_settings_that_cannot_be_read_keep_the_old_ones(lived: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(path: object) -> Settings:
        raise error

    monkeypatch.setattr(settings_module, "load_to_run", load)

    async def story(node: Said) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "ready" in node.done)
        assert node.done == ["reloading", "ready"]

    assert "settings-kept why=" in lived(story)


def test_logrotate_s_signal_reads_nothing(lived: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(*_: object) -> tuple[int, Cluster]:
        raise AssertionError("read")

    monkeypatch.setattr(settings_module, "load_to_run", nothing)
    monkeypatch.setattr(main, "whoami", nothing)
    path, old = tmp_path / "log", tmp_path / "log.1"

    async def story(node: Said) -> None:
        path.rename(old)
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(path.exists)
        assert node.done == []

    assert lived(story) == ""
    assert old.exists()
