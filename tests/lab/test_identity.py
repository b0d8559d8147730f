"""Which VM is which, on real libvirt: settings and metadata decide about adoption only, and a VM is its UUID.

Rules 1 and 9 of safety.md. The VMs called raw take no lock on their image: only the daemons' decisions keep them from running
twice.
"""

import json
import uuid

import pytest

from lab.hypervisor import NAMESPACE, domain_xml
from lab.machine import LabError
from lab.node import Node
from lab.stories import noted, refused, status
from lab.vm_stories import Vms, vms
from lab.waiting import stays, wait_for

PATIENT = {"agent": None, "restart_ms": 60_000, "watchdog_timeout_ms": 90_000}
UNLOCKED = ("file.locking=off", "share-rw=on")


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def uuid_of(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))


def start_unlocked(made: Vms, name: str, node: Node) -> None:
    """A user starts a VM that takes no lock on its image; returns when it is in the cluster's care."""
    made.cluster.storage.create_image(name)
    node.hypervisor.define(name, domain_xml(name, unlocked=UNLOCKED))
    node.hypervisor.virsh("start", name)
    made.witness.await_running(name, node)
    made.cared_for(name)


def restart_daemon_with(node: Node, old: str, new: str) -> None:
    """Other settings, and a new process of the daemon that has them."""
    settings = node.path("/etc/corolistener/corolistener.toml")
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))
    node.cli("prepare-restart")
    node.stop_daemon()
    node.start_daemon(supervised=True)
    wait_for(lambda: status(node).get("ledger", {}).get("stable"), f"{node.name} is back")


def listed(node: Node, name: str) -> str:
    """The lines of `vm list` about this VM."""
    lines = node.cli("vm", "list").stdout.splitlines()
    return "\n".join(line for line in lines if line.split()[:1] == [name])


def test_settings_that_hide_a_running_vm_start_it_nowhere_else() -> None:
    with vms(fencing=PATIENT) as made:
        n1, _, n3 = made.cluster.nodes
        start_unlocked(made, "raw", n3)
        restart_daemon_with(n3, "[vms]\n", '[vms]\nmanage = "tagged"\n')
        wait_for(lambda: "not in our care any more" in listed(n1, "raw"), "the list says what it is")
        assert "n3" in listed(n1, "raw")
        stays(lambda: made.witness.running_on("raw") == ["n3"], "it stays where it is, and runs nowhere else", 8)
        assert "not managed; runs on n3" in refused(n1, "vm", "start", "raw", "--on", "n1")
        assert made.witness.starts("raw") == 1
        assert "raw" not in n1.hypervisor.states()
        restart_daemon_with(n3, 'manage = "tagged"\n', "")
        wait_for(lambda: "not in our care" not in listed(n1, "raw"), "it is in the cluster's care as before")
        assert made.runs_on("raw", n3) is n3
        assert made.witness.starts("raw") == 1


def test_a_vm_that_is_let_go_is_started_by_nobody_and_can_be_given_back() -> None:
    with vms(fencing={"agent": None}) as made:
        n1, _, n3 = made.cluster.nodes
        start_unlocked(made, "raw", n3)
        n1.cli("vm", "set", "raw", "--manage", "no")
        wait_for(lambda: noted(n1, "vm-forgotten", vm="raw", node=3), "the ledger lets it go, and the log says where it runs")
        assert "not managed; runs on n3" in refused(n1, "vm", "start", "raw", "--on", "n1")
        assert "n3" in listed(n1, "raw")
        stays(lambda: made.witness.running_on("raw") == ["n3"], "it runs on, once", 4)
        n3.cli("vm", "set", "raw", "--manage", "yes")
        made.cared_for("raw")
        n1.cli("vm", "relocate", "raw", "--to", "n1", timeout=300)
        made.runs_on("raw", n1)


def test_the_name_of_a_vm_that_was_undefined_is_free() -> None:
    with vms(fencing={"agent": None}) as made:
        n1, _, n3 = made.cluster.nodes
        made.install_hooks()
        made.start("web", n3)
        n1.cli("vm", "stop", "web", timeout=300)
        made.witness.await_still("web")
        n3.hypervisor.virsh("undefine", "web")
        wait_for(lambda: noted(n1, "vm-forgotten", vm="web"), "the ledger lets it go")
        other = uuid_of("another web")
        made.cluster.storage.create_image("second")
        n1.hypervisor.define("web", domain_xml("web", image="/var/lib/shared/second.img").replace(uuid_of("web"), other))
        wait_for(lambda: n1.hypervisor.ask("start", "web").returncode == 0, "libvirt's hook lets it start")
        wait_for(lambda: other in n1.cli("vm", "show", "web", "--json").stdout, "and it is in the cluster's care")
        assert made.runs_on("web", n1) is n1


