"""The daemon acts only in the cluster of its file."""

import pytest

from corolistener.core.belonging import foreign
from corolistener.core.config import Cluster, Config, ConfigId, NodeEntry
from corolistener.core.events import Running
from corolistener.core.machine import Core
from corolistener.ids import Instant, NodeId

ME = NodeId(3)
CLUSTER = Cluster(ConfigId(7, "a"), "VMmanager", (NodeEntry(NodeId(1), address="10.0.0.1"), NodeEntry(ME, address="10.0.0.3")))
MEND = ": systemctl restart corosync"


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (Running(7, "VMmanager", ME, ("10.0.0.3", "10.1.0.3")), ""),
        (Running(7), ""),
        (Running(0, "debian", NodeId(1), ("127.0.0.1",)), "corosync runs cluster debian, the file says VMmanager" + MEND),
        (Running(7, "VMmanager", NodeId(1), ("10.0.0.1",)), "corosync runs as node 1, the file says 3" + MEND),
        (Running(7, "VMmanager", ME, ("10.0.0.9",)), "corosync runs with address 10.0.0.9, the file says 10.0.0.3" + MEND),
        (Running(6, "VMmanager", ME, ("10.0.0.9",)), ""),
    ],
)
def test_what_runs_is_what_the_file_says(runs: Running, why: str) -> None:
    core = Core(Config(ME, "boot", "process", CLUSTER))
    assert foreign(core.state) == "", "nobody has asked yet"
    core.step(runs, Instant(1))
    assert foreign(core.state) == why
    assert core.status(Instant(1)).foreign == why


def test_it_is_told_once_and_ends() -> None:
    core = Core(Config(ME, "boot", "process", CLUSTER))
    told = core.step(Running(0, "debian", ME), Instant(1))
    assert [each.code.value for each in told if hasattr(each, "code")] == ["corosync-foreign"]
    assert core.step(Running(0, "debian", ME), Instant(2)) == []
    core.step(Running(7, "VMmanager", ME), Instant(3))
    assert "foreign" not in core.state.told
