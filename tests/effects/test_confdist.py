"""The lane `config`: what each action does to the files, and in which words it refuses."""

import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corolistener.core.actions import InstallConfig, ReadConfig, ReloadConfig, WithdrawConfig
from corolistener.core.config import ConfigId, NodeEntry
from corolistener.core.events import Outcome, Result
from corolistener.corosync.errors import TryAgain
from corolistener.engine.conf import cluster_of, config_id
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId

from .conffiles import NODES, conf, names
from .confstage import T1, Here


@pytest.fixture
def here(tmp_path: Path) -> Here:
    place = Here(tmp_path)
    place.path.write_bytes(conf(5))
    return place


# The facts the core gets.


def test_the_facts_of_a_file(here: Here) -> None:
    cluster, text = here.file.load()
    assert text == conf(5)
    assert cluster == cluster_of(text)
    assert (cluster.id.version, len(cluster.id.sha256), cluster.name, cluster.ports) == (5, 64, "VMmanager", (1500,))
    assert cluster.nodes == tuple(NodeEntry(NodeId(node), "", address, prio) for node, address, prio in NODES)


def test_facts_can_be_sent_and_printed_whatever_bytes_the_file_has() -> None:
    cluster = cluster_of(conf().replace(b"cluster_name: VMmanager", b"cluster_name: caf\xe9"))
    assert cluster.name.encode() == "caf\N{REPLACEMENT CHARACTER}".encode()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
        (lambda path: (path.unlink(), subprocess.run(["mkfifo", path], check=True)), "not a regular file"),
        (lambda path: path.write_bytes(b"totem {\n"), "never closed"),
        (lambda path: path.write_bytes(b"#" * 600_000), "longer than"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_the_administrator_s(here: Here, make: Callable[[Path], object], why: str) -> None:
    make(here.path)
    with pytest.raises(ConfigError, match=why) as error:
        here.file.load()
    assert error.value.path == str(here.path)


# ReadConfig


def test_read_gives_text_and_facts(here: Here) -> None:
    assert here.do(ReadConfig(T1, config_id(conf(5)))) == Outcome(Result.DONE, cluster=cluster_of(conf(5)), text=conf(5))


def test_read_of_a_file_that_somebody_changed_fails(here: Here) -> None:
    outcome = here.do(ReadConfig(T1, ConfigId(5, "0" * 64)))
    assert outcome.result is Result.FAILED
    assert "somebody changed it" in outcome.why
    assert not outcome.text


# InstallConfig


def test_install_replaces_the_file_and_keeps_the_old_one(here: Here) -> None:
    os.utime(here.path, (1000, 1000))
    outcome = here.install(conf(6))
    facts = (("version", "6"), ("kept", "corosync.conf.5"))
    assert outcome == Outcome(Result.DONE, facts=facts, cluster=cluster_of(conf(6)))
    assert names(here.directory) == ["corosync.conf", "corosync.conf.5"]
    assert here.path.read_bytes() == conf(6)
    assert (here.directory / "corosync.conf.5").read_bytes() == conf(5)
    assert (here.directory / "corosync.conf.5").stat().st_mtime == 1000


def test_the_kept_file_is_not_the_old_one_s_twin(here: Here) -> None:
    """A hard link would let an editor that writes in place change history."""
    here.install(conf(6))
    here.path.write_bytes(b"edited in place\n")
    assert (here.directory / "corosync.conf.5").read_bytes() == conf(5)


def test_mode_and_owner_stay(here: Here) -> None:
    os.chmod(here.path, 0o640)
    os.chown(here.path, 12, 34)
    here.install(conf(6))
    for name in ("corosync.conf", "corosync.conf.5"):
        look = (here.directory / name).stat()
        assert (stat.S_IMODE(look.st_mode), look.st_uid, look.st_gid) == (0o640, 12, 34)


def test_where_there_was_none_the_file_can_be_read_by_all(here: Here) -> None:
    here.path.unlink()
    assert here.install(conf(6)).facts == (("version", "6"),)
    assert stat.S_IMODE(here.path.stat().st_mode) == 0o644


def test_the_same_file_again_is_done(here: Here) -> None:
    here.install(conf(6))
    look = here.path.stat()
    facts = (("version", "6"), ("present", "already"))
    assert here.install(conf(6)) == Outcome(Result.DONE, facts=facts, cluster=cluster_of(conf(6)))
    assert here.path.stat() == look


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (conf(4), "config_version 4 is not higher than 5, the present one"),
        (conf(5, more="# x\n"), "config_version 5 is not higher than 5, the present one"),
        (conf(6, name="other"), "another cluster: the name is 'other', not 'VMmanager'"),
        (conf(6, nodes=(NODES[0], NODES[2])), "this node, 2, is not in the nodelist"),
        (conf(6).replace(b"version: 2", b"version: two", 1), "version"),
    ],
)
def test_a_text_that_may_not_follow_is_not_installed(here: Here, text: bytes, why: str) -> None:
    outcome = here.install(text)
    assert outcome.result is Result.FAILED
    assert why in outcome.why
    assert names(here.directory) == ["corosync.conf"]
    assert here.path.read_bytes() == conf(5)


