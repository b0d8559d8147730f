"""A node that was away: with `config pull` before corosync it joins, without it corosync ends, and the log says what to do."""

import hashlib

import pytest

from lab.cluster import SEED, Cluster, Node, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import (
    CALM,
    CONF,
    FENCING,
    FULL,
    QUICK,
    READ_ONLY,
    conf_bytes,
    in_force,
    masters_in_log,
    noted,
    refused,
    service_changes,
    settled,
    status,
)

KEY = "/etc/corolistener/key"


def up(make_cluster: MakeCluster, **options: object) -> Cluster:
    """The seed's cluster, settled with n4 as master."""
    cluster = make_cluster(daemons=True, **{"settings": FENCING, **CALM, **SEED, **options})
    settled(cluster, cluster.node(4))
    return cluster


def missed(cluster: Cluster, away: Node) -> bytes:
    """`away` is off while the version rises to 2; it is on again, nothing started. Returns the file in force."""
    others = cluster.others(away)
    away.power_off()
    wait_for(lambda: all(noted(each, "left", node=away.nodeid) for each in others), f"{away.name} is lost")
    others[0].cli("node", "edit", "2", "--priority", "97")
    text = in_force(cluster, 2, others)
    away.power_on()
    assert away.config_version() == 1
    return text


def test_with_pull_it_joins(make_cluster: MakeCluster) -> None:
    """What systemd does at boot is enough; corosync never ends, and nobody else notices anything."""
    cluster = up(make_cluster, **QUICK)
    n4, n8 = cluster.node(4), cluster.node(8)
    text = missed(cluster, n8)
    n8.start_all(pull=True)
    settled(cluster, n4)
    assert in_force(cluster, 2) == text
    assert "installed version 2" in n8.output("corosync")
    assert n8.exits("corosync") == []
    assert n8.path(f"{CONF}.1").exists()
    assert masters_in_log(n4) == [4]
    assert service_changes(cluster) == [("start", 4)]


def test_without_pull_corosync_ends(make_cluster: MakeCluster) -> None:
    """corosync's own log tells the versions; ours says what to do, and so does `check`. Done that, it joins."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    text = missed(cluster, n8)
    n8.start_corosync(pull=False)
    n8.start_daemon()
    wait_for(lambda: n8.exits("corosync"), "corosync ends")
    assert "Received config version (2) is different than my config version (1)" in n8.output("corosync")
    said = wait_for(lambda: noted(n8, "config-behind", version=1, newest=2), "the daemon says why, and what to do")
    assert "`corolistener config pull`, then `systemctl start corosync`" in said[-1]
    found = n8.cli("check", check=False)
    assert found.returncode == 1
    line = next(line for line in found.stdout.splitlines() if line.startswith("error    versions: "))
    assert "version 1, but 2 on node" in line
    assert "`corolistener config pull`, then start corosync" in line
    assert conf_bytes(n8) != text

    stays(lambda: status(n2).get("master") == status(n4).get("master") == 4, "the others go on", 2)
    assert n8.cli("config", "pull").stdout.startswith("installed version 2")
    n8.start_corosync()
    settled(cluster, n4)
    assert in_force(cluster, 2) == text
    assert masters_in_log(n4) == [4]


def test_a_stale_node_that_starts_again_and_again(make_cluster: MakeCluster) -> None:
    """A loop of corosync's ends does not stall the others' group; one pull ends it."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    missed(cluster, n8)
    n8.start("corosync", ["corosync", "-f"], restart="always", delay_s=0.5, burst=30)
    n8.start_daemon()
    wait_for(lambda: len(n8.exits("corosync")) >= 4, "corosync has ended four times")
    n2.cli("node", "edit", "2", "--priority", "96")
    in_force(cluster, 3, [n2, n4])
    wait_for(lambda: noted(n8, "config-behind"), "the log says what to do")
    wait_for(lambda: "installed version 3" in n8.cli("config", "pull").stdout, "pulled")
    settled(cluster, n4)
    in_force(cluster, 3)
    assert masters_in_log(n4) == [4]


def test_the_first_of_all_have_nobody_to_ask(make_cluster: MakeCluster) -> None:
    """All nodes start together: each says that nobody answered, and starts with what it has."""
    cluster = make_cluster(corosync=False, settings=FENCING, **CALM, **SEED)
    n8 = cluster.node(8)
    done = n8.cli("config", "pull")
    assert done.returncode == 0
    assert done.stdout == f"nobody answered; version 1:{sha(n8)} is here\n"
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [cluster.node(2).address, cluster.node(4).address]
    for each in cluster.nodes:
        each.start_all(pull=True)
    settled(cluster, cluster.node(4))


def sha(node: Node) -> str:
    return hashlib.sha256(conf_bytes(node)).hexdigest()[:8]


