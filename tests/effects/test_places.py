"""What the daemon writes to is its own: state, sockets, locks."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from corolistener.effects.places import planted, prepare_state, require_run, stranger
from corolistener.errors import ConfigError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to another user")
OTHER = 12345


def test_the_state_directory_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "var" / "state"
    assert prepare_state(str(path)) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert prepare_state(str(path)) is None


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711, 0o705])
def test_a_mode_that_lets_others_look_is_put_right(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert prepare_state(str(tmp_path)) == f"its mode was {mode:04o}, and is now 0700"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o707])
def test_a_directory_that_others_could_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(ConfigError) as refused:
        prepare_state(str(path))
    assert refused.value.path == str(path)
    assert "chmod" in refused.value.why
    assert stat.S_IMODE(path.stat().st_mode) == mode


@needs_root
@pytest.mark.parametrize("level", [0, 1])
def test_a_directory_of_another_is_refused(tmp_path: Path, level: int) -> None:
    path = tmp_path / "var" / "state"
    path.mkdir(parents=True, mode=0o700)
    os.chown((path, path.parent)[level], OTHER, OTHER)
    for prepare in (prepare_state, require_run):
        with pytest.raises(ConfigError, match=f"belongs to uid {OTHER}"):
            prepare(str(path))


@pytest.mark.parametrize("make", [lambda path: path.touch(), os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_directory_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "state")
    with pytest.raises(ConfigError, match="not a directory"):
        prepare_state(str(tmp_path / "state"))


def test_a_link_of_root_s_to_another_disk_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "state").symlink_to("disk")
    assert prepare_state(str(tmp_path / "state")) is not None
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_run_directory_that_others_can_write(tmp_path: Path, mode: int) -> None:
    require_run(str(tmp_path / "none"))
    require_run(str(tmp_path))
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod"):
        require_run(str(path))


@pytest.mark.parametrize("name", [".lock.vmmgr.service", ".lock.vmmgr.relocated"])
@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link"),
        (os.mkfifo, "a pipe"),
        (lambda path: path.mkdir(), "a directory"),
        (lambda path: (path.with_suffix(".x").touch(), os.link(path.with_suffix(".x"), path)), "hard links"),
        (lambda path: (path.touch(), path.chmod(0o666)), "others can write it"),
        (lambda path: (path.touch(), os.chown(path, OTHER, OTHER)), f"belongs to uid {OTHER}"),
    ],
)
def test_planted_locks(tmp_path: Path, name: str, plant: Callable[[Path], None], word: str) -> None:
    state, locks = tmp_path / "state", tmp_path / "locks"
    state.mkdir(mode=0o700)
    locks.mkdir()
    locks.chmod(0o1777)
    assert list(planted(str(state), str(locks))) == []
    (locks / ".lock.vmmgr.service").touch(0o600)
    assert list(planted(str(state), str(locks))) == []
    (locks / ".lock.vmmgr.service").unlink()
    plant(locks / name)
    [(path, why)] = planted(str(state), str(locks))
    assert path == str(locks / name)
    assert word in why
    assert str(locks / name) in why
    assert "\n" not in why


def test_what_is_planted_in_the_state_directory(tmp_path: Path) -> None:
    state, locks = tmp_path / "state", tmp_path / "locks"
    state.mkdir(mode=0o700)
    locks.mkdir()
    (state / "vms" / "vm-web").mkdir(parents=True)
    (state / "ledger.sqlite").touch(0o600)
    (state / "managed").touch(0o644)
    assert list(planted(str(state), str(locks))) == []
    (state / "ledger.sqlite-wal").symlink_to("/etc/passwd")
    os.mkfifo(state / "journal-x")
    (state / "vms").chmod(0o777)
    found = dict(planted(str(state), str(locks)))
    assert set(found) == {str(state / name) for name in ("ledger.sqlite-wal", "journal-x", "vms")}


def test_a_lock_directory_that_others_can_rename_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    [(path, why)] = planted(str(tmp_path / "none"), str(tmp_path))
    assert path == str(tmp_path)
    assert f"chmod go-w {tmp_path}" in why


def test_nothing_is_no_stranger(tmp_path: Path) -> None:
    assert stranger(tmp_path / "none") is None