@pytest.mark.parametrize("config", [ConfigId(6, "0" * 64), ConfigId(7, config_id(conf(6)).sha256)])
def test_a_text_that_is_not_the_one_agreed_on_is_not_installed(here: Here, config: ConfigId) -> None:
    outcome = here.do(InstallConfig(T1, config, conf(6)))
    assert outcome.result is Result.FAILED
    assert "the text received" in outcome.why
    assert here.path.read_bytes() == conf(5)


def test_a_broken_file_gives_way_and_is_kept(here: Here) -> None:
    here.path.write_bytes(b"totem {\n")
    assert here.install(conf(6)).facts == (("version", "6"), ("kept", "corosync.conf.unreadable"))
    assert (here.directory / "corosync.conf.unreadable").read_bytes() == b"totem {\n"


def test_the_last_ten_are_kept(here: Here) -> None:
    (here.directory / "corosync.conf.orig").write_bytes(b"the administrator's\n")
    (here.directory / "corosync.conf.007").write_bytes(b"not ours either\n")
    for version in range(6, 21):
        here.install(conf(version))
    kept = [f"corosync.conf.{version}" for version in range(10, 20)]
    assert names(here.directory) == sorted(["corosync.conf", "corosync.conf.007", "corosync.conf.orig", *kept])


def test_the_one_just_replaced_is_kept_even_if_ten_are_newer(here: Here) -> None:
    for version in range(20, 32):
        (here.directory / f"corosync.conf.{version}").write_bytes(conf(version))
    here.install(conf(6))
    assert "corosync.conf.5" in names(here.directory)
    assert len(names(here.directory)) == 1 + 10


