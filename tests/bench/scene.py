"""A cluster with daemons, and what can be done to its master again and again."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from lab.cluster import CLOUD_IP, SEED, Cluster, Node, wait_for
from lab.machine import poll, stat, tell
from lab.stories import status

from bench import stamps
from bench.sight import Sight
from bench.stamps import Fact

LIMIT_S = 90.0
REST_S = 0.5
AFTER_S = 0.2
"""How long witnesses get to print what they saw before it is looked at."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """Moments of one takeover, wall clock in ns. `quorum` is the callback on the new master, as `seen_by` had it first;
    `news` the daemon's first news that a node left its group, which mostly comes before it (0: there was none);
    for a cut master `lost` is its own callback and `gone` its address leaving; for a stopped one `ended` is when its daemon
    had ended, corosync being stopped next."""

    master: str
    began: int
    quorum: int
    seen_by: str
    address: int
    arp: int
    news: int = 0
    lost: int = 0
    gone: int = 0
    ended: int = 0


class Scene:
    """The seed's three nodes with daemons; a context manager."""

    def __init__(self, **options: Any) -> None:
        self.cluster = Cluster(**{**SEED, **options})

    def __enter__(self) -> Self:
        self.cluster.up()
        try:
            self.cluster.start_corosync()
            self.cluster.wait_quorate()
            self.cluster.start_daemons()
        except BaseException:
            self.cluster.down()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cluster.down()

    def calm(self) -> tuple[Node, Node]:
        """Wait until one node is master with everything and nothing is left to do; that node, and the next in rank."""
        found = wait_for(self._at_rest, "one master, everybody eligible, one file everywhere", LIMIT_S, 0.2)
        return found[0], found[1]

    def _at_rest(self) -> list[Node]:
        holders = self.cluster.holders()
        if len(holders) != 1 or len({node.corosync_conf for node in self.cluster.nodes if node.on}) != 1:
            return []
        seen = status(self.cluster.node(holders[0]))
        members = [each for each in seen.get("nodes", ()) if each["eligible"]]
        if seen.get("phase") != "settled" or len(members) != len(self.cluster.nodes):
            return []
        ranked = sorted(members, key=lambda each: (-each["priority"], each["id"]))
        return [self.cluster.node(each["id"]) for each in ranked] if ranked[0]["id"] == holders[0] else []

    # -- what happens to the master

    def kill(self) -> Takeover:
        """Power off, taken over, power on again."""

        def off(master: Node) -> None:
            tell(master.init.pid, signal.SIGKILL)
            master.power_off()

        taken, master = self._round(off)
        master.power_on()
        _start(master)
        return taken

    def cut(self) -> Takeover:
        """The link is cut, taken over, healed."""
        taken, master = self._round(Node.cut, both=True)
        master.heal()
        return taken

    def stop(self) -> Takeover:
        """SIGTERM to the daemon and, when it has ended, to corosync, as systemd does; then both are started again."""
        ended = 0

        def off(master: Node) -> None:
            nonlocal ended
            ended = _stopped(master)

        taken, master = self._round(off)
        master.stop_corosync()  # it was told to; this waits for it and for its supervisor
        _start(master)
        return replace(taken, ended=ended)

    def _round(self, happen: Callable[[Node], None], both: bool = False) -> tuple[Takeover, Node]:
        """Let something happen to the master of a cluster at rest; what was seen of the takeover, and who was master.

        `both`: the old master is watched too, until it has let the address go.
        """
        master, heir = self.calm()
        with Sight(self.cluster, *([heir, master] if both else [heir])) as sight:
            time.sleep(REST_S)
            began = time.time_ns()
            happen(master)
            wait_for(lambda: _spoken(sight, heir), f"{heir.name} announces the address", LIMIT_S, 0.05)
            if both:
                wait_for(lambda: stamps.first(sight.on(master), stamps.dropped(CLOUD_IP)), "the cut master lets go", LIMIT_S)
            time.sleep(AFTER_S)
            taken = _taken(sight, heir, master, began)
            return (_released(taken, sight, master) if both else taken), master


def _stopped(node: Node) -> int:
    """Stop daemon and corosync one after the other; when the daemon had ended."""
    daemon, corosync = node.pid("daemon"), node.pid("corosync")
    if daemon is None or corosync is None:
        raise AssertionError(f"daemon or corosync do not run on {node.name}")
    node.path("/run/lab/corosync.stop").touch()  # else its supervisor would start it again
    os.kill(daemon, signal.SIGTERM)
    poll(lambda: stat(daemon) is None, LIMIT_S, 0.0005)
    ended = time.time_ns()
    os.kill(corosync, signal.SIGTERM)
    return ended


def _start(node: Node) -> None:
    """corosync with a fresh file, then the daemon. corosync ends, and must come back, if the file grew old meanwhile."""
    node.start_corosync(pull=True, restart="always")
    node.start_daemon()


def _spoken(sight: Sight, node: Node) -> int | None:
    """When the node first announced the address."""
    return stamps.first(sight.wire(), stamps.announced(CLOUD_IP, node.mac))


def _taken(sight: Sight, heir: Node, victim: Node, began: int) -> Takeover:
    """The moments of a takeover that has been seen."""
    facts = sight.on(heir)
    address, arp = stamps.first(facts, stamps.held(CLOUD_IP)), _spoken(sight, heir)
    quorum = next((fact for fact in facts if fact["kind"] == "quorum" and victim.nodeid not in fact["nodes"]), None)
    if address is None or arp is None or quorum is None:
        raise AssertionError(f"{heir.name} took over, but its witnesses did not see all of it: {facts}")
    probed, told = int(quorum["wall"]), _told(heir, quorum, began)
    first = probed if told is None else min(probed, told)
    seen_by = "probe" if first == probed else "daemon"
    news = next((line.wall for line in stamps.lines(heir.log_text(), began) if line.code == "left"), 0)
    # The daemon speaks of the address only when it is there, and the wire's stamps are the kernel's: a witness may read its
    # news later, because the processor is taken.
    return Takeover(heir.name, began, first, seen_by, min(address, arp), arp, news)


def _told(node: Node, quorum: Fact, since: int) -> int | None:
    """When the daemon itself dispatched the news that made its view of this ring complete."""
    name = "{}.{}".format(*quorum["ring"])
    told = (line for line in stamps.lines(node.log_text(), since) if line.code == "view")
    return next((line.wall for line in told if line.fields.get("ring") == name), None)


def _released(taken: Takeover, sight: Sight, master: Node) -> Takeover:
    """A takeover with what the cut master saw and did."""
    facts = sight.on(master)
    told = next((line.wall for line in stamps.lines(master.log_text(), taken.began) if line.code == "quorum-lost"), None)
    probed = stamps.first(facts, lambda fact: fact["kind"] == "quorum" and not fact["quorate"])
    lost, gone = stamps.earliest(told, probed), stamps.first(facts, stamps.dropped(CLOUD_IP))
    if lost is None or gone is None:
        raise AssertionError(f"{master.name} was cut, but its witnesses did not see all of it: {facts}")
    return replace(taken, lost=lost, gone=gone)
