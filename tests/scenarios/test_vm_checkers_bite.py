"""The checkers of VMs and ledger find what they are there for: each broken core is told, most of them by a random run.

What tells of each is in `docs/sabotage.md`. After a change of what is drawn, seeds are other runs: the table is drawn anew.
"""

import pytest

from . import sabotages

RECORDED = sabotages.recorded()


def test_the_table_names_exactly_the_sabotages_there_are() -> None:
    assert list(RECORDED) == list(sabotages.SABOTAGES)


@pytest.mark.parametrize("name", sabotages.SABOTAGES)
def test_caught(name: str) -> None:
    said = sabotages.told(name, RECORDED[name]) or sabotages.search(name)
    assert said is not None, f"{name} is told by nothing"
    print(f"{name}: {said}")
