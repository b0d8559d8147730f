"""One message on which the decision of every node fails: all VMs are suspended, and no watchdog bites. safety.md, rule 10."""

import pytest

from lab.run_with_dog import POISON
from lab.stories import noted
from lab.vm_stories import vms
from lab.waiting import stays, wait_for

WATCHDOG_MS = 12_000


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def test_a_message_that_breaks_every_node_resets_none() -> None:
    with vms(dogs=True, fencing={"agent": None, "watchdog_timeout_ms": WATCHDOG_MS}) as made:
        n1, n2, n3 = made.cluster.nodes
        for name, node in (("web", n1), ("db", n3)):
            made.start(name, node)
        before = {node.name: node.hypervisor.processes() for node in made.cluster.nodes}
        n2.cli("panic", "--reason", POISON, check=False)
        for node in made.cluster.nodes:
            [line] = wait_for(lambda node=node: noted(node, "invariant-broken"), f"{node.name} decides nothing any more")[:1]  # type: ignore[misc]
            assert POISON in line
        for name in ("web", "db"):
            made.witness.await_still(name)

        def quiet() -> bool:
            still = not any(map(made.witness.running_on, ("web", "db")))
            return still and all(node.on and node.hypervisor.processes() == before[node.name] for node in made.cluster.nodes)

        stays(quiet, "suspended with their memory, and no node is reset", WATCHDOG_MS / 1000 + 3)
        for node in made.cluster.nodes:
            assert node.dog is not None
            assert node.dog.told == [f"armed {WATCHDOG_MS}"], "fed all the time"

        ran = len(made.witness.intervals("db", "running"))
        n3.hypervisor.virsh("resume", "db")
        wait_for(lambda: len(made.witness.intervals("db", "running")) > ran, "somebody lets db run")
        made.witness.await_still("db")
        for node in made.cluster.nodes:
            node.kill_daemon()
        for name, node in (("web", n1), ("db", n3)):
            assert made.runs_on(name, node) is node
        assert not any(node.dog.bitten for node in made.cluster.nodes if node.dog)
