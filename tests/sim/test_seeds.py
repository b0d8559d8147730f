"""A seed is a whole run: the same every time, as text, as a story, and in parts."""

from dataclasses import replace

import pytest

from corolistener.core import line
from corolistener.ids import NodeId
from corolistener.sim import script
from corolistener.sim.conditions import CONDITIONS
from corolistener.sim.faults import FAULTS, VOTES_FAULTS, Entry, entry, inject
from corolistener.sim.list_faults import LIST_FAULTS
from corolistener.sim.process_faults import PROCESS_FAULTS
from corolistener.sim.seeds import Plan, Played, draw, play
from corolistener.sim.shrink import shortest, shrink

SEEDS = range(6)


def _heard(played: Played) -> list[tuple[int, NodeId, str]]:
    return [(now, node, repr(what)) for now, node, what in played.world.told]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_the_same_run_every_time(seed: int) -> None:
    first, second = play(draw(seed)), play(draw(seed))
    assert first.plan == second.plan
    assert _heard(first) == _heard(second)
    assert first.world.struck == second.world.struck
    assert _heard(first) != _heard(play(draw(seed + 1000)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_part_of_the_faults_is_the_same_run_every_time(seed: int) -> None:
    plan = draw(seed)
    part = replace(plan, entries=plan.entries[::2])
    assert _heard(play(part)) == _heard(play(part))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_reads_as_a_story_that_goes_the_same_way(seed: int) -> None:
    plan = draw(seed)
    played, teller = play(plan), script.Teller()
    for block in script.parse(plan.story(f"seed {seed}")).blocks:
        teller.play(block.commands, block.line)
    assert [(now, node, repr(what)) for now, node, what in teller.w.told] == _heard(played)


def test_what_was_drawn_is_said_first() -> None:
    head = "\n".join(draw(3).head())
    assert "seed 3:" in head
    assert "priority=" in head
    assert all(f"{name}=" in head for name in FAULTS)


def test_all_faults_and_conditions_are_drawn() -> None:
    drawn = [each for seed in range(100) for each in draw(seed).entries]
    assert {each.fault for each in drawn} == {*FAULTS, *VOTES_FAULTS, *PROCESS_FAULTS, *LIST_FAULTS}
    assert {each.when for each in drawn} == {None, *CONDITIONS}


def test_all_conditions_come_true_in_some_run() -> None:
    """Each is waited for in a world with enough going on."""
    seen: set[str] = set()
    for seed in range(40):
        played = Played(draw(seed))
        for name, condition in CONDITIONS.items():
            if name not in seen:
                played.world.wait(condition, lambda node, name=name: seen.add(name))  # type: ignore[misc]
        played.play()
        if seen == set(CONDITIONS):
            return
    assert seen == set(CONDITIONS)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_are_read_back_as_they_are_written(seed: int) -> None:
    assert all(entry(str(each)) == each for each in draw(seed).entries)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("at noon power-off n1", "a fault reads"),
        ("at 5ms power-of n1", "no fault named 'power-of'"),
        ("at 5ms when hungry power-off n1", "no condition named 'hungry'"),
        ("at 5ms power-off it", "there is no `when`"),
    ],
)
def test_what_is_no_fault(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        entry(text)


def test_a_fault_waits_for_its_moment_and_ends() -> None:
    played = Played(replace(draw(1), entries=()))
    world = played.world
    inject(world, Entry(0, "power-off", "it", (), 2000, "service-starting"))
    played.play()
    (struck, what), (ended, _) = world.struck
    master = NodeId(int(what.split("n")[-1]))
    assert what == f"power-off n{master}"
    assert ended == struck + 2000
    begun = [now for now, node, said in world.told if node == master and type(said).__name__ == "StartService"]
    assert begun[0] == struck


@pytest.mark.parametrize("needed", [{3}, {0, 19}, {4, 5, 6}, {1, 7, 13, 18}, set(range(20))])
def test_shortest(needed: set[int]) -> None:
    assert shortest(range(20), lambda items: needed <= set(items)) == sorted(needed)


def test_shortest_of_what_fails_without_anything() -> None:
    assert shortest(range(20), lambda items: True) == []


def _sabotaged(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(line, "lapse", lambda s, reason: None)
    return next(plan for seed in range(100) if play(plan := draw(seed)).violation is not None)


def test_a_failing_seed_is_shrunk_and_its_story_fails_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _sabotaged(monkeypatch)
    short, violation = shrink(plan)
    assert 0 < len(short.entries) < len(plan.entries) / 3
    assert set(short.entries) <= set(plan.entries)
    assert play(short).violation == violation
    teller = script.Teller()
    with pytest.raises(AssertionError) as caught:
        teller.play(script.parse(short.story(violation)).blocks[0].commands)
    assert violation.endswith(str(caught.value))


def test_what_does_not_fail_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(draw(0))
