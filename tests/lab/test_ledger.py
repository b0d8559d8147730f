"""The ledger on real disks: what a majority has stored outlives processes and power, and so does a panic."""

import sqlite3
from collections.abc import Sequence

import pytest

from lab.cluster import SEED, Cluster, Node, wait_for
from lab.conftest import MakeCluster
from lab.stories import FENCING, QUICK, everything, master_is, noted, refused, settled, status

FILE = "/var/lib/corolistener/ledger.sqlite"
SMALL_DISK = "mount -t tmpfs -o size=256k,mode=0700 tmpfs /var/lib/corolistener"
FILL = "cat /dev/zero >/var/lib/corolistener/fill || test -s /var/lib/corolistener/fill"
Version = tuple[int, ...]


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """Three nodes, settled, their ledgers stable."""
    made = make_cluster(settings=FENCING, corosync=False, **QUICK, **SEED)
    for node in made.nodes:
        node.start_all()
    settled(made, made.node(4))
    return made


def agreed(nodes: Sequence[Node], least: Version = (0, 0, 0)) -> Version:
    """Wait until all have the same ledger, open, stable and on their disks, no older than `least`; its version."""

    def so() -> Version | None:
        seen = [status(node).get("ledger") for node in nodes]
        whole = all(each and each["open"] and each["stable"] and each["stored"] == each["version"] for each in seen)
        found = {each["version"] for each in seen if each}
        version = tuple(map(int, found.pop().split("."))) if whole and len(found) == 1 else ()
        return version if version >= least else None

    names = ", ".join(node.name for node in nodes)
    return wait_for(so, f"{names} have the same stable ledger, at least {least}", every=0.1)


def in_panic(nodes: Sequence[Node], reason: str | None) -> None:
    """Wait until every node says that there is panic for this reason, or none."""

    def so() -> bool:
        told = [status(node) for node in nodes]
        return all(each and (each["panic"] or {}).get("reason") == reason for each in told)

    wait_for(so, f"panic on all nodes: {reason}", every=0.1)


def lose_power(cluster: Cluster) -> None:
    """All nodes at once; then they come back in another order."""
    for node in cluster.nodes:
        node.power_down()
    for node in cluster.nodes:
        cluster.unplug(node)
    cluster.power_on(cluster.nodes[::-1])
    for node in cluster.nodes[::-1]:
        node.start_all()


def test_the_ledger_outlives_a_killed_daemon_and_a_loss_of_all_power(cluster: Cluster) -> None:
    version = agreed(cluster.nodes)
    assert version[0] > 0
    assert {node.path(FILE).stat().st_mode & 0o777 for node in cluster.nodes} == {0o600}
    n8 = cluster.node(8)
    for starts in (2, 3, 4):
        n8.kill_daemon()
        wait_for(lambda starts=starts: len(noted(n8, "started")) == starts, "the daemon is there again")
        version = agreed(cluster.nodes, version)
    lose_power(cluster)
    after = agreed(cluster.nodes, version)
    assert after > version, "a new line opens a higher chapter"
    assert not [line for node in cluster.nodes for line in (*noted(node, "ledger-damaged"), *noted(node, "ledger-not-stored"))]


def test_a_panic_outlives_a_loss_of_all_power_and_is_ended_by_a_human(cluster: Cluster) -> None:
    n2, n4, n8 = cluster.nodes
    agreed(cluster.nodes)
    assert "there is no panic" in refused(n2, "recover")
    assert "permission denied" in refused(n2, "panic", "--reason", "mischief", user="nobody")
    assert "recover" in n8.cli("panic", "--reason", "the rack smells of smoke").stdout
    in_panic(cluster.nodes, "the rack smells of smoke")
    twice = n2.cli("panic", "--reason", "twice", check=False)
    assert (twice.returncode, twice.stderr.splitlines()[-1]) == (1, "corolistener: there is a panic already")
    told = n2.cli("-l")
    assert told.stderr.startswith("corolistener: PANIC since 20")
    assert "the rack smells of smoke" in told.stderr
    assert "joined" in told.stdout
    lose_power(cluster)
    in_panic(cluster.nodes, "the rack smells of smoke")
    wait_for(lambda: any(everything(node) for node in cluster.nodes), "in panic there is a master all the same")
    n2.cli("recover")
    in_panic(cluster.nodes, None)
    version = agreed(cluster.nodes)
    lose_power(cluster)
    agreed(cluster.nodes, version)
    in_panic(cluster.nodes, None)
    assert n4.cli("-l").stderr == n8.cli("-l").stderr == ""
    n2.power_off()
    n4.power_off()
    wait_for(lambda: not status(n8)["quorate"], "the last one has no quorum")
    assert n8.cli("panic", "--reason", "alone").stdout.startswith("asked for; it begins as soon as a quorum")
    assert status(n8)["panic"] is None


