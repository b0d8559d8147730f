"""The virtual disk answers every action on corosync.conf as the real one does, word for word."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from effects.conffiles import NODES, conf

from corolistener.core import messages as m
from corolistener.core.actions import InstallConfig, PrepareConfig, ReadConfig, TicketedAction, WithdrawConfig
from corolistener.core.config import ConfigId
from corolistener.core.events import Outcome, Result
from corolistener.effects.confdist import ConfigFile
from corolistener.engine.conf import ConfigAction, config_id
from corolistener.ids import NodeId, Ticket
from corolistener.sim import conffile

N1, N4 = NodeId(1), NodeId(4)
MEMBERS = (N1, NodeId(2))
T = Ticket(1)
BASE = config_id(conf(5))
NEXT = conf(6, more="# next\n")


def prepare(change: m.Change, base: ConfigId = BASE) -> PrepareConfig:
    return PrepareConfig(T, base, 6, change, MEMBERS)


CHANGES: list[m.Change] = [
    m.PushText(conf(5, more="# pushed\n")),
    m.PushText(conf(40)),
    m.PushText(conf(4)),
    m.PushText(conf(5).replace(b"\tconfig_version: 5\n", b"")),
    m.PushText(b"totem {\n\tfoo\n}\n"),
    m.PushText(conf(5, name="other")),
    m.PushText(conf(5, nodes=NODES[:1])),
    m.PushText(conf(5, nodes=NODES[1:])),
    m.PushText(conf(5) + b"#" * 2_000_000),
    m.AddNode("10.7.0.9"),
    m.AddNode("10.7.0.9,10.8.0.9", NodeId(9), "nine", 5, True),
    m.AddNode("10.7.0.1"),
    m.AddNode("10.7.0.900"),
    m.AddNode("some.host"),
    m.AddNode("10.7.0.9", NodeId(2)),
    m.EditNode(N4, name="four", priority=9, replication=False),
    m.EditNode(N4, name=""),
    m.EditNode(N4),
    m.EditNode(NodeId(7), priority=3),
    m.RemoveNode(N4),
    m.RemoveNode(N1),
    m.RemoveNode(NodeId(7)),
    m.SetPriorities(((N1, 7), (N4, 70))),
    m.Restamp(),
]
NAMED = [f"{type(change).__name__}-{number}" for number, change in enumerate(CHANGES)]


class Both:
    """One file on a real disk and one on a virtual disk. What differs by design: the directory's name."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "corosync.conf"
        self.path.write_bytes(conf(5))
        self.real = ConfigFile(self.path, N1, self._never)
        self.disk = conffile.Disk(conf(5))

    async def _never(self, version: int) -> None:
        raise AssertionError(f"nobody asked for a reload of {version}")

    def carry_out(self, action: TicketedAction) -> Outcome:
        """What both say; fails where they differ."""
        real = asyncio.run(self.real.perform(cast(ConfigAction, action)))
        virtual = conffile.carry_out(self.disk, N1, action)
        assert virtual.why == real.why.replace(str(self.path), str(conffile.PATH))
        assert (virtual.result, virtual.cluster, virtual.text) == (real.result, real.cluster, real.text)
        assert self.disk.text == self.path.read_bytes()
        return real


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


@pytest.mark.parametrize("change", CHANGES, ids=NAMED)
def test_prepare(both: Both, change: m.Change) -> None:
    assert "somebody changed it" not in both.carry_out(prepare(change)).why


def test_another_base(both: Both) -> None:
    assert both.carry_out(prepare(m.Restamp(), config_id(NEXT))).result is Result.FAILED


def test_install_revert_and_withdraw(both: Both) -> None:
    new = config_id(NEXT)
    assert both.carry_out(ReadConfig(T, BASE)).result is Result.DONE
    assert both.carry_out(ReadConfig(T, new)).result is Result.FAILED
    assert both.carry_out(InstallConfig(T, new, NEXT)).result is Result.DONE
    assert both.carry_out(InstallConfig(T, new, NEXT)).result is Result.DONE
    assert both.carry_out(InstallConfig(T, new, NEXT + b"#")).result is Result.FAILED
    assert both.carry_out(InstallConfig(T, BASE, conf(5))).result is Result.FAILED
    assert both.carry_out(PrepareConfig(T, new, 7, m.RevertTo(5), MEMBERS)).result is Result.DONE
    assert both.carry_out(WithdrawConfig(T, BASE, new)).result is Result.DONE
    assert both.carry_out(WithdrawConfig(T, new, BASE)).result is Result.DONE
    assert both.disk.text == conf(5)
