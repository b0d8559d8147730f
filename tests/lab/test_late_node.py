"""All power was lost and one node boots later than the others: it is waited for. safety.md, rule 16."""

import pytest

from lab.stories import noted, status
from lab.vm_stories import vms
from lab.waiting import stays, wait_for

GRACE_S = 600
"""Longer than any boot of the lab. A node that was seen once is fenced at once all the same."""


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""


def test_a_node_that_boots_later_is_not_switched_off_in_its_boot() -> None:
    with vms(fencing={"start_grace_s": GRACE_S}) as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        for node in made.cluster.nodes:
            node.power_off()
        made.power.calls.clear()  # the last one that was on may have begun to fence the others
        for node in (n1, n2):
            made.power.switch_on(node)

        def waits() -> list[int]:
            return [debt["agent_waits_ms"] for node in (n1, n2) for debt in status(node).get("owed", ()) if debt["node"] == 3]

        first = wait_for(lambda: len(waits()) == 2 and waits(), "both say that they wait for n3")
        assert all(0 < each <= 1000 * GRACE_S for each in first)
        assert "its fence agent waits" in n2.cli("status").stdout
        wait_for(lambda: noted(n1, "node-awaited", node=3) or noted(n2, "node-awaited", node=3), "the master's log as well")
        stays(lambda: not made.power.count("off", 3) and not made.witness.running_on("web"), "nobody touches n3", 4)
        assert max(waits()) < min(first), "it is a countdown"

        made.power.switch_on(n3)
        made.runs_on("web", n3)
        wait_for(lambda: made.witness.starts("web") == 2, "it has booted anew, once")
        assert not made.power.count("off", 3)
        assert not made.proofs(n3)

        n3.power_off()
        made.runs_on("web", n1, n2)
        assert made.proofs(n3) == {"agent"}, "once it was seen, its loss is a failure"
