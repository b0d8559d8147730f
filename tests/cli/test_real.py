"""`-l` and `check` beside a real corosync and without a daemon."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from lab.cluster import SEED, Cluster, cannot, wait_for

pytestmark = pytest.mark.lab

TABLE = """\
VMmanager-cloud node list
=============================================================
        Id               Ip    Status  Master/Slave  Priority
         2    172.31.223.46    joined             S        99
         4    172.31.223.47    joined             M       100
         8    172.31.223.48    joined             S        98
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if reason := cannot():
        pytest.skip(f"no lab here: {reason}")
    with Cluster(**SEED) as cluster:
        cluster.start_corosync()
        cluster.wait_quorate()
        yield cluster


def rows(done: subprocess.CompletedProcess[str]) -> list[tuple[str, ...]]:
    """Id, status, role of each row."""
    return [(row[0], row[2], row[3]) for row in (line.split() for line in done.stdout.splitlines()[3:])]


def levels(done: subprocess.CompletedProcess[str], topic: str) -> set[str]:
    return {line.split()[0] for line in done.stdout.splitlines() if line[9:].startswith(topic + ":")}


def test_corosync_is_asked_where_there_is_no_daemon(cluster: Cluster) -> None:
    done = cluster.nodes[2].cli("-l")
    assert done.stdout == TABLE
    assert done.stderr.count("\n") == 1
    assert "no daemon at /run/corolistener/client" in done.stderr
    facts = json.loads(cluster.nodes[0].cli("-l", "--json").stdout)
    assert (facts["source"], facts["quorate"], facts["master"]) == ("corosync", True, 4)


def test_check_knows_the_machine(cluster: Cluster) -> None:
    done = cluster.nodes[1].cli("check", check=False)
    assert done.returncode == 0, done.stdout
    expected = {"corosync.conf": "ok", "corosync": "ok", "node": "ok", "versions": "ok", "lease": "ok", "key": "ok"}
    for topic, level in expected.items():
        assert level in levels(done, topic)
        assert "error" not in levels(done, topic)
    assert "this is node 4, 172.31.223.47, priority 100" in done.stdout
    assert "timers of corosync)" in done.stdout


def test_check_sees_a_file_that_is_not_loaded(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    before = node.corosync_conf
    node.corosync_conf = before.replace("config_version: 1", "config_version: 2")
    assert levels(node.cli("check", check=False), "versions") == {"warning"}
    node.corosync_conf = before


def test_who_leaves_and_what_is_left(cluster: Cluster) -> None:
    """Last of this file: it stops one corosync after the other."""
    n2, n4, n8 = cluster.nodes
    n4.stop_corosync()
    wait_for(lambda: rows(n2.cli("-l"))[1] == ("4", "left", "-"), "node 4 is seen to have left")
    assert rows(n2.cli("-l")) == [("2", "joined", "M"), ("4", "left", "-"), ("8", "joined", "S")]
    n8.stop_corosync()
    alone = [("2", "joined", "-"), ("4", "left", "-"), ("8", "left", "-")]
    wait_for(lambda: rows(n2.cli("-l")) == alone, "without quorum nobody is master")
    n2.stop_corosync()
    done = n2.cli("-l", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "`systemctl start corosync`" in done.stderr
    done = n2.cli("check", check=False)
    assert (done.returncode, levels(done, "corosync")) == (1, {"error"})
    assert "timers of corosync.conf)" in done.stdout
