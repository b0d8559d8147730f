"""Broken cores, each in one rule of safety.md at a time, that random runs have to tell from the right one.

Where a rule has a second one behind it, both are broken: alone it could do no harm, which is what the second one is for.
`docs/sabotage.md` is the table of what each was found by; `python -m tests.scenarios.sabotages` draws it anew.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from corolistener.core import adoption, aims, care, fencing, keeping, leaving, mastership, moves, recovery, strangers, watchdog
from corolistener.core.actions import StartVm
from corolistener.core.capacity import Account
from corolistener.core.config import Config, ProofKind, Timing
from corolistener.core.copies import Copies
from corolistener.core.events import Outcome
from corolistener.core.fencing import Fencing
from corolistener.core.instance import Aim, Copy, Deed
from corolistener.core.lease import Lease
from corolistener.core.ledger import Known, Ledger, Placed, Proven, Rows
from corolistener.core.machine import Core
from corolistener.core.reports import Report, VmState
from corolistener.core.state import State
from corolistener.engine import pump
from corolistener.ids import Instant, NodeId, VmName
from corolistener.sim import script
from corolistener.sim.hypervisor import Hypervisor
from corolistener.sim.seeds import FAULTS_MS, draw, play

from . import sabotages_care, sabotages_ledger
from .sabotages_identity import IDENTITY
from .sabotages_messages import MESSAGES
from .sabotages_pauses import PAUSES
from .sabotages_processes import PROCESSES
from .sabotages_service import SERVICE
from .sabotages_votes import VOTES

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "sabotage.md"
SEEDS_MOST = 25
NODES, VMS = (2, 5), 8

_stable, _write, _deadline_ms, _aim, _toward = keeping.stable, keeping._write, fencing.deadline_ms, aims.aim, Copy._toward
_reconcile, _reported, _owed = adoption.reconcile, adoption._reported, recovery.owed
_choose, _gone = mastership.choose, Copies.gone
_decide, _feed, _open = recovery.decide, watchdog.feed, keeping._open


def _stored_at_once(s: State, now: Instant) -> None:
    _write(s, now)
    s.keeping.stored = s.keeping.version


def _short(kind: ProofKind, known: Known, timing: Timing) -> int | None:
    waits = _deadline_ms(kind, known, timing)
    return None if waits is None else waits - 10_000


def _never_suspended(*words: Any) -> Aim:
    wish = _aim(*words)
    return Aim.KEEP if wish is Aim.SUSPEND else wish


def _never_destroyed(copy: Copy, aim: Aim, generation: int) -> Deed | None:
    deed = _toward(copy, aim, generation)
    return None if deed is Deed.DESTROY else deed


def _all_on(s: State) -> tuple[dict[VmName, Placed], set[VmName]]:
    placed, forgotten = _reconcile(s)
    return {name: row for name, row in placed.items() if row.on}, forgotten


def _all_off(row: Placed, node: NodeId, report: Report) -> Placed:
    return Placed(row.vm, row.node, row.generation, on=False)


def _private_obligations(s: State) -> tuple[NodeId, ...]:
    """Only who saw as master that a node was lost remembers what it owes."""
    return tuple(node for node in _owed(s) if node in s.fencing.gone and s.former != node)


def _whatever_is_there(copy: Copy, placed: Any, me: NodeId, *rest: Any) -> Any:
    """A copy is as good as its placement, wherever and in whatever generation that is."""
    mine = placed is not None and copy.state is not None
    return _aim(copy, replace(placed, node=me, generation=copy.generation) if mine else placed, me, *rest)


def _master_among_equals(s: State) -> None:
    """Of equal priorities everybody prefers itself."""
    _choose(s)
    mine, chosen = s.entry(s.me), s.entry(s.master) if s.master is not None else None
    if mine is not None and chosen is not None and mine.priority == chosen.priority and s.me in s.group.present:
        s.master = s.me


def _told_at_once(s: State, now: Instant) -> None:
    if s.keeping.ledger.panic is None:
        return _decide(s, now)
    panic, s.keeping.ledger.panic = s.keeping.ledger.panic, None
    _decide(s, now)
    s.keeping.ledger.panic = panic
    return None


def _fed_by_a_timer(s: State, now: Instant) -> None:
    held, ends = s.copies.held, s.lease.ends
    s.copies.held, s.lease.ends = False, Instant(now + 5000)
    _feed(s, now)
    s.copies.held, s.lease.ends = held, ends


def _lowest_opens(s: State, now: Instant) -> None:
    """The lowest member opens the ledger, whatever version it has."""
    if s.me == min(s.group.present, default=s.me):
        s.group.peers = {
            node: replace(peer, ledger=s.keeping.version if node == s.me else replace(s.keeping.version, seq=-1))
            for node, peer in s.group.peers.items()
        }
    _open(s, now)


_free, _take, _carry_out = moves.free, Ledger.take, Hypervisor.carry_out
_proof, _enough, _confirm = fencing.proof, keeping.enough, Lease.confirm


def _created_running(hypervisor: Hypervisor, action: Any) -> Outcome:
    outcome = _carry_out(hypervisor, action)
    if isinstance(action, StartVm) and (copy := hypervisor.copies.get(action.vm.name)) is not None and not copy.running:
        hypervisor._run(copy, stray=False)
    return outcome


def _never_voided(ledger: Ledger, rows: Rows) -> None:
    _take(ledger, replace(rows, voided=()))


def _both_sides(node: NodeId, known: Known, seen: Fencing, accepted: Any, exclusive: bool, timing: Timing, now: Instant) -> Any:
    return _proof(node, known, seen, accepted, True, timing, now)


def _half_is_enough(s: State, nodes: Collection[NodeId]) -> bool:
    return bool(nodes) if s.quorum.expected == 2 else _enough(s, nodes)


def _goes_on_trying(copy: Copy, *rest: Any) -> Aim:
    gave_up, copy.gave_up = copy.gave_up, 0
    wish = _aim(copy, *rest)
    copy.gave_up = gave_up
    return wish


def _outdated_in_the_making(copy: Copy, *rest: Any) -> Aim:
    """What has no label yet is taken for what was left behind."""
    wish = _aim(copy, *rest)
    return Aim.DESTROY if wish is Aim.RUN and copy.state is VmState.SUSPENDED and copy.generation == 0 else wish


def _ended_once_more(copies: Copies, name: VmName, by_user: bool, now: Instant, timing: Timing) -> None:
    """Whoever is told that a copy ended by will takes it for its user's, though it knew of none."""
    known = name in copies.vms
    _gone(copies, name, by_user, now, timing)
    if known and by_user:
        copies.vms[name].ended = True


