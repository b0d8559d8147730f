"""Reloads of files that differ, against real corosync: what it leaves undone, and the daemon does."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corolistener.corosync.votequorum import Flag, VoteQuorum
from lab.cluster import Cluster, Node, wait_for
from lab.conftest import MakeCluster
from lab.machine import poll
from lab.probe_bindings import Probe, Remote, probes
from lab.stories import noted, runtime_versions

MakeProbe = Callable[[Any], Probe]
ATTEMPTS = 20


@pytest.fixture(name="probe")
def _probe() -> Iterator[MakeProbe]:
    yield from probes()


def write(node: Node, version: int, votes: int) -> None:
    """Another version and other expected votes in the node's file."""
    text = re.sub(r"(config_version: )\d+", rf"\g<1>{version}", node.corosync_conf)
    node.corosync_conf = re.sub(r"(expected_votes: )\d+", rf"\g<1>{votes}", text)


def reload(cluster: Cluster, version: int) -> None:
    """Node 1 asks its corosync; all have heard it."""
    cluster.node(1).run(["corosync-cfgtool", "-R"])
    wait_for(lambda: all(set(runtime_versions(node).values()) == {version} for node in cluster.nodes), "all have reloaded")


def quorate(seen: list[Remote]) -> bool:
    return all(Flag.QUORATE in each.getinfo(0).flags for each in seen)


def there_and_back(cluster: Cluster, version: int) -> int:
    """One node alone is to expect 7 votes, and then all expect 3 as they did; the version they have now.

    Node 3's word then mostly arrives between the others', which is what makes corosync stick: it depends on the token.
    """
    for node in cluster.nodes:
        write(node, version + 1, 7 if node.nodeid == 3 else 3)
    reload(cluster, version + 1)
    for node in cluster.nodes:
        write(node, version + 2, 3)
    reload(cluster, version + 2)
    return version + 2


def test_corosync_alone_does_not_find_back(make_cluster: MakeCluster, probe: MakeProbe) -> None:
    """All files are equal again and have been read; yet it asks for 4 votes of 3, whoever reloads. This is what it is about."""
    cluster = make_cluster(quorum="\texpected_votes: 3\n")
    seen = [probe(node).open(VoteQuorum) for node in cluster.nodes]
    version = 1
    for _ in range(ATTEMPTS):
        version = there_and_back(cluster, version)
        if not poll(lambda: quorate(seen), 2):
            break
    reload(cluster, version)
    assert [(info.expected_votes, info.quorum) for info in (each.getinfo(0) for each in seen)] == [(3, 4)] * 3


def test_with_the_daemon_quorum_comes_back(make_cluster: MakeCluster, probe: MakeProbe) -> None:
    """As often as it happens; it is enough that one node has a daemon. Alone it is no majority, and changes no file."""
    cluster = make_cluster(quorum="\texpected_votes: 3\n")
    seen = [probe(node).open(VoteQuorum) for node in cluster.nodes]
    n2 = cluster.node(2)
    n2.start_daemon()
    wait_for(lambda: noted(n2, "quorum-gained"), "the daemon is there")
    version = 1
    for _ in range(ATTEMPTS):
        version = there_and_back(cluster, version)
        wait_for(lambda: quorate(seen), "there is quorum again")
        if noted(n2, "votes-recounted", expected=3):
            break
    assert noted(n2, "votes-recounted", expected=3), f"corosync was right {ATTEMPTS} times: is it mended?"
    assert [each.getinfo(0).quorum for each in seen] == [2, 2, 2]
