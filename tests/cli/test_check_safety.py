"""`check`: what others than root can change of what root reads and runs."""

import os
from pathlib import Path

import pytest

from corolistener.cli import check_safety
from corolistener.daemon.settings import Agent, Cluster, Service, Settings

from .conftest import Type


def said(settings: Settings) -> list[str]:
    return [f"{level} {topic}: {path}: {text}" for level, topic, text, path in check_safety._programs(settings)]


def test_programs_and_corosync_conf_that_others_can_write(tmp_path: Path) -> None:
    hook, agent, conf = (tmp_path / name for name in ("hook", "agent", "corosync.conf"))
    for path in (hook, agent, conf):
        path.touch(0o755)
    given = Settings(
        cluster=Cluster(corosync_conf=str(conf)), service=Service(hook=str(hook)), agents=(Agent((1,), str(agent)),)
    )
    assert said(given) == ["ok programs: : only root can change what the daemon reads and runs"]
    for path in (hook, agent, conf):
        path.chmod(0o777)
    assert said(given) == [
        f"error programs: {path}: every user can write {path} (mode 0777): chmod go-w {path}" for path in (hook, agent, conf)
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to another user")
def test_settings_of_another_are_listed_and_the_exit_status_is_1(typed: Type, root: Path) -> None:
    os.chown(root / "corolistener.toml", 12345, 0)
    got = typed("check")
    assert got.status == 1
    assert "belongs to uid 12345, who can change it: chown root " in got.out.splitlines()[0]
