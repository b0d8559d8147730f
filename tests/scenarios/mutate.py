"""Mutations of one condition each in the core's most critical modules, and who tells them. `scripts/mutate` runs this.

A mutant is told by a unit test, else by a story, else by the swarm: the first that fails. One that nothing tells is a
survivor: either the condition is not needed, or a test is missing.
"""

import argparse
import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

TOP = Path(__file__).parents[2]
CORE = "corolistener/core"
MODULES = ("care", "copies", "recovery", "fencing", "moves", "keeping", "lease", "mastership", "line", "group", "watchdog")
"""By name, wherever below core/ they are: a module or a room."""
SEEDS = 1000
NEXT = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
NEXT |= {ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in"}
CPU_S = 240
"""Seconds of processor for one process: all unit tests need 30. An endless loop takes all of it; on a busy machine what ends
does not, however long it takes, so time alone tells nothing."""
SWARM = """
import sys
from corolistener.sim.heap import collect_seldom
from corolistener.sim.seeds import FAULTS_MS, draw, play
collect_seldom()
for seed in range(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])):
    played = play(draw(seed, (3, 6), FAULTS_MS, (0, 12, 12)[seed // 2 % 3]))
    if played.violation is not None:
        print(f"seed {seed}: {played.violation}", flush=True)
        sys.exit(1)
    print(seed, flush=True)
"""


class Mutant(NamedTuple):
    """A replacement of a piece of source: characters `start` to `end` of the file become `new`."""

    path: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {_short(self.old)} -> {_short(self.new)}"

    def applied(self, text: str) -> str:
        """The mutated source."""
        return text[: self.start] + self.new + text[self.end :]


def _short(text: str) -> str:
    return "`" + " ".join(text.split()) + "`"


def mutants(path: str, text: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    offsets = _offsets(text)
    found = [each for node in ast.walk(ast.parse(text)) for each in _of(path, text, offsets, node)]
    return sorted(set(found), key=lambda each: (each.start, each.kind, each.new))


def _of(path: str, text: str, offsets: list[int], node: ast.AST) -> Iterator[Mutant]:
    def made(kind: str, at: ast.expr, *new: str) -> Iterator[Mutant]:
        start, end = (offsets[line - 1] + _characters(text, offsets, line, column) for line, column in _place(at))
        if _is(text[start:end], at):
            yield from (Mutant(path, at.lineno, kind, start, end, text[start:end], f"({each})") for each in new)

    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield from made("negated", test, f"not ({ast.unparse(test)})")
        case ast.comprehension(ifs=tests):
            for test in tests:
                yield from made("negated", test, f"not ({ast.unparse(test)})")
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield from made("and/or", node, ast.unparse(ast.BoolOp(other, values)))
            rests = [values[:number] + values[number + 1 :] for number in range(len(values))]
            shorter = [ast.unparse(ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]) for rest in rests]
            yield from made("operand dropped", node, *shorter)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield from made("comparison", node, f"{_operand(left)} {NEXT[type(op)]} {_operand(right)}")
        case ast.FunctionDef(body=body, returns=ast.Constant(value=None)):
            first = body[1] if ast.get_docstring(node) is not None and len(body) > 1 else body[0]
            if not isinstance(first, ast.Return | ast.Match):
                start = offsets[first.lineno - 1] + first.col_offset
                yield Mutant(path, first.lineno, "returns early", start, start, "", f"return\n{' ' * first.col_offset}")


def _is(piece: str, node: ast.expr) -> bool:
    """ast gives wrong places for what is inside an f-string (Python 3.11): then the piece is no expression, or not this one."""
    try:
        return ast.dump(ast.parse(f"({piece})", mode="eval").body) == ast.dump(node)
    except SyntaxError:
        return False


def _operand(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Attribute | ast.Constant | ast.Call | ast.Subscript) else f"({text})"


def _offsets(text: str) -> list[int]:
    """Where each line begins."""
    found, at = [], 0
    for line in text.splitlines(keepends=True):
        found.append(at)
        at += len(line)
    return found


def _characters(text: str, offsets: list[int], line: int, column: int) -> int:
    """ast counts bytes of UTF-8."""
    end = offsets[line] if line < len(offsets) else len(text)
    return len(text[offsets[line - 1] : end].encode()[:column].decode())


def _place(node: ast.expr) -> tuple[tuple[int, int], tuple[int, int]]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def drawn(seed: int, count: int, modules: Sequence[str], top: Path = TOP) -> list[Mutant]:
    """`count` mutants of these modules, the same for the same seed and the same source."""
    known: list[Mutant] = []
    for path in sorted((top / CORE).rglob("*.py")):
        parts = path.relative_to(top / CORE).with_suffix("").parts
        if set(parts) & set(modules):
            known += mutants(str(path.relative_to(top)), path.read_text(encoding="utf-8"))
    return Random(seed).sample(known, min(count, len(known)))


class Told(NamedTuple):
    """Who told a mutant: "unit", "story", "swarm", or "" for a survivor; and in which words."""

    by: str
    words: str


class Copy:
    """A copy of the checkout in which one mutant at a time is made."""

    def __init__(self, directory: Path, jobs: int, limit_s: float, seeds: int = SEEDS) -> None:
        self.directory, self.jobs, self.limit_s, self.seeds = directory, jobs, limit_s, seeds
        kept = ("corolistener", "tests", "vmmgr_hooks", "conf", "docs", "scripts")
        for name in kept:
            shutil.copytree(TOP / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", ".*cache"))
        for name in ("setup.cfg", "pyproject.toml", "tox.ini", "ARCHITECTURE.md", "README.md"):
            shutil.copy(TOP / name, directory)

    def tell(self, mutant: Mutant | None) -> Told:
        """Play it through until somebody tells; None is the source as it is."""
        if mutant is None:
            return self._told()
        path = self.directory / mutant.path
        text = path.read_text(encoding="utf-8")
        path.write_text(mutant.applied(text), encoding="utf-8")
        try:
            return self._told()
        finally:
            path.write_text(text, encoding="utf-8")

    def _told(self) -> Told:
        end = time.monotonic() + self.limit_s
        unit = ["tests/core", "tests/tables", "tests/engine"]
        stories = ["-n", str(self.jobs), "tests/scenarios/test_stories.py"]
        for by, words in (("unit", unit), ("story", stories)):
            code, said = self._run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *words], end)
            if code is None:
                return Told("", f"unclear: no {by} has told it in the time there was")
            if code == -signal.SIGXCPU:
                return Told(by, f"it has not ended after {CPU_S} s of processor")
            if code != 0:
                failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
                return Told(by, failed[0] if failed else said.strip().splitlines()[-1])
        return self._swarm(end)

    def _swarm(self, end: float) -> Told:
        """The seeds in `jobs` processes; the first violation ends all."""
        words = [sys.executable, "-c", SWARM]
        started = [self._start([*words, str(n), str(self.seeds), str(self.jobs)], 100 * CPU_S) for n in range(self.jobs)]
        try:
            while time.monotonic() < end and any(each.poll() is None for each in started):
                if any(each.returncode for each in started):
                    break
                time.sleep(0.2)
        finally:
            for each in started:
                _kill(each)
        said = [_output(each) for each in started]
        for each, text in zip(started, said, strict=True):
            if each.returncode not in (0, -signal.SIGKILL):
                return Told("swarm", text.strip().splitlines()[-1] if text.strip() else f"exit {each.returncode}")
        played = sum(line.isdigit() for text in said for line in text.splitlines())
        return Told("", f"{played} of {self.seeds} seeds" + (" in the time there was" if played < self.seeds else ""))

    def _run(self, argv: list[str], end: float) -> tuple[int | None, str]:
        process = self._start(argv)
        try:
            process.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            _kill(process)
        return process.returncode, _output(process)

    def _start(self, argv: list[str], cpu_s: int = CPU_S) -> "subprocess.Popen[bytes]":
        """In a session of its own: pytest's workers end with it. Its output goes to a file, which never fills up."""
        environment = {**os.environ, "PYTHONPATH": str(self.directory), "PYTHONDONTWRITEBYTECODE": "1"}
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is read
        limited = ["sh", "-c", f'ulimit -S -t {cpu_s}; exec "$@"', "sh", *argv]
        process = subprocess.Popen(
            limited, cwd=self.directory, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        process.output = output  # type: ignore[attr-defined]
        return process


def _output(process: "subprocess.Popen[bytes]") -> str:
    with process.output as output:  # type: ignore[attr-defined]
        output.seek(0)
        return str(output.read().decode(errors="replace"))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End it with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def known(state: Path) -> dict[str, Told]:
    """What earlier runs have found, by the words of the mutant."""
    found = {}
    for line in state.read_text(encoding="utf-8").splitlines() if state.exists() else ():
        row = json.loads(line)
        found[row["mutant"]] = Told(row["by"], row["words"])
    return found


def run(args: argparse.Namespace) -> int:
    """0 where every mutant is told."""
    wanted = drawn(args.seed, args.mutants, args.modules)
    state = Path(args.state or TOP / ".mutants" / f"{args.seed}.jsonl")
    state.parent.mkdir(parents=True, exist_ok=True)
    done, survivors = known(state), []
    with tempfile.TemporaryDirectory(prefix="mutate-") as directory:
        copy = Copy(Path(directory), args.jobs, args.limit, args.seeds)
        if any(str(each) not in done for each in wanted) and not args.no_baseline:
            told = Copy.tell(copy, None) if args.full_baseline else _baseline(copy)
            if told.by:
                print(f"the source as it is does not pass: {told.by}: {told.words}")
                return 2
        for number, mutant in enumerate(wanted, 1):
            begun = time.monotonic()
            told = done.get(str(mutant)) or copy.tell(mutant)
            if str(mutant) not in done:
                with state.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"mutant": str(mutant), "by": told.by, "words": told.words}) + "\n")
            if not told.by:
                survivors.append(mutant)
            verdict = f"told by {told.by}" if told.by else "SURVIVES"
            print(
                f"{number:3}/{len(wanted)} {time.monotonic() - begun:5.0f} s  {mutant}\n        {verdict}: {told.words}",
                flush=True,
            )
    print(f"{len(wanted) - len(survivors)} of {len(wanted)} mutants are told; {len(survivors)} survive")
    for each in survivors:
        print(f"  {each}")
    return 1 if survivors else 0


