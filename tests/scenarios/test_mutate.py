"""The drawing of mutants: each changes one condition, the source stays Python, and a seed draws the same ones again."""

import ast
import signal
import textwrap
import time
from pathlib import Path

import pytest

from .mutate import CORE, MODULES, TOP, Copy, Told, arguments, drawn, known, mutants

TEXT = textwrap.dedent(
    '''\
    def f(a: int, ä: int) -> None:
        """Why."""
        if a < ä and not ä:
            g()
        b = [each for each in "äöü" if each != "x"]
        return

    def h(a: int) -> bool:
        return (
            a is None
            or a in (1, 2)  # why
            or a == 3
        ) and f"{a > 1}" == ""
    '''
)


def test_every_kind_of_mutation() -> None:
    found = [(each.line, each.kind, each.old, each.new) for each in mutants("x.py", TEXT)]
    assert (3, "negated", "a < ä and not ä", "(not (a < ä and (not ä)))") in found
    assert (3, "and/or", "a < ä and not ä", "(a < ä or not ä)") in found
    assert (3, "operand dropped", "a < ä and not ä", "(not ä)") in found
    assert (3, "operand dropped", "a < ä and not ä", "(a < ä)") in found
    assert (3, "comparison", "a < ä", "(a <= ä)") in found
    assert (3, "returns early", "", "return\n    ") in found
    assert (5, "negated", 'each != "x"', "(not (each != 'x'))") in found
    assert (10, "comparison", "a is None", "(a is not None)") in found
    assert (11, "comparison", "a in (1, 2)", "(a not in ((1, 2)))") in found
    assert not [each for each in found if each[1] == "returns early" and each[0] > 3], "only where nothing is returned"
    assert len(found) == len(set(found))


def test_each_is_one_change_and_still_python() -> None:
    for each in mutants("x.py", TEXT):
        assert ast.dump(ast.parse(each.applied(TEXT))) != ast.dump(ast.parse(TEXT))


@pytest.mark.parametrize("module", MODULES)
def test_the_core_s_own(module: str) -> None:
    paths = [path for path in (TOP / CORE).rglob("*.py") if module in path.relative_to(TOP / CORE).with_suffix("").parts]
    assert paths, "a module that was renamed is mutated no more"
    assert sum(len(mutants(str(path), path.read_text(encoding="utf-8"))) for path in paths) > 5


def test_a_seed_draws_the_same_again() -> None:
    assert drawn(7, 40, MODULES) == drawn(7, 40, MODULES)
    assert drawn(7, 40, MODULES) != drawn(8, 40, MODULES)
    assert len(set(drawn(7, 40, MODULES))) == 40
    args = arguments([])
    assert (args.mutants, args.seeds) == (40, 1000)


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    assert known(state) == {}
    state.write_text('{"mutant": "x:1", "by": "unit", "words": "FAILED"}\n{"mutant": "x:2", "by": "", "words": "1000 seeds"}\n')
    assert known(state) == {"x:1": Told("unit", "FAILED"), "x:2": Told("", "1000 seeds")}


class Played(Copy):
    """A copy of nothing but one file, whose tests end as they are told to."""

    def __init__(self, directory: Path, codes: list[int | None], swarm: Told) -> None:
        self.directory, self.jobs, self.limit_s, self.seeds = directory, 1, 60.0, 10
        self.codes, self.swarm, self.ran = codes, swarm, list[str]()

    def _run(self, argv: list[str], end: float) -> tuple[int | None, str]:
        assert (self.directory / "x.py").read_text() != TEXT, "the mutant is in place"
        self.ran.append(argv[-1])
        return self.codes.pop(0), "1 failed\nFAILED tests/x.py::test_it\n"

    def _swarm(self, end: float) -> Told:
        self.ran.append("swarm")
        return self.swarm


@pytest.mark.parametrize(
    ("codes", "swarm", "by", "ran"),
    [
        ([1], Told("", ""), "unit", 1),
        ([None], Told("", ""), "", 1),  # a busy machine tells nothing
        ([-signal.SIGXCPU], Told("", ""), "unit", 1),
        ([0, 1], Told("", ""), "story", 2),
        ([0, 0], Told("swarm", "seed 3: twice"), "swarm", 3),
        ([0, 0], Told("", "10 of 10 seeds"), "", 3),
    ],
)
def test_the_cheapest_teller_comes_first_and_ends_it(
    tmp_path: Path, codes: list[int | None], swarm: Told, by: str, ran: int
) -> None:
    (tmp_path / "x.py").write_text(TEXT)
    copy = Played(tmp_path, codes, swarm)
    assert copy.tell(mutants("x.py", TEXT)[0]).by == by
    assert len(copy.ran) == ran
    assert (tmp_path / "x.py").read_text() == TEXT


def test_processes_are_ended_with_what_they_have_started(tmp_path: Path) -> None:
    copy = Played(tmp_path, [], Told("", ""))
    assert Copy._run(copy, ["sh", "-c", "sleep 1000 & echo it; exit 3"], time.monotonic() + 60) == (3, "it\n")
    assert Copy._run(copy, ["sh", "-c", "sleep 1000 & sleep 1000"], time.monotonic()) == (None, "")
