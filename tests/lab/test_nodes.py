"""Nodes are added, edited and removed on a running cluster."""

import re

from lab.cluster import NETWORK, SEED, Cluster, Node, daemon_argv, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import (
    CALM,
    CONF,
    FENCING,
    QUICK,
    conf_bytes,
    everything,
    in_force,
    masters_in_log,
    noted,
    nothing,
    refused,
    runtime_versions,
    service_changes,
    settled,
    status,
)

KEY = "/etc/corolistener/key"
NEW = f"{NETWORK}.49"


def up(make_cluster: MakeCluster, **options: object) -> Cluster:
    """The seed's cluster, settled with n4 as master."""
    cluster = make_cluster(daemons=True, **{"settings": FENCING, **CALM, **SEED, **options})
    settled(cluster, cluster.node(4))
    return cluster


def added(cluster: Cluster, at: Node, *facts: str) -> tuple[int, list[str], str]:
    """`node add` of a machine at NEW, typed at `at`: its id, the words of the pull command that it prints, and the token."""
    said = at.cli("node", "add", "--address", NEW, *facts).stdout
    found = re.search(
        r"^node (\d+) is in the nodelist\. On the new machine, as root:\n  corolistener (config pull .+)$", said, re.M
    )
    assert found, said
    return int(found[1]), found[2].split(), said.split()[-1]


def new_machine(cluster: Cluster, nodeid: int) -> Node:
    """A machine as the distribution leaves it: no key, no corosync.conf."""
    node = cluster.add_node(nodeid)
    node.path(CONF).unlink()
    node.path(KEY).unlink()
    return node


def expected_votes(node: Node) -> int:
    said = node.run(["corosync-quorumtool", "-s"], check=False).stdout
    return int(re.findall(r"^Expected votes: +(\d+)", said, re.MULTILINE)[0])


def joined(cluster: Cluster, nodeid: int = 9, *facts: str) -> Node:
    """A fourth node, added at n8, settled."""
    found, words, token = added(cluster, cluster.node(8), "--id", str(nodeid), *facts)
    assert found == nodeid
    node = new_machine(cluster, nodeid)
    node.cli(*words, input=token)
    node.start_all()
    settled(cluster, cluster.node(4))
    return node


def test_a_fourth_node(make_cluster: MakeCluster) -> None:
    """Added on a slave, it pulls file and key with the token, joins, and counts."""
    cluster = up(make_cluster)
    n4, n8 = cluster.node(4), cluster.node(8)
    before = conf_bytes(n4)
    nodeid, words, token = added(cluster, n8, "--name", "new", "--priority", "50")
    assert nodeid == 1, "the lowest free id"
    assert words == ["config", "pull", "--from", n8.address, "--token", "-"]
    in_force(cluster, 2)
    new = new_machine(cluster, nodeid)
    pulled = new.cli(*words, input=token).stdout.splitlines()
    assert pulled[0] == f"wrote {KEY}"
    assert pulled[1].startswith("installed version 2")
    assert new.path(KEY).read_bytes() == n8.path(KEY).read_bytes()
    assert new.path(KEY).stat().st_mode & 0o777 == 0o600
    new.start_all()
    settled(cluster, n4)
    after = in_force(cluster, 2)
    assert after == before.replace(b"config_version: 1", b"config_version: 2").replace(
        b"expected_votes: 3", b"expected_votes: 4"
    ).replace(b"\treplication: on\n\t}\n}\n", b"\treplication: on\n\t}\n" + entry(nodeid) + b"}\n")
    assert {expected_votes(each) for each in cluster.nodes} == {4}
    assert status(new)["node"]["name"] == "new"
    assert service_changes(cluster) == [("start", 4)]
    assert new.cli("check").returncode == 0

    said = new.cli(*words, check=False, input=token)
    assert said.returncode == 1
    assert "was used" in said.stderr, "a token is good for one node"


def entry(nodeid: int) -> bytes:
    """The entry in the manner of the file's own ones."""
    facts = f"\t\tring0_addr: {NEW}\n\t\tnodeid: {nodeid}\n\t\tname: new\n\t\tprio: 50\n"
    return f"\tnode {{\n{facts}\t}}\n".encode()