def _half_resumed(s: State, row: Placed, lost: set[NodeId], now: Instant) -> Placed | None:
    """Whatever has arrived is taken for all of it."""
    there = moves.report_of(s, row.vm.name, row.to)
    if there is not None and there.state is not None and not _free(s, row, row.to, lost):
        return replace(row, node=row.to, to=NodeId(0), live=True)
    return _left(s, row, lost, now)


_left, _configured = moves._left, Core._configured


def _unsaid(core: Core, config: Config) -> None:
    """What settings change is not announced anew."""
    restate = core.state.restate
    _configured(core, config)
    core.state.restate = restate


SABOTAGES: dict[str, list[tuple[Any, str, Any]]] = {
    "no proof is needed": [(recovery, "proof", lambda node, known, *_: Proven(node, known.boot, ProofKind.WATCHDOG))],
    "deadlines are short": [(fencing, "deadline_ms", _short)],
    "delivered is stable": [
        (where, "stable", lambda s: s.keeping.version.index if s.keeping.open else -1) for where in (keeping, care, watchdog)
    ],
    "acknowledged before it is stored": [(keeping, "_write", _stored_at_once)],
    "nothing is suspended": [(care, "aim", _never_suspended)],
    "the watchdog is always fed": [(watchdog, "suspended", lambda s: True)],
    "stale copies are kept": [(Copy, "_toward", _never_destroyed)],
    "no memory is needed": [(Account, "_obstacle", lambda self, unit, room: None)],
    "nothing is owed": [(recovery, "owed", lambda s: ())],
    "what users shut down is not taken in": [(adoption, "reconcile", _all_on)],
    "whatever is reported is shut down": [(adoption, "_reported", _all_off)],
    "a lease needs no confirmed heartbeat": [
        (Lease, "confirm", lambda self, now, me, quorum, lease_ms: setattr(self, "ends", Instant(now + lease_ms)))
    ],
    "resumed without a verdict": [
        (care, "stable", lambda s: s.keeping.version.index),
        (care, "firm", lambda s, name, upto: True),
        (care, "admitted", lambda s, upto: True),
    ],
    "placement and generation are ignored on return": [(care, "aim", _whatever_is_there)],
    "obligations are the former master's own": [(recovery, "owed", _private_obligations)],
    "a majority is one node": [(keeping, "enough", lambda s, nodes: bool(nodes))],
    "the lowest member opens the ledger": [(keeping, "_open", _lowest_opens)],
    "fencing and relocation go on in a panic": [(recovery, "decide", _told_at_once)],
    "the watchdog is fed by a timer": [(watchdog, "feed", _fed_by_a_timer)],
    "two masters on equal priority": [(mastership, "choose", _master_among_equals)],
    "vms are created running": [(Hypervisor, "carry_out", _created_running)],
    "a migration counts as on one node": [
        (moves, "free", lambda s, row, node, lost: node == row.to or _free(s, row, node, lost))
    ],
    "what is just being started is outdated, and its end its user's will": [
        (care, "aim", _outdated_in_the_making),
        (Copies, "gone", _ended_once_more),
    ],
    "who gave a vm up goes on trying": [(care, "aim", _goes_on_trying)],
    "what has half arrived is resumed": [(moves, "_left", _half_resumed)],
    "a lease is shorter than a reformation": [
        (Lease, "confirm", lambda self, now, me, quorum, lease_ms: _confirm(self, now, me, quorum, 1500))
    ],
    "a farewell counts though a vm is on its way": [
        (moves, "incoming", lambda s, node: False),
        (watchdog, "incoming", lambda s, node: False),
        (leaving, "incoming", lambda s, node: False),
    ],
    "a second copy of a vm that moves is not noticed": [
        (strangers, "by_hand", lambda s, copy, row, other: s.me not in row.holders and copy.state is not None),
    ],
    "an old proof counts for a new incarnation": [
        (Ledger, "take", _never_voided),
        (Ledger, "proven", lambda self, node: self.proofs.get(node)),
    ],
    "evidence outlives a return": [(Fencing, "returned", lambda self, node: self.gone.pop(node, None))],
    "other settings are not told": [(Core, "_configured", _unsaid)],
    "deadlines are accepted where quorum excludes nobody": [
        (recovery, "proof", _both_sides),
        (keeping, "enough", _half_is_enough),
    ],
    **PAUSES,
    **IDENTITY,
    **VOTES,
    **sabotages_care.SABOTAGES,
    **SERVICE,
    **MESSAGES,
    **PROCESSES,
}

