"""The main job on real nodes: who is master when nodes, links and quorum come and go."""

import itertools

import pytest

from lab import beats
from lab.cluster import SEED, Cluster, Node, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import (
    CALM,
    FENCING,
    QUICK,
    holds,
    master_is,
    masters_in_log,
    noted,
    nothing,
    service_changes,
    settled,
    status,
)


def up(make_cluster: MakeCluster, **options: object) -> Cluster:
    return make_cluster(**{"settings": FENCING, **QUICK, **options})


@pytest.mark.parametrize("order", [(2, 4, 8), (8, 4, 2)])
def test_three_nodes_start_in_any_order(make_cluster: MakeCluster, order: tuple[int, ...]) -> None:
    """The first two make a quorum and a master; the third changes neither the master nor the service."""
    cluster = up(make_cluster, **CALM, corosync=False, **SEED)
    first, second, third = (cluster.node(nodeid) for nodeid in order)
    for node in (first, second):
        node.start_all(pull=True)
    early = max((first, second), key=lambda node: node.prio or 0)
    settled(cluster, early, [first, second])
    started = early.service_log()
    third.start_all(pull=True)
    settled(cluster, early)
    assert early.service_log() == started
    assert status(third)["role"] == "slave"
    highest = max(node["priority"] for node in status(early)["nodes"])
    assert next(n["priority"] for n in status(early)["nodes"] if n["id"] == early.nodeid) == highest == 100


def test_the_masters_node_dies(make_cluster: MakeCluster) -> None:
    """SIGKILL of everything: the next one takes over, takes the highest priority, and keeps it when the old one is back."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    n4.power_off()
    settled(cluster, n2, [n2, n8])
    ranks = {node["id"]: node["priority"] for node in status(n2)["nodes"]}
    assert ranks == {2: 100, 4: 99, 8: 98}
    assert n2.config_version() == 2
    assert "ihttpd" in n2.corosync_conf
    n4.power_on(start=True)
    settled(cluster, n2)
    assert masters_in_log(n8)[-2:] == [4, 2]
    assert not n4.lock_files()


def test_the_masters_link_is_cut(make_cluster: MakeCluster) -> None:
    """Within a second of losing quorum it holds nothing, long before its lease is over for the others; healing it flaps
    nobody and makes all files equal."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    n4.cut()
    wait_for(lambda: noted(n4, "quorum-lost"), "the cut node sees that it has no quorum")
    wait_for(lambda: nothing(n4), "the cut node holds nothing")
    wait_for(lambda: noted(n4, "address-dropped") and noted(n4, "service-stopped"), "and says so")
    assert noted(n4, "quorum-lost")[-1].split()[0] <= noted(n4, "address-dropped")[-1].split()[0]
    assert len(noted(n4, "lock-released")) == 2
    settled(cluster, n2, [n2, n8])
    stopped, started = n4.service_log()[-1], n2.service_log()[0]
    assert (stopped[1], started[1]) == ("stop", "start")
    assert stopped[0] < started[0], "the service ran twice"
    n4.heal()
    settled(cluster, n2)
    stays(lambda: status(n8).get("master") == 2, "n2 stays master after the heal", 3)
    assert masters_in_log(n8)[-2:] == [4, 2]
    assert masters_in_log(n2)[-2:] == [4, 2]
    assert noted(n2, "role")[-1] == noted(n2, "role", role="master")[-1]
    assert n4.config_version() == n2.config_version() == n8.config_version() == 2