def test_two_of_four_are_no_quorum(make_cluster: MakeCluster) -> None:
    """The added node raises what a quorum is, at once and on every node."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    n9 = joined(cluster)
    n2.power_off()
    n8.power_off()
    for each in (n4, n9):
        wait_for(lambda each=each: noted(each, "quorum-lost"), f"{each.name} has no quorum")  # type: ignore[misc]
        wait_for(lambda each=each: nothing(each), f"{each.name} holds nothing")  # type: ignore[misc]
    n2.power_on(start=True)
    settled(cluster, n4, [n2, n4, n9])


def test_priority_moves_mastership(make_cluster: MakeCluster) -> None:
    """There and back: service first, and never on two nodes; nobody swaps what the administrator wrote."""
    cluster = up(make_cluster)
    n2, n4 = cluster.node(2), cluster.node(4)
    n9 = joined(cluster, 9, "--priority", "50")
    n2.cli("node", "edit", "9", "--priority", "200")
    settled(cluster, n9)
    assert nothing(n4)
    assert re.findall(rb"prio: (\d+)", in_force(cluster, 3)) == [b"99", b"100", b"98", b"200"]
    n9.cli("node", "edit", "9", "--priority", "1")
    settled(cluster, n4)
    assert re.findall(rb"prio: (\d+)", in_force(cluster, 4)) == [b"99", b"100", b"98", b"1"]
    moves = [("start", 4), ("stop", 4), ("start", 9), ("stop", 9), ("start", 4)]
    assert service_changes(cluster) == moves
    assert masters_in_log(cluster.node(8))[-3:] == [4, 9, 4]
    for node in (n4, n9):
        stopped, dropped = noted(node, "service-stopped")[0], noted(node, "address-dropped")[-1]
        assert stopped.split()[0] <= dropped.split()[0]
    assert not noted(n9, "service-waits"), "a former master that is here says when it has let go"


def test_edit_by_name(make_cluster: MakeCluster) -> None:
    """Name and replication; a name names a node from then on."""
    cluster = up(make_cluster)
    n2 = cluster.node(2)
    n2.cli("node", "edit", "8", "--name", "eight")
    in_force(cluster, 2)
    n2.cli("node", "edit", "eight", "--replication", "off")
    text = in_force(cluster, 3)
    assert text.count(b"\t\treplication: off\n") == 1
    assert "no nodes are called 'nine'" in refused(n2, "node", "edit", "nine", "--priority", "3")
    assert "no node 77 in the nodelist" in refused(n2, "node", "edit", "77", "--priority", "3")
    assert "nothing to change" in refused(n2, "node", "edit", "8")
    listed = [line.split() for line in n2.cli("node", "list").stdout.splitlines()[1:]]
    assert listed[2] == ["8", "eight", f"{NETWORK}.48", "98", "off"]
    assert in_force(cluster, 3) == text


def test_remove(make_cluster: MakeCluster) -> None:
    """Refused while it is up, done once it has left; quorum is what it was, and the removed node stays outside."""
    cluster = up(make_cluster)
    n2, n4, n8 = cluster.nodes
    before = conf_bytes(n4)
    n9 = joined(cluster)
    for words in (["node", "remove", "9"], ["node", "remove", "8"]):
        assert "is running: stop its corosync first" in refused(n2, *words)
    assert "is running" in refused(n9, "node", "remove", "9")
    in_force(cluster, 2)

    n9.stop_daemon()
    n9.stop_corosync()
    wait_for(lambda: runtime_versions(n2).keys() == {2, 4, 8}, "n9 has left")
    n2.cli("node", "remove", "9")
    members = [n2, n4, n8]
    settled(cluster, n4, members)
    assert in_force(cluster, 3, members) == before.replace(b"config_version: 1", b"config_version: 3")
    assert {expected_votes(each) for each in members} == {3}
    assert service_changes(cluster) == [("start", 4)]

    done = n9.cli("config", "pull", check=False)
    assert done.returncode == 1
    assert "was it removed from the cluster?" in done.stderr
    n9.start_corosync()
    n9.start_daemon()
    wait_for(lambda: noted(n9, "ring"), "the removed node runs alone")
    stays(lambda: runtime_versions(n2).keys() == {2, 4, 8}, "and stays outside", 3)
    assert nothing(n9)
    assert everything(n4)


def test_remove_of_a_dead_node(make_cluster: MakeCluster) -> None:
    """A machine that burned down is taken out; two are left and are a quorum of two and of three."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    n8.power_off()
    wait_for(lambda: noted(n4, "left", node=8), "n8 is lost")
    n2.cli("node", "remove", "8")
    settled(cluster, n4, [n2, n4])
    text = in_force(cluster, 2, [n2, n4])
    assert b"nodeid: 8" not in text
    assert b"expected_votes: 2" in text
    assert expected_votes(n2) == 2


def test_add_what_cannot_be_added(make_cluster: MakeCluster) -> None:
    """One line each, and nothing changes."""
    cluster = up(make_cluster)
    n2 = cluster.node(2)
    before = conf_bytes(n2)
    assert "8" in refused(n2, "node", "add", "--address", NEW, "--id", "8")
    assert f"{NETWORK}.48" in refused(n2, "node", "add", "--address", f"{NETWORK}.48")
    assert "expected an IPv4 or IPv6 address" in refused(n2, "node", "add", "--address", "1.2.3", status=2)
    assert "expected a whole number" in refused(n2, "node", "add", "--address", NEW, "--priority", "-1", status=2)
    assert "expected a whole number" in refused(n2, "node", "add", "--address", NEW, "--id", "0", status=2)
    for bad in ("a{b", "new\nline", "x" * 1000):
        refused(n2, "node", "add", "--address", NEW, "--name", bad)
    assert in_force(cluster, 1) == before


def test_several_operators_at_once(make_cluster: MakeCluster) -> None:
    """Changes from every node at the same time: one after the other, none lost."""
    cluster = up(make_cluster)
    typed = [
        each.popen(daemon_argv("node", "edit", str(each.nodeid), "--name", f"name-{each.nodeid}"), stdout=-1, stderr=-1)
        for each in cluster.nodes
        for _ in range(2)
    ]
    for done in typed:
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, out + err
    text = in_force(cluster, cluster.node(2).config_version())
    assert all(f"name: name-{each.nodeid}\n".encode() in text for each in cluster.nodes)
    settled(cluster, cluster.node(4))
