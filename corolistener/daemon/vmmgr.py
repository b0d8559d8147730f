"""VMmanager's own settings file: lines `Name value`, `#` comments; drop-ins in a directory of its name + `.d`.

A later line counts, and drop-ins, sorted by name, come after the file. Hidden files and editors' copies are none.
A file or directory that others than root can change is refused (effects/trust): the address would be theirs to choose.
"""

from pathlib import Path
from typing import NamedTuple

from corolistener.effects import trust
from corolistener.errors import ConfigError

MOST = 1 << 20
"""Bytes of one file."""


class Given(NamedTuple):
    """A value, and where it was found."""

    value: object
    path: str
    line: int


def read(path: str, names: tuple[str, ...]) -> dict[str, Given]:
    """What the file and its drop-ins say for these names; nothing where there is no file. Raises ConfigError."""
    found: dict[str, Given] = {}
    for source in [Path(path), *_drop_ins(Path(path + ".d"))]:
        for number, line in enumerate(_lines(source), start=1):
            name, _, value = line.strip().replace("\t", " ").partition(" ")
            if name in names:
                found[name] = Given(value.strip(), str(source), number)
    return found


def _drop_ins(directory: Path) -> list[Path]:
    trust.require(directory)
    try:
        entries = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(str(directory), 0, error.strerror or str(error)) from None
    return [entry for entry in entries if entry.is_file() and entry.name[0] != "." and entry.name[-1] != "~"]


def _lines(path: Path) -> list[str]:
    try:
        return trust.read(path, MOST).decode("utf-8", "surrogateescape").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(str(path), 0, error.strerror or str(error)) from None
