"""What can be wrong with a corosync.conf, as values."""

from dataclasses import dataclass
from enum import Enum

from corolistener.coroconf.tree import Document


class Severity(Enum):
    """error: corosync or corolistener cannot work so; warning: ignored or hardly meant; info: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to say about a file. `line` is 1-based, 0 for the whole file; `code` is stable, `text` is not."""

    severity: Severity
    line: int
    code: str
    text: str


def error(line: int, code: str, text: str) -> Problem:
    """A Problem that keeps something from working."""
    return Problem(Severity.ERROR, line, code, text)


def warning(line: int, code: str, text: str) -> Problem:
    """A Problem that works otherwise than it reads."""
    return Problem(Severity.WARNING, line, code, text)


def info(line: int, code: str, text: str) -> Problem:
    """A Problem that is none."""
    return Problem(Severity.INFO, line, code, text)


def line_of(document: Document, path: str) -> int:
    """The line of the entry that counts for `path`; else of its last section; 0 where there is neither."""
    entry = document.entry(path)
    if entry is not None:
        return entry.line
    sections = document.sections(path.rpartition(".")[0])
    return sections[-1].line if sections else 0


def number(document: Document, path: str, default: int = 0) -> int:
    """The value that counts for `path`; the default where it is missing or no number, which another check reports."""
    value = document.get(path)
    return int(value) if value is not None and value.isascii() and value.isdigit() else default
