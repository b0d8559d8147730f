"""What stops time stops the argument: weak watchdogs, and operators who are too quick. safety.md, rule 19."""

import pytest

from lab.hypervisor import domain_xml
from lab.stories import noted, status
from lab.vm_stories import vms
from lab.waiting import stays, wait_for


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def test_the_watchdog_of_a_virtual_machine_proves_nothing() -> None:
    """A virtual machine may be suspended, and its watchdog with it. The deadline passes, and starts nothing."""
    with vms(dogs=True, virtual=[3], fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        [line] = noted(n3, "watchdog-weak")[:1]
        assert "this node is a virtual machine" in line
        n3.power_off()
        wait_for(lambda: noted(n1, "proof-missing", node=3), "a proof is missed")
        stays(lambda: not made.witness.running_on("web"), "its watchdog's deadline is over, and proves nothing", 12)
        assert {debt["proof"] for node in (n1, n2) for debt in status(node)["owed"]} == {None}
        n1.cli("fence", "--confirm", "n3")
        made.runs_on("web", n1, n2)
        assert made.proofs(n3) == {"operator"}


def test_an_operator_who_is_too_quick_is_believed_when_the_node_has_suspended() -> None:
    """corosync of n3 stands still: the others lose n3 before its long lease ends, and a human confirms at once what is not so.

    The VM takes no lock on its image: only the wait for lease and grace keeps it from running twice.
    """
    with vms(fencing={"agent": None, "lease_ms": 8000}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.cluster.storage.create_image("raw")
        n3.hypervisor.define("raw", domain_xml("raw", unlocked=("file.locking=off", "share-rw=on")))
        n3.hypervisor.virsh("start", "raw")
        made.witness.await_running("raw", n3)
        made.cared_for("raw")
        n3.pause_corosync()
        confirm = ("fence", "--confirm", "n3")
        wait_for(lambda: n1.cli(*confirm, check=False).returncode == 0, "n3 is lost, and confirmed")
        home = made.runs_on("raw", n1, n2)
        assert made.witness.last_running("raw", n3) <= made.witness.first_running("raw", home)
        assert made.proofs(n3) == {"operator"}
        n3.resume_corosync()
        wait_for(lambda: "raw" not in n3.hypervisor.processes(), "the stale instance is destroyed")
        assert made.runs_on("raw", home) is home
