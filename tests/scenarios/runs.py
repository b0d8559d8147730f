"""Random runs as tests have them: one that fails says how to repeat it, and the shortest story that still fails."""

from corolistener.sim.seeds import FAULTS_MS, NODES_LEAST, draw, play
from corolistener.sim.shrink import shrink


def passes(seed: int, vms: int = 0, nodes: tuple[int, int] = (NODES_LEAST, 5)) -> None:
    """AssertionError where a promise is broken."""
    plan = draw(seed, nodes, FAULTS_MS, vms)
    if play(plan).violation is not None:
        shortest, violation = shrink(plan)
        again = f"scripts/sim --from {seed} --seeds 1 --nodes {nodes[0]}-{nodes[1]}" + f" --vms {vms}" * bool(vms)
        raise AssertionError(f"{violation}\nagain: {again}\n{shortest.story(violation)}")