def test_two_of_three_die_and_one_returns(make_cluster: MakeCluster) -> None:
    """The last one holds nothing; with quorum back it acts again."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    n2.power_off()
    n8.power_off()
    wait_for(lambda: noted(n4, "quorum-lost"), "the last one sees that it has no quorum")
    wait_for(lambda: nothing(n4), "the last one holds nothing")
    stays(lambda: nothing(n4), "the last one holds nothing without quorum", 3)
    n2.power_on(start=True)
    settled(cluster, n4, [n2, n4])
    n8.power_on(start=True)
    settled(cluster, n4)


def test_equal_priorities(make_cluster: MakeCluster) -> None:
    """The lower node id wins, everywhere alike."""
    cluster = up(make_cluster, daemons=True, nodes=3, prios=(50, 50, 50))
    settled(cluster, cluster.node(1))
    cluster.node(1).power_off()
    settled(cluster, cluster.node(2), cluster.others(cluster.node(1)))
    assert cluster.node(2).config_version() == 1, "nothing to swap, nothing to rewrite"


def test_five_nodes_two_die_at_once(make_cluster: MakeCluster) -> None:
    """The master and its heir die together: the third in rank takes over."""
    cluster = up(make_cluster, daemons=True, nodes=5, prios=(10, 50, 40, 30, 20))
    settled(cluster, cluster.node(2))
    for nodeid in (2, 3):
        cluster.node(nodeid).power_off()
    living = [cluster.node(nodeid) for nodeid in (1, 4, 5)]
    settled(cluster, cluster.node(4), living)
    ranks = {node["id"]: node["priority"] for node in status(cluster.node(4))["nodes"]}
    assert ranks == {1: 10, 2: 30, 3: 40, 4: 50, 5: 20}


def test_a_planned_stop_hands_over(make_cluster: MakeCluster) -> None:
    """SIGTERM is a farewell: service first, then the rest; nobody waits for a lease."""
    cluster = up(make_cluster, **CALM, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    waits = noted(n2, "service-waits")
    n4.stop_daemon()
    settled(cluster, n2, [n2, n8])
    assert nothing(n4)
    assert noted(n2, "farewell", node=4)
    assert noted(n2, "service-waits") == waits, "a farewell is proof enough"
    stopped, dropped = noted(n4, "service-stopped")[-1], noted(n4, "address-dropped")[-1]
    assert stopped.split()[0] <= dropped.split()[0]


@pytest.mark.parametrize("who", ["slave", "master"])
def test_corosync_restarts_under_a_running_daemon(make_cluster: MakeCluster, who: str) -> None:
    """The daemon lets go at once, connects again, and nobody runs the service beside anybody."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    node = n4 if who == "master" else n8
    pid = node.pid("daemon")
    node.stop_corosync()
    wait_for(lambda: noted(node, "corosync-lost"), "the daemon says that corosync is gone")
    wait_for(lambda: nothing(node), "and holds nothing")
    node.start_corosync(restart="always", pull=True)
    wait_for(lambda: len(noted(node, "corosync-connected")) == 2, "the daemon connects again")
    master = n2 if who == "master" else n4
    settled(cluster, master)
    assert node.pid("daemon") == pid
    changes = sorted((when, what, n.nodeid) for n in cluster.nodes for when, what in n.service_log())
    assert [what for _, what, _ in changes] == ["start", *["stop", "start"] * (who == "master")]


PATIENT = {"fencing": {**FENCING["fencing"], "restart_ms": 9000}}
"""A new daemon process may be late on a loaded machine: these stories are about one that comes in time."""


def killed(node: Node) -> None:
    pid = node.pid("daemon")
    node.kill_daemon()
    wait_for(lambda: node.pid("daemon") not in (None, pid), "the supervisor starts the daemon again")


def test_kill_9_of_the_masters_daemon(make_cluster: MakeCluster) -> None:
    """The next process adopts everything: the address never leaves, the service never stops, the master stays."""
    cluster = up(make_cluster, settings=PATIENT, **CALM, **SEED)
    cluster.start_daemons(supervised=True)
    n4, n8 = cluster.nodes[1:]
    settled(cluster, n4)
    started, masters = n4.service_log(), masters_in_log(n8)
    witness = cluster.witness(n4)
    for _ in range(3):
        killed(n4)
        settled(cluster, n4)
    witness.stop()
    assert not [fact for fact in witness.facts() if fact.get("what") == "deleted"], "the address left"
    assert n4.service_log() == started
    assert masters_in_log(n8) == masters
    assert len(noted(n4, "adopted")) == 3