def test_an_operator_has_a_vm_forgotten_and_its_name_is_free() -> None:
    with vms(fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        assert "web" in refused(n1, "vm", "forget", "web"), "not while it runs"
        n1.cli("vm", "stop", "web", timeout=300)
        made.witness.await_still("web")
        n2.cli("vm", "forget", "web")
        wait_for(lambda: not listed(n1, "web"), "nobody knows it any more")


def test_two_vms_of_one_name_are_told_and_neither_is_touched() -> None:
    """The witness tells VMs by name, so it has no verdict here."""
    with vms(verdict=False, fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("test", n3)
        twin = uuid_of("the twin")
        made.cluster.storage.create_image("twin")
        before = n3.hypervisor.processes()["test"]
        n1.hypervisor.define("test", domain_xml("test", image="/var/lib/shared/twin.img").replace(uuid_of("test"), twin))
        n1.hypervisor.virsh("start", "test")
        own = n1.hypervisor.processes()["test"]
        wait_for(lambda: noted(n1, "vm-frozen", vm="test"), "it is told")
        wait_for(lambda: twin in listed(n2, "test") and "frozen" in listed(n2, "test"), "and shown, with the other's UUID")

        def untouched() -> bool:
            mine, theirs = n3.hypervisor, n1.hypervisor
            ours = mine.processes().get("test") == before and theirs.processes().get("test") == own
            return ours and mine.running() == theirs.running() == {"test"}

        stays(untouched, "both run on", 6)
        for node in (n1, n3):
            assert not noted(node, "vm-suspended", vm="test")
            assert not noted(node, "vm-stopped", vm="test")
        n1.hypervisor.virsh("destroy", "test")
        wait_for(lambda: "frozen" not in listed(n2, "test"), "with the twin gone it is as before")
        assert n1.hypervisor.states() == {"test": "shut off"}, "the twin's definition is its user's"


# -- libvirt's hook


def test_the_hook_knows_a_vm_by_its_uuid_and_its_disk() -> None:
    with vms(fencing={"agent": None}) as made:
        n1, _, n3 = made.cluster.nodes
        made.install_hooks()
        made.start("web", n3)
        again = domain_xml("again", image="/var/lib/shared/web.img", unlocked=UNLOCKED).replace(
            uuid_of("again"), uuid_of("web")
        )
        n1.hypervisor.define("again", again)
        with pytest.raises(LabError, match="node 3"):
            n1.hypervisor.virsh("start", "again")
        n1.hypervisor.virsh("undefine", "again")
        n1.hypervisor.define("rescue", domain_xml("rescue", image="/var/lib/shared/web.img"))
        with pytest.raises(LabError, match="a disk of it belongs to web"):
            n1.hypervisor.virsh("start", "rescue")
        n1.path("/var/lib/corolistener/managed").unlink()
        with pytest.raises(LabError, match="a disk of it belongs to web"):
            n1.hypervisor.virsh("start", "rescue")
        made.start("other", n1)
        assert made.witness.running_on("web") == ["n3"]
        assert "web" in n1.path("/var/lib/corolistener/managed").read_text(), "the list is there again"


def test_a_hook_that_libvirt_does_not_call_is_noticed() -> None:
    with vms(fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.install_hooks()
        made.start("web", n3)
        n1.cli("vm", "relocate", "web", "--to", "n1", timeout=300)
        made.runs_on("web", n1)
        assert json.loads(n1.cli("status", "--json").stdout)["hook"] == "called"
        n2.path("/etc/libvirt/hooks/qemu.d/corolistener").unlink()
        n1.cli("vm", "relocate", "web", "--to", "n2", timeout=300)
        made.runs_on("web", n2)
        assert noted(n2, "hook-silent", vm="web")
        assert "libvirt does not call the hook" in n2.cli("check", check=False).stdout
        assert not noted(n1, "hook-silent")
