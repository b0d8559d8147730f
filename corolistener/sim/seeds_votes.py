"""What a seed draws about votes: weights, what is expected, votequorum's special features, a quorum device; and what becomes of
them. By dice of their own, so that all else of a seed is what it would be without.
"""

from collections.abc import Callable
from random import Random

from corolistener.ids import NodeId
from corolistener.sim.faults import Entry
from corolistener.sim.votequorum import QuorumOptions
from corolistener.sim.votes_faults import VOTES_FAULTS

PLAIN = 0.45
SHARES = (0, 0, 1, 3, 6)
APART_MS = (12_000, 25_000, 40_000)
CUT_MS = (6000, 12_000, 25_000)
EVERY_MS = (300, 12_000)

Draw = Callable[[Random, int], QuorumOptions]


def _weights(dice: Random, count: int) -> QuorumOptions:
    return QuorumOptions(tuple(dice.choice((1, 1, 2, 3)) for _ in range(count)))


def _too_few(dice: Random, count: int) -> QuorumOptions:
    flags = (("allow_downscale",), ("wait_for_all",), (), (), ())
    return QuorumOptions((), dice.randint(1, count - 1), 0, dice.choice(flags))


def _last_man(dice: Random, count: int) -> QuorumOptions:
    others = ((), ("wait_for_all",), ("wait_for_all",), ("auto_tie_breaker",))
    return QuorumOptions((), 0, 0, ("last_man_standing", *dice.choice(others)))


def _tie(dice: Random, count: int) -> QuorumOptions:
    return QuorumOptions((), 0, 0, ("auto_tie_breaker",))


def _device(dice: Random, count: int) -> QuorumOptions:
    votes = _weights(dice, count).votes if dice.random() < 0.2 else ()
    return QuorumOptions(votes, 0, dice.choice((1, count - 1)))


def _all(dice: Random, count: int) -> QuorumOptions:
    return QuorumOptions((), 0, 0, ("wait_for_all",))


KINDS: tuple[Draw, ...] = (_weights, _too_few, _too_few, _last_man, _tie, _device, _device, _all)


def draw_votes(seed: int, nodes: list[NodeId], begin: int, ends: int) -> tuple[QuorumOptions, list[Entry]]:
    """What the file says, and the faults that are about votes, between `begin` and `ends`."""
    dice = Random(f"votes of {seed}")
    options = QuorumOptions() if dice.random() < PLAIN else dice.choice(KINDS)(dice, len(nodes))
    faults = [name for name in VOTES_FAULTS if options.device or not name.startswith("device")]
    entries, now = list[Entry](), begin
    if options != QuorumOptions() and dice.random() < 0.3:
        entries.append(_parts(dice, nodes, 0, dice.choice(APART_MS)))  # a cold start in two parts
    for _ in range(dice.choice(SHARES)):
        now += dice.randint(*EVERY_MS)
        name = dice.choices(faults, [VOTES_FAULTS[each].weight for each in faults])[0]
        if name in ("side-shrinks", "votes-told") or (options != QuorumOptions() and dice.random() < 0.5):
            lasts = dice.choice(CUT_MS)
            entries.append(_parts(dice, nodes, now, lasts))
            now += dice.randint(0, lasts)
        fault = VOTES_FAULTS[name]
        lasts_ms = dice.choice(fault.lasts) if fault.lasts else None
        struck = dice.sample(nodes, dice.randint(1, len(nodes))) if name == "sample-started" else [dice.choice(nodes)]
        entries += [Entry(now, name, f"n{node}", fault.words(dice, nodes), lasts_ms) for node in struck]
    return options, [entry for entry in entries if entry.at < ends]


def _parts(dice: Random, nodes: list[NodeId], at: int, lasts: int) -> Entry:
    first, *others = sorted(dice.sample(nodes, dice.randint(1, len(nodes) - 1)))
    return Entry(at, "cut", f"n{first}", tuple(f"n{node}" for node in others), lasts)


def may_stay_off(options: QuorumOptions, nodes: list[NodeId], absent: tuple[NodeId, ...]) -> bool:
    """Without these the others can go on: they have most of the nodes' votes, and have not to see everybody first."""
    votes = {node: options.votes_of(node - 1) for node in nodes}
    there = sum(count for node, count in votes.items() if node not in absent)
    most = 2 * there > sum(votes.values()) and 2 * there > sum(votes.values()) - options.device
    return most and "wait_for_all" not in options.flags
