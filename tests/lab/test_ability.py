"""A node that cannot hold what a master holds makes room for one that can: safety.md, rule 17."""

import pytest

from lab import beats
from lab.cluster import SEED, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import FENCING, QUICK, master_is, noted, nothing, obstacles, settled

READ_ONLY = "mount --rbind {0} {0}; mount -o remount,ro,bind {0}"
WRITABLE = "umount --lazy {0}"


@pytest.mark.parametrize("directory", ["/tmp", "/var/lib/corolistener"], ids=["locks", "state"])
def test_an_heir_that_cannot_write_is_passed_over(make_cluster: MakeCluster, directory: str) -> None:
    """n2 would be the next master, and its disk is read-only: another serves. n2 is eligible again once it can write."""
    cluster = make_cluster(settings=FENCING, **QUICK, **SEED)
    n2, n4, n8 = cluster.nodes
    beats.install(cluster.nodes)
    cluster.start_daemons()
    settled(cluster, n4)
    n2.run(["sh", "-ec", READ_ONLY.format(directory)])
    wait_for(lambda: obstacles(n4, n2) == ["cannot-serve"], "n2 is not eligible")
    assert directory in noted(n8, "unable", node=2)[-1]
    assert nothing(n2)
    n4.power_off()
    master_is(cluster, n8, [n2, n8])
    assert beats.one_after_the_other(cluster.nodes) == [4, 8]
    n2.run(["sh", "-ec", WRITABLE.format(directory)])
    wait_for(lambda: obstacles(n8, n2) == [], "n2 is eligible again")
    stays(lambda: nothing(n2), "n8 stays master: it has taken the highest priority", 3)
    settled(cluster, n8, [n2, n8])


def test_a_master_that_cannot_write_its_locks_any_more_makes_room(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(settings=FENCING, **QUICK, **SEED)
    n2, n4, n8 = cluster.nodes
    beats.install(cluster.nodes)
    cluster.start_daemons()
    settled(cluster, n4)
    n4.run(["sh", "-ec", READ_ONLY.format("/tmp")])
    wait_for(lambda: noted(n8, "unable", node=4), "n4 says that it cannot serve")
    wait_for(lambda: n2.holds("172.31.223.100") and n2.service_running(), "n2 serves")
    wait_for(lambda: not n4.service_running() and not n4.holds("172.31.223.100"), "n4 has let go")
    assert beats.one_after_the_other(cluster.nodes) == [4, 2]
    n4.run(["sh", "-ec", WRITABLE.format("/tmp")])
    wait_for(lambda: obstacles(n2, n4) == [], "n4 is eligible again", limit=120)
    settled(cluster, n2)
