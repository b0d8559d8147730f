"""A machine that stops and disks that refuse, at every step: corosync.conf is the old file or the new one, never less."""

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from corolistener.core.actions import InstallConfig, WithdrawConfig
from corolistener.core.config import ConfigId
from corolistener.core.events import Result
from corolistener.effects import confstore, files
from corolistener.effects.confdist import ConfigFile
from corolistener.effects.confstore import Versions
from corolistener.engine.conf import config_id
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId, Ticket

from .conffiles import calls_of, conf, failing, killed_at, make_read_only, mount_small, names, watching
from .conftest import in_mounts_of_its_own

ME = NodeId(2)
OLD, NEW = conf(5), conf(6, more="# new\n" * 100)
STEPS_MOST = 500
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount small and read-only disks")

Work = Callable[[Versions], object]


def install(versions: Versions) -> object:
    return versions.install(config_id(NEW), NEW, ME)


def withdraw(versions: Versions) -> object:
    return versions.withdraw(config_id(OLD), config_id(conf(4)))


WORKS = {"install": (install, {OLD, NEW}), "withdraw": (withdraw, {OLD, conf(4)})}


def fresh(directory: Path) -> Versions:
    """A directory with OLD in force and version 4 kept."""
    for path in directory.iterdir():
        path.unlink()
    (directory / "corosync.conf").write_bytes(OLD)
    (directory / "corosync.conf.4").write_bytes(conf(4))
    return Versions(directory / "corosync.conf")


def calls_on_disk(directory: Path, work: Work) -> list[str]:
    """The system's calls that the work makes on a fresh directory."""
    versions = fresh(directory)
    return calls_of(lambda: work(versions))


def assert_whole(directory: Path, allowed: set[bytes]) -> None:
    """Every file that has a name of ours has all of its bytes."""
    assert (directory / "corosync.conf").read_bytes() in allowed
    kept = {name: (directory / name).read_bytes() for name in names(directory) if name[-1].isdigit()}
    assert kept["corosync.conf.4"] == conf(4)
    assert kept.get("corosync.conf.5", OLD) == OLD


@pytest.mark.parametrize("name", WORKS)
def test_killed_anywhere_leaves_a_whole_file_and_the_next_run_finishes(tmp_path: Path, name: str) -> None:
    work, allowed = WORKS[name]
    results = set()
    for number in range(STEPS_MOST):
        versions = fresh(tmp_path)
        if not killed_at(number, partial(work, versions)):
            break
        assert_whole(tmp_path, allowed)
        results.add((tmp_path / "corosync.conf").read_bytes())
        work(versions)
        assert_whole(tmp_path, allowed - {OLD})
        assert ".corosync.conf.new" not in names(tmp_path)
    else:
        pytest.fail("it never came to its end")
    assert number > 20
    assert results == allowed


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_fails_anywhere_leaves_a_whole_file_and_the_next_run_finishes(
    tmp_path: Path, name: str, for_good: bool
) -> None:
    work, allowed = WORKS[name]
    refusals = []
    for number in range(len(calls_on_disk(tmp_path, work))):
        versions = fresh(tmp_path)
        try:
            with watching(failing(number, for_good)):
                work(versions)
        except (EffectError, ConfigError) as error:
            refusals.append(str(error))
        assert_whole(tmp_path, allowed)
        work(versions)
        assert_whole(tmp_path, allowed - {OLD})
    assert len(refusals) > 10
    assert [why for why in refusals if os.strerror(errno.EIO) not in why or str(tmp_path) not in why] == []


def test_an_error_before_the_last_step_leaves_no_trace(tmp_path: Path) -> None:
    """The call that fails is one of those that write the new file: the old one stays, and nothing lies beside it."""
    calls = calls_on_disk(tmp_path, install)
    last = len(calls) - 1 - calls[::-1].index("rename")
    writing = [n for n, call in enumerate(calls) if call in ("write", "fchmod", "fsync", "rename") and n <= last]
    closes = [sum(call == "close" for call in calls[:n]) for n in range(len(calls))]
    for number in writing:
        versions = fresh(tmp_path)
        with pytest.raises(EffectError, match=os.strerror(errno.EIO)), watching(failing(number - closes[number], False)):
            install(versions)
        assert (tmp_path / "corosync.conf").read_bytes() == OLD
        assert ".corosync.conf.new" not in names(tmp_path)
    assert len(writing) >= 7


def test_nothing_gets_its_name_before_it_is_on_the_disk(tmp_path: Path) -> None:
    """Every rename comes after a sync of the bytes, and is followed by one of the directory."""
    calls = [call for call in calls_on_disk(tmp_path, install) if call in ("write", "fsync", "rename")]
    assert calls == ["write", "fsync", "rename", "fsync"] * 2


