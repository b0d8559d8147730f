"""Who leaves leaves no locks: safety.md, rule 8. QEMU's own lock on an image is what is looked at."""

import signal

import pytest

from lab.stories import noted, status
from lab.vm_stories import vms
from lab.waiting import wait_for


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def test_a_node_that_must_not_leave_is_told_to_leave_at_once() -> None:
    """The VM starts elsewhere: its image was locked by a paused QEMU, and it started nowhere."""
    with vms(vms={"on_shutdown": "refuse"}, fencing={"agent": None}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        n3.send("daemon", signal.SIGTERM)
        wait_for(lambda: noted(n3, "emptying", how="refuse"), "n3 waits for somebody to see to its VM")
        n3.send("daemon", signal.SIGTERM)
        found = made.runs_on("web", n1, n2)
        assert made.witness.last_running("web", n3) <= made.witness.first_running("web", found)
        assert made.witness.writers("web") == [found.name]
        assert made.proofs(n3) == {"farewell"}
        assert not n3.hypervisor.processes(), "no QEMU is left behind"
        assert all(not status(node).get("owed") for node in (n1, n2))
