"""Who watches one round: a witness and a probe on some nodes, a witness on the wire."""

import os
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import witness
from lab.cluster import Cluster, Node, wait_for

from bench import probe, stamps
from bench.stamps import Fact

PRIORITY = 1
"""The daemon's own real-time priority: with less, what it does would be seen late."""
PROGRAMS = frozenset({str(probe.PROGRAM), str(Path(witness.__file__).resolve())})

_serial = count(1)


class Sight:
    """Watches these nodes and the wire; a context manager. Nobody else is watched: whatever runs when the news comes in
    competes for the processors that all nodes of a lab share."""

    def __init__(self, cluster: Cluster, *nodes: Node) -> None:
        self._directory = cluster.directory / f"sight{next(_serial)}"
        self._directory.mkdir()
        self._nodes = nodes
        self._wire = cluster.witness()
        self._witnesses = {node.name: cluster.witness(node) for node in nodes}
        self._probes = {node.name: probe.start(node.init, self._directory / node.name) for node in nodes}

    def __enter__(self) -> Self:
        for node in self._nodes:
            wait_for(lambda name=node.name: stamps.facts(self._directory / name), "the probe is ready")  # type: ignore[misc]
            for process in node.processes():
                if not PROGRAMS.isdisjoint(process.argv):
                    os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(PRIORITY))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for watching in (self._wire, *self._witnesses.values()):
            watching.stop()
        for running in self._probes.values():
            running.kill()
            running.wait()

    def on(self, node: Node) -> list[Fact]:
        """What was seen on a node, in order of time."""
        seen = [*stamps.facts(self._witnesses[node.name].file), *stamps.facts(self._directory / node.name)]
        return sorted(seen, key=lambda fact: int(fact["wall"]))

    def wire(self) -> list[Fact]:
        """Every frame that a node sent."""
        return stamps.facts(self._wire.file)