SABOTAGES |= sabotages_ledger.SABOTAGES


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The core with this sabotage, its own invariants switched off: it is the world that has to tell."""
    patches = [*SABOTAGES[name], (pump, "check", lambda *_: None)]
    kept = [getattr(where, attribute) for where, attribute, _ in patches]
    for where, attribute, instead in patches:
        setattr(where, attribute, instead)
    try:
        yield
    finally:
        for (where, attribute, _), was in zip(patches, kept, strict=True):
            setattr(where, attribute, was)


def told_by_seed(name: str, seed: int) -> str | None:
    """What this random run says of the sabotage; None where it says nothing."""
    with broken(name):
        return play(draw(seed, NODES, FAULTS_MS, VMS)).violation


def told_by_story(name: str, story: Path) -> str | None:
    """What becomes other than this story has it; None where nothing does."""
    text = story.read_text()
    with broken(name):
        try:
            now = script.told(script.parse(text))
        except AssertionError as error:  # a checker, or what the story itself expects
            return str(error)
    pairs = zip_longest(text.splitlines(), now.splitlines(), fillvalue="")
    return next((f"instead of {was!r}: {line!r}" for was, line in pairs if was != line), None)


def told(name: str, by: str) -> str | None:
    """The same by what the table names: `seed 12`, or `story fencing/no-proof`."""
    kind, which = by.split(" ", 1)
    return told_by_seed(name, int(which)) if kind == "seed" else told_by_story(name, HERE / f"{which}.txt")


def search(name: str, first: str | None = None, most: int = SEEDS_MOST) -> tuple[str, str] | None:
    """What tells, and what it says: what told before, else the first seed that is well without the sabotage, else a story."""
    seeds = [f"seed {seed}" for seed in range(most)]
    stories = [f"story {path.parent.name}/{path.stem}" for path in sorted(HERE.glob("*/*.txt"))]
    for by in [*([first] if first is not None else []), *seeds, *stories]:
        if (said := told(name, by)) is not None and (by.startswith("story") or _well(int(by.removeprefix("seed ")))):
            return by, said
    return None


def _well(seed: int) -> bool:
    return play(draw(seed, NODES, FAULTS_MS, VMS)).violation is None


def recorded() -> dict[str, str]:
    """By sabotage what the table says tells of it."""
    rows = [line.split("|")[1:-1] for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in rows[1:]}


def _in_short(said: str) -> str:
    return " ".join(said.split(": ", 1)[-1].split())[:110].replace("|", "/")


def _row(name: str, first: str | None) -> str:
    found = search(name, first)
    assert found is not None, f"{name} is told by nothing"
    by, said = found
    print(f"{name}: {by}", flush=True)
    return f"| {name} | {by} | {_in_short(said)} |"


def drawn(names: list[str], jobs: int) -> list[str]:
    """Rows of the table: what tells, and what it says. Rows that are not asked for stay as they were."""
    old = {line.split("|")[1].strip(): line for line in TABLE.read_text().splitlines() if line.startswith("| ")}
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        before = recorded()
        rows = {name: pool.apply_async(_row, (name, before.get(name))) for name in names}
        return [rows[name].get() if name in rows else old[name] for name in SABOTAGES]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw docs/sabotage.md anew: what tells of each sabotage.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="sabotages to search again (all)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    return parser.parse_args()


if __name__ == "__main__":
    asked = _arguments()
    if unknown := set(asked.names) - set(SABOTAGES):
        sys.exit(f"sabotages: there is no sabotage named {min(unknown)!r}")
    lines = TABLE.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    last = next((number for number in range(first + 1, len(lines)) if not lines[number].startswith("|")), len(lines))
    rows = drawn(asked.names or list(SABOTAGES), asked.jobs)
    TABLE.write_text("\n".join([*lines[: first + 1], *rows, *lines[last:]]) + "\n")
