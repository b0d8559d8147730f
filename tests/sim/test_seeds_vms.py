"""With VMs too a seed is a whole run: the same every time, and as a story."""

import pytest

from corolistener.ids import NodeId
from corolistener.sim import script
from corolistener.sim.faults import ALL_CONDITIONS, ALL_FAULTS, entry
from corolistener.sim.seeds import FAULTS_MS, Plan, Played, draw, play
from corolistener.sim.vm_conditions import VM_CONDITIONS

SEEDS = range(4)


def _drawn(seed: int) -> Plan:
    return draw(seed, (2, 5), FAULTS_MS, 8)


def _heard(played: Played) -> list[tuple[int, NodeId, str]]:
    return [(now, node, repr(what)) for now, node, what in played.world.told]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_the_same_run_every_time(seed: int) -> None:
    first, second = play(_drawn(seed)), play(_drawn(seed))
    assert _heard(first) == _heard(second)
    assert first.world.estate is not None
    assert second.world.estate is not None
    assert first.world.estate.executions.past == second.world.estate.executions.past


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_reads_as_a_story_that_goes_the_same_way(seed: int) -> None:
    plan = _drawn(seed)
    played, teller = play(plan), script.Teller()
    for block in script.parse(plan.story(f"seed {seed}")).blocks:
        teller.play(block.commands, block.line)
    assert _heard(played) == [(now, node, repr(what)) for now, node, what in teller.w.told]


def test_all_faults_and_conditions_are_drawn() -> None:
    drawn = [each for seed in range(80) for each in _drawn(seed).entries]
    assert {each.fault for each in drawn} == set(ALL_FAULTS)
    assert {each.when for each in drawn} == {None, *ALL_CONDITIONS}
    assert all(entry(str(each)) == each for each in drawn)
    assert {bool(_drawn(seed).absent) for seed in range(80)} == {True, False}


def test_all_conditions_about_vms_come_true_in_some_run() -> None:
    seen: set[str] = set()
    for seed in range(40):
        played = Played(_drawn(seed))
        for name, condition in VM_CONDITIONS.items():
            if name not in seen:
                played.world.wait(condition, lambda node, name=name: seen.add(name))  # type: ignore[misc]
        played.play()
        if seen == set(VM_CONDITIONS):
            return
    assert seen == set(VM_CONDITIONS)


def test_without_vms_nothing_of_them_is_drawn() -> None:
    plan = draw(3)
    assert plan.options.vms is None
    assert Played(plan).world.estate is None
