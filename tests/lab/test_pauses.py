"""Pauses of VMs on real libvirt: whose they are, what the hypervisor is busy with, and a storage that is full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.machine import SHARED
from lab.node import Node
from lab.stories import noted
from lab.vm_stories import Vms, vms
from lab.waiting import stays, wait_for

NO_AGENT = {"agent": None}
SMALL, FIFO = f"{SHARED}/small", "/tmp/dump"
TIMES = 8
"""Pauses until the story has seen enough: with a back-off that takes half a minute, without one 0.2 s."""


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def reason(node: Node, name: str) -> str:
    return node.hypervisor.virsh("domstate", "--reason", name).strip()


def shown(node: Node, name: str) -> str:
    return node.cli("vm", "show", name).stdout


def known_as(node: Node, name: str) -> str:
    """The definition that the ledger names."""
    return next(line for line in shown(node, name).splitlines() if line.startswith("definition"))


def ripe(made: Vms, *nodes: Node) -> None:
    """The daemon has run for so long that a pause cannot have been asked for by a former process."""
    stays(lambda: True, "a young daemon takes no pause for its user's", 6)


@contextmanager
def full_storage(made: Vms, node: Node, name: str) -> Iterator[str]:
    """A file system so small that a disk on it cannot grow; the path of the file whose removal makes room."""
    (made.cluster.storage.directory / "small").mkdir()
    node.run(["mount", "-t", "tmpfs", "-o", "size=512k", "small", SMALL])
    node.run(["dd", "if=/dev/zero", f"of={SMALL}/ballast", "bs=4k", "count=60"])
    try:
        yield f"{SMALL}/ballast"
    finally:
        node.hypervisor.ask("destroy", name)
        node.run(["umount", "-l", SMALL], check=False)


def test_a_full_storage_pauses_a_vm_and_it_is_resumed_later_each_time_until_there_is_room() -> None:
    with vms(fencing=NO_AGENT) as made:
        n1, _, n3 = made.cluster.nodes
        made.start("web", n3)
        with full_storage(made, n3, "web") as ballast:
            disk = f"hda,file={SMALL}/web.qcow2"
            n3.hypervisor.virsh("snapshot-create-as", "web", "top", "--disk-only", "--no-metadata", "--diskspec", disk)
            n3.run(["dd", "if=/dev/zero", f"of={SMALL}/rest", "bs=1k"], check=False)
            wait_for(lambda: noted(n3, "vm-paused", vm="web", times=TIMES), "it was paused so often", 300)
            resumes = len(noted(n3, "vm-resumed", vm="web"))
            assert resumes <= TIMES, "once for each pause"
            assert "I/O error" in shown(n1, "web")
            assert not noted(n3, "vm-failed", vm="web")
            n3.run(["rm", ballast, f"{SMALL}/rest"])
            wait_for(lambda: "running" in reason(n3, "web"), "there is room, and it goes on", 120)
            assert not noted(n3, "vm-started", vm="web"), "it did not boot anew"


def test_its_user_suspends_a_vm_and_it_stays_so_until_somebody_starts_it() -> None:
    with vms(fencing=NO_AGENT) as made:
        n1, _, n3 = made.cluster.nodes
        made.start("web", n3)
        ripe(made)
        n3.hypervisor.virsh("suspend", "web")
        wait_for(lambda: "by its user" in shown(n1, "web"), "everybody knows whose will it is")
        n3.kill_daemon()
        wait_for(lambda: len(noted(n3, "hypervisor-connected")) >= 2, "the next process has seen it")
        wait_for(lambda: "by its user" in shown(n1, "web"), "and knows whose will it is")
        stays(lambda: "paused" in reason(n3, "web"), "it stays suspended", 8)
        n1.cli("vm", "start", "web", timeout=300)
        wait_for(lambda: "running" in reason(n3, "web"), "it runs")
        wait_for(lambda: "by its user" not in shown(n1, "web"), "and nobody speaks of it any more")
        assert made.witness.starts("web") == 1


def test_a_vm_that_is_being_dumped_is_left_alone() -> None:
    with vms(fencing=NO_AGENT) as made:
        n1, _, n3 = made.cluster.nodes
        made.start("web", n3)
        n3.run(["mkfifo", FIFO])
        reader = n3.popen(["sh", "-c", f"exec 3<{FIFO}; read line; cat <&3 >/dev/null"], stdin=subprocess.PIPE)
        dump = n3.popen(["virsh", "-q", "-c", "qemu:///system", "dump", "web", FIFO], stdout=subprocess.PIPE)
        wait_for(lambda: "dumping" in reason(n3, "web"), "the dump waits for its reader")
        wait_for(lambda: "busy" in shown(n1, "web"), "everybody knows why it is suspended")
        stays(lambda: "dumping" in reason(n3, "web"), "it is left alone", 5)
        assert reader.stdin is not None
        reader.stdin.write("\n")
        reader.stdin.close()
        dump.wait(60)
        wait_for(lambda: "running" in reason(n3, "web"), "it goes on by itself")
        for code in ("vm-resumed", "vm-failed", "vm-given-up", "vm-crashed"):
            assert not noted(n3, code, vm="web")
        assert made.witness.starts("web") == 1


def test_a_snapshot_of_disks_is_known_to_all_at_once() -> None:
    """libvirt tells nobody of it; elsewhere the VM must not be started from the file below."""
    with vms(fencing=NO_AGENT) as made:
        n1, _, n3 = made.cluster.nodes
        made.start("web", n3)
        before = known_as(n1, "web")
        n3.hypervisor.virsh("snapshot-create-as", "web", "top", "--disk-only", "--no-metadata")
        wait_for(lambda: known_as(n1, "web") != before, "another definition")
        texts = n1.path("/var/lib/corolistener/definitions/vm-web").glob("*.xml")
        assert any("web.top" in text.read_text() for text in texts)
        n3.hypervisor.virsh("blockcommit", "web", "hda", "--active", "--pivot", "--wait")
        wait_for(lambda: known_as(n1, "web") == before, "the file below is the top again")
