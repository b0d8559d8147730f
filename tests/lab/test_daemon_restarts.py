"""A restart of the daemon is no event for anybody, with VMs in its care: safety.md, rule 22."""

import pytest

from lab.cluster import CLOUD_IP
from lab.stories import masters_in_log, noted, settled, status
from lab.vm_stories import vms
from lab.waiting import wait_for

TIMES = 25
PATIENT = {"restart_ms": 60_000, "watchdog_timeout_ms": 90_000}


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def test_the_masters_daemon_is_restarted_again_and_again() -> None:
    """A new process says Hello before it knows capacity and votes, and says another one soon after.

    3 of 20 such restarts made a node disallowed that nothing had happened to.
    """
    with vms(fencing=PATIENT) as made:
        n1, n2, n3 = made.cluster.nodes
        for name, node in zip(("web", "db", "mail"), made.cluster.nodes, strict=True):
            made.start(name, node)
        settled(made.cluster, n1)
        service = n1.service_log()
        starts = {name: made.witness.starts(name) for name in ("web", "db", "mail")}
        paused = len(made.witness.intervals(state="paused"))
        roles = {node.name: len(noted(node, "role")) for node in (n2, n3)}
        for number in range(TIMES):
            n1.cli("prepare-restart")
            n1.stop_daemon()
            assert n1.holds(CLOUD_IP), f"restart {number}: the address stays"
            n1.start_daemon(supervised=True)
            wait_for(lambda: status(n1).get("phase") == "settled", f"restart {number}: n1 is master with everything")
            assert n1.holds(CLOUD_IP), f"restart {number}: the address stayed"
        settled(made.cluster, n1)
        assert not [line for node in made.cluster.nodes for line in noted(node, "disallowed")]
        assert n1.service_log() == service, "the service never stopped"
        assert not noted(n1, "address-dropped")
        assert {tuple(masters_in_log(node)) for node in made.cluster.nodes} == {(1,)}
        assert {node.name: len(noted(node, "role")) for node in (n2, n3)} == roles
        assert len(made.witness.intervals(state="paused")) == paused, "no VM was suspended for a moment"
        assert {name: made.witness.starts(name) for name in starts} == starts
        assert not made.power.calls
