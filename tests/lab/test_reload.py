"""The daemon's reload against real corosync, where corosync's own leaves something undone."""

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
RELOAD = """
import asyncio
from corolistener.daemon.membership import Membership
from corolistener.daemon.notes import Log
log = Log("/var/log/corolistener.log")
asyncio.run(Membership(lambda events: None, lambda timers: None, log).reload(version))
log.close()
"""


@pytest.fixture(name="probe")
def _probe() -> Iterator[MakeProbe]:
    yield from probes()


def write(node: Node, version: int, votes: int) -> None:
    """Another version and other expected votes in the node's file."""
    text = re.sub(r"(config_version: )\d+", rf"\g<1>{version}", node.corosync_conf)
    node.corosync_conf = re.sub(r"(expected_votes: )\d+", rf"\g<1>{votes}", text)


def reload(cluster: Cluster, version: int) -> None:
    """corosync's own reload, which here always reaches everybody, or the test says so."""
    cluster.node(1).run(["corosync-cfgtool", "-R"])
    wait_for(lambda: all(set(runtime_versions(node).values()) == {version} for node in cluster.nodes), "all have reloaded")


def quorate(seen: list[Remote]) -> bool:
    return all(Flag.QUORATE in each.getinfo(0).flags for each in seen)


def stuck(cluster: Cluster, seen: list[Remote]) -> int:
    """Make corosync ask for a quorum of 4 of 3 expected votes; the version it then runs.

    What node 3 alone has read arrives between what the others have: it depends on where the token was, so it is tried until
    it happens.
    """
    for attempt in range(ATTEMPTS):
        good = 2 * attempt + 3
        for node in cluster.nodes:
            write(node, good - 1, 7 if node.nodeid == 3 else 3)
        reload(cluster, good - 1)
        for node in cluster.nodes:
            write(node, good, 3)
        reload(cluster, good)
        if not poll(lambda: quorate(seen), 2):
            return good
    raise AssertionError(f"this corosync does not get stuck in {ATTEMPTS} attempts: is it mended?")


def test_files_that_differed_at_a_reload(make_cluster: MakeCluster, probe: MakeProbe) -> None:
    """All files are equal again and corosync has read them; yet it keeps a quorum that nobody expects, whoever reloads."""
    cluster = make_cluster(quorum="\texpected_votes: 3\n")
    seen = [probe(node).open(VoteQuorum) for node in cluster.nodes]
    version = stuck(cluster, seen)
    reload(cluster, version)
    assert [(info.expected_votes, info.quorum) for info in (each.getinfo(0) for each in seen)] == [(3, 4)] * 3
    probe(cluster.node(2)).run(RELOAD, version=version)
    wait_for(lambda: quorate(seen), "the daemon's reload brings quorum back")
    assert [each.getinfo(0).quorum for each in seen] == [2, 2, 2]
    assert noted(cluster.node(2), "votes-recounted", expected=3)
