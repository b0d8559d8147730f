"""The checkers of VMs and ledger find what they are there for: each of the broken cores is told by a random run.

What told it last is in `docs/sabotage.md`, and is played first; where the faults have changed since, others are searched.
"""

import pytest

from . import sabotages

SEEDS_MOST = 60
RECORDED = sabotages.recorded()


def test_the_table_names_exactly_the_sabotages_there_are() -> None:
    assert list(RECORDED) == list(sabotages.SABOTAGES)


@pytest.mark.parametrize("name", sabotages.SABOTAGES)
def test_caught(name: str) -> None:
    first = int(RECORDED[name].removeprefix("seed "))
    for seed in [first, *range(SEEDS_MOST)]:
        violation = sabotages.told_by_seed(name, seed)
        if violation is not None:
            print(f"{name}: seed {seed}: {violation.splitlines()[0][:150]}")
            return
    pytest.fail(f"not told by {SEEDS_MOST} seeds")
