"""A port whose MTU falls: long messages go on, and what the ring does not carry is told."""

import hashlib
from collections.abc import Sequence
from typing import Any

from lab.cluster import wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, conf_bytes, noted, put, settled, status
from lab.texts import Listed, plain_conf

AUTHKEY = "/etc/corosync/authkey"
MTU = 1000


def encrypted(nodes: Sequence[Listed], **timers: Any) -> str:
    """The lab's file with encryption, which makes packets longer."""
    text = plain_conf(nodes, **timers)
    return text.replace("totem {", "totem {\n\tcrypto_cipher: aes256\n\tcrypto_hash: sha256", 1)


def remarks(size: int) -> bytes:
    """Comment lines of so many bytes that compression makes little shorter."""
    words = (hashlib.sha256(b"%d" % number).hexdigest() for number in range(size // 67))
    return "".join(f"# {word}\n" for word in words).encode()


def test_a_long_push_where_a_port_has_become_narrow(make_cluster: MakeCluster) -> None:
    """corosync measures the paths every 30 s; until then it loses every packet that is too large, and its ring waits."""
    cluster = make_cluster(corosync=False, conf=encrypted, settings=FENCING, **CALM)
    for node in cluster.nodes:
        put(node, b"k" * 256, AUTHKEY)
        node.path(AUTHKEY).chmod(0o400)
    cluster.start_corosync()
    cluster.wait_quorate()
    cluster.start_daemons()
    n1, n2, _ = cluster.nodes
    settled(cluster, n1)
    measured = [f"host: {other.nodeid}" for other in cluster.others(n1)]
    wait_for(lambda: all(told_mtu(n1.output("corosync"), host) for host in measured), "corosync has measured the paths", 120)

    cluster.ip(f"link set {n1.name} mtu {MTU}")
    done = n2.cli("config", "push", put(n2, conf_bytes(n2) + remarks(5000)), timeout=120)
    assert "version 2 is in force, stored by 3 of 3 members" in done.stdout
    assert len(conf_bytes(n1)) > 5000
    for node in cluster.nodes:
        assert noted(node, "lease-ended") == []
        assert status(node)["master"] == n1.nodeid
    assert cluster.unrest() == []
    settled(cluster, n1)


def told_mtu(text: str, host: str) -> bool:
    """Whether corosync has told the MTU that it found for the paths to this host."""
    return any("PMTUD link change" in line and host in line for line in text.splitlines())


def test_a_ring_that_carries_nothing_is_told(make_cluster: MakeCluster) -> None:
    """A corosync that stands still holds the ring up. Each of the others tells it before its lease ends, and the end of it."""
    cluster = make_cluster(daemons=True, settings=FENCING, **CALM)
    n1, n2, n3 = cluster.nodes
    settled(cluster, n1)
    n3.pause_corosync()
    wait_for(lambda: all(noted(node, "ring-stalled") for node in (n1, n2)), "both others tell that the ring stands still")
    for node in (n1, n2):
        told = [line.split()[2] for line in node.log_lines()]
        assert "lease-ended" not in told[: told.index("ring-stalled")]
    n3.resume_corosync()
    wait_for(lambda: all(noted(node, "ring-moves") for node in (n1, n2)), "both others tell that the ring moves")
    settled(cluster, n1)
