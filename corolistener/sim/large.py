"""A ledger of any size opens: a cluster whose nodes come from disks with different versions of one large ledger."""

from collections.abc import Sequence

from corolistener.core.actions import Record
from corolistener.core.capacity import Vm
from corolistener.core.ledger import Placed, Rows, Version
from corolistener.ids import NodeId, Ticket, VmName
from corolistener.sim.cluster import world
from corolistener.sim.world import World

WITHIN_MS = 120_000


def many(vms: int, nodes: Sequence[NodeId]) -> tuple[Placed, ...]:
    """So many rows with the texts that real ones have; no two definitions are alike."""
    return tuple(
        Placed(
            Vm(
                VmName(f"customer-{number:06}.example.org"),
                memory_kib=1_048_576 + number,
                storages=frozenset(("/var/lib/libvirt/images", f"pool{number % 7}")),
                definition=f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**256:064x}",
            ),
            nodes[number % len(nodes)],
        )
        for number in range(vms)
    )


def started(vms: int, behind: int = 1) -> World:
    """Three nodes that start with a ledger of so many VMs; the last one's disk misses as many rows as `behind` says."""
    made = world((50, 20, 10), seed=1)
    rows = many(vms, tuple(made.machines))
    for node, machine in made.machines.items():
        there = rows[: len(rows) - behind] if node == max(made.machines) else rows
        version = Version(4, 0, len(there), "aaaaaaaaaaaaaaaa")
        machine.memory.write(Record(Ticket(1), version, Rows(placed=there), True))
    for node in made.machines:
        made.power_on(node)
    return made


def opened(made: World) -> bool:
    """Every daemon has the same ledger, and it is stable."""
    keepings = [daemon.pump.core.state.keeping for daemon in made.daemons.values()]
    return len({each.version for each in keepings}) == 1 and all(each.open and each.reached >= 0 for each in keepings)


def opens_within(made: World) -> int | None:
    """After how many virtual ms it is open everywhere; None if it does not open."""
    while made.heap.now < WITHIN_MS:
        made.pass_time(100)
        if opened(made):
            return made.heap.now
    return None