def test_the_masters_daemon_dies_for_good(make_cluster: MakeCluster) -> None:
    """After restart_ms its node counts as lost. It still holds everything, and nobody there ends the service: the others wait
    for a proof before they start it. Here it is the word of the small program that systemd would have called."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    n4.kill_daemon()
    wait_for(lambda: noted(n2, "absent", node=4), "n4 is declared absent after restart_ms")
    wait_for(lambda: n2.holds("172.31.223.100"), "n2 takes the address at once")
    wait_for(lambda: noted(n2, "service-waits-for-proof", former=4), "and says what it waits for")
    stays(lambda: n4.service_running() and not n2.lock_files(), "time proves nothing about n4", 8)
    said = n4.cli("let-go").stderr
    assert "service: let go" in said, said
    assert nothing(n4)
    settled(cluster, n2, [n2, n8])
    assert noted(n8, "vacated", node=4)
    assert service_changes(cluster) == [("start", 4), ("stop", 4), ("start", 2)]
    n4.start_daemon()
    settled(cluster, n2)


def test_the_masters_daemon_is_stopped_and_continued(make_cluster: MakeCluster) -> None:
    """SIGSTOP for longer than restart_ms: absent, another is master; continued, it lets go before anything else, and says so.
    Until then the service waits."""
    cluster = up(make_cluster, **SEED)
    n2, n4, n8 = cluster.nodes
    beats.install(cluster.nodes)
    cluster.start_daemons()
    settled(cluster, n4)
    n4.pause_daemon()
    wait_for(lambda: noted(n2, "absent", node=4), "the silent daemon is declared absent")
    wait_for(lambda: noted(n2, "service-waits-for-proof", former=4), "the next master waits")
    stays(lambda: not n2.lock_files(), "time proves nothing about n4", 6)
    n4.resume_daemon()
    wait_for(lambda: nothing(n4), "the continued daemon holds nothing")
    settled(cluster, n2)
    lapsed, dropped = noted(n4, "lease-ended")[-1], noted(n4, "address-dropped")[-1]
    assert lapsed.split()[0] <= dropped.split()[0]
    assert masters_in_log(n8)[-2:] == [4, 2]
    assert beats.one_after_the_other(cluster.nodes) == [4, 2]


def test_the_masters_corosync_hangs(make_cluster: MakeCluster) -> None:
    """Stopped but not dead, it answers nothing and tells nothing: the lease ends by itself, and everything is let go."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    n4.pause_corosync()
    wait_for(lambda: noted(n4, "lease-ended"), "the lease ends")
    wait_for(lambda: nothing(n4), "and nothing is held")
    master_is(cluster, n2, [n2, n8])
    stopped, started = n4.service_log()[-1], n2.service_log()[-1]
    assert (stopped[1], started[1]) == ("stop", "start")
    assert stopped[0] < started[0], "the service ran twice"
    n4.resume_corosync()
    settled(cluster, n2)


def test_prepare_restart_keeps_everything(make_cluster: MakeCluster) -> None:
    """An upgrade of the daemon on every node in turn: users notice nothing."""
    cluster = up(make_cluster, settings=PATIENT, **CALM, **SEED)
    cluster.start_daemons()
    n4 = cluster.node(4)
    settled(cluster, n4)
    started = n4.service_log()
    for node in cluster.nodes:
        node.cli("prepare-restart")
        node.stop_daemon()
        assert node is not n4 or all(holds(n4)), "what is held stays held"
        node.start_daemon()
        settled(cluster, n4)
    assert n4.service_log() == started
    assert all(masters_in_log(node)[-1] == 4 for node in cluster.nodes)
    assert not any(noted(n4, "address-dropped"))


def rings(node: Node) -> list[str]:
    """The nodes of every ring that it was in, oldest first."""
    return [line.split(" nodes=")[1] for line in noted(node, "ring")]


def went_on(node: Node, nodes: str) -> bool:
    """A quorate line was formed in a ring of these nodes; a ring that is there for milliseconds sees none."""
    found = [line.split(" ring=")[1].split()[0] for line in noted(node, "ring", nodes=nodes)]
    return any(noted(node, "view", ring=ring, members=nodes) for ring in found)


def test_a_switch_reboots(make_cluster: MakeCluster) -> None:
    """Everybody loses quorum at once and gets it back: no line went on, so the master is master again. But the links come
    back as knet sees them, one by one, and where two have formed a line before the third is there, theirs goes on."""
    cluster = up(make_cluster, daemons=True, **SEED)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    # All at once: cut one after the other, two nodes are a quorum for a moment, and their line goes on.
    cluster.cut()
    for node in cluster.nodes:
        wait_for(lambda node=node: noted(node, "quorum-lost"), f"{node.name} is alone")  # type: ignore[misc]
        wait_for(lambda node=node: nothing(node), f"{node.name} holds nothing")  # type: ignore[misc]
    cluster.heal()
    wait_for(lambda: all(rings(node)[-1] == "2,4,8" for node in cluster.nodes), "all are together again")
    settled(cluster, n2 if went_on(n2, "2,8") or went_on(n8, "2,8") else n4)
    times = list(itertools.chain.from_iterable(node.service_log() for node in cluster.nodes))
    assert [what for _, what in sorted(times)] == ["start", "stop", "start"]
