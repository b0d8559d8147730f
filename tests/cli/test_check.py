"""`check`: what is a mistake, and that all of them are said."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from daemon.serving import Told

from corolistener.cli import check
from corolistener.cli.check import Finding, Found
from corolistener.core.config import CloudAddress, ProofKind
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.tree import parse
from corolistener.corosync.errors import LibraryUnavailable, NotExist
from corolistener.daemon.settings import Agent, Cluster, Fencing, Locks, Service, Settings, Vms

from .conftest import Type

CONF = """\
totem {
	version: 2
	config_version: 3
	cluster_name: VMmanager
	token: 1000
}
quorum {
	provider: corosync_votequorum
}
nodelist {
	node {
		ring0_addr: 127.0.0.1
		nodeid: 2
		name: a
		prio: 99
	}
	node {
		ring0_addr: 203.0.113.4
		nodeid: 4
		name: b
	}
	node {
		ring0_addr: 203.0.113.8
		nodeid: 8
		name: c
	}
}
"""


class Map:
    """As much of a Cmap as the check asks for."""

    def __init__(self, values: dict[str, object]) -> None:
        self.values = values

    def get(self, key: str) -> object:
        if key not in self.values:
            raise NotExist("cmap_get", 12)
        return self.values[key]

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))


def members(*versions: int) -> Map:
    values: dict[str, object] = {}
    for node, version in enumerate(versions, 1):
        values |= {f"runtime.members.{node}.status": "joined", f"runtime.members.{node}.config_version": version}
    return Map(values)


def found(settings: Settings | None = None, cmap: Map | None = None, conf: str = CONF) -> Found:
    document = parse(conf.encode())
    return Found(settings or Settings(), document, read_facts(document), cmap)  # type: ignore[arg-type]


def levels(findings: object) -> list[str]:
    return [finding.level for finding in findings]  # type: ignore[attr-defined]


def test_bad_settings_are_all_said_and_exit_1(typed: Type, root: Path) -> None:
    (root / "corolistener.toml").write_text("[cloud]\nip = 3\nmask = 99.5\n[clod]\n")
    got = typed("check")
    assert got.status == 1
    assert [line.split(": ")[0] for line in got.out.splitlines()] == ["error    settings"] * 3 + ["warning  settings"]
    assert ":2: cloud.ip" in got.out
    assert ":3: cloud.mask" in got.out


def test_json_has_the_same_lines(typed: Type, root: Path) -> None:
    (root / "corolistener.toml").write_text("[cloud]\nip = 3\n")
    facts = json.loads(typed("check", "--json").out)
    assert facts[0]["level"] == "error"
    assert (facts[0]["topic"], facts[0]["line"]) == ("settings", 2)


def test_corosync_conf_is_judged_line_by_line(typed: Type, root: Path) -> None:
    """The seed's own sample: what corosync 3 refuses or ignores in it."""
    (root / "corosync.conf").write_text(
        "totem {\n\tinterface {\n\t\tbindnetaddr: 10.0.0.1\n\t}\n}\n" + CONF[CONF.index("nodelist") :]
    )
    out = typed("check").out
    assert f"error    corosync.conf: {root}/corosync.conf:1: " in out
    assert "quorum.provider is missing" in out
    assert f"{root}/corosync.conf:3: " in out


def test_a_corosync_conf_that_does_not_parse(typed: Type, root: Path) -> None:
    (root / "corosync.conf").write_text("totem {\n")
    got = typed("check")
    assert got.status == 1
    assert f"error    corosync.conf: {root}/corosync.conf:" in got.out


