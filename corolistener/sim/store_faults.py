"""Stores that go back or are cloned: the machine is off, and when it boots its ledger file is not the one it wrote last.

A `backup` or a `clone` is a file that the marks of the file tell from the one written here last (effects/memory_file). A
`snapshot` takes file, marks and everything else on the disk back: only other nodes can know that. What no node that is left can
know is outside of every promise, so a snapshot goes back only to what all other disks know to be older than what was announced.

The disk of `another` cluster has a sound file with a higher version, in which every VM is somewhere else. Only stories have it:
for random runs the checkers would have to tell such ledgers from this cluster's.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.ledger import Version
from corolistener.ids import NodeId
from corolistener.sim import accounts
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.memory import Backup, Memory

if TYPE_CHECKING:
    from corolistener.sim.world import World


def goes_back(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """`backup 5`: to the fifth of the last backups; `snapshot 1`; `clone n2`: the file of another node."""
    how, which = words
    memory, others = world.machines[node].memory, [m.memory for n, m in world.machines.items() if n != node]
    if not accounts.kept(world, [each for each in world.machines if each != node and not _went_back(world, each)]):
        return None  # more votes than the cluster can lose
    found = _source(world, node, how, which, others)
    if found is None:
        return None
    world.power_off(node)
    memory.restore(found, "" if how in ("snapshot", "another") else f"it is a {how}")
    world.machines[node].went_back = memory.writes
    return partial(world.power_on, node)


def _went_back(world: "World", node: NodeId) -> bool:
    """Its file went back, and was not written whole since."""
    return world.machines[node].went_back == world.machines[node].memory.writes or bool(world.machines[node].memory.doubt)


def _source(world: "World", node: NodeId, how: str, which: str, others: list[Memory]) -> Backup | None:
    memory = world.machines[node].memory
    if how == "clone":
        other = world.machines.get(NodeId(int(which.removeprefix("n"))))
        return other.memory.backup() if other is not None and other.id != node else None
    if how == "another":
        return _of_another_cluster(memory, [each for each in world.machines if each != node])
    backups = list(memory.backups)
    if how == "snapshot":
        if any(each.doubt for each in others) or any(machine.went_back is not None for machine in world.machines.values()):
            return None
        known = min((each.heard.get(node, Version()) for each in others), default=Version())
        backups = [each for each in backups if each.version < known]
    return backups[-min(int(which), len(backups))] if backups else None


def _of_another_cluster(memory: Memory, others: list[NodeId]) -> Backup:
    rows = memory.ledger.rows()
    placed = tuple(
        replace(row, node=others[number % len(others)], generation=row.generation + 5) for number, row in enumerate(rows.placed)
    )
    version = replace(memory.version, seq=memory.version.seq + 100)
    return Backup(version, replace(rows, placed=placed, cluster="another"), dict.fromkeys(others, version))


def _back_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    how = dice.choice(("backup", "backup", "snapshot", "snapshot", "clone"))
    return how, f"n{dice.choice(nodes)}" if how == "clone" else str(dice.choice((1, 1, 2, 4, 9)))


STORE_FAULTS: dict[str, Fault] = {
    "store-goes-back": Fault(goes_back, 3, (50, 3000, 6000, 12_000, 30_000), _back_words),
}
"""A fault's name, as stories and seeds say it."""
