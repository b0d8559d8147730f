"""Nodes that cannot see their VMs, daemons installed under VMs, clusters that go down: safety.md, rules 2, 13 and 20."""

import signal

import pytest

from lab.cluster import daemon_argv
from lab.conftest import MakeCluster
from lab.dog import Dog
from lab.stories import noted, nothing, settled
from lab.vm_stories import QUICK, TIMERS, WATCHDOG_MS, cared_for, settings, vms
from lab.waiting import stays, wait_for

CONFIGURATION = 78
"""EX_CONFIG: systemd does not start the daemon again."""


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def test_a_node_whose_settings_name_no_hypervisor_any_more_does_not_start_or_keeps_the_last_one() -> None:
    with vms(fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n2)
        n2.write_settings(**settings((1, 2, 3), QUICK, fencing={"agent": None}, vms={"uri": None}))
        kept = n2.path("/var/lib/corolistener/uri")
        uri = kept.read_text()
        kept.unlink()
        n2.stop("daemon", signal.SIGKILL)
        done = n2.run(daemon_argv("run"), check=False)
        assert done.returncode == CONFIGURATION, done.stderr
        assert "this node has VMs in the ledger (web), and [vms] uri is not set" in done.stderr
        stays(lambda: made.witness.running_on("web") == [n2.name], "nobody believes that it runs nothing", 8)
        assert not noted(n1, "proven", node=n2.nodeid)

        kept.write_text(uri)
        connected = len(noted(n2, "hypervisor-connected"))
        n2.start_daemon(supervised=True)
        [line] = wait_for(lambda: noted(n2, "vms-uri-kept"), "it uses the one that it used last")
        assert "this node has VMs in the ledger (web)" in line
        wait_for(lambda: len(noted(n2, "hypervisor-connected")) > connected, "and works with it")
        made.runs_on("web", n2)

        n2.stop("daemon", limit_s=300)
        made.runs_on("web", n1, n3)
        assert not n2.hypervisor.processes(), "told to stop, it has moved its VM off first"


def test_a_node_that_leaves_while_libvirt_is_away_says_no_farewell() -> None:
    """It cannot know what runs. Its watchdog is not disarmed, and only when that has bitten the VM starts elsewhere."""
    with vms(dogs=True, fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n2)
        n2.hypervisor.stop()
        wait_for(lambda: noted(n2, "hypervisor-away"), "its libvirt is away")
        n2.path("/run/lab/daemon.stop").touch()  # as systemd does: who ends is not started again
        for _ in range(2):
            n2.send("daemon", signal.SIGTERM)  # who asks twice does not wait for VMs to be moved off
            stays(lambda: "web" in n2.hypervisor.processes() or not n2.on, "nothing ends its VM but the end of the node", 1)
        home = made.runs_on("web", n1, n3)
        assert n2.dog is not None
        assert n2.dog.bitten
        assert made.proofs(n2) == {"watchdog"}
        assert made.witness.last_running("web", n2) <= made.witness.first_running("web", home)


def test_daemons_are_installed_one_after_the_other_under_running_vms(make_cluster: MakeCluster) -> None:
    """Nobody suspends what no ledger has ever known, and no watchdog bites; once a quorum has a ledger, it names the VMs."""
    cluster = make_cluster(
        nodes=3, hypervisor=True, settings=settings((1, 2, 3), QUICK, fencing={"agent": None}), corosync=True, **TIMERS
    )
    with cluster.vm_witness() as witness:
        for name, node in zip(("web", "db", "mail"), cluster.nodes, strict=True):
            cluster.storage.create_image(name)
            node.hypervisor.define(name)
            node.hypervisor.virsh("start", name)
            witness.await_running(name, node)
        paused = len(witness.intervals(state="paused"))  # libvirt itself starts a VM suspended
        for place, node in enumerate(cluster.nodes):
            node.dog = Dog(node)
            node.dog.start()
            node.start_daemon(supervised=True)
            if place == 0:
                stays(lambda: len(witness.intervals(state="paused")) == paused, "alone it suspends nothing", 10)
        cared_for(cluster.nodes, "web", "db", "mail")
        settled(cluster, cluster.nodes[0])
        assert len(witness.intervals(state="paused")) == paused
        assert {name: witness.starts(name) for name in ("web", "db", "mail")} == {"web": 1, "db": 1, "mail": 1}
        assert [node.dog.told for node in cluster.nodes if node.dog] == [[f"armed {WATCHDOG_MS}"]] * 3
        witness.assert_never_twice()


