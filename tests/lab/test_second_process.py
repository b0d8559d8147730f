"""Another process of a node in the daemons' group, on real corosync: it does not count as the node's daemon."""

import subprocess
import sys
from pathlib import Path

from lab.cluster import Cluster, Node, wait_for
from lab.conftest import MakeCluster
from lab.machine import Entered
from lab.stories import CALM, FENCING, everything, noted, settled, status

PROGRAM = Path(__file__).with_name("second_process.py")


def beside(cluster: Cluster, node: Node) -> Entered:
    """The program, in the group; all daemons have noticed it if there is one on its node."""
    process = node.popen([sys.executable, str(PROGRAM)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "joined\n"
    return process


def member(observer: Node, node: Node) -> bool:
    return next(bool(each["member"]) for each in status(observer)["nodes"] if each["id"] == node.nodeid)


def test_it_neither_speaks_nor_leaves_for_the_daemon(make_cluster: MakeCluster) -> None:
    """It repeats what all say, on the master's node and on another one, and is killed there: nobody misses a daemon."""
    cluster = make_cluster(daemons=True, settings=FENCING, **CALM)
    n1, n2, n3 = cluster.nodes
    settled(cluster, n1)
    views = {node: len(noted(node, "view")) for node in cluster.nodes}
    for node in (n1, n2):
        process = beside(cluster, node)
        for each in cluster.nodes:
            wait_for(lambda each=each, node=node: noted(each, "second-process", node=node.nodeid), "it is told")
        beats = status(n3)["uptime_ms"]
        wait_for(lambda beats=beats: status(n3)["uptime_ms"] > beats + 3000, "it has repeated a while")
        process.kill()
        process.wait()
    settled(cluster, n1)
    for node in cluster.nodes:
        assert noted(node, "daemon-gone") == noted(node, "left") == noted(node, "lease-ended") == []
        assert noted(node, "farewell") == noted(node, "absent") == []
        assert status(node)["bad_messages"] == 0
        assert len(noted(node, "view")) >= views[node]
        assert all(member(node, other) for other in cluster.nodes)
    assert cluster.unrest() == []


def test_it_does_not_stand_in_for_a_daemon_that_is_gone(make_cluster: MakeCluster) -> None:
    """The master's daemon is killed and does not come back, the other process stays: another node takes over as without it.
    The daemon that is started again then is taken in beside it."""
    cluster = make_cluster(daemons=True, settings=FENCING, **CALM)
    n1, n2, n3 = cluster.nodes
    settled(cluster, n1)
    process = beside(cluster, n1)
    for each in cluster.nodes:
        wait_for(lambda each=each: noted(each, "second-process", node=1), "it is told")
    n1.kill_daemon()
    wait_for(lambda: noted(n2, "left", node=1) and noted(n3, "left", node=1), "its node counts as lost")
    wait_for(lambda: status(n2)["master"] == n2.nodeid, "another master")
    assert not member(n2, n1)
    n1.start_daemon()
    wait_for(lambda: member(n2, n1) and member(n3, n1) and status(n1)["quorate"], "the next daemon is taken in")
    process.kill()
    process.wait()
    wait_for(lambda: any(everything(node) for node in cluster.nodes), "somebody serves")
    for node in (n2, n3):
        assert noted(node, "lease-ended") == []
        assert member(node, n1)
