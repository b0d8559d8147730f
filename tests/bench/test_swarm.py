"""The simulator's part of scripts/bench, in small; how long it takes is not judged."""

from bench import swarm


def test_what_is_killed_is_started_elsewhere() -> None:
    made = swarm.world(nodes=10, vms=30, killed=3)
    took, placed, running = swarm.played(made)
    assert took > 0
    assert made.estate is not None
    assert (placed, running) == (30, 30)
    off = [node for node, machine in made.machines.items() if not machine.powered]
    assert len(off) == 3
    assert not any(node in where for where in made.estate.executions.now.values() for node in off)
