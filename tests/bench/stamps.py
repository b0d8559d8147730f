"""What happened when, from whoever saw it: lines of the daemon's log, facts of witnesses and probes. Times are wall clock
in ns, which all nodes of a lab share, so that they can be compared."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Fact = dict[str, Any]
Wanted = Callable[[Fact], bool]
MS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the daemon's log; `wall` is when its event came in."""

    wall: int
    level: str
    code: str
    fields: dict[str, str] = field(default_factory=dict)


def line(text: str) -> Line | None:
    """One line `TIME LEVEL code key=value …`; None for anything else, as a traceback."""
    words = text.split(" ", 3)
    if len(words) < 3 or words[1] not in LEVELS:
        return None
    try:
        passed = datetime.fromisoformat(words[0]) - EPOCH
    except (ValueError, TypeError):
        return None
    rest = words[3] if len(words) > 3 else ""
    return Line(passed // timedelta(microseconds=1) * 1000, words[1], words[2], dict(fields(rest)))


def fields(text: str) -> Iterable[tuple[str, str]]:
    """The `key=value` pairs of a line; a quoted value is JSON."""
    decoder = json.JSONDecoder()
    while (text := text.lstrip()) and "=" in text:
        name, _, text = text.partition("=")
        if text.startswith('"'):
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                return
            text = text[end:]
        else:
            value, _, text = text.partition(" ")
        yield name, str(value)


def lines(text: str, since: int = 0) -> list[Line]:
    """The lines of a log whose events came in at `since` or later."""
    return [found for each in text.splitlines() if (found := line(each)) and found.wall >= since]


def facts(file: Path) -> list[Fact]:
    """What a witness or probe has printed. A line that is still being written does not count."""
    return [json.loads(each) for each in file.read_text().splitlines(keepends=True) if each.endswith("\n")]


def first(facts: Iterable[Fact], wanted: Wanted) -> int | None:
    """When the first wanted fact happened."""
    return next((int(fact["wall"]) for fact in facts if wanted(fact)), None)


def held(ip: str) -> Wanted:
    """The address came onto a device."""
    return lambda fact: fact["kind"] == "address" and fact["what"] == "new" and fact["address"] == ip


def dropped(ip: str) -> Wanted:
    """The address left its device."""
    return lambda fact: fact["kind"] == "address" and fact["what"] == "deleted" and fact["address"] == ip


def announced(ip: str, mac: str) -> Wanted:
    """A gratuitous ARP for the address from the station `mac`."""
    return lambda fact: fact["kind"] == "arp" and fact["gratuitous"] and (fact["sender"], fact["mac"]) == (ip, mac)


def earliest(*stamps: int | None) -> int | None:
    """The first of several sights of the same thing."""
    return min((stamp for stamp in stamps if stamp is not None), default=None)
