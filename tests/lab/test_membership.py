"""What the daemon asks of corosync itself, by its own effect: ending corosync on a member."""

import sys

from lab.cluster import Cluster, wait_for

PROGRAM = """
import asyncio, sys
from corolistener.core.actions import KillNode, Until
from corolistener.core.view import RingId
from corolistener.daemon.membership import Membership
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket

one = NodeId(1)
action = KillNode(Ticket(1), NodeId(int(sys.argv[1])), Until(RingId(1, one), Instant(0)))
try:
    print(asyncio.run(Membership(lambda events: None, lambda timers: None, None).perform(action)).result.value)
except EffectError as error:
    print(error)
"""


def asked(cluster: Cluster, other: int) -> str:
    return str(cluster.node(1).run([sys.executable, "-c", PROGRAM, str(other)]).stdout).strip()


def test_corosync_is_ended_on_a_member(make_cluster) -> None:
    cluster = make_cluster(nodes=3)
    cluster.wait_quorate()
    assert asked(cluster, 9) == "KillNode: corosync_cfg_kill_node: no such thing (CS_ERR_NOT_EXIST, 12)"
    assert asked(cluster, 3) == "done"
    three = cluster.node(3)
    wait_for(lambda: three.exits("corosync"), "corosync on node 3 ends")
    assert "it was left behind, and cannot put its VMs in order" in three.output("corosync")
    cluster.wait_quorate(cluster.nodes[:2])


def test_without_corosync_here_it_fails(make_cluster) -> None:
    cluster = make_cluster(nodes=2)
    one = cluster.node(1)
    one.stop_corosync()
    assert asked(cluster, 2).startswith("KillNode: ")
    assert cluster.node(2).pid("corosync") is not None