def test_a_symbolic_link_stays_one(here: Here, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir()
    here.path.rename(real / "the.conf")
    here.path.symlink_to(real / "the.conf")
    assert here.install(conf(6)).result is Result.DONE
    assert here.path.is_symlink()
    assert here.path.read_bytes() == conf(6)
    assert names(real) == ["the.conf", "the.conf.5"]


def test_a_trap_where_the_temporary_file_goes_catches_nobody(here: Here, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious\n")
    (here.directory / ".corosync.conf.new").symlink_to(victim)
    assert here.install(conf(6)).result is Result.DONE
    assert victim.read_bytes() == b"precious\n"
    assert not here.path.is_symlink()


def test_a_reader_never_sees_half_a_file(here: Here) -> None:
    """Somebody reads all the time while versions come and go: the file is always there and always whole."""
    whole = {conf(version, more="# a long file\n" * version * 50) for version in range(6, 36)} | {conf(5)}
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(here.path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in range(6, 36):
            assert here.install(conf(version, more="# a long file\n" * version * 50)).result is Result.DONE
    finally:
        done.set()
        reader.join()
    assert seen <= whole
    assert len(seen) > 1


# WithdrawConfig


def test_withdraw_puts_the_previous_file_back(here: Here) -> None:
    os.chmod(here.path, 0o600)
    here.install(conf(6))
    outcome = here.do(WithdrawConfig(T1, config_id(conf(6)), config_id(conf(5))))
    facts = (("restored", str(config_id(conf(5)))),)
    assert outcome == Outcome(Result.DONE, facts=facts, cluster=cluster_of(conf(5)))
    assert here.path.read_bytes() == conf(5)
    assert stat.S_IMODE(here.path.stat().st_mode) == 0o600


def test_withdraw_of_a_file_that_is_not_there_any_more_leaves_what_is(here: Here) -> None:
    here.install(conf(6))
    here.install(conf(7))
    outcome = here.do(WithdrawConfig(T1, config_id(conf(6)), config_id(conf(5))))
    facts = (("found", str(config_id(conf(7)))),)
    assert outcome == Outcome(Result.DONE, facts=facts, cluster=cluster_of(conf(7)))
    assert here.path.read_bytes() == conf(7)


def test_withdraw_twice_is_withdraw_once(here: Here) -> None:
    here.install(conf(6))
    for _ in range(2):
        assert here.do(WithdrawConfig(T1, config_id(conf(6)), config_id(conf(5)))).result is Result.DONE
    assert here.path.read_bytes() == conf(5)


@pytest.mark.parametrize("previous", [conf(4), conf(5, more="# another 5\n")])
def test_withdraw_to_a_file_that_is_not_kept_fails_and_changes_nothing(here: Here, previous: bytes) -> None:
    here.install(conf(6))
    outcome = here.do(WithdrawConfig(T1, config_id(conf(6)), config_id(previous)))
    assert outcome.result is Result.FAILED
    assert "kept" in outcome.why
    assert here.path.read_bytes() == conf(6)


def test_after_a_withdrawal_the_same_version_can_be_offered_again(here: Here) -> None:
    here.install(conf(6))
    here.do(WithdrawConfig(T1, config_id(conf(6)), config_id(conf(5))))
    assert here.install(conf(6, more="# another 6\n")).result is Result.DONE


# ReloadConfig


def test_reload_asks_corosync(here: Here) -> None:
    asked: list[int] = []

    async def reload(version: int) -> None:
        asked.append(version)

    here.reload = reload
    assert here.do(ReloadConfig(T1, config_id(conf(5)))) == Outcome(Result.DONE)
    assert asked == [5]


@pytest.mark.parametrize("error", [TryAgain("corosync_cfg_reload_config"), TimeoutError("no answer"), EffectError("a", "b")])
def test_what_corosync_refuses_is_the_world_s(here: Here, error: Exception) -> None:
    async def reload(version: int) -> None:
        raise error

    here.reload = reload
    with pytest.raises(EffectError, match="reload"):
        here.do(ReloadConfig(T1, config_id(conf(5))))


def test_no_reload_of_a_file_that_is_not_the_agreed_one(here: Here) -> None:
    outcome = here.do(ReloadConfig(T1, config_id(conf(6))))
    assert outcome.result is Result.FAILED
    assert "somebody changed it" in outcome.why


# What `config log` tells.


def test_the_log_lists_versions_oldest_first_and_the_file_last(here: Here) -> None:
    for version in (6, 9, 10):
        here.install(conf(version))
    log = here.file.versions.log()
    assert [(entry.id, entry.current) for entry in log] == [
        *((config_id(conf(version)), False) for version in (5, 6, 9)),
        (config_id(conf(10)), True),
    ]
    assert [entry.path.read_bytes() for entry in log] == [conf(5), conf(6), conf(9), conf(10)]
    assert all(entry.modified > 0 for entry in log)


def test_a_version_put_back_is_listed_once(here: Here) -> None:
    here.install(conf(6))
    here.do(WithdrawConfig(T1, config_id(conf(6)), config_id(conf(5))))
    assert [(entry.id.version, entry.current) for entry in here.file.versions.log()] == [(5, True)]