def test_everything_is_looked_at_even_without_corosync(typed: Type, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        def __init__(self) -> None:
            raise LibraryUnavailable("cmap_initialize", 2)

    monkeypatch.setattr(check, "Cmap", Nobody)
    (root / "corosync.conf").write_text(CONF)
    got = typed("check")
    topics = {line[9:].split(":")[0] for line in got.out.splitlines()}
    expected = {"settings", "corosync.conf", "corosync", "node", "lease", "service", "locks", "key", "drop-in", "clock"}
    assert expected <= topics
    assert "timers of corosync.conf" in got.out
    assert got.status == 1


def test_this_node_is_found_by_its_address() -> None:
    [finding] = check._node(found())
    assert str(finding) == "ok       node: this is node 2, 127.0.0.1, priority 99"
    [finding] = check._node(found(conf=CONF.replace("127.0.0.1", "203.0.113.2")))
    assert finding.level == "error"
    assert "(203.0.113.2, 203.0.113.4, 203.0.113.8)" in finding.text


def test_corosync_may_not_run_as_another_node() -> None:
    assert levels(check._node(found(cmap=Map({"runtime.votequorum.this_node_id": 4})))) == ["ok", "error"]
    assert levels(check._node(found(cmap=Map({"runtime.votequorum.this_node_id": 2})))) == ["ok"]


def test_corosync_may_run_another_cluster() -> None:
    said = list(check._node(found(cmap=Map({"totem.cluster_name": "debian"}))))
    assert levels(said) == ["ok", "error"]
    assert said[1].text == "corosync runs cluster debian, the file says VMmanager: systemctl restart corosync"
    assert levels(check._node(found(cmap=Map({"totem.cluster_name": "VMmanager"})))) == ["ok"]


@pytest.mark.parametrize(("cmap", "level"), [(members(3, 3, 3), "ok"), (members(3, 3, 2), "error"), (members(4, 4), "warning")])
def test_all_nodes_run_with_the_version_of_the_file(cmap: Map, level: str) -> None:
    assert levels(check._versions(found(cmap=cmap))) == [level]


def test_who_has_left_does_not_count() -> None:
    cmap = members(3, 2)
    cmap.values["runtime.members.2.status"] = "left"
    assert levels(check._versions(found(cmap=cmap))) == ["ok"]


def test_the_sums_with_corosyncs_timers() -> None:
    # safety.md's own example.
    cmap = Map({"runtime.config.totem.token": 1650, "runtime.config.totem.consensus": 1980})
    texts = [finding.text for finding in check._times(found(cmap=cmap))]
    assert texts[0].startswith("5130 ms (token 1650 + consensus 1980 + 2 * heartbeat 500 + 500, timers of corosync)")
    assert "after 7130 ms" in texts[1]
    assert "after 18130 ms" in texts[2]


def test_the_sums_with_the_files_timers() -> None:
    assert next(check._times(found())).text.startswith("5130 ms (token 1650 + consensus 1980")


@pytest.mark.parametrize(
    ("fencing", "said"),
    [
        (Fencing(), "an outage of more than 13 s boots all VMs anew (grace 2000 + watchdog 10000 + margin 1000)"),
        (Fencing(watchdog_timeout_ms=60_500), "an outage of more than 63.5 s boots all VMs anew"),
        (Fencing(proofs=(ProofKind.SUSPEND,)), "an outage of more than 3 s boots all VMs anew (grace 2000 + margin 1000)"),
        (Fencing(watchdog="off"), "boots no VM anew"),
        (Fencing(proofs=(ProofKind.AGENT,)), "boots no VM anew"),
    ],
)
def test_how_long_an_outage_for_all_may_be(fencing: Fencing, said: str) -> None:
    settings = Settings(fencing=fencing, vms=Vms(uri="qemu:///system"))
    assert said in [finding.text for finding in check._times(found(settings))][-1]
    assert said not in " ".join(finding.text for finding in check._times(found(Settings(fencing=fencing))))


def test_a_lease_that_is_too_short_is_an_error() -> None:
    [finding] = check._times(found(Settings(path="/x.toml", fencing=Fencing(lease_ms=3000), lines={"fencing.lease_ms": 7})))
    assert (finding.level, finding.path, finding.line) == ("error", "/x.toml", 7)


def test_the_device_of_the_cloud_ip() -> None:
    assert levels(check._address(found(Settings(address=CloudAddress("10.0.0.1", 24, "lo"))))) == ["ok"]
    assert levels(check._address(found(Settings(address=CloudAddress("10.0.0.1", 24, "no-such-dev"))))) == ["error"]
    assert levels(check._address(found())) == []


def test_the_programs_of_the_service(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.touch(0o644)
    assert levels(check._service(found(Settings(service=Service(hook=str(hook)))))) == ["error"]
    hook.chmod(0o755)
    assert levels(check._service(found(Settings(service=Service(hook=str(hook), moved=str(tmp_path)))))) == ["ok", "error"]
    assert levels(check._service(found(Settings(service=Service(hook=str(hook), unit="x.service"))))) == ["ok", "ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of root's")
def test_fence_agents(tmp_path: Path) -> None:
    good, bad, path = tmp_path / "good", tmp_path / "bad", tmp_path / "corolistener.toml"
    good.touch(0o755)
    bad.touch(0o644)
    path.touch(0o644)
    agents = (Agent((2, "b"), str(good)), Agent(("c", "elsewhere"), str(good), (("passwd", "hunter2"),)), Agent((8,), str(bad)))
    told = [str(each) for each in check._agents(found(Settings(str(path), agents=agents)))]
    assert [line.split()[0] for line in told] == ["ok", "ok", "warning", "error", "warning"]
    assert "no such node in the nodelist: elsewhere" in told[2]
    assert "hunter2" not in " ".join(told)
    path.chmod(0o600)
    assert levels(check._agents(found(Settings(str(path), agents=agents)))) == ["ok", "ok", "warning", "error"]
    assert not levels(check._agents(found()))


@pytest.mark.parametrize(
    ("mode", "owner", "level"),
    [(0o755, 0, "ok"), (0o1777, 0, "ok"), (0o777, 0, "error"), (0o775, 0, "error"), (0o755, 65534, "error")],
)
def test_a_lock_directory_is_safe_if_nobody_else_can_rename_there(tmp_path: Path, mode: int, owner: int, level: str) -> None:
    tmp_path.chmod(mode)
    os.chown(tmp_path, owner, owner)
    assert levels(check._locks(found(Settings(locks=Locks(str(tmp_path)))))) == [level]


def test_a_lock_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert levels(check._locks(found(Settings(locks=Locks(str(tmp_path / "none")))))) == ["error"]
    assert levels(check._locks(found(Settings(locks=Locks(str(tmp_path / "file")))))) == ["error"]


def test_the_key_must_be_there_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "AUTHKEY", tmp_path / "authkey")
    settings = Settings(cluster=Cluster(key_file=str(tmp_path / "key")))
    assert levels(check._key(found(settings))) == ["error"]
    (tmp_path / "authkey").write_bytes(b"x" * 128)
    (tmp_path / "authkey").chmod(0o400)
    assert [str(finding) for finding in check._key(found(settings))] == [f"ok       key: {tmp_path}/authkey"]
    (tmp_path / "key").write_bytes(b"x" * 32)
    (tmp_path / "key").chmod(0o644)
    assert levels(check._key(found(settings))) == ["error"]


def test_the_drop_in_of_corosync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "UNIT_DIRECTORIES", (str(tmp_path),))
    assert levels(check._drop_in(found())) == ["warning"]
    (tmp_path / "corosync.service.d").mkdir()
    (tmp_path / "corosync.service.d" / "other.conf").write_text("[Service]\nNice=1\n")
    assert levels(check._drop_in(found())) == ["warning"]
    shipped = Path(__file__).parents[2] / "conf/corosync.service.d/corolistener.conf"
    (tmp_path / "corosync.service.d" / "corolistener.conf").write_text(shipped.read_text())
    assert levels(check._drop_in(found())) == ["ok"]


