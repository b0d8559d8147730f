"""The core's vocabulary and state as JSON and back, for journals: each value carries the name of its type.

Only for files written by this program itself: names are looked up among the core's own types, nothing else is built.
"""

import base64
import dataclasses
import importlib
import json
from enum import Enum
from functools import cache
from typing import Any

from corolistener.errors import ConfigError
from corolistener.wire import redact

_ROOMS = (
    "actions",
    "capacity",
    "config",
    "copies",
    "desk",
    "duties",
    "election",
    "events",
    "fencing",
    "group",
    "instance",
    "keeping",
    "lease",
    "ledger",
    "lifecycle",
    "messages",
    "notes",
    "out",
    "processes",
    "reasons",
    "reports",
    "rewrite",
    "shelf",
    "state",
    "storing",
    "view",
    "wishes",
)


@cache
def _types() -> dict[str, type]:
    found: dict[str, type] = {}
    for room in _ROOMS:
        for name, value in vars(importlib.import_module(f"corolistener.core.{room}")).items():
            if isinstance(value, type) and (dataclasses.is_dataclass(value) or issubclass(value, Enum)):
                found[name] = value
    return found


def pack(value: Any) -> Any:
    """Plain JSON data of any value of the core. Raises TypeError for what is none."""
    match value:
        case Enum():
            return {"!": type(value).__name__, "v": value.value}
        case None | bool() | int() | str():
            return value
        case bytes():
            return {"!": "bytes", "v": base64.b64encode(value).decode()}
        case tuple():
            return [pack(each) for each in value]
        case list():
            return {"!": "list", "v": [pack(each) for each in value]}
        case set() | frozenset():
            return {"!": type(value).__name__, "v": [pack(each) for each in sorted(value)]}
        case dict():
            return {"!": "dict", "v": [[pack(key), pack(each)] for key, each in value.items()]}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} is no value of the core")
    fields = {field.name: pack(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {"!": type(value).__name__, **fields}


def unpack(data: Any) -> Any:
    """The value that `pack` made `data` of. Raises ValueError for anything else."""
    if isinstance(data, list):
        return tuple(unpack(each) for each in data)
    if not isinstance(data, dict):
        return data
    name = data.get("!")
    match name:
        case "bytes":
            return base64.b64decode(data["v"])
        case "list":
            return [unpack(each) for each in data["v"]]
        case "set":
            return {unpack(each) for each in data["v"]}
        case "frozenset":
            return frozenset(unpack(each) for each in data["v"])
        case "dict":
            return {unpack(key): unpack(each) for key, each in data["v"]}
    found = _types().get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"{name!r} is no type of the core")
    if issubclass(found, Enum):
        return found(data["v"])
    return found(**{key: unpack(each) for key, each in data.items() if key != "!"})


def dump_line(value: Any, secrets: bool = True) -> str:
    """One line of JSON; with `secrets` False what wire.redact leaves of it."""
    data = pack(value)
    return json.dumps(data if secrets else redact.packed(data), separators=(",", ":"))


def load_line(text: str, path: str, line: int) -> Any:
    """The value of one line. Raises ConfigError naming file and line."""
    try:
        return unpack(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(path, line, f"not a line of a journal: {error}", text[:60]) from None
