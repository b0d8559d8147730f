"""A start of the cluster is no failure and no takeover: safety.md, rule 16."""

from lab.cluster import SEED, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, QUICK, masters_in_log, noted, service_changes, settled, status

PATIENT = {"fencing": {**FENCING["fencing"], "hello_ms": 60_000}}
"""A daemon that is late on a loaded machine comes in time all the same."""


def test_the_daemon_of_the_first_in_rank_is_late(make_cluster: MakeCluster) -> None:
    """corosync of n4 is in the ring before the other daemons start: they wait for its daemon; nobody else is ever master."""
    cluster = make_cluster(settings=PATIENT, **CALM, **SEED)
    n2, n4, n8 = cluster.nodes
    n2.start_daemon()
    n8.start_daemon()
    for node in (n2, n8):
        wait_for(lambda node=node: noted(node, "quorum-gained"), f"{node.name} is quorate")  # type: ignore[misc]
    stays(lambda: not status(n2).get("master") and not status(n8).get("master"), "there is no master without n4", 2)
    n4.start_daemon()
    settled(cluster, n4)
    assert {tuple(masters_in_log(node)) for node in cluster.nodes} == {(4,)}
    assert service_changes(cluster) == [("start", 4)]
    assert {node.config_version() for node in cluster.nodes} == {1}, "no priority was swapped"


def test_the_daemon_of_the_first_in_rank_does_not_come_in_time(make_cluster: MakeCluster) -> None:
    """hello_ms are over: another is master. It took over from nobody and swaps nothing, and n4 is master when it comes."""
    cluster = make_cluster(settings=FENCING, **QUICK, **SEED)
    n2, n4, n8 = cluster.nodes
    n2.start_daemon()
    n8.start_daemon()
    settled(cluster, n2, [n2, n8])
    assert noted(n2, "absent", node=4)
    stays(lambda: n2.config_version() == 1, "no priority is swapped", 2)
    n4.start_daemon()
    settled(cluster, n4)
    assert service_changes(cluster) == [("start", 2), ("stop", 2), ("start", 4)]
    assert {node.config_version() for node in cluster.nodes} == {1}
    n4.stop_daemon()
    settled(cluster, n2, [n2, n8])
    assert n2.config_version() == 2, "this is a takeover"
