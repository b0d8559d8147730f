"""Broken requests on every socket of a whole daemon: one clear answer each, no growth, and the decision goes on."""

from fuzz.run import real

from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, everything, noted, settled, status

REQUESTS, SEED = 20_000, 20261130


def test_a_real_daemon_answers_every_broken_request(make_cluster: MakeCluster) -> None:
    """The master of three: it keeps lease and mastership, and what it holds, and all nodes agree afterwards."""
    cluster = make_cluster(daemons=True, settings={**FENCING, "control": {"group": "nogroup"}}, **CALM)
    n1 = cluster.node(1)
    settled(cluster, n1)
    daemon = n1.pid("daemon")
    assert daemon is not None
    found = real(n1.path("/run/corolistener"), daemon, n1.path("/var/log/corolistener.log"), REQUESTS, SEED)
    print(found)
    assert found.codes["ok"] > 500
    assert found.codes["bad-request"] > 500
    n1.cli("recover", check=False)  # if the last panic was not ended
    settled(cluster, n1)
    assert everything(n1)
    assert status(n1)["config"]["version"] == 1
    for node in cluster.nodes:
        assert noted(node, "lease-ended") == []
        assert noted(node, "control-error") == []
        assert status(node)["bad_messages"] == 0
