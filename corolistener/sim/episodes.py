"""Misfortunes that seldom come alone, drawn together: one by one they would seldom meet the same node in the right order.

What each consists of is drawn like any other fault; a run may have several, and its other faults go on meanwhile.
"""

from collections.abc import Callable, Iterator
from random import Random

from corolistener.ids import NodeId
from corolistener.sim.faults import ALL_FAULTS, MASTER, Entry
from corolistener.sim.vm_faults import ITS

Episode = Callable[[Random, list[NodeId], int], Iterator[Entry]]

SIDES = ("vm-leaving", "vm-arriving", "vm-arriving", "vm-half-gone", "vm-half-gone", "vm-half-here")
AWAY = ("power-off", "power-off", "daemon-stopped", "daemon-stopped", "corosync-stopped", "cut", "daemon-killed")
LONG_MS = (6000, 12_000, 25_000)
AGAIN_MS = (4000, 7000, 14_000)
STUCK_MS = (45_000, 60_000)
CUT_MS = (15_000, 22_000, 25_000)
LOST = ("corosync-hangs", "corosync-hangs", "machine-paused", "machine-paused", "power-off", "cut", "corosync-stopped")
OFTEN = (*("power-off",) * 3, *("daemon-stopped",) * 2)
SELDOM = ("daemon-killed", "daemon-paused", "machine-paused", "cut", "corosync-hangs")
MET = (
    *(*OFTEN, *SELDOM),
    *("vm-crashes", "user-starts", "user-stops", "hypervisor-stopped", "vm-hangs", "storage-lost", "operator-moves"),
)


def episodes(dice: Random, nodes: list[NodeId], begin: int, end: int, barred: frozenset[str]) -> list[Entry]:
    """Some, or none, all of it between `begin` and `end`; `barred` are faults that this cluster must not meet."""
    found = list[Entry]()
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        found += dice.choice(EPISODES)(dice, nodes, begin + dice.choice((0, 1000, 5000, 15_000)))
    return [each for each in found if each.at < end and each.fault not in barred]


def _comes_and_goes(dice: Random, nodes: list[NodeId], now: int) -> Iterator[Entry]:
    """A node goes, mostly for so long that its VMs are elsewhere; it is back, is given VMs, and is lost again."""
    node, away = dice.choice(nodes), dice.choice(LONG_MS)
    yield _hit(dice, nodes, now, dice.choice(AWAY), f"n{node}", away)
    now += away + dice.choice((4000, 8000, 12_000))
    yield _hit(dice, nodes, now, "operator-fills", f"n{node}")
    now += dice.choice((1000, 3000, 6000))
    yield _hit(dice, nodes, now, dice.choice(LOST), f"n{node}", dice.choice(AGAIN_MS))


def _again_and_again(dice: Random, nodes: list[NodeId], now: int) -> Iterator[Entry]:
    """What is on one node crashes, and crashes again when it was started; or cannot be started there."""
    node = f"n{dice.choice(nodes)}"
    if dice.random() < 0.5:
        deed = dice.choice(("start", "start", "resume"))
        yield Entry(now, "vm-hangs", node, (f"vm-{deed}-fails",), dice.choice((6000, 12_000)))
    for _ in range(dice.randint(1, 5)):
        yield Entry(now, "vm-crashes", node, (ITS,))
        now += dice.choice((1000, 2000, 4000))


def _on_the_way(dice: Random, nodes: list[NodeId], now: int) -> Iterator[Entry]:
    """VMs are moved, and one side or both meet something meanwhile."""
    yield _hit(dice, nodes, now, "operator-fills", f"n{dice.choice(nodes)}")
    for _ in range(dice.randint(1, 3)):
        side = dice.choice(SIDES)
        fault = dice.choice(MET)
        entry = _hit(dice, nodes, now + dice.choice((0, 100, 500, 1500)), fault, "it")
        yield Entry(entry.at, fault, "it", _about_it(fault, entry.words), entry.lasts, side)


def _cannot_put_in_order(dice: Random, nodes: list[NodeId], now: int) -> Iterator[Entry]:
    """A node is cut off for so long that its VMs are elsewhere, and is back before it can destroy its copies."""
    node = dice.choice(nodes)
    yield Entry(now, "vm-hangs", f"n{node}", (dice.choice(("vm-stop", "vm-stop-fails")),), dice.choice(STUCK_MS))
    now += dice.choice((0, 500, 3000))
    yield Entry(now, "cut", f"n{node}", (), dice.choice(CUT_MS))
    if dice.random() < 0.5:
        yield _hit(dice, nodes, now + dice.choice((25_000, 35_000)), dice.choice(LOST), f"n{dice.choice(nodes)}")


def _restarts(dice: Random, nodes: list[NodeId], now: int) -> Iterator[Entry]:
    """An upgrade: the daemons are restarted one after the other, or that of the master again and again."""
    for node in dice.sample(nodes, len(nodes)):
        target = f"n{node}" if dice.random() < 0.5 else f"{MASTER}|n{node}"
        yield _hit(dice, nodes, now, "daemon-restarted", target)
        now += dice.choice((2500, 4000, 6000))


def _forgotten_majority(dice: Random, nodes: list[NodeId], now: int) -> Iterator[Entry]:
    """Some nodes are away while much is changed; then one that knows of it goes back, and the others that know lose power."""
    order = dice.sample(nodes, len(nodes))
    away, back, rest = order[: (len(nodes) - 1) // 2], order[-1], order[(len(nodes) - 1) // 2 : -1]
    for node in away:
        yield Entry(now, "power-off", f"n{node}", (), 14_000)
    for later in (6000, 8000):
        yield _hit(dice, nodes, now + later, "operator-fills", f"n{dice.choice([back, *rest])}")
    for later in (7000, 9000):
        yield _hit(dice, nodes, now + later, "operator-excuses", f"n{back}", 60_000)
    words = dice.choice((("backup", "2"), ("backup", "9"), ("snapshot", "1"), ("clone", f"n{away[0] if away else back}")))
    yield Entry(now + 13_000, "store-goes-back", f"n{back}", words, 50)
    for node in rest:
        yield Entry(now + 13_000, "power-off", f"n{node}", (), dice.choice((20_000, 40_000)))


def _about_it(fault: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """What hits a VM hits the one that is on its way."""
    return (ITS, *words[1:]) if fault.startswith(("vm-crashes", "user-", "operator-moves")) else words


def _hit(dice: Random, nodes: list[NodeId], at: int, name: str, target: str, lasts: int | None = None) -> Entry:
    fault = ALL_FAULTS[name]
    lasts = lasts if lasts is not None or not fault.lasts else dice.choice(fault.lasts)
    return Entry(at, name, target, fault.words(dice, nodes), lasts)


EPISODES: tuple[Episode, ...] = (
    *(_comes_and_goes, _comes_and_goes, _again_and_again, _on_the_way, _on_the_way),
    *(_cannot_put_in_order, _forgotten_majority),
    *(_restarts, _restarts),
)
