"""Clusters whose nodes carry VMs, and what can be done to one of these nodes again and again: `Estate`.

The VMs of every round are new ones, so that the node that starts one has libvirt define it: of that libvirt tells, and what
came before it was ours. The witness of VMs looks at all of it, and its verdict (none ran twice) is asked for at the end.
"""

import itertools
import re
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import time as dt_time
from pathlib import Path
from typing import Any, Self

from lab import guest
from lab.agents import Manner
from lab.hypervisor import domain_xml
from lab.machine import tell
from lab.node import Node
from lab.stories import status
from lab.vm_stories import MIGRATE_URI, URI, Vms
from lab.waiting import wait_for

from bench import libvirt_news, libvirt_own, stamps
from bench.stamps import Fact

LIMIT_S = 150.0
REST_S = 1.0
PARALLEL = 4
"""vms.parallel_starts as it is by default."""
USUAL = dict.fromkeys(("grace_ms", "margin_ms", "restart_ms", "watchdog_timeout_ms", "heartbeat_ms"))
"""The daemon's own durations instead of the lab's short ones."""
OWN = "/var/lib/own"
KNET_S = 12.0
"""So long after a link is up knet still has more patience with it than it is configured to: ten times, one less each second. An
agent is not believed while a link stands, so a node that was just started would be a strange one to measure."""
LINK_DOWN = re.compile(r"^\w+ +\d+ ([\d:.]+) .*\[KNET *\] link: host: 3 link: 0 is down", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rescue:
    """Moments of one round, wall clock in ns: the node was killed; the new view at the master, which begins to fence it; knet
    there has given up its link; the proof; libvirt on the new nodes was first told of one of its VMs, and had first started
    one; each of them ran (`running`, in order of time). `spread`: how many each node got."""

    killed: int
    seen: int
    fencing: int
    unlinked: int
    proven: int
    told: int
    started: int
    running: tuple[int, ...]
    spread: tuple[int, ...]


class Estate(Vms):
    """Three nodes that carry VMs, with the daemon's own durations; n3 is what things happen to, and never master."""

    def __init__(self, **timers: Any) -> None:
        super().__init__(timers=timers, fencing=dict(USUAL), vms={"uri": URI, "migrate_uri": MIGRATE_URI, "migrate_tls": False})
        self._serial = itertools.count(1)
        self._settled_at = 0.0

    def __enter__(self) -> Self:
        """libvirt looks at QEMU when it starts its first VM, which takes a second: not in a round."""
        self.up()
        self._settled_at = time.monotonic() + KNET_S
        for node in self.cluster.nodes:
            libvirt_own.on("start", PARALLEL, {node: (names := self.apart(node, 1))})
            libvirt_own.on("end", PARALLEL, {node: names})
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.down(verdict=kind is None)

    # -- VMs

    def populate(self, node: Node, count: int) -> tuple[str, ...]:
        """So many new VMs run on a node, in the cluster's care."""
        names = self._names("m", count)
        for name in names:
            self.cluster.storage.create_image(name)
            node.path(f"/tmp/{name}.xml").write_text(domain_xml(name))
        libvirt_own.on("start", PARALLEL, {node: names})
        self.cared_for(*names)
        return names

    def apart(self, node: Node, count: int) -> tuple[str, ...]:
        """So many new VMs are on a node's disk, not started: their images too, so that the daemon does not care for them."""
        names = self._names("o", count)
        node.path(OWN).mkdir(exist_ok=True)
        for name in names:
            node.path(f"{OWN}/{name}.img").write_bytes(guest.image())
            node.path(f"/tmp/{name}.xml").write_text(domain_xml(name, f"{OWN}/{name}.img"))
        return names

    def started_apart(self, node: Node, count: int) -> tuple[str, ...]:
        """So many new VMs run on a node, and nobody cares for them."""
        names = self.apart(node, count)
        libvirt_own.on("start", PARALLEL, {node: names})
        return names

    def clear(self) -> None:
        """No VM is left on n1 and n2."""
        found = {node: sorted(node.hypervisor.states()) for node in self.cluster.nodes[:2]}
        libvirt_own.on("end", PARALLEL, found)
        wait_for(lambda: not any(node.hypervisor.processes() for node in found), "no VM is left", LIMIT_S, 0.2)

    def _names(self, kind: str, count: int) -> tuple[str, ...]:
        turn = next(self._serial)
        return tuple(f"{kind}{turn}-{number}" for number in range(count))

    def _first(self, names: Iterable[str], state: str, since: int, on: Callable[[str], bool]) -> dict[str, int]:
        """When each of the VMs first was in a state after `since`, on such a node; QEMU's own stamps."""
        wanted, found = set(names), dict[str, int]()
        for fact in self.witness.facts():
            so = fact["kind"] == "vm" and fact["state"] == state and fact["vm"] in wanted
            if so and fact["wall"] >= since and on(fact["node"]):
                found.setdefault(fact["vm"], fact["wall"])
        return found

    def all_are(self, names: Sequence[str], state: str, since: int, on: Callable[[str], bool]) -> tuple[int, ...]:
        """Wait until each was in this state; when, in order of time."""

        def so() -> bool:
            return len(self._first(names, state, since, on)) == len(names)

        wait_for(so, f"{len(names)} VMs are {state}", LIMIT_S, 0.2)
        return tuple(sorted(self._first(names, state, since, on).values()))

    # -- a node is killed

    def rescued(self, count: int) -> Rescue:
        """n3, with so many VMs, is killed: they run elsewhere. Then it comes back, and they are no more."""
        n1, n2, n3 = self.cluster.nodes
        names = self.populate(n3, count)
        files = {node: self.cluster.directory / f"{node.name}-{names[0]}" for node in (n1, n2)}
        watching = [libvirt_news.start(node, file) for node, file in files.items()]
        try:
            wait_for(lambda: all(stamps.facts(file) for file in files.values()), "libvirt is listened to")
            time.sleep(max(REST_S, self._settled_at - time.monotonic()))
            began = time.time_ns()
            tell(n3.init.pid, signal.SIGKILL)
            n3.power_off()
            running = self.all_are(names, "running", began, lambda name: name != n3.name)
            time.sleep(0.2)
        finally:
            for each in watching:
                each.kill()
                each.wait()
        spread = tuple(len(set(names) & set(node.hypervisor.running())) for node in (n1, n2))
        return self._rescue(began, names, files.values(), running, spread)

    def _rescue(
        self, began: int, names: Sequence[str], files: Iterable[Path], running: tuple[int, ...], spread: tuple[int, ...]
    ) -> Rescue:
        lines = [line for node in self.on for line in stamps.lines(node.log_text(), began)]
        heard = sorted((fact for file in files for fact in stamps.facts(file)), key=lambda fact: int(fact["wall"]))
        told = {
            "view": _least(line.wall for line in lines if line.code == "view"),
            "fencing": _least(line.wall for line in lines if line.code == "fencing"),
            "unlinked": _unlinked(self.cluster.node(1), began),
            "proven": _least(line.wall for line in lines if line.code == "proven" and line.fields.get("node") == "3"),
            "defined": stamps.first(heard, _libvirt("defined", names)),
            "started": stamps.first(heard, _libvirt("started", names)),
        }
        if None in told.values():
            raise AssertionError(f"the VMs run elsewhere, but not all of it was seen: {told}")
        return Rescue(began, *(int(each or 0) for each in told.values()), running, spread)

    def back(self) -> None:
        """n3 is on again, and may be given VMs; nothing is left to do."""
        n1, _, n3 = self.cluster.nodes
        self.clear()
        n3.power_on(start=True)
        self.whole(n1)
        self._settled_at = time.monotonic() + KNET_S

    def whole(self, asked: Node) -> None:
        """Wait until all three are there, and nothing speaks against any of them."""

        def so() -> bool:
            nodes = status(asked).get("nodes", [])
            return len(nodes) == 3 and not any(each["why"] for each in nodes) and all(map(self.capable, self.cluster.nodes))

        wait_for(so, "all nodes are there", LIMIT_S, 0.2)

    def own_starts(self, spread: Sequence[int]) -> int:
        """ns that libvirt itself needs to start as many VMs on each node: first call to last VM running."""
        nodes = self.cluster.nodes[:2]
        where = {node: self.apart(node, count) for node, count in zip(nodes, spread, strict=True)}
        names = [name for some in where.values() for name in some]
        began, _ = libvirt_own.on("start", PARALLEL, where)
        return self.all_are(names, "running", began, lambda _: True)[-1] - began

    # -- a link is cut

    def cut_off(self, names: Sequence[str]) -> tuple[int, tuple[int, ...]]:
        """n3's link is cut: when it learned that quorum is lost, and when each of its VMs was suspended. Then it is healed.

        Its agent fails meanwhile: what is proven would not come back, but be started elsewhere.
        """
        n1, _, n3 = self.cluster.nodes
        self.power.manner[3] = Manner.FAILS
        try:
            time.sleep(REST_S)
            began = time.time_ns()
            n3.cut()
            suspended = self.all_are(names, "paused", began, lambda name: name == n3.name)
            told = [line.wall for line in stamps.lines(n3.log_text(), began) if line.code == "quorum-lost"]
        finally:
            n3.heal()
        self.all_are(names, "running", suspended[-1], lambda name: name == n3.name)
        self.whole(n1)
        del self.power.manner[3]
        return told[0], suspended

    def own_suspends(self, names: Sequence[str]) -> int:
        """ns that libvirt itself needs to suspend these on n3, all at once: first call to last VM still."""
        n3 = self.cluster.node(3)
        began, _ = libvirt_own.on("suspend", len(names), {n3: names})
        last = self.all_are(names, "paused", began, lambda name: name == n3.name)[-1]
        libvirt_own.on("resume", len(names), {n3: names})
        return last - began


def _least(found: Iterable[int]) -> int | None:
    return min(found, default=None)


def _unlinked(node: Node, since: int) -> int | None:
    """When corosync there first said after `since` that knet's link to n3 is down. Its stamps are local, without a date."""
    day = datetime.fromtimestamp(since / 1e9).date()
    for found in LINK_DOWN.finditer(node.output("corosync")):
        wall = int(datetime.combine(day, dt_time.fromisoformat(found[1])).timestamp() * 1e9)
        if wall >= since:
            return wall
    return None


def _libvirt(what: str, names: Sequence[str]) -> Callable[[Fact], bool]:
    """libvirt's news of one of these VMs."""
    return lambda fact: fact["kind"] == "libvirt" and fact["what"] == what and fact["vm"] in names
