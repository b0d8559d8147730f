"""A command line to type into, and a daemon to answer it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from daemon.serving import Told, serving

from corolistener.cli import main


class Typed(NamedTuple):
    """What came of a command line."""

    status: int
    out: str
    err: str


Type = Callable[..., Typed]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's files: settings that point into a directory of the test's own."""
    (tmp_path / "vmmgr.conf").touch()
    lines = [
        "[cluster]",
        f'corosync_conf = "{tmp_path}/corosync.conf"',
        f'key_file = "{tmp_path}/key"',
        "[paths]",
        f'run = "{tmp_path}/run"',
        "[vmmgr]",
        f'conf = "{tmp_path}/vmmgr.conf"',
    ]
    (tmp_path / "corolistener.toml").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def typed(root: Path, capfd: pytest.CaptureFixture[str]) -> Type:
    """Types a command line, with --config in front, and tells what came of it."""

    def typed(*words: str, config: bool = True) -> Typed:
        before = ["--config", str(root / "corolistener.toml")] if config else []
        try:
            status = main([*before, *words])
        except SystemExit as left:
            status = int(left.code or 0)
        return Typed(status, *capfd.readouterr())

    return typed


@pytest.fixture
def daemon(root: Path) -> Iterator[Told]:
    """A daemon for that machine: a real server, scripted answers."""
    told = Told()
    with serving(str(root / "run"), told):
        yield told
