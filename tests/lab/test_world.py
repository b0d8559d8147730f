"""What the world does to a master: devices that come late, stations that claim the address, files in the way."""

import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lab.cluster import CLOUD_IP, CLOUD_IP6, SEED, Cluster, Node, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, LOCKS, QUICK, everything, noted, settled, status


def up(make_cluster: MakeCluster, timers: Mapping[str, object] = CALM, **settings: dict[str, object]) -> Cluster:
    return make_cluster(daemons=True, settings={**FENCING, **settings}, **timers, **SEED)


def test_the_device_is_missing_and_appears_later(make_cluster: MakeCluster) -> None:
    """Mastership is kept, everything else goes on, and the address is held as soon as the device is there."""
    cluster = up(make_cluster, cloud={"device": "vmbr7"})
    n4 = cluster.node(4)
    wait_for(lambda: n4.lock_files() == LOCKS, "the master has the service all the same")
    failed = noted(n4, "effect-failed", action="take-address")
    assert "vmbr7" in failed[0]
    assert status(n4)["role"] == "master"
    n4.ip("link add vmbr7 type bridge", "link set vmbr7 up")
    wait_for(lambda: n4.holds(CLOUD_IP, "vmbr7"), "the address is on the device that appeared")
    wait_for(lambda: noted(n4, "address-held"), "and it is told")


def test_somebody_removes_the_address(make_cluster: MakeCluster) -> None:
    """It is put back."""
    cluster = up(make_cluster)
    n4 = cluster.node(4)
    settled(cluster, n4)
    n4.ip(f"addr del {CLOUD_IP}/24 dev vmbr0")
    wait_for(lambda: n4.holds(CLOUD_IP), "the address is back")
    wait_for(lambda: noted(n4, "address-lost"), "and it is told")


def test_a_second_station_answers_for_the_cloud_ip(make_cluster: MakeCluster) -> None:
    """A note with its hardware address, and the master announces again."""
    cluster = up(make_cluster)
    n4 = cluster.node(4)
    settled(cluster, n4)
    station = cluster.add_station()
    station.ip(f"addr add {CLOUD_IP}/24 dev vmbr0")
    mac = json.loads(station.run(["ip", "-j", "link", "show", "dev", "vmbr0"]).stdout)[0]["address"]
    witness = cluster.witness()
    found = wait_for(lambda: noted(n4, "address-conflict"), "the conflict is noted")
    assert mac in found[0]
    again = witness.wait(
        lambda fact: fact["kind"] == "arp" and fact["gratuitous"] and fact["sender"] == CLOUD_IP and fact["mac"] == n4.mac,
        "the master announces its address again",
    )
    assert again
    assert n4.holds(CLOUD_IP)


def symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def foreign_file(path: Path) -> None:
    path.write_text("not ours\n")


@pytest.mark.parametrize("occupy", [symlink, foreign_file])
def test_somebody_creates_the_lock_file_first(make_cluster: MakeCluster, occupy: Callable[[Path], None]) -> None:
    """Renamed aside with a note; the takeover is not blocked, and what the link points to is not touched."""
    cluster = up(make_cluster, QUICK)
    n2, n4, n8 = cluster.nodes
    settled(cluster, n4)
    path = n2.path("/tmp") / ".lock.vmmgr.service"
    occupy(path)
    before = n2.run(["md5sum", "/etc/passwd"]).stdout
    n4.power_off()
    settled(cluster, n2, [n2, n8])
    assert path.is_file()
    assert not path.is_symlink()
    aside = [each for each in path.parent.iterdir() if each.name.startswith(".lock.vmmgr.service") and each != path]
    assert len(aside) == 1
    assert any(aside[0].name in line for line in noted(n2, "lock-taken", lock="service"))
    assert n2.run(["md5sum", "/etc/passwd"]).stdout == before


def test_sighup_with_a_bad_file(make_cluster: MakeCluster) -> None:
    """The old settings stay; a good file is taken."""
    cluster = up(make_cluster)
    n4 = cluster.node(4)
    settled(cluster, n4)
    settings = n4.path("/etc/corolistener/corolistener.toml")
    good = settings.read_text()
    settings.write_text(good + "\n[clod]\nip = 3\n")
    hang_up(n4)
    refused = wait_for(lambda: noted(n4, "settings-kept"), "the bad file is refused with a note")
    assert "[clod]" in refused[0]
    stays(lambda: everything(n4), "the master goes on", 1)
    other = CLOUD_IP.replace(".100", ".101")
    settings.write_text(good.replace(CLOUD_IP, other))
    hang_up(n4)
    wait_for(lambda: n4.holds(other) and not n4.holds(CLOUD_IP), "the new cloud IP is held, the old one is not")


def hang_up(node: Node) -> None:
    node.send("daemon", signal.SIGHUP)


def test_an_ipv6_cloud_ip(make_cluster: MakeCluster) -> None:
    """Held, announced by unsolicited neighbour advertisements, and it moves."""
    cluster = up(make_cluster, QUICK, cloud={"ip": CLOUD_IP6, "mask": "64"})
    n2, n4, n8 = cluster.nodes
    wait_for(lambda: everything(n4, CLOUD_IP6), "the master holds the IPv6 address")
    witness = cluster.witness()
    n4.power_off()
    said = witness.wait(
        lambda fact: fact["kind"] == "na" and fact["address"] == CLOUD_IP6 and fact["mac"] == n2.mac,
        "the new master advertises",
    )
    assert said["override"]
    assert not said["solicited"]
    wait_for(lambda: everything(n2, CLOUD_IP6), "the next master holds it")
    assert not n8.holds(CLOUD_IP6)


def test_bad_messages_in_the_group(make_cluster: MakeCluster) -> None:
    """Alien and truncated messages of another process of a node are not its daemon's, and change nothing."""
    cluster = up(make_cluster)
    n4, n8 = cluster.node(4), cluster.node(8)
    settled(cluster, n4)
    program = Path(__file__).with_name("heckler.py")
    n8.run([sys.executable, str(program), "200"], timeout=120)
    wait_for(lambda: noted(n4, "second-process", node=8), "another process is told")
    settled(cluster, n4)
    assert status(n4)["bad_messages"] == 0
    assert all(len(noted(node, "started")) == 1 for node in cluster.nodes)
    assert all(noted(node, "daemon-gone") == noted(node, "lease-ended") == [] for node in cluster.nodes)
