"""VMs on real nodes: whose node is lost they run elsewhere, once it is proven that they run nowhere else; never twice."""

import pytest

from lab.vm_stories import vms


@pytest.fixture(autouse=True)
def can(machine_can: None) -> None:
    """Skips where the machine cannot."""


def test_a_node_is_killed_and_its_agent_proves_it() -> None:
    with vms() as made:
        n1, n2, n3 = made.cluster.nodes
        made.start("web", n3)
        made.start("db", n3)
        n3.power_off()
        homes = {made.runs_on(name, n1, n2).name for name in ("web", "db")}
        assert homes <= {"n1", "n2"}
        assert made.proofs(n3) == {"agent"}
        assert made.power.count("off", 3) >= 1