def test_pull_asks_whoever_is_there(make_cluster: MakeCluster) -> None:
    """Current, newer, older, other content: what is said, and that only something newer is installed."""
    cluster = up(make_cluster)
    n2, n8 = cluster.node(2), cluster.node(8)
    good = n8.corosync_conf
    assert n8.cli("config", "pull").stdout == f"version 1:{sha(n8)} is the newest there is\n"
    n8.corosync_conf = f"# mine\n{good}"
    done = n8.cli("config", "pull")
    assert "version 1 as well, but other content: the own is kept" in done.stderr
    n8.corosync_conf = good.replace("config_version: 1", "config_version: 5")
    done = n8.cli("config", "pull")
    assert "the file here has version 5, the newest elsewhere 1" in done.stderr
    assert n8.config_version() == 5
    forced = n8.cli("config", "pull", "--from", n2.address, "--force")
    assert forced.stdout.startswith("installed version 1:")
    assert n8.corosync_conf == good


def test_pull_believes_only_who_has_the_key(make_cluster: MakeCluster) -> None:
    """Without the right key nobody gets a file; with a key that others may read nobody even asks."""
    cluster = up(make_cluster, **QUICK)
    n2, n8 = cluster.node(2), cluster.node(8)
    missed(cluster, n8)
    key = n8.path(KEY).read_text()
    n8.path(KEY).write_text("0" * 64 + "\n")
    done = n8.cli("config", "pull")
    assert done.returncode == 0, "a wrong key must not keep corosync from starting"
    assert done.stderr.count("the question was not made with this node's key") == 2
    assert n8.config_version() == 1
    assert n8.cli("config", "pull", "--from", n2.address, check=False).returncode == 1

    n8.path(KEY).chmod(0o644)
    assert "others may read or write this key" in refused(n8, "config", "pull", status=78)
    n8.path(KEY).unlink()
    assert "`corolistener config keygen`" in refused(n8, "config", "pull", status=78)
    n8.cli("config", "keygen")
    assert n8.path(KEY).stat().st_mode & 0o777 == 0o600
    assert "there is a key already" in refused(n8, "config", "keygen")
    n8.path(KEY).write_text(key)
    assert n8.cli("config", "pull").stdout.startswith("installed version 2")


def test_without_a_key_anywhere(make_cluster: MakeCluster) -> None:
    """Files are distributed over the ring all the same; the log and `check` say that nobody can pull here."""
    cluster = make_cluster(settings=FENCING, **CALM, **SEED)
    for each in cluster.nodes:
        each.path(KEY).unlink()
    cluster.start_daemons()
    n4, n8 = cluster.node(4), cluster.node(8)
    settled(cluster, n4)
    n8.cli("node", "edit", "8", "--name", "eight")
    in_force(cluster, 2)
    said = noted(n8, "config-pull-unavailable")
    assert "config keygen" in said[0]
    found = n8.cli("check", check=False)
    assert found.returncode == 1
    assert any(line.startswith("error    key: ") for line in found.stdout.splitlines())
    done = n8.cli("node", "add", "--address", "172.31.223.49")
    assert "no shared key on this node" in done.stderr
    assert "corolistener config pull --from ADDRESS-OF-A-MEMBER" in done.stdout


def test_pull_from_nobody(make_cluster: MakeCluster) -> None:
    """Misuse and dead ends: one line, and an exit status that says so."""
    cluster = make_cluster(corosync=False, settings=FENCING, **CALM, **SEED)
    n2, n8 = cluster.node(2), cluster.node(8)
    done = n8.cli("config", "pull", "--from", n2.address, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nobody answered" in done.stdout
    assert "need --from" in refused(n8, "config", "pull", "--force")
    assert "this is no join token" in refused(n8, "config", "pull", "--from", n2.address, "--token", "x")
    n8.path(CONF).unlink()
    assert "`config pull --from ADDRESS` asks a member" in refused(n8, "config", "pull", status=78)
    n8.corosync_conf = "totem {\n"
    assert f"{CONF}:1: " in refused(n8, "config", "pull", status=78)


@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_pull_onto_a_bad_disk(make_cluster: MakeCluster, disk: str) -> None:
    """One line, exit status 1, and the old file is whole."""
    cluster = up(make_cluster, **QUICK)
    n8 = cluster.node(8)
    missed(cluster, n8)
    before = conf_bytes(n8)
    if disk == "full":
        n8.run(["sh", "-ec", FULL])
    else:
        n8.run(["sh", "-ec", READ_ONLY])
    said = refused(n8, "config", "pull")
    assert ("No space left on device" if disk == "full" else "Read-only file system") in said
    assert n8.run(["cat", CONF]).stdout.encode() == before
