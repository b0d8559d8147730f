"""VMs on real nodes: whose node is lost they run elsewhere, once it is proven that they run nowhere else; never twice.

Every story is watched by the witness from beginning to end (`vms`): no VM has two running QEMUs, no image two writers.
"""

import os
import signal

import pytest

from lab.agents import Manner
from lab.node import Node
from lab.stories import noted, status
from lab.vm_stories import Vms, vms
from lab.waiting import stays, wait_for

NO_AGENT = {"agent": None}
PATIENT = {"restart_ms": 60_000, "watchdog_timeout_ms": 90_000}
"""For stories in which a daemon is back in time, on a machine where that may take its time."""
TRUSTING = {"agent": None, "proofs": ["farewell", "suspend", "operator"], "weak_watchdogs": True}
"""The lab may itself run in a virtual machine, which nobody suspends."""


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def suspended_first(made: Vms, name: str, old: Node, new: Node) -> None:
    """The VM executed nowhere on the old node any more when it began to on the new one."""
    assert made.witness.last_running(name, old) <= made.witness.first_running(name, new)


def debts(made: Vms, lost: Node, among: list[Node]) -> bool:
    """Every one of these nodes says that the lost one owes VMs, without a proof."""
    owed = [each for node in among for each in status(node).get("owed", []) if each["node"] == lost.nodeid]
    return len(owed) == len(among) and all(each["proof"] is None for each in owed)


# -- proofs


def test_a_node_is_killed_and_its_agent_proves_it() -> None:
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        for name in ("web", "db"):
            made.start(name, n3)
        n3.power_off()
        for name in ("web", "db"):
            made.runs_on(name, n1, n2)
        assert made.proofs(n3) == {"agent"}
        assert made.power.count("off", 3) >= 1


def test_the_agent_hangs_and_the_watchdogs_deadline_proves_it() -> None:
    with vms(dogs=True) as made:
        n1, n2, n3 = made.cluster.nodes
        made.power.manner[3] = Manner.HANGS
        made.start("web", n3)
        n3.power_off()
        made.runs_on("web", n1, n2)
        assert made.proofs(n3) == {"watchdog"}
        assert made.power.count("off", 3) >= 1, "the agent was tried beside the deadline"


def test_without_a_proof_nothing_starts_until_an_operator_confirms() -> None:
    with vms(fencing=NO_AGENT) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        n3.power_off()
        wait_for(lambda: debts(made, n3, [n1, n2]), "both say what is owed")
        assert noted(n1, "proof-missing", node=3)
        stays(lambda: made.witness.running_on("web") == [], "nothing starts", 3)
        n2.cli("fence", "--confirm", "n3")
        made.runs_on("web", n1, n2)
        assert made.proofs(n3) == {"operator"}


# -- cut links


@pytest.mark.parametrize("kind", ["agent", "watchdog", "suspend"])
def test_a_link_is_cut_and_the_lost_side_suspends_before_the_others_start(kind: str) -> None:
    fencing = {"agent": {}, "watchdog": NO_AGENT, "suspend": TRUSTING}[kind]
    with vms(dogs=kind == "watchdog", fencing=fencing) as made:
        n1, n2, n3 = made.cluster.nodes
        if kind == "agent":
            made.power.slow_s[3] = 3
        made.start("web", n3)
        n3.cut()
        made.witness.await_still("web")
        home = made.runs_on("web", n1, n2)
        suspended_first(made, "web", n3, home)
        assert made.proofs(n3) == {kind}


def test_a_link_healed_before_the_proof_leaves_everything_where_it_was() -> None:
    with vms(fencing=NO_AGENT) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        starts = made.witness.starts("web")
        n3.cut()
        made.witness.await_still("web")
        n3.heal()
        made.runs_on("web", n3)
        assert made.witness.starts("web") == starts, "it went on, and did not boot anew"
        assert not made.proofs(n3)
        assert not any(noted(node, "vm-placed", vm="web", was=3) for node in (n1, n2))


def test_an_operator_confirms_a_node_that_is_only_cut_off() -> None:
    """Its copy is suspended and holds the lock of the image, so it starts nowhere. It stays owed until the node is back."""
    with vms(fencing=NO_AGENT) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        n3.cut()
        made.witness.await_still("web")
        wait_for(lambda: debts(made, n3, [n1, n2]), "both say what is owed")
        n1.cli("fence", "--confirm", "n3")
        wait_for(lambda: noted(n1, "vm-failed", vm="web") or noted(n2, "vm-failed", vm="web"), "the image is locked")
        assert "web" in n3.hypervisor.processes()
        n3.heal()
        made.runs_on("web", n1, n2, limit=150)
        assert "web" not in n3.hypervisor.processes(), "the stale copy is gone"
        wait_for(lambda: not any(each["why"] for each in status(n1)["nodes"]), "and its node is admitted")


