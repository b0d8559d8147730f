"""A ledger that goes back, or comes from another cluster, is no witness: safety.md, rules 7 and 21."""

import shutil

import pytest

from lab.cluster import SEED, Node
from lab.conftest import MakeCluster
from lab.stories import FENCING, QUICK, noted, settled, status
from lab.vm_stories import vms
from lab.waiting import stays, wait_for

STATE, COROSYNC = "/var/lib/corolistener", "/var/lib/corosync"
YESTERDAY = "/var/log/backup"


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def ledger_version(node: Node) -> tuple[int, ...]:
    """The version of the ledger that the daemon on this node has."""
    return tuple(map(int, status(node)["ledger"]["version"].split(".")))


def leased(node: Node) -> bool:
    """The node has a lease, among members with a master whose ledger is on a majority of disks."""
    seen = status(node)
    return bool(seen and seen["master"] and seen["lease"]["ms_left"] and seen["ledger"]["stable"])


def closed(node: Node) -> bool:
    ledger = status(node).get("ledger")
    return ledger is not None and not ledger["open"]


def test_a_restored_state_directory_makes_no_vm_forgotten() -> None:
    """n1 is restored from a backup and n3 was away: nobody here knows the VM of n2, which is lost. They decide nothing."""
    with vms(fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        n1.power_off()
        shutil.copytree(n1.path(STATE), n1.path(YESTERDAY))
        made.power.switch_on(n1)
        made.cluster.wait_quorate()
        n3.power_off()
        made.cluster.wait_quorate([n1, n2])
        wait_for(lambda: leased(n1) and leased(n2), "both may run VMs: what is started without a lease is suspended")
        made.start("web", n2)

        n1.power_off()
        n2.power_off()
        shutil.rmtree(n1.path(STATE))
        shutil.copytree(n1.path(YESTERDAY), n1.path(STATE))
        for node in (n1, n3):
            made.power.switch_on(node)
        for node in (n1, n3):
            wait_for(lambda node=node: noted(node, "ledger-went-back", node=1), f"{node.name} knows that n1 went back")  # type: ignore[misc]
        wait_for(lambda: noted(n1, "ledger-waits") or noted(n3, "ledger-waits"), "and the ledger waits for others")
        stays(lambda: closed(n1) and closed(n3), "one sound disk of three is no majority", 6)
        assert "this node is no witness: it is a copy" in n1.cli("status").stdout

        made.power.switch_on(n2)
        made.cared_for("web")
        made.runs_on("web", n2)
        wait_for(lambda: made.witness.starts("web") == 2, "it has booted anew, once")


def test_a_disk_of_another_cluster_is_no_witness(make_cluster: MakeCluster) -> None:
    """The cluster was set up anew, with the same name and nodes; n8 kept its old disk, of a higher version."""
    cluster = make_cluster(settings=FENCING, corosync=False, **QUICK, **SEED)
    n2, n4, n8 = cluster.nodes
    for node in cluster.nodes:
        node.start_all(pull=False)
    settled(cluster, n4)
    n2.cli("panic", "--reason", "of the old cluster")
    wait_for(lambda: (status(n8)["panic"] or {}).get("reason") == "of the old cluster", "n8 has it on its disk")
    old = ledger_version(n8)
    for node in cluster.nodes:
        node.power_off()
    for node in (n2, n4):
        for directory in (STATE, COROSYNC):
            shutil.rmtree(node.path(directory))
            node.path(directory).mkdir()
        node.power_on(start=True, pull=False)
    settled(cluster, n4, [n2, n4])
    wait_for(lambda: status(n4)["ledger"]["stable"], "the new cluster has a ledger")
    assert ledger_version(n4) < old

    n8.power_on(start=True, pull=False)
    for node in cluster.nodes:
        [line] = wait_for(lambda node=node: noted(node, "ledger-went-back", node=8), f"{node.name} tells whose it is")[:1]  # type: ignore[misc]
        assert "its ledger is of another cluster" in line
    wait_for(lambda: len({ledger_version(node) for node in cluster.nodes}) == 1, "n8 has taken the ledger of the others")
    settled(cluster, n4)
    assert [status(node)["panic"] for node in cluster.nodes] == [None] * 3
    assert n8.path(f"{STATE}/ledger.sqlite.other-cluster-1").exists(), "a copy of the old one stays beside"
