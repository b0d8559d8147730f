"""A cluster that outlives the process that made it: what is written down of it, and how another process takes it over."""

import json
import shutil
from pathlib import Path
from typing import Any

from lab.cluster import Cluster
from lab.machine import Init, LabError
from lab.waiting import live

FILE = "lab.json"


def save(cluster: Cluster, daemons: bool | None = None) -> None:
    """Write down what another process needs. `daemons`: whether corolistener belongs to it (default: as before)."""
    state = {
        "bridge": [cluster.bridge.pid, cluster.bridge.started],
        "nodes": [[node.nodeid, node.prio, node.init.pid, node.init.started] for node in cluster.nodes],
        "hypervisor": cluster.hypervisor,
        "daemons": wants_daemons(cluster) if daemons is None else daemons,
    }
    (cluster.directory / FILE).write_text(json.dumps(state))


def read(directory: Path) -> dict[str, Any]:
    """What was written down; LabError when nothing was."""
    try:
        state: dict[str, Any] = json.loads((directory / FILE).read_text())
    except FileNotFoundError:
        raise LabError("no lab is up; scripts/lab up makes one") from None
    return state


def wants_daemons(cluster: Cluster) -> bool:
    """Whether corolistener belongs to this cluster."""
    return bool(read(cluster.directory)["daemons"])


def load(directory: Path) -> Cluster:
    """The cluster as `save` left it; LabError when there is none, or none of it runs any more."""
    state = read(directory)
    nodes = state["nodes"]
    ids, prios = [each[0] for each in nodes], [each[1] for each in nodes]
    cluster = Cluster(ids, prios=prios, directory=directory, hypervisor=state.get("hypervisor", False))
    cluster.bridge = Init(*state["bridge"])
    for node, (_, _, pid, started) in zip(cluster.nodes, nodes, strict=True):
        node.init = Init(pid, started)
    if not cluster.bridge.alive:
        cluster.down()
        raise LabError("the lab is gone (was the machine restarted?); scripts/lab up makes a new one")
    live.append(cluster)
    return cluster


def make_room(directory: Path) -> None:
    """Remove what is left of a lab that runs no more; LabError when it runs."""
    if (directory / FILE).exists():
        try:
            load(directory)
        except LabError:
            return
        raise LabError("a lab is up already; scripts/lab status shows it, scripts/lab down ends it")
    shutil.rmtree(directory, ignore_errors=True)