def test_a_paused_daemon_on_a_cut_node_is_bitten() -> None:
    """Nobody suspends the VMs there: the watchdog must, before the others start them."""
    with vms(dogs=True, fencing=NO_AGENT) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        n3.pause_daemon()
        n3.cut()
        home = made.runs_on("web", n1, n2)
        assert n3.dog is not None
        assert n3.dog.bitten
        suspended_first(made, "web", n3, home)
        assert made.proofs(n3) == {"watchdog"}


# -- masters, daemons, power


def test_the_master_dies_while_a_fence_is_in_flight() -> None:
    with vms(nodes=5) as made:
        n1, n2, n3, n4, n5 = made.cluster.nodes
        made.power.slow_s[5] = 3
        made.start("web", n5)
        n5.power_off()
        wait_for(lambda: made.power.count("off", 5), "the master fences it")
        assert status(n2)["master"] == 1
        n1.power_off()
        made.runs_on("web", n2, n3, n4)
        assert made.proofs(n5) == {"agent"}
        assert {call.by for call in made.power.calls if (call.action, call.node) == ("off", 5)} == {1, 2}


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_everything_loses_power_and_comes_back(order: tuple[int, ...]) -> None:
    with vms() as made:
        nodes = made.cluster.nodes
        homes = dict(zip(("web", "db", "mail"), nodes, strict=True))
        for name, node in homes.items():
            made.start(name, node)
        for node in nodes:
            node.power_off()
        for number in order:
            made.power.switch_on(made.node(number))
        for name in homes:
            made.runs_on(name, *nodes)
            wait_for(lambda name=name: made.witness.starts(name) == 2, f"{name} has booted anew, once")  # type: ignore[misc]


def test_daemons_restarted_in_turn_and_no_vm_notices() -> None:
    with vms(fencing=PATIENT) as made:
        for name, node in zip(("web", "db", "mail"), made.cluster.nodes, strict=True):
            made.start(name, node)
        before = {name: made.witness.starts(name) for name in ("web", "db", "mail")}
        paused = len(made.witness.intervals(state="paused"))
        for node in made.cluster.nodes:
            node.cli("prepare-restart")
            node.stop_daemon()
            node.start_daemon(supervised=True)
            wait_for(lambda node=node: status(node).get("ledger", {}).get("stable"), f"{node.name} is back")  # type: ignore[misc]
        for name, node in zip(before, made.cluster.nodes, strict=True):
            assert made.runs_on(name, node) is node
        assert {name: made.witness.starts(name) for name in before} == before
        assert len(made.witness.intervals(state="paused")) == paused, "none was suspended for a moment"
        assert not made.power.calls


def test_a_node_whose_lease_was_changed_goes_on_to_start_vms() -> None:
    """It says so to all: else it would wait for ever to be the node that they know, and start nothing."""
    with vms(fencing=PATIENT) as made:
        n3 = made.node(3)
        settings = n3.path("/etc/corolistener/corolistener.toml")
        settings.write_text(settings.read_text().replace("[fencing]\n", "[fencing]\nlease_ms = 6000\n"))
        n3.send("daemon", signal.SIGHUP)
        wait_for(lambda: noted(n3, "settings", lease_ms=6000), "n3 has another lease")
        made.start("web", n3)
        wait_for(lambda: status(n3)["lease"]["ms_left"] > 2220, "n3 has a lease that lasts longer")
        os.kill(n3.hypervisor.processes()["web"], signal.SIGKILL)
        wait_for(lambda: made.witness.starts("web") == 2, "it is started again after a crash")
        assert made.runs_on("web", n3) is n3


def test_only_corosync_is_restarted_on_a_node_with_vms() -> None:
    """Its daemon is bound to it and restarted as well. The VM goes on, though it may be suspended for a moment."""
    with vms(fencing=PATIENT) as made:
        n3 = made.node(3)
        made.start("web", n3)
        starts = made.witness.starts("web")
        n3.cli("prepare-restart")  # what systemd's restart job is to the daemon, which it ends before corosync
        n3.stop_daemon()
        n3.stop_corosync()
        n3.start_corosync(restart="always")
        n3.start_daemon(supervised=True)
        wait_for(lambda: status(n3).get("quorate") and status(n3)["ledger"]["stable"], "n3 is back")
        assert made.runs_on("web", n3) is n3
        assert made.witness.starts("web") == starts
        assert not [call for call in made.power.calls if call.action == "off"]
        assert not made.proofs(n3)


def test_libvirtd_is_restarted_and_the_vms_go_on() -> None:
    with vms(fencing=NO_AGENT) as made:
        n3 = made.node(3)
        made.start("web", n3)
        starts = made.witness.starts("web")
        n3.hypervisor.kill()
        wait_for(lambda: noted(n3, "hypervisor-away"), "it was missed")
        wait_for(lambda: len(noted(n3, "hypervisor-connected")) >= 2, "and is back")
        n3.cut()
        made.witness.await_still("web")
        n3.heal()
        made.runs_on("web", n3)
        assert made.witness.starts("web") == starts