def test_a_takeover_is_as_before_also_in_panic(cluster: Cluster) -> None:
    """Mastership, cloud IP and service need no ledger; the two that are left open a new chapter of it."""
    n2, n4, n8 = cluster.nodes
    before = agreed(cluster.nodes)
    for who, why in ((n8, "node 8 is here"), (n4, "node 4 is here")):
        assert why in refused(n2, "fence", "--confirm", str(who.nodeid))
    assert "never was part" in refused(n2, "fence", "--confirm", "99")
    n2.cli("panic", "--reason", "a drill")
    in_panic(cluster.nodes, "a drill")
    n4.power_off()
    settled(cluster, n2, [n2, n8])
    assert agreed([n2, n8], before) > before
    in_panic([n2, n8], "a drill")
    assert n8.cli("fence", "--confirm", "4").stdout == "node 4 is taken to run nothing\n"
    n4.power_on(start=True)
    master_is(cluster, n2)
    agreed(cluster.nodes, before)
    in_panic(cluster.nodes, "a drill")


def test_a_node_that_has_forgotten_takes_the_ledger_over(cluster: Cluster) -> None:
    """A damaged file is put aside, and the others have what was in it."""
    n2, _, n8 = cluster.nodes
    before = agreed(cluster.nodes)
    n2.cli("panic", "--reason", "to be remembered")
    in_panic(cluster.nodes, "to be remembered")
    n8.stop("daemon")
    n8.path(FILE).write_bytes(b"not what it was" * 1000)
    n8.start_daemon(supervised=True)
    agreed(cluster.nodes, before)
    in_panic(cluster.nodes, "to be remembered")
    assert noted(n8, "ledger-damaged", path=f"{FILE}.damaged-1")
    assert n8.path(f"{FILE}.damaged-1").read_bytes().startswith(b"not what it was")


def test_a_full_disk_acknowledges_nothing_and_catches_up_when_there_is_room(cluster: Cluster) -> None:
    """The others are a majority without it: the ledger is stable, and says on that node alone what is missing."""
    n2, _, n8 = cluster.nodes
    n8.stop("daemon")
    n8.run(["sh", "-ec", SMALL_DISK])
    n8.start_daemon(supervised=True)
    before = agreed(cluster.nodes)
    n8.run(["sh", "-ec", FILL])
    n2.cli("panic", "--reason", "no room")
    in_panic(cluster.nodes, "no room")
    wait_for(lambda: noted(n8, "ledger-not-stored", tries=2), "it says so, and tries again")
    assert "disk is full" in noted(n8, "ledger-not-stored")[0]
    here, there = status(n8)["ledger"], status(n2)["ledger"]
    assert (here["version"], here["stable"], there["stable"]) == (there["version"], True, True)
    assert here["stored"] == ".".join(map(str, before))
    assert f"on this node's disk is version {here['stored']}" in n8.cli("status").stdout
    n8.run(["rm", "/var/lib/corolistener/fill"])
    agreed(cluster.nodes, before)
    assert status(n8)["ledger"]["stored"] == there["version"]


def test_what_a_newer_version_wrote_keeps_the_daemon_from_starting(cluster: Cluster) -> None:
    """To start with nothing would be to forget on purpose, on one node after the other."""
    n8 = cluster.node(8)
    before = agreed(cluster.nodes)
    n8.stop("daemon")
    _schema(n8, 2)
    n8.start_daemon()
    wait_for(lambda: noted(n8, "ended"), "the daemon gives up")
    assert f"{FILE}: a newer corolistener wrote it (schema 2, this one knows 1)" in noted(n8, "ended")[-1]
    assert not n8.path(f"{FILE}.damaged-1").exists()
    wait_for(lambda: n8.exits("daemon")[-1:] == [78], "and ends, not to be tried again by systemd")
    n8.stop("daemon")
    _schema(n8, 1)
    n8.start_daemon()
    agreed(cluster.nodes, before)


def _schema(node: Node, schema: int) -> None:
    with sqlite3.connect(node.path(FILE)) as db:
        db.execute(f"PRAGMA user_version = {schema}")
    db.close()
