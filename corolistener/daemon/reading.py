"""Reading the settings file: TOML to values, each by its kind, and everything that is wrong with it, by line.

What the tables are, and what fits together, daemon/settings says.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, NamedTuple, get_type_hints

from corolistener.daemon.kinds import Kind
from corolistener.daemon.toml_lines import line_in_message, line_of
from corolistener.daemon.vmmgr import Given
from corolistener.effects import trust
from corolistener.errors import ConfigError

Values = dict[str, Given]
MOST = 1 << 20
"""Bytes of a settings file."""


class Remark(NamedTuple):
    """What `check` warns of: legal, but hardly meant. `line` is 0 where no line says it."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}: " if self.line else f"{self.path}: "
        return (where if self.path else "") + self.text


class Known(NamedTuple):
    """What may stand in the file: `tables` and, inside them, arrays of tables (`elements`), each a dataclass whose fields
    are keys with their kinds; keys of `later` versions; tables that hold `anything`."""

    tables: Mapping[str, type[Any]]
    elements: Mapping[str, type[Any]]
    later: Mapping[str, tuple[str, ...]]
    anything: tuple[str, ...]

    def names(self, table: str) -> list[str]:
        """Every word that may stand as a key in this table."""
        arrays = [name.rpartition(".")[2] for name in self.elements if name.rpartition(".")[0] == table]
        own = list(kinds_of(self.tables[table])) if table in self.tables else []
        return [*own, *arrays, *self.later.get(table, ())]


def kinds_of(table: type[Any]) -> dict[str, Kind]:
    """Kind of each key of a table."""
    return {key: hint.__metadata__[0] for key, hint in get_type_hints(table, include_extras=True).items()}


class Reading:
    """One reading of the file: what was given, and what is to be said of it."""

    def __init__(self, path: str, known: Known) -> None:
        self.path, self.known, self.text = path, known, ""
        self.exists = False
        self.present: set[str] = set()
        self.given: dict[str, Values] = {name: {} for name in known.tables}
        self.elements: dict[str, list[Values]] = {name: [] for name in known.elements}
        self.problems: list[ConfigError] = []
        self.warnings: list[Remark] = []

    def read_toml(self, *, must_exist: bool) -> None:
        try:
            self.text = trust.read(self.path, MOST).decode("utf-8")
            self.exists = True
            tables = tomllib.loads(self.text)
        except FileNotFoundError:
            if must_exist:
                self.refuse(0, "there is no such file")
        except ConfigError as error:
            self.problems.append(error)
        except OSError as error:
            self.refuse(0, error.strerror or str(error))
        except UnicodeDecodeError as error:
            self.refuse(0, f"not UTF-8: byte {error.start}")
        except (ValueError, RecursionError) as error:  # a number of very many digits is no TOMLDecodeError
            self.refuse(line_in_message(str(error)), f"not TOML: {error}")
        else:
            self._take_tables(tables)

    def _take_tables(self, tables: dict[str, Any]) -> None:
        names = [*self.known.tables, *self.known.later, *self.known.anything]
        for name, table in tables.items():
            if name not in names:
                self.refuse(self.line(name), f"unknown table [{name}]" + _nearest(name, names))
            elif not isinstance(table, dict):
                self.refuse(self.line(name), f"{name} is a table: write [{name}]")
            else:
                self.present.add(name)
                if name not in self.known.anything:
                    self._take_table(name, table)

    def _take_table(self, name: str, table: dict[str, Any]) -> None:
        kinds = kinds_of(self.known.tables[name]) if name in self.known.tables else {}
        for key, value in table.items():
            line = self.line(name, key)
            if key in kinds:
                self.take_value(self.given[name], key, kinds[key], Given(value, self.path, line), f"{name}.{key}")
            elif f"{name}.{key}" in self.known.elements:
                self._take_elements(f"{name}.{key}", value)
            elif key in self.known.later.get(name, ()):
                self.warnings.append(Remark(self.path, line, f"{name}.{key} has no effect in this version"))
            else:
                self.refuse(line, f"unknown key {key!r} in [{name}]" + _nearest(key, self.known.names(name)))

    def _take_elements(self, name: str, value: object) -> None:
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            self.refuse(self.line(*name.split(".")), f"{name} is an array of tables: write [[{name}]]")
            return
        for position, element in enumerate(value):
            self.elements[name].append(self._element(name, position, element))

    def _element(self, name: str, position: int, element: dict[str, Any]) -> Values:
        kinds, values = kinds_of(self.known.elements[name]), Values()
        place = (*name.split("."), str(position))
        for key, value in element.items():
            line = self.line(*place, key)
            if key in kinds:
                self.take_value(values, key, kinds[key], Given(value, self.path, line), f"{name}.{key}")
            else:
                self.refuse(line, f"unknown key {key!r} in [[{name}]]" + _nearest(key, list(kinds)))
        for each in fields(self.known.elements[name]):
            if each.default is MISSING and each.name not in element:
                expected = kinds[each.name].expected
                self.refuse(self.line(*place), f"{name}.{each.name} is missing: expected {expected}")
        return values

    def take_value(self, values: Values, key: str, kind: Kind, given: Given, shown: str) -> None:
        """Put a value among `values`, if it is of its kind. `shown` is what an administrator calls the key."""
        try:
            value = kind.accept(given.value)
        except (ValueError, OverflowError):
            found = "something else" if kind.secret else _found(given.value)
            why = f"{shown}: expected {kind.expected}, found {found}"
            self.problems.append(ConfigError(given.path, given.line, why))
        else:
            values[key] = Given(value, given.path, given.line)

    def made(self, name: str) -> Any:
        """The table as its dataclass, with defaults for what was not given."""
        return self.known.tables[name](**_plain(self.given[name]))

    def made_elements(self, name: str) -> tuple[Any, ...]:
        """The array of tables as a tuple of its dataclass, in the order of the file."""
        return tuple(self.known.elements[name](**_plain(values)) for values in self.elements[name])

    def lines(self) -> dict[str, int]:
        """Dotted name of each key that was given to its line."""
        return {f"{name}.{key}": given.line for name, values in self.given.items() for key, given in values.items()}

    def line(self, *path: str) -> int:
        return line_of(self.text, *path)

    def refuse(self, line: int, why: str) -> None:
        self.problems.append(ConfigError(self.path, line, why))

    def warn(self, line: int, text: str) -> None:
        self.warnings.append(Remark(self.path, line, text))


def _found(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # hexadecimal digits make numbers that Python does not write in decimal ones
        return "a number of very many digits"


def _plain(values: Values) -> dict[str, Any]:
    return {key: given.value for key, given in values.items()}


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, [name for name in known if "." not in name], 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
