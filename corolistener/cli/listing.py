"""`corolistener -l`: the nodes, who is master, the priorities. As quick as corosync's own tools, hence the few imports.

The daemon is asked; where there is none, corosync itself.
"""

from __future__ import annotations

import os
import sys

from corolistener.cli.place import run_directory
from corolistener.errors import ConfigError, CorolistenerError

TYPE_CHECKING = False  # typing, like tomllib, takes longer to import than the daemon takes to answer
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Row = dict[str, Any]

TITLE = "VMmanager-cloud node list"
RULE = "=" * 61
HEADS = ("Id", "Ip", "Status", "Master/Slave", "Priority")
KEYS = ("id", "ip", "status", "role", "priority")
WIDTHS = (10, 17, 10, 14, 10)
PATIENCE_S = 2.0
"""How long the daemon may take, before corosync is asked instead."""


def wanted(words: list[str]) -> tuple[bool, str | None] | None:
    """(as JSON, settings file) of a plain `-l`; None where the words say anything else, for argparse to judge."""
    as_json, config, rest = False, None, list(words)
    while rest:
        word = rest.pop(0)
        if word == "--json":
            as_json = True
        elif word == "--config" and rest:
            config = rest.pop(0)
        elif word.startswith("--config="):
            config = word.partition("=")[2]
        elif word not in ("-l", "--list"):
            return None
    return as_json, config


def run(as_json: bool, config: str | None) -> int:
    """Print the list; returns the exit status: 1 where neither daemon nor corosync can be asked, 78 for bad settings."""
    try:
        status = _status(config)
    except CorolistenerError as error:
        print(f"corolistener: {error}", file=sys.stderr)
        return 78 if isinstance(error, ConfigError) else 1
    if status.get("panic"):
        from corolistener.cli.render import panic

        print(f"corolistener: {panic(status['panic'])}", file=sys.stderr)
    try:
        print(_json(status) if as_json else table(status["nodes"]), end="", flush=True)
    except BrokenPipeError:  # the reader has seen enough
        discard_output()
    except OSError as error:
        discard_output()
        print(f"corolistener: standard output: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def discard_output() -> None:
    """What stdout did not take is not to be tried again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(status: int) -> NoReturn:
    """End the process without the interpreter's own cleaning up, which takes longer than the daemon takes to answer."""
    os._exit(status)


def _status(config: str | None) -> Row:
    """The daemon's status, or what corosync says in its shape. Raises CorolistenerError: neither can be asked."""
    directory = run_directory(config)
    try:
        if not os.path.exists(f"{directory}/client"):
            raise CorolistenerError(f"no daemon at {directory}/client")
        from corolistener.client.session import connect_to_read

        with connect_to_read(directory, PATIENCE_S) as daemon:
            return {"source": "daemon", **daemon.status()}
    except CorolistenerError as error:
        from corolistener.cli.unaided import status_from_corosync

        return {"source": "corosync", **status_from_corosync(str(error))}


def _json(status: Row) -> str:
    import json

    return json.dumps(status, indent=2) + "\n"


def table(nodes: list[Row]) -> str:
    """The table of behaviour/corolistener.md: right-aligned fields, rows by id, one address column for all rows."""
    rows = [HEADS, *(tuple(str(node[key]) for key in KEYS) for node in sorted(nodes, key=lambda node: int(node["id"])))]
    longest = [max(len(row[column]) for row in rows) for column in range(len(WIDTHS))]
    widths = [max(width, most + (column > 0)) for column, (width, most) in enumerate(zip(WIDTHS, longest, strict=True))]
    lines = ["".join(field.rjust(width) for field, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([TITLE, RULE, *lines]) + "\n"