def test_all_hosts_are_shut_down_together() -> None:
    """Every guest shuts down in order, at once, and no node goes before the others can do without it.

    A node that is told a moment before the others may still move its VM: then the guest shuts down where it is then.
    """
    with vms(dogs=True, fencing={"agent": None}) as made:
        names = ("web", "db", "mail")
        for name, node in zip(names, made.cluster.nodes, strict=True):
            made.start(name, node)
        for node in made.cluster.nodes:
            node.path("/run/lab/daemon.stop").touch()  # as systemd does: who ends is not started again
            node.send("daemon", signal.SIGTERM)
        wait_for(lambda: all(node.pid("daemon") is None for node in made.cluster.nodes), "all daemons have ended", 300)
        assert all(nothing(node) and not node.hypervisor.processes() for node in made.cluster.nodes)
        assert [node.dog.told[-1] for node in made.cluster.nodes if node.dog] == ["stopped"] * 3, (
            "no host is reset in its shutdown"
        )
        for name in names:
            assert made.witness.starts(name) == 1, "it was started nowhere else in between"
            assert [node for node in made.cluster.nodes if noted(node, "vm-asked-to-shut-down", vm=name)]
            cut_off = [node for node in made.cluster.nodes if noted(node, "vm-suspended", vm=name)]
            assert not cut_off, f"{name} was cut off in its shutdown"


def test_the_network_of_all_nodes_is_off_for_a_while() -> None:
    """Everything is suspended, and goes on with its memory: the deadline of nobody has passed."""
    with vms(fencing={"agent": None, "watchdog_timeout_ms": 90_000}) as made:
        n1, _, n3 = made.cluster.nodes
        for name, node in (("web", n1), ("db", n3)):
            made.start(name, node)
        assert "an outage of more than 90.8 s boots all VMs anew" in n1.cli("check", check=False).stdout
        made.cluster.cut()
        for name in ("web", "db"):
            made.witness.await_still(name)
        made.cluster.heal()
        for name, node in (("web", n1), ("db", n3)):
            assert made.runs_on(name, node) is node
            assert made.witness.starts(name) == 1


def test_the_network_of_all_nodes_is_off_for_longer_than_the_deadline() -> None:
    """No node knows that the others did not go on. So each destroys what is suspended, and all VMs boot anew, once."""
    with vms(dogs=True, fencing={"agent": None}) as made:
        n1, _, n3 = made.cluster.nodes
        for name, node in (("web", n1), ("db", n3)):
            made.start(name, node)
        assert "an outage of more than 4.8 s boots all VMs anew" in n1.cli("check", check=False).stdout
        made.cluster.cut()
        wait_for(lambda: not n1.hypervisor.processes() and not n3.hypervisor.processes(), "what was suspended is destroyed")
        made.cluster.heal()
        for name, node in (("web", n1), ("db", n3)):
            assert made.runs_on(name, node) is node
            wait_for(lambda name=name: made.witness.starts(name) == 2, f"{name} has booted anew")  # type: ignore[misc]


def test_a_vm_that_is_started_without_a_lease_does_not_wait_in_silence() -> None:
    """Its node suspends it, and the ledger does not name it: `status` says so everywhere, until somebody resumes it."""
    with vms(fencing={"agent": None}) as made:
        n1, n2, _ = made.cluster.nodes
        n2.cut()
        wait_for(lambda: noted(n2, "lease-ended"), "n2 has no lease")
        made.cluster.storage.create_image("web")
        n2.hypervisor.define("web")
        n2.hypervisor.virsh("start", "web")
        wait_for(lambda: noted(n2, "vm-suspended", vm="web"), "it is suspended")
        made.witness.await_still("web")
        n2.heal()
        wait_for(lambda: "1 VM: its node suspended it without a lease" in n1.cli("status").stdout, "the master says so")
        n2.hypervisor.virsh("resume", "web")
        made.cared_for("web")
        made.runs_on("web", n2)
        assert made.witness.starts("web") <= 1
        assert "suspended it without" not in n1.cli("status").stdout
