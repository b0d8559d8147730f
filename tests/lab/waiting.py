"""Waiting for what must come, watching what must stay, and the logs to show when it does not."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lab.machine import LIMIT_S, poll

if TYPE_CHECKING:
    from lab.cluster import Cluster
    from lab.node import Node

T = TypeVar("T")

live: list["Cluster"] = []  # the clusters that are up


def wait_for(condition: Callable[[], T], what: str, limit: float = LIMIT_S, every: float = 0.03) -> T:
    """The first truthy value of `condition`; AssertionError with `what` and the tails of all logs after `limit` s."""
    if value := poll(condition, limit, every):
        return value
    raise AssertionError(f"not within {limit} s: {what}\n{tails(20)}")


def stays(condition: Callable[[], object], what: str, seconds: float, every: float = 0.05) -> None:
    """AssertionError with `what` if `condition` is false at any look during `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            raise AssertionError(f"no longer: {what}\n{tails(20)}")
        time.sleep(every)


def tails(lines: int = 40) -> str:
    """The last lines of what corosync, the daemon and libvirtd wrote on every node of every cluster that is up.

    Before them in one line what became of each node: reports of a failure are cut in the middle.
    """
    nodes = [node for cluster in live for node in cluster.nodes]
    parts = [", ".join(_became(node) for node in nodes)]
    for node in nodes:
        for unit in ("corosync", "daemon", "libvirtd"):
            if text := node.output(unit):
                exits = f", exits {node.exits(unit)}" if node.exits(unit) else ""
                parts += [f"--- {node.name} {unit}{exits}", *text.splitlines()[-lines:]]
    return "\n".join(parts)


def _became(node: "Node") -> str:
    told = f" (watchdog: {'; '.join(node.dog.told)})" if node.dog is not None else ""
    return f"{node.name} {'on' if node.on else 'off'}{told}"


def unrest() -> set[str]:
    """What every cluster that is up has seen of rings that broke by themselves (`Cluster.unrest`)."""
    return {line for cluster in live for line in cluster.unrest()}
