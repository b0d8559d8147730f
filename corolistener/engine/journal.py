"""The last events and what the core answered, from a known beginning: enough to live them through once more.

A journal is made of segments; each begins with the core's state and holds the pairs that followed. Two are kept, so at
least `most` pairs are there. A saved one is a text file: a header, the state, then one line an event.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast, get_args

from corolistener.core.actions import Action
from corolistener.core.events import Event
from corolistener.core.machine import Core
from corolistener.core.notes import Note, NoteCode
from corolistener.core.state import State
from corolistener.errors import ConfigError
from corolistener.ids import Instant
from corolistener.wire import values

HEADER = "corolistener-journal 1"


class Entry(NamedTuple):
    """One step: when, what happened, what was decided."""

    now: Instant
    event: Event
    actions: tuple[Action, ...]


@dataclass(slots=True)
class Segment:
    """A state and what followed it."""

    state: State
    entries: list[Entry] = field(default_factory=list)


def snapshot(state: State) -> State:
    """A copy that later steps do not change. What is frozen is the same object: a state is mostly that, and large."""
    return cast(State, _copied(state))


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copied(each) for key, each in value.items()}
    if kind is list:
        return [_copied(each) for each in value]
    if kind is set:
        return set(value)
    if not is_dataclass(kind) or kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return value
    copied = object.__new__(kind)
    for each in fields(kind):
        setattr(copied, each.name, _copied(getattr(value, each.name)))
    return copied


class Journal:
    """Keeps at least the last `most` steps of `core` (fewer while it is young)."""

    def __init__(self, core: Core, most: int = 500) -> None:
        self.most = most
        self.older: Segment | None = None
        self.newer = Segment(snapshot(core.state))

    def keep(self, core: Core, now: Instant, event: Event, actions: list[Action]) -> None:
        """Remember one step; called after it."""
        self.newer.entries.append(Entry(now, event, tuple(actions)))
        if len(self.newer.entries) >= self.most:
            self.older, self.newer = self.newer, Segment(snapshot(core.state))

    def lines(self, secrets: bool = False) -> Iterator[str]:
        """The text of a saved journal; with `secrets` also passwords that are in definitions (wire.redact)."""
        segments = [segment for segment in (self.older, self.newer) if segment is not None]
        yield HEADER
        yield values.dump_line(segments[0].state, secrets)
        for segment in segments:
            for entry in segment.entries:
                yield values.dump_line((entry.now, entry.event, entry.actions), secrets)


def load(path: str) -> Segment:
    """A saved journal. Raises ConfigError naming file and line for anything that is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(path, 0, f"cannot be read: {reason}") from None
    if len(lines) < 2 or lines[0] != HEADER:
        raise ConfigError(path, 1, f"not a journal: the first line is not {HEADER!r}")
    state = values.load_line(lines[1], path, 2)
    if not isinstance(state, State):
        raise ConfigError(path, 2, "not a journal: no state of a core")
    segment = Segment(state)
    for number, text in enumerate(lines[2:], 3):
        entry = values.load_line(text, path, number)
        if not _is_step(entry):
            raise ConfigError(path, number, "not a journal: no step", text[:60])
        segment.entries.append(Entry(*entry))
    return segment


def _is_step(entry: object) -> TypeGuard[tuple[Instant, Event, tuple[Action, ...]]]:
    match entry:
        case (int(), event, tuple(actions)):
            return isinstance(event, get_args(Event)) and all(isinstance(action, get_args(Action)) for action in actions)
    return False


def replay(segment: Segment) -> Iterator[tuple[Entry, tuple[Action, ...]]]:
    """Every kept step, and what a fresh core decides in it now; equal unless the program or the file was changed.

    A step that ends in an exception (that is what the journal was saved for, then) decides one note, and is the last one.
    """
    core = Core(segment.state.config)
    core.state = snapshot(segment.state)
    for entry in segment.entries:
        try:
            decided = tuple(core.step(entry.event, entry.now))
        except Exception as error:  # noqa: BLE001 - the bug that somebody is looking for
            yield entry, (Note(NoteCode.BROKEN, (("evidence", f"{type(error).__name__}: {error}"),)),)
            return
        yield entry, decided
