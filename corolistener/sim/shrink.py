"""The shortest list of faults that still fails: delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", 2002).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from corolistener.sim.seeds import Plan, play

T = TypeVar("T")


def shortest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of `items`, in their order, that fails, and of which no single item can be left out.

    `fails` is true of all the items, or else they come back as they are.
    """
    left, parts = list(items), 2
    while len(left) >= 2:
        size = -(-len(left) // parts)
        for start in range(0, len(left), size):
            rest = left[:start] + left[start + size :]
            if fails(rest):
                left, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts >= len(left):
                break
            parts = min(parts * 2, len(left))
    return [] if len(left) == 1 and fails([]) else left


def shrink(plan: Plan, most: int = 400) -> tuple[Plan, str]:
    """The plan with the fewest faults that violates the same sentence, and the violation.

    At most `most` runs are played; after that the plan is as short as it is by then. Raises ValueError if it does not fail.
    """
    first = play(plan).violation
    if first is None:
        raise ValueError(f"seed {plan.seed} does not fail")
    kept, said, runs = plan, first, 0

    def fails(candidate: Plan) -> bool:
        nonlocal kept, said, runs
        runs += 1
        violation = play(candidate).violation if runs <= most else None
        if violation is None or _sentence(violation) != _sentence(first):
            return False
        kept, said = candidate, violation
        return True

    shortest(plan.entries, lambda entries: fails(replace(plan, entries=tuple(entries))))
    return kept, said


def _sentence(violation: str) -> str:
    """What was violated, without times, nodes and numbers."""
    text = violation.partition(": ")[2]
    return "".join(letter for letter in text if not letter.isdigit()).partition(";")[0][:40]
