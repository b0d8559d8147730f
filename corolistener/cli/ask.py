"""How the verbs reach the settings and the daemon. Whoever asks it hears of a panic first, on stderr."""

from collections.abc import Callable, Sequence
from typing import Any

from corolistener.cli import render
from corolistener.cli.verbs import complain, nearest
from corolistener.client import Client, ClientError, connect_admin, connect_to_read
from corolistener.daemon import last_good, settings
from corolistener.daemon.settings import Settings
from corolistener.errors import ConfigError, RequestRefused
from corolistener.wire.control import DIGITS_MOST

CHANGE_SILENCE_S = 60.0
"""A transaction of the cluster may wait for a slow disk on one node; the daemon's own limit is shorter."""


def load(config: str | None) -> Settings:
    """The settings. Raises ConfigError."""
    return settings.load(config)


def reader(config: str | None) -> Client:
    """A session that may read. Raises ConfigError, ClientError."""
    return _session(config, connect_to_read)


def request(
    config: str | None, verb: str, args: dict[str, Any], on_progress: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """The answer to one request on the admin socket. Raises ConfigError, ClientError, RequestRefused."""
    with _session(config, lambda directory: connect_admin(directory, CHANGE_SILENCE_S)) as daemon:
        tell_panic(daemon.status())
        return daemon.request(verb, args, on_progress)


def _session(config: str | None, open_session: Callable[[str], Client]) -> Client:
    """A daemon goes on with its last good settings, so it can be asked although the file cannot be used."""
    try:
        return open_session(load(config).paths.run)
    except ConfigError as error:
        directory = last_good.daemons_directory(config)
        if directory is None:
            raise
        try:
            session = open_session(directory)
        except ClientError:
            raise error from None
        complain(f"{error}; asking the daemon that runs with the last good settings")
        return session


def tell_panic(status: dict[str, Any]) -> None:
    """The line about a panic, if there is one."""
    if status.get("panic"):
        complain(render.panic(status["panic"]))


def node_id(config: str | None, node: str) -> int:
    """The id of a node given as id or name. Raises RequestRefused where no node is meant, or more than one."""
    return node_ids(config, [node])[0]


def node_ids(config: str | None, nodes: Sequence[str]) -> list[int]:
    """The ids of nodes given as ids or names, each once. Raises RequestRefused as `node_id` does."""
    if all(_whole(node) for node in nodes):
        return list(dict.fromkeys(map(int, nodes)))
    with reader(config) as daemon:
        listed = daemon.status()["nodes"]
    return list(dict.fromkeys(int(node) if _whole(node) else _named(listed, node) for node in nodes))


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MOST


def _named(listed: list[dict[str, Any]], node: str) -> int:
    found = [each["id"] for each in listed if each["name"] == node]
    if len(found) != 1:
        near = nearest(node, [each["name"] for each in listed]) if not found else ""
        raise RequestRefused("no-such-node", f"{len(found) or 'no'} nodes are called {node!r}: give the id" + near)
    return int(found[0])


def node_names(config: str | None) -> dict[int, str]:
    """What the nodes are called, by id; their ids for want of names."""
    with reader(config) as daemon:
        return {each["id"]: each["name"] or str(each["id"]) for each in daemon.status()["nodes"]}


# -- VMs


def vms(daemon: Client, **which: Any) -> dict[str, Any]:
    """The daemon's answer to `vms` with every page of it in one. Raises ClientError, RequestRefused."""
    answer = page = daemon.request("vms", which)
    while page["more"] is not None:
        page = daemon.request("vms", {**which, "after": page["more"]})
        answer["vms"] += page["vms"]
    return answer


def find_vm(daemon: Client, name: str) -> dict[str, Any] | None:
    """What is known of one VM, None where it is not managed."""
    found = daemon.request("vms", {"names": [name]})["vms"]
    return dict(found[0]) if found else None


def vm(config: str | None, name: str) -> dict[str, Any]:
    """What is known of a VM that has to be there. Raises RequestRefused with the nearest name, ConfigError, ClientError."""
    with reader(config) as daemon:
        found = find_vm(daemon, name)
        if found is not None:
            return found
        known = vms(daemon)
    one = next((each for each in known["unmanaged"] if each["name"] == name), None)
    if one is not None:
        node = next((each["name"] or str(each["id"]) for each in known["nodes"] if each["id"] == one["node"]), "")
        runs = f"; runs on {node}" if node else ""
        change = f"`corolistener vm set {name} --manage yes` changes that" + (f" on {node}" if node else "")
        raise RequestRefused("unmanaged", f"{name} is not managed{runs}: {one['why']}; {change}")
    near = nearest(name, [each["name"] for each in known["vms"]])
    raise RequestRefused("unknown-vm", f"no managed VM is named {name!r}{near or '; see `corolistener vm list`'}")
