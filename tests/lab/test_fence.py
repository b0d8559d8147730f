"""Fencing for real: a daemon's own effect on one node, a real agent, and another node that loses its power, or does not."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.agents import PASSWORD, PROGRAM, Manner, Power, agent
from lab.cluster import Cluster
from lab.conftest import TOKEN_MS, raise_cluster
from lab.node import Node
from lab.waiting import wait_for

HERE = Path(__file__).with_name("fence_here.py")
Fence = Callable[..., tuple[Any, list[Any]]]


@pytest.fixture(scope="module")
def cluster(machine_can: None) -> Iterator[Cluster]:
    settings = {"fencing": {"agent": [agent(1, "n2", "n3")]}}
    made = raise_cluster(True, False, nodes=3, token=TOKEN_MS, settings=settings)
    yield made
    made.down()


@pytest.fixture
def power(cluster: Cluster) -> Iterator[Power]:
    """A switch on which every node is on, and all are one ring."""
    with Power(cluster, start=False) as power:
        for node in cluster.nodes:
            node.write_settings(**cluster.settings)
            if not node.on:
                node.power_on()
            if node.pid("corosync") is None:
                node.start_corosync()
        cluster.wait_quorate()
        yield power


def order(node: Node, what: str, other: int) -> tuple[Any, list[Any]]:
    """What came of it, and what was told to the log."""
    came, told = json.loads(node.run([sys.executable, str(HERE), what, str(other)]).stdout)
    return came, told


def test_a_node_that_is_fenced_loses_its_power(cluster: Cluster, power: Power) -> None:
    one, three = cluster.node(1), cluster.node(3)
    one.write_settings(fencing={"agent": [agent("n2", "n3", then="off")]})
    assert order(one, "test", 3)[0] == [[PROGRAM, True, "on"]]
    assert order(one, "off", 3) == (["done", ""], [])
    assert not three.on
    assert [call for call in power.calls if call.action != "status"] == [(1, "off", 3)]
    assert order(one, "test", 3)[0] == [[PROGRAM, True, "off"]]
    cluster.wait_quorate([one, cluster.node(2)])


def test_then_it_is_switched_on_again(cluster: Cluster, power: Power) -> None:
    one, three = cluster.node(1), cluster.node(3)
    before = three.boot_id
    came, told = order(one, "off", 3)
    assert came == ["done", ""]
    assert told == [["powered-on", {"node": "3", "agent": PROGRAM}]]
    assert three.on
    assert three.boot_id != before
    assert [call[:2] for call in power.calls] == [(1, "off"), (1, "on")]


def test_an_agent_that_lies_is_contradicted_by_the_link(cluster: Cluster, power: Power) -> None:
    power.manner[3] = Manner.LIES
    before = cluster.node(1).membership()
    (result, why), told = order(cluster.node(1), "off", 3)
    assert result == "failed"
    assert why == f"{PROGRAM} says that node 3 is off, but a link to it is still connected"
    assert [code for code, _ in told] == ["fence-agent-failed"]
    assert cluster.node(3).on
    assert power.count("on", 3) == 0
    assert cluster.node(1).membership() == before


def test_of_a_node_that_is_cut_off_already_no_link_says_otherwise(cluster: Cluster, power: Power) -> None:
    one, three = cluster.node(1), cluster.node(3)
    one.write_settings(fencing={"agent": [agent("n2", "n3", then="off")]})
    three.cut()
    try:
        cluster.wait_quorate([one, cluster.node(2)])
        assert order(one, "off", 3)[0] == ["done", ""]
        assert not three.on
    finally:
        three.power_off()


@pytest.mark.parametrize(
    ("manner", "words", "on"),
    [
        (Manner.FAILS, "exit 1: Failed: Timed out waiting to power off", True),
        (Manner.TIMES_OUT, "exit 1: Failed: connection reset by power switch", False),
        (Manner.HANGS, "has not ended after 1 s", True),
    ],
)
def test_an_agent_that_does_not_say_so_is_no_proof(
    cluster: Cluster, power: Power, manner: Manner, words: str, on: bool
) -> None:
    timeout_s = 1 if manner is Manner.HANGS else 60
    cluster.node(2).write_settings(fencing={"agent": [agent("n1", "n3", timeout_s=timeout_s)]})
    power.manner[3] = manner
    (result, why), _ = order(cluster.node(2), "off", 3)
    assert (result, why) == ("failed", f"{PROGRAM} off: {words}")
    assert cluster.node(3).on is on


def test_the_second_level(cluster: Cluster, power: Power) -> None:
    wrong = {"plug": "{name}", "passwd": "not-the-" + PASSWORD}
    levels = [agent("n3", "n2", options=wrong), agent("n3", then="off")]
    cluster.node(2).write_settings(fencing={"agent": levels})
    came, told = order(cluster.node(2), "off", 3)
    assert came == ["done", ""]
    why = f"{PROGRAM} off: exit 1: Unable to connect/login to fencing device"
    assert told == [["fence-agent-failed", {"node": "3", "why": why}]]
    assert not cluster.node(3).on


def test_the_agent_speaks_as_fence_agents_do(cluster: Cluster, power: Power) -> None:
    one = cluster.node(1)
    metadata = one.run([PROGRAM], input="action=metadata\n").stdout
    for action in ("on", "off", "reboot", "status", "monitor", "metadata"):
        assert f'<action name="{action}"/>' in metadata
    assert one.run([PROGRAM, "-o", "monitor", "-p", PASSWORD], check=False).returncode == 0
    assert one.run([PROGRAM, "-o", "status", "-n", "n2", "-p", PASSWORD], check=False).returncode == 0
    assert "Unrecognised action" in one.run([PROGRAM, "-o", "x", "-n", "n2", "-p", PASSWORD], check=False).stderr
    assert "no plug 'n9'" in one.run([PROGRAM, "-o", "status", "-n", "n9", "-p", PASSWORD], check=False).stderr
    # reboot is what is meant where nothing is said
    before = cluster.node(2).boot_id
    done = one.run([PROGRAM], input=f"# a comment\n\nplug=2\npasswd={PASSWORD}\n", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert cluster.node(2).on
    assert cluster.node(2).boot_id != before


def test_a_switch_that_is_slow(cluster: Cluster, power: Power) -> None:
    power.slow_s[3] = 0.5
    running = cluster.node(1).popen([PROGRAM, "-o", "off", "-n", "n3", "-p", PASSWORD])
    wait_for(lambda: power.count("off", 3), "the agent has asked")
    assert running.wait(60) == 0
    assert not cluster.node(3).on
