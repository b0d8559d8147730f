"""How long the planner needs where a rack goes down: 1,000 nodes, up to 100,000 VMs, 1,000 of them lost.

Four clusters: `mixed` as people run them (a fifth of the VMs has a storage of its own, a few are in groups or bound to
nodes); `full`, where no lost VM fits anywhere and every node is asked for every VM; `tight`, where half of them fit and no
two are of one size; `limited`, where the nodes with the most memory left have reached their VM limit.
"""

import random
import time
from collections.abc import Sequence

from bench.figures import Figure
from corolistener.core.capacity import Capacity, Vm
from corolistener.core.relocation import Placement, Plan, plan
from corolistener.ids import NodeId, VmName

GIB = 1 << 20
NODES, LOST, ROUNDS = 1000, 1000, 9
FLAVOURS = (1, 1, 2, 2, 2, 4, 4, 8, 16)
Case = tuple[list[Capacity], list[Placement], list[Vm]]


def cluster(kind: str, count: int, seed: int = 1) -> Case:
    """Nodes, what runs on them, and LOST VMs more; `count` VMs in all."""
    dice = random.Random(f"{kind} {count} {seed}")
    vms = [_vm(kind, number, dice) for number in range(count)]
    used = dict.fromkeys(range(1, NODES + 1), 0)
    running = []
    for at, vm in enumerate(vms[LOST:]):
        node = NodeId(1 + at % NODES)
        used[node] += vm.memory_kib
        running.append(Placement(vm, node))
    return [_node(kind, NodeId(node), memory, count, dice) for node, memory in used.items()], running, vms[:LOST]


def _vm(kind: str, number: int, dice: random.Random) -> Vm:
    lost, size, special = number < LOST, dice.choice(FLAVOURS) * GIB, kind == "mixed" and dice.random()
    return Vm(
        name=VmName(f"vm{number}"),
        memory_kib=size + dice.randrange(GIB) if kind == "tight" else size,
        cpus=dice.choice((1, 2, 4)),
        priority=dice.choice((0, 0, 0, 5, 10)),
        storages=frozenset({"ceph"} if special < 0.8 else {"ceph", f"iscsi{number % 10}"}),
        apart=frozenset({f"apart{number // 5}"} if 0.0 < special < 0.04 else ()),
        together=frozenset({f"together{number // 4}"} if lost and 0.04 <= special < 0.08 else ()),
        nodes=frozenset(NodeId(dice.randint(1, NODES)) for _ in range(10)) if 0.08 <= special < 0.1 else None,
    )


def _node(kind: str, node: NodeId, used: int, count: int, dice: random.Random) -> Capacity:
    free = {"full": 0, "tight": 5}.get(kind, 64) * GIB
    closed = kind == "limited" and node % 2 == 0
    return Capacity(
        node=node,
        memory_kib=used + free + dice.randrange(GIB // 2) + closed * GIB,
        cpus=64,
        storages=frozenset({"ceph", *(f"iscsi{number}" for number in range(10) if dice.random() < 0.8)}),
        vm_limit=(count - LOST) // NODES if closed else None,
    )


def measured(case: Case, rounds: int = ROUNDS) -> tuple[Plan, tuple[float, ...]]:
    """The plan, and the milliseconds it took each time."""
    took = []
    for _ in range(rounds):
        begin = time.perf_counter()
        result = plan(*case)
        took.append((time.perf_counter() - begin) * 1000)
    return result, tuple(took)


def figures(rounds: int = ROUNDS) -> list[Figure]:
    """Every figure; the note tells what the plan was."""
    found = []
    for kind, count in (("mixed", 10_000), ("mixed", 100_000), ("full", 100_000), ("tight", 100_000), ("limited", 100_000)):
        result, took = measured(cluster(kind, count), rounds)
        note = f"{kind}, {count} VMs: {len(result.placements)} placed, {len(result.owed)} owed."
        found.append(Figure(f"plan, {kind}, {NODES} nodes, {count} VMs, {LOST} lost", "ms", took, median=1000.0, note=note))
    return found


def growth(found: Sequence[Figure]) -> str:
    """From 10,000 to 100,000 VMs, by the shortest time of each."""
    small, large = (min(figure.values) for figure in found[:2])
    return f"growth from 10,000 to 100,000 VMs: {large / small:.1f} times"