def test_a_file_from_the_future(tmp_path: Path) -> None:
    conf = tmp_path / "corosync.conf"
    conf.touch()
    settings = Settings(cluster=Cluster(corosync_conf=str(conf)))
    assert levels(check._clock(found(settings))) == ["ok"]
    os.utime(conf, (time.time() + 3600, time.time() + 3600))
    [finding] = check._clock(found(settings))
    assert (finding.level, finding.path) == ("warning", str(conf))


def vms(uri: str | None, *storage: str, **fencing: Any) -> Settings:
    watched = {"watchdog_device": "/dev/null", **fencing}
    return Settings(vms=Vms(uri=uri, shared_storage=storage), fencing=Fencing(**watched), agents=(Agent(("b",), "/bin/true"),))


def test_without_a_hypervisor_nothing_is_said_of_vms() -> None:
    assert list(check._vms(found(vms(None)))) == []


def test_vms_and_what_a_lost_node_is_believed_by(tmp_path: Path) -> None:
    told = {
        each.text: each.level for each in check._vms(found(vms("test:///default", str(tmp_path), "/nowhere/at/all", "pool:x")))
    }
    assert told["test:///default answers"] == "ok"
    assert told["shared storage is there"] == "ok"
    assert told["no such directory: VMs on it do not start here"] == "warning"
    assert told["this node's watchdog is there"] == "ok"
    [without] = [text for text in told if text.startswith("no fence agent for")]
    assert "no fence agent for c:" in without


def test_a_hypervisor_that_does_not_answer_and_a_watchdog_that_is_missed() -> None:
    told = [(each.level, each.text) for each in check._vms(found(vms("test:///nowhere.xml", watchdog_device="/nowhere")))]
    assert any(level == "error" and text.startswith("test:///nowhere.xml: ") for level, text in told)
    assert any(level == "warning" and text.startswith("no watchdog") for level, text in told)
    told = [
        (each.level, each.text) for each in check._vms(found(vms("test:///default", watchdog="required", watchdog_device="/n")))
    ]
    assert any(level == "error" and text.startswith("a watchdog is required") for level, text in told)


def test_the_daemon_is_asked(typed: Type, daemon: Told, root: Path) -> None:
    (root / "corosync.conf").write_text(CONF)
    assert "ok       daemon: it runs, version 0.1.0, role master" in typed("check").out
    daemon.reply = {**daemon.reply, "mode": "broken"}
    assert "error    daemon: " in typed("check").out


def test_a_node_that_cannot_serve_and_old_settings_are_told(typed: Type, daemon: Told, root: Path) -> None:
    (root / "corosync.conf").write_text(CONF)
    nodes = [dict(each) for each in daemon.reply["nodes"]]
    nodes[1].update(eligible=False, why=["cannot-serve"], unable="device vmbr0: is not there")
    daemon.reply = {**daemon.reply, "nodes": nodes, "unusable": "not TOML"}
    said = typed("check").out
    assert (
        "error    daemon: node 9 cannot become master: it cannot hold what a master holds: device vmbr0: is not there" in said
    )
    assert "warning  daemon: it still runs with the last good settings: systemctl reload corolistener" in said


def test_a_line_of_a_finding() -> None:
    assert str(Finding("error", "key", "none", "/k")) == "error    key: /k: none"
    assert str(Finding("ok", "a", "b")) == "ok       a: b"
    assert str(Finding("warning", "a", "b", "/f", 3)) == "warning  a: /f:3: b"