def _baseline(copy: Copy) -> Told:
    """Unit tests alone: a copy in which they fail tells nothing."""
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/core", "tests/tables", "tests/engine"]
    code, said = copy._run(argv, time.monotonic() + copy.limit_s)
    return Told("" if code == 0 else "unit", said[-500:])


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/mutate",
        description="Draw mutations of one condition each in the core, and see who tells them: unit test, story, or swarm.",
        epilog="What was found is kept, and an interrupted run goes on where it was. Exit status 1 where a mutant survives.",
    )
    parser.add_argument("--mutants", type=int, default=40, metavar="N", help="how many (40)")
    parser.add_argument("--seed", type=int, default=1, metavar="SEED", help="what draws them (1)")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"seeds of the swarm for each, at most ({SEEDS})")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--limit", type=float, default=1800, metavar="SECONDS", help="time for one mutant (1800)")
    parser.add_argument("--modules", nargs="+", default=MODULES, metavar="NAME", help=f"of the core ({' '.join(MODULES)})")
    parser.add_argument("--state", metavar="FILE", help="what is kept between runs (.mutants/SEED.jsonl)")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests on the source as it is first")
    parser.add_argument("--full-baseline", action="store_true", help="also the stories and the swarm")
    parser.add_argument("--list", action="store_true", help="show the mutants and do nothing")
    return parser.parse_args(words)


def main() -> int:
    args = arguments()
    if args.list:
        print("\n".join(map(str, drawn(args.seed, args.mutants, args.modules))))
        return 0
    return run(args)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended as well
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
