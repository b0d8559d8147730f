"""How the verbs reach the settings and the daemon. Whoever asks it hears of a panic first, on stderr."""

from collections.abc import Callable
from typing import Any

from corolistener.cli import render
from corolistener.cli.verbs import complain
from corolistener.client import Client, connect, connect_admin
from corolistener.daemon import settings
from corolistener.daemon.settings import Settings
from corolistener.errors import RequestRefused

CHANGE_SILENCE_S = 60.0
"""A transaction of the cluster may wait for a slow disk on one node; the daemon's own limit is shorter."""


def load(config: str | None) -> Settings:
    """The settings. Raises ConfigError."""
    return settings.load(config)


def reader(config: str | None) -> Client:
    """A session that may read. Raises ConfigError, ClientError."""
    return connect(load(config).paths.run)


def request(
    config: str | None, verb: str, args: dict[str, Any], on_progress: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """The answer to one request on the admin socket. Raises ConfigError, ClientError, RequestRefused."""
    with connect_admin(load(config).paths.run, CHANGE_SILENCE_S) as daemon:
        tell_panic(daemon.status())
        return daemon.request(verb, args, on_progress)


def tell_panic(status: dict[str, Any]) -> None:
    """The line about a panic, if there is one."""
    if status.get("panic"):
        complain(render.panic(status["panic"]))


def node_id(config: str | None, node: str) -> int:
    """The id of a node given as id or name. Raises RequestRefused where no node is meant, or more than one."""
    if node.isascii() and node.isdigit():
        return int(node)
    with reader(config) as daemon:
        found = [each["id"] for each in daemon.status()["nodes"] if each["name"] == node]
    if len(found) != 1:
        raise RequestRefused("no-such-node", f"{len(found) or 'no'} nodes are called {node!r}: give the id")
    return int(found[0])
