"""How long the simulator needs for a large cluster: 100 nodes, 3,000 VMs, 80 virtual seconds in which nodes lose power.

Everything is as in every run: real cores, really encoded messages, and the checkers look whenever something was said or done.
"""

import time

from bench.figures import Figure
from corolistener.core.capacity import Vm
from corolistener.ids import NodeId, VmName
from corolistener.sim import cluster
from corolistener.sim.heap import collect_seldom
from corolistener.sim.vms import GIB, STORAGE, VmOptions
from corolistener.sim.world import Options, World

NODES, VMS, KILLED = 100, 3000, 9
CREATED_MS, KILLED_MS, UNTIL_MS = 10_000, (20_000, 30_000, 40_000), 80_000
MOST_MS = 60_000.0


def world(nodes: int = NODES, vms: int = VMS, killed: int = KILLED, seed: int = 1) -> World:
    """All nodes are off; VMs are created on all of them alike, and `killed` nodes lose power for good, at KILLED_MS."""
    made = cluster.world([None] * nodes, Options(vms=VmOptions(boots_after_ms=None, memory_kib=256 * GIB, cpus=128)), seed=seed)
    estate = made.estate
    assert estate is not None
    for node in made.machines:
        made.heap.at(0, lambda node=node: made.power_on(node))  # type: ignore[misc]
    for number in range(vms):
        vm, at = Vm(VmName(f"v{number}"), 2 * GIB, 1, storages=frozenset({STORAGE})), NodeId(1 + number % nodes)
        made.heap.at(CREATED_MS + number % 1000, lambda vm=vm, at=at: estate.create(vm, at))  # type: ignore[misc]
    for number in range(killed):
        node, when = NodeId(1 + (number + 1) * (nodes // (killed + 1))), KILLED_MS[number % len(KILLED_MS)]
        made.heap.at(when, lambda node=node: made.power_off(node))  # type: ignore[misc]
    return made


def played(made: World, until: int = UNTIL_MS) -> tuple[float, int, int]:
    """Play it: ms of real time, VMs placed, VMs that run. Raises checkers.Violated."""
    begin = time.perf_counter()
    made.heap.run(until)
    took = (time.perf_counter() - begin) * 1000
    assert made.estate is not None
    return took, len(made.estate.newest().placements), sum(1 for where in made.estate.executions.now.values() if where)


def figure(rounds: int) -> Figure:
    """The figure; its note says what came of the VMs."""
    collect_seldom()
    took, note = [], ""
    for _ in range(rounds):
        ms, placed, running = played(world())
        took.append(ms)
        note = f"{KILLED} of {NODES} simulated nodes killed; {placed} VMs placed, {running} run in the end."
    return Figure(f"simulate {UNTIL_MS // 1000} s, {NODES} nodes, {VMS} VMs", "ms", tuple(took), most=MOST_MS, note=note)
