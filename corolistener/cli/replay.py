"""What the core decided, and decides again, from a saved journal: one block a step.

Journals are saved when an invariant breaks, and by `journal-dump` on the control socket. Where this program decides
otherwise than the one that wrote the file, the step says so, and the exit status is 1.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any

from corolistener.cli.verbs import Parser, redaction
from corolistener.core.actions import Action
from corolistener.engine import journal
from corolistener.engine.journal import Entry
from corolistener.wire import redact, values

SHA_SHOWN = 8


def arguments(parser: Parser) -> None:
    """FILE [--redact|--no-redact] [--json]"""
    parser.add_argument("file", metavar="FILE", help="the journal, as corolistener saved it")
    redaction(parser)
    parser.add_argument("--json", action="store_true", help="for programs: an object a step; keys are stable")


def run(args: argparse.Namespace) -> int:
    """0 where every step is decided as it was; 1 where one is not. Raises ConfigError for a file that is no journal."""
    differing = steps = 0
    before: int | None = None
    for entry, decided in journal.replay(journal.load(args.file)):
        if decided != entry.actions and redact.packed(values.pack(decided)) == values.pack(entry.actions):
            decided = entry.actions  # the journal was saved without secrets, and no event brings this one back
        steps, differs = steps + 1, decided != entry.actions
        differing += differs
        for line in [_frame(entry, decided, args.redact)] if args.json else _block(entry, decided, before):
            print(redact.text(line) if args.redact and not args.json else line)
        before = entry.now
    if not args.json:
        print(f"{steps} steps, " + (f"{differing} of them decided otherwise" if differing else "all decided as they were"))
    return 1 if differing else 0


def _frame(entry: Entry, decided: tuple[Action, ...], redacted: bool) -> str:
    frame = {"now_ms": entry.now, "event": values.pack(entry.event), "actions": values.pack(decided)}
    if decided != entry.actions:
        frame["recorded"] = values.pack(entry.actions)
    return json.dumps(redact.packed(frame) if redacted else frame)


def _block(entry: Entry, decided: tuple[Action, ...], before: int | None) -> Iterator[str]:
    """The event with the time since the one before, then each action; - and + where what was decided is not what is."""
    yield f"{entry.now} ms" + (f" (+{entry.now - before})" if before is not None else "") + f"  {shown(entry.event)}"
    if decided == entry.actions:
        for action in decided:
            yield f"    {shown(action)}"
    else:
        yield "    DECIDED OTHERWISE: - in the journal, + now"
        for sign, actions in (("-", entry.actions), ("+", decided)):
            for action in actions:
                yield f"  {sign} {shown(action)}"
    yield ""


def shown(value: Any) -> str:
    """One line for a person: names, fields that say something, long texts and hashes shortened."""
    match value:
        case Enum():
            return str(value.value)
        case bytes():
            return f"{len(value)} bytes"
        case str():
            return value[:SHA_SHOWN] if len(value) == 64 else value
        case tuple():
            return "(" + ", ".join(map(shown, value)) + ")"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return str(value)
    fields = [(field.name, getattr(value, field.name), field.default) for field in dataclasses.fields(value)]
    words = [f"{name}={shown(each)}" for name, each, default in fields if each != default]
    return f"{type(value).__name__}({', '.join(words)})"