def test_a_trap_set_at_the_last_moment_catches_nobody(tmp_path: Path) -> None:
    """Between the look and the write somebody puts a link where the temporary file goes."""
    versions, victim = fresh(tmp_path), tmp_path / "victim"
    victim.write_bytes(b"precious\n")

    def notice(event: str, name: str) -> None:
        if (event, name) == ("c_return", "unlink") and not (tmp_path / ".corosync.conf.new").is_symlink():
            (tmp_path / ".corosync.conf.new").symlink_to(victim)

    (tmp_path / ".corosync.conf.new").write_bytes(b"left over\n")
    with pytest.raises(EffectError, match=os.strerror(errno.EEXIST)), watching(notice):
        install(versions)
    assert victim.read_bytes() == b"precious\n"
    assert versions.path.read_bytes() == OLD


def test_a_file_that_is_there_already_is_synced(tmp_path: Path) -> None:
    """The run before may have ended between rename and sync."""
    versions = fresh(tmp_path)
    install(versions)
    assert [call for call in calls_of(lambda: install(versions)) if call in ("write", "fsync")] == ["fsync", "fsync"]


@needs_root
@pytest.mark.parametrize(("free", "kept"), [(8 << 10, False), (12 << 10, True)])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, free: int, kept: bool) -> None:
    """Pages of 4 KiB: with two, version 4 and the file take all; with three the kept copy fits and the new file does not."""

    def full() -> None:
        mount_small(tmp_path, free)
        versions = fresh(tmp_path)
        file = ConfigFile(versions.path, ME, unasked)
        with pytest.raises(EffectError) as error:
            asyncio.run(file.perform(InstallConfig(Ticket(1), config_id(NEW), NEW)))
        assert str(error.value) == f"install: {tmp_path}/.corosync.conf.new: {os.strerror(errno.ENOSPC)}"
        assert versions.path.read_bytes() == OLD
        assert names(tmp_path) == ["corosync.conf", "corosync.conf.4", *(["corosync.conf.5"] if kept else [])]

    in_mounts_of_its_own(full)


@needs_root
def test_a_read_only_directory_keeps_the_old_file(tmp_path: Path) -> None:
    def read_only() -> None:
        versions = fresh(tmp_path)
        make_read_only(tmp_path)
        file = ConfigFile(versions.path, ME, unasked)
        for action in (
            InstallConfig(Ticket(1), config_id(NEW), NEW),
            WithdrawConfig(Ticket(2), config_id(OLD), config_id(conf(4))),
        ):
            with pytest.raises(EffectError, match=os.strerror(errno.EROFS)):
                asyncio.run(file.perform(action))
        assert names(tmp_path) == ["corosync.conf", "corosync.conf.4"]
        assert versions.path.read_bytes() == OLD

    in_mounts_of_its_own(read_only)


def test_a_directory_that_is_gone_is_said_by_name(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "gone" / "corosync.conf")
    with pytest.raises(EffectError, match=f"install: {tmp_path}/gone: No such file or directory"):
        install(versions)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    """`config pull` beside the daemon: every version is kept whole and in order, whoever wrote it."""
    versions = fresh(tmp_path)
    refused: list[ConfigError] = []

    def write(first: int) -> None:
        for version in range(first, first + 80, 2):
            text = conf(version)
            try:
                versions.install(config_id(text), text, ME)
            except ConfigError as error:
                refused.append(error)

    writers = [threading.Thread(target=write, args=(first,)) for first in (6, 7)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log = versions.log()
    assert [entry.id for entry in log] == [config_id(entry.path.read_bytes()) for entry in log]
    assert len(refused) < 80
    assert ".corosync.conf.new" not in names(tmp_path)


def test_a_directory_that_stays_locked_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confstore, "LOCK_S", 0.05)
    versions = fresh(tmp_path)
    with files.opened(tmp_path, os.O_RDONLY) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(EffectError, match=f"{tmp_path}: another process is writing here"):
            install(versions)
    install(versions)


def test_a_slow_disk_does_not_stop_the_loop(tmp_path: Path) -> None:
    """While the directory is locked by somebody else, the loop goes on; the action ends when the lock does."""
    versions = fresh(tmp_path)
    file = ConfigFile(versions.path, ME, unasked)

    async def scene() -> None:
        with files.opened(tmp_path, os.O_RDONLY) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            action = asyncio.create_task(file.perform(InstallConfig(Ticket(1), config_id(NEW), NEW)))
            for _ in range(10):
                await asyncio.sleep(0.01)
            assert not action.done()
        assert (await action).result is Result.DONE

    asyncio.run(scene())


def test_ids_of_one_version_differ_by_content() -> None:
    assert config_id(conf(5)) != config_id(conf(5, more="#\n"))
    assert config_id(conf(5)) == ConfigId(5, config_id(conf(5)).sha256)


async def unasked(version: int) -> None:
    raise AssertionError("nobody asked for a reload")
