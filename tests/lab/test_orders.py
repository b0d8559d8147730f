"""Orders about VMs and nodes between real daemons: asked at one, decided by the master, seen by all."""

import json

import pytest

from lab.cluster import SEED, Cluster, Node, wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, refused, settled


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """The seed's cluster, n4 being master; no hypervisor is needed for who may carry VMs."""
    made = make_cluster(daemons=True, settings=FENCING, **CALM, **SEED)
    settled(made, made.node(4))
    return made


def excused(node: Node) -> list[int]:
    """The nodes in maintenance, as this one knows."""
    carriers = json.loads(node.cli("status", "--json").stdout)["vms"]["nodes"]
    return [each["id"] for each in carriers if each["maintenance"] is not None]


def test_maintenance_is_ordered_anywhere_and_known_everywhere(cluster: Cluster) -> None:
    n2, n4, n8 = (cluster.node(node) for node in (2, 4, 8))
    done = n8.cli("maintenance", "2", "on")
    assert (done.stdout.endswith("is in maintenance: it is given no VMs\n"), done.stderr) == (True, "")
    for node in (n2, n4, n8):
        wait_for(lambda node=node: excused(node) == [2], f"{node.name} knows it")  # type: ignore[misc]
        assert "given no VMs, by root (uid 0) at node 8; 0 VMs there" in node.cli("status").stdout
    n4.kill_daemon()
    wait_for(lambda: n4.pid("daemon") is None, "the daemon is gone")
    n4.start_daemon()
    settled(cluster, n4)
    assert excused(n4) == [2], "it is in the ledger"
    assert n4.cli("maintenance", "2", "off").stdout.endswith("is given VMs again\n")
    assert "is not in maintenance" in refused(n2, "maintenance", "2", "off")
    assert n2.cli("drain", "8").stdout.endswith("is in maintenance, and nothing runs there\n")


def test_what_there_is_not_is_refused_by_the_master_in_one_line(cluster: Cluster) -> None:
    n8 = cluster.node(8)
    assert n8.cli("vm", "list").stdout == "name  node  state  gen  memory  priority\n"
    assert "no managed VM is named 'web'" in refused(n8, "vm", "start", "web")
    assert "is here: only a node that is lost is fenced" in refused(n8, "fence", "2")
    assert "no fence agent is configured for node 2" in refused(n8, "fence", "--test", "2")
    assert "no node of the nodelist has the id 9" in refused(n8, "maintenance", "9", "on")
    assert n8.cli("plan", "--lose", "2").stdout.endswith("nothing would happen: no VM runs there\n")
