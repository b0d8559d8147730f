"""Whose word on quorum counts: a majority of all votes, in the cluster of the file. safety.md, rules 3 and 21."""

import pytest

from lab.cluster import Cluster, Node
from lab.conftest import MakeCluster
from lab.stories import FENCING, QUICK, noted, nothing, service_changes, settled, status
from lab.vm_stories import vms
from lab.waiting import stays, wait_for

SAMPLE = """totem {
	version: 2
	cluster_name: debian
	crypto_cipher: none
	crypto_hash: none
}
logging {
	to_stderr: yes
	to_syslog: no
}
quorum {
	provider: corosync_votequorum
}
nodelist {
	node {
		name: node1
		nodeid: 1
		ring0_addr: 127.0.0.1
	}
}
"""
"""What a distribution starts corosync with when it is installed."""
WINDOW = "\tlast_man_standing: 1\n\tlast_man_standing_window: 2000\n"


@pytest.fixture
def halves(make_cluster: MakeCluster) -> tuple[Cluster, list[Node], list[Node]]:
    """A cold start in two parts, with a file in which three votes are expected of five nodes."""
    cluster = make_cluster(nodes=5, settings=FENCING, corosync=False, quorum="\texpected_votes: 3\n", **QUICK)
    small, large = cluster.nodes[:2], cluster.nodes[2:]
    cluster.split(small, large)
    for node in cluster.nodes:
        node.start_all(pull=False)
    return cluster, small, large


def test_the_smaller_part_of_a_cold_start_does_nothing(halves: tuple[Cluster, list[Node], list[Node]]) -> None:
    """Both parts are quorate for corosync, and the nodes with the highest priorities are in the smaller one."""
    cluster, small, large = halves
    for node in cluster.nodes:
        wait_for(node.quorate, f"corosync on {node.name} says quorate")
    settled(cluster, large[0], large)
    for node in small:
        [line] = wait_for(lambda node=node: noted(node, "quorum-not-enough"), f"{node.name} says why it does nothing")[:1]  # type: ignore[misc]
        assert "2 of 5" in line
    stays(lambda: all(map(nothing, small)), "nothing is held in the smaller part", 8)
    assert all(status(node)["master"] is None for node in small)
    told = small[0].cli("check", check=False)
    assert told.returncode == 1
    assert "expected_votes" in told.stdout
    cluster.heal()
    settled(cluster, small[0])  # a first master swaps no priorities, so the first in rank is master when it comes
    first, highest = large[0].nodeid, small[0].nodeid
    assert service_changes(cluster) == [("start", first), ("stop", first), ("start", highest)]


def test_the_last_men_standing_do_not_act(make_cluster: MakeCluster) -> None:
    """votequorum takes what is left for everything after its window, and it cannot know whether the others are alive."""
    cluster = make_cluster(nodes=5, settings=FENCING, corosync=False, quorum=WINDOW, **QUICK)
    for node in cluster.nodes:
        node.start_all(pull=False)
    n1, n2, n3, n4, n5 = cluster.nodes
    settled(cluster, n1)
    for node in (n4, n5):
        node.power_off()
    cluster.wait_quorate([n1, n2, n3])
    wait_for(
        lambda: "Expected votes:   3" in n1.run(["corosync-quorumtool", "-s"], check=False).stdout, "the window has passed"
    )
    n1.cut()
    cluster.wait_quorate([n2, n3])
    wait_for(lambda: all(noted(node, "quorum-not-enough") for node in (n2, n3)), "two of five are told to be no majority")
    wait_for(lambda: nothing(n1), "who was cut off has let go")
    stays(lambda: nothing(n2) and nothing(n3), "and nobody has begun", 8)
    assert service_changes(cluster) == [("start", 1), ("stop", 1)]


def test_a_corosync_that_runs_with_the_sample_of_its_distribution_gets_no_duties(make_cluster: MakeCluster) -> None:
    """The machine was prepared as `node add` says; only its corosync was started before the file came."""
    cluster = make_cluster(nodes=3, settings=FENCING, corosync=False, **QUICK)
    n1, n2, n3 = cluster.nodes
    real, n1.corosync_conf = n1.corosync_conf, SAMPLE
    n1.start_corosync()
    wait_for(n1.quorate, "alone it is quorate")
    n1.corosync_conf = real
    n1.start_daemon(supervised=True)
    for node in (n2, n3):
        node.start_all(pull=False)
    settled(cluster, n2, [n2, n3])
    [line] = wait_for(lambda: noted(n1, "corosync-foreign"), "it says whose corosync this is")[:1]
    assert "corosync runs cluster debian, the file says VMmanager: systemctl restart corosync" in line
    stays(lambda: nothing(n1), "it has no duties", 8)
    seen = status(n1)
    assert (seen["quorate"], seen["acting"], seen["master"]) == (False, False, None)
    assert "systemctl restart corosync" in seen["foreign"]
    assert seen["ledger"]["open"] is False
    n1.stop_corosync()
    n1.start_corosync(restart="always")
    wait_for(lambda: {status(node).get("master") for node in cluster.nodes} in ({1}, {2}), "it is a member like the others")
    wait_for(lambda: not status(n1)["foreign"], "and its corosync is the file's")


def test_a_corosync_that_is_restarted_with_a_sample_lets_no_vm_go_on(machine_can: None) -> None:
    """Alone it is quorate at once. What was suspended when the ring broke stays so until corosync runs with the right file."""
    with vms(fencing={"agent": None}) as made:
        n1 = made.node(1)
        made.start("web", n1)
        real, n1.corosync_conf = n1.corosync_conf, SAMPLE
        n1.stop_corosync()
        made.witness.await_still("web")
        n1.start_corosync()
        wait_for(n1.quorate, "alone it is quorate")
        n1.corosync_conf = real
        wait_for(lambda: noted(n1, "corosync-foreign"), "it says whose corosync this is")
        stays(lambda: not made.witness.running_on("web"), "the VM is suspended", 5)
        n1.stop_corosync()
        n1.start_corosync(restart="always", pull=True)  # the others may have gone on to a new version
        made.runs_on("web", n1)
        assert made.witness.starts("web") == 1
