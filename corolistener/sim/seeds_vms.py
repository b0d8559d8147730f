"""What a seed draws about VMs: how nodes are fenced, how large they are, and which VMs their users create on them."""

from dataclasses import dataclass
from random import Random

from corolistener.ids import NodeId
from corolistener.sim.faults import Entry
from corolistener.sim.vm_faults import TRUSTING, VMS_MOST

FENCING = (
    *[("watchdog=10s",)] * 8,
    *[("watchdog=10s", "agents")] * 5,
    *[("watchdog=off", "agents")] * 3,
    ("watchdog=60s", "agents"),
    ("watchdog=off",),
    *[("watchdog=10s", "agents", "weak")] * 2,
    ("watchdog=10s", "weak"),
    ("watchdog=off", "proofs=farewell,suspend,operator"),
)
STANDS_STILL = 0.7
"""In so many clusters of virtual machines one is suspended for longer than any deadline."""


@dataclass(frozen=True, slots=True)
class VmDraw:
    """`words` are those of the command `vms`; `created`: the VMs; `excluded`: faults that what is assumed forbids; `absent`:
    nodes that are off for good in the end, always a minority."""

    words: tuple[str, ...]
    created: tuple[Entry, ...]
    excluded: frozenset[str]
    absent: tuple[NodeId, ...]


def draw_vms(dice: Random, vms: int, nodes: list[NodeId], now: int, ends: int) -> VmDraw:
    """At most `vms` VMs, most of them created at about `now`. Half of all clusters have little room."""
    count = dice.randint(1, min(vms, VMS_MOST))
    sizes = [dice.choice((1, 2, 2, 4, 8)) for _ in range(count)]
    need = sum(sizes)
    tight = max(16, need * dice.choice((2, 3, 6)) // (2 * len(nodes)))
    memory = ",".join(f"{max(tight + dice.randint(-4, 8), 8)}G" for _ in nodes)
    fencing = dice.choice(FENCING)
    words = [*fencing, f"memory={memory}", f"boots={dice.choice(('5s', '20s', '20s', 'never'))}"]
    words += [f"limit={max(2, count)}"] * (dice.random() < 0.2) + [f"parallel={dice.choice((1, 4))}"]
    room = {node: int(text.removesuffix("G")) for node, text in zip(nodes, memory.split(","), strict=True)}
    created = []
    for number, size in enumerate(sizes, 1):
        node = max(nodes, key=lambda each: room[each]) if dice.random() < 0.5 else dice.choice(nodes)
        if room[node] < size:
            continue
        room[node] -= size
        at = now + dice.randint(0, 3000) if dice.random() < 0.8 else dice.randint(now, ends)
        created.append(Entry(at, "vm-created", f"n{node}", (f"v{number}", f"memory={size}G", *_details(dice, nodes, node))))
    words += [f"shutdown={dice.choice(('migrate', 'migrate', 'stop', 'refuse'))}"] + ["locks"] * (dice.random() < 0.5)
    excluded = TRUSTING if "suspend" in " ".join(fencing) else frozenset()
    if "weak" not in fencing:
        excluded |= {"machine-suspended"}
    elif dice.random() < STANDS_STILL:
        at = now + dice.choice((9000, 12_000, 20_000))
        created.append(Entry(at, "machine-suspended", f"n{dice.choice(nodes)}", (), dice.choice((25_000, 40_000))))
    absent = dice.sample(nodes, dice.randint(0, (len(nodes) - 1) // 2)) if dice.random() < 0.5 else []
    return VmDraw(tuple(words), tuple(created), excluded, tuple(sorted(absent)))


def _details(dice: Random, nodes: list[NodeId], node: NodeId) -> list[str]:
    found = []
    if dice.random() < 0.3:
        found.append(f"priority={dice.randint(1, 9)}")
    if dice.random() < 0.2:
        found.append(f"order={dice.randint(1, 3)}")
    if dice.random() < 0.1:
        found.append(f"nodes={','.join(f'n{each}' for each in sorted({node, dice.choice(nodes)}))}")
    if dice.random() < 0.15:
        found.append(f"{dice.choice(('apart', 'apart', 'together'))}={dice.choice('gh')}")
    return found
