"""VMs that go elsewhere by will, and VMs that cannot be kept running: drains, migrations, shutdowns, crashes, lost images."""

import json
import signal
from typing import Any

import pytest

from lab.cluster import plain_conf
from lab.hypervisor import domain_xml
from lab.machine import LabError, tell
from lab.stories import noted, refused, status
from lab.vm_stories import Vms, vms
from lab.waiting import stays, wait_for

NO_AGENT = {"agent": None}


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def executes(made: Vms, name: str) -> bool:
    """The guest goes on counting."""
    before = made.cluster.storage.counts(name)
    wait_for(lambda: made.cluster.storage.counts(name) != before, f"{name} executes")
    return True


# -- by will


def test_a_node_is_drained_and_its_vms_do_not_notice() -> None:
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        for name in ("web", "db", "mail"):
            made.start(name, n3)
        before = {name: made.witness.starts(name) for name in ("web", "db", "mail")}
        assert "web" in n1.cli("drain", "n3", "--dry-run").stdout
        assert "web" in n3.hypervisor.running(), "a plan moves nothing"
        n1.cli("drain", "n3", timeout=300)
        for name, starts in before.items():
            made.runs_on(name, n1, n2)
            assert executes(made, name)
            assert made.witness.starts(name) == starts, f"{name} was migrated, not booted"
        assert not n3.hypervisor.processes()
        refused(n1, "vm", "migrate", "web", "--to", "n3")
        n2.cli("maintenance", "n3", "off")
        n2.cli("vm", "migrate", "web", "--to", "n3")
        made.runs_on("web", n3)


def test_the_master_is_drained_and_leaves() -> None:
    """SIGTERM of the daemon on a node with VMs, as when its host is shut down: they are moved off, then it says farewell."""
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        for name in ("web", "db"):
            made.start(name, n1)
        before = {name: made.witness.starts(name) for name in ("web", "db")}
        assert status(n1)["master"] == 1
        n1.stop("daemon", limit_s=300)
        for name, starts in before.items():
            made.runs_on(name, n2, n3)
            assert made.witness.starts(name) == starts
        wait_for(lambda: noted(n2, "farewell", node=1), "it said goodbye")
        assert not [call for call in made.power.calls if call.action == "off"]


def test_a_host_that_is_shut_down_without_room_elsewhere_stops_its_vms() -> None:
    """What cannot be moved is shut down in order; it is owed until its node is back, and then runs there again."""
    with vms(vms={"on_shutdown": "stop"}) as made:
        n1, n3 = made.node(1), made.node(3)
        made.start("web", n3)
        for name in ("n1", "n2"):
            n1.cli("maintenance", name, "on")
        n3.stop("daemon", limit_s=300)
        made.witness.await_still("web")
        assert not n3.hypervisor.processes(), "its own system has shut down"
        wait_for(lambda: "web" in n1.cli("vm", "list").stdout and noted(n1, "vm-owed", vm="web"), "owed, with the reason")
        n3.start_daemon(supervised=True)
        made.runs_on("web", n3)


def test_a_vm_is_relocated_stopped_and_started() -> None:
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        n1.cli("vm", "relocate", "web", "--to", "n2", timeout=300)
        made.runs_on("web", n2)
        wait_for(lambda: made.witness.starts("web") == 2, "it was booted anew")
        n1.cli("vm", "stop", "web", timeout=300)
        made.witness.await_still("web")
        stays(lambda: not made.witness.running_on("web"), "it stays down", 2)
        n3.cli("vm", "start", "web", "--on", "n1", timeout=300)
        made.runs_on("web", n1)
        assert "n3" not in refused(n1, "vm", "start", "wbe"), "one line, and the nearest name"


def test_a_drain_without_room_tells_why_and_moves_nothing() -> None:
    with vms(vms={"max_per_node": 1}) as made:
        n1, n3 = made.node(1), made.node(3)
        for name, node in zip(("web", "db", "mail"), made.cluster.nodes, strict=True):
            made.start(name, node)
        done = n1.cli("drain", "n3", "--dry-run", check=False)
        assert done.returncode == 1
        assert "mail  n3    as many VMs as are allowed (2 nodes)" in done.stdout
        n1.cli("drain", "n3", "--no-wait")
        wait_for(lambda: noted(n1, "vm-not-moved", vm="mail"), "the master says why")
        assert made.runs_on("mail", n3) is n3
        n1.cli("maintenance", "n3", "off")


@pytest.mark.parametrize("where", ["before", "target-lost"])
def test_a_migration_fails_and_the_vm_stays_where_it_was(where: str) -> None:
    with vms(fencing=NO_AGENT) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        starts = made.witness.starts("web")
        if where == "before":
            n2.hypervisor.stop()
            done = n1.cli("vm", "migrate", "web", "--to", "n2", check=False, timeout=300)
        else:
            n1.cli("vm", "migrate", "web", "--to", "n2", "--no-wait")
            n2.power_off()
            wait_for(lambda: noted(n1, "left", node=2), "it is missed")
            done = None
        if done is not None:
            assert done.returncode != 0
            assert done.stderr.count("\n") == 1
        else:
            n1.cli("fence", "--confirm", "n2")
        home = made.runs_on("web", n3, n1)
        wait_for(lambda: "moves" not in n1.cli("vm", "show", "web").stdout, "and nothing moves any more")
        if home is n3:
            assert made.witness.starts("web") == starts


# -- what cannot be kept running


def test_a_vm_crashes_and_is_started_at_home_then_elsewhere() -> None:
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)

        def crash() -> None:
            pid = n3.hypervisor.processes()["web"]
            tell(pid, signal.SIGKILL)
            wait_for(lambda: n3.hypervisor.processes().get("web") != pid, "it is gone")

        for crashes in (1, 2):
            crash()
            made.runs_on("web", n3)
            wait_for(lambda crashes=crashes: made.witness.starts("web") == crashes + 1, "and has booted anew")  # type: ignore[misc]
        crash()
        made.runs_on("web", n1, n2)
        assert noted(n3, "vm-given-up", vm="web")


def test_a_broken_vm_fails_with_its_reason_and_the_others_run() -> None:
    """Its image is gone when its node is lost: it is tried everywhere, and stays owed with libvirt's own words."""
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        for name in ("web", "broken"):
            made.start(name, n3)
        made.cluster.storage.image("broken").rename(made.cluster.storage.image("elsewhere"))
        n3.power_off()
        made.runs_on("web", n1, n2)
        wait_for(lambda: noted(n1, "vm-owed", vm="broken") or noted(n2, "vm-owed", vm="broken"), "it is owed")
        shown = n1.cli("vm", "show", "broken").stdout
        assert "broken.img" in shown, shown
        made.cluster.storage.image("elsewhere").rename(made.cluster.storage.image("broken"))
        n2.cli("vm", "start", "broken", timeout=300)
        made.runs_on("broken", n1, n2)


# -- by hand


UNLOCKED = ("file.locking=off", "share-rw=on")
"""What the lab's second copy needs to start at all: QEMU's own lock on the image would refuse it."""


def test_libvirts_hook_refuses_a_vm_that_is_started_by_hand_on_the_wrong_node() -> None:
    with vms() as made:
        n1, n3 = made.node(1), made.node(3)
        for name in ("web", "db"):
            made.start(name, n3)
        made.install_hooks()
        n1.hypervisor.define("web", domain_xml("web", unlocked=UNLOCKED))
        with pytest.raises(LabError, match="node 3"):
            n1.hypervisor.virsh("start", "web")
        assert made.witness.running_on("web") == ["n3"]
        n3.hypervisor.virsh("destroy", "db")
        wait_for(lambda: not json.loads(n3.cli("vm", "show", "db", "--json").stdout)["on"], "its user wants it off")
        n3.hypervisor.virsh("start", "db")
        made.runs_on("db", n3)


def test_without_the_hook_it_is_seen_suspended_and_frozen_until_it_is_put_right() -> None:
    """Here, and nowhere else, a VM runs twice for a moment: somebody started it by hand, with its lock switched off."""
    with vms(verdict=False) as made:
        n1, n3 = made.node(1), made.node(3)
        made.cluster.storage.create_image("web")
        n3.hypervisor.define("web", domain_xml("web", unlocked=UNLOCKED))
        n3.hypervisor.virsh("start", "web")
        made.start("db", n3)
        made.cared_for("web")
        n1.hypervisor.define("web", domain_xml("web", unlocked=UNLOCKED))
        n1.hypervisor.virsh("start", "web")
        wait_for(lambda: noted(n1, "vm-suspended", vm="web"), "the copy that is not placed is suspended")
        assert n1.hypervisor.states()["web"] == "paused"
        assert made.runs_on("web", n3) is n3
        wait_for(lambda: "frozen" in n1.cli("vm", "list").stdout, "it is frozen")
        assert "frozen" in refused(n1, "vm", "migrate", "web", "--to", "n2")
        n3.cli("vm", "migrate", "db", "--to", "n2", timeout=300)
        n1.hypervisor.virsh("destroy", "web")
        wait_for(lambda: "frozen" not in n1.cli("vm", "list").stdout, "and frozen no more")


def two_node_conf(*words: Any, **timers: Any) -> str:
    """Quorum of one: after a cut both sides are quorate."""
    return plain_conf(*words, **timers).replace("quorum {", "quorum {\n\ttwo_node: 1")


def test_two_nodes_and_one_is_cut() -> None:
    """Where quorum excludes nobody no deadline proves anything: without an agent or an operator nothing starts."""
    fencing = {"agent": None, "proofs": ["farewell", "watchdog", "suspend", "operator"]}
    with vms(nodes=2, conf=two_node_conf, fencing=fencing) as made:
        n1, n2 = made.cluster.nodes
        made.start("web", n2)
        n2.cut()
        wait_for(lambda: noted(n1, "left", node=2), "it is missed")
        stays(lambda: n1.name not in made.witness.running_on("web"), "nothing starts", 6)
        assert not made.proofs(n2)
        n2.heal()
        made.runs_on("web", n2)


def test_thirty_vms_on_five_nodes_and_two_die_at_once() -> None:
    with vms(nodes=5, timers={"token": 1000}) as made:
        nodes = made.cluster.nodes
        names = [f"v{number}" for number in range(30)]
        for place, name in enumerate(names):
            made.cluster.storage.create_image(name)
            home = nodes[place % 5]
            home.hypervisor.define(name)
            home.hypervisor.virsh("start", name)
        made.cared_for(*names)
        nodes[3].power_off()
        nodes[4].power_off()
        for name in names:
            made.runs_on(name, *nodes[:3], limit=180)
        assert made.proofs(nodes[3]) == made.proofs(nodes[4]) == {"agent"}
