"""What must never be with the service: it executes on one node only, whatever its stop, its hook or its daemon does.

Only one execution is excused, because it is the argued bound itself (safety.md, rule 4): a node that no member of the other's
ring can see, whose daemon was there when they lost sight of it, and has failed since, or is back since a moment ago.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from corolistener.core.actions import PrepareConfig, TicketedAction
from corolistener.core.group import NOWHERE
from corolistener.core.messages import SetPriorities
from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import Daemon, World

KILLED_MS = 500
"""A daemon that goes on after a stop kills at once."""
FORMED_MS = 1000
"""A machine that stood still together with its clock hears from corosync that time has passed, when a ring has formed."""
SEEN_MS = 500
"""What happened in a ring so long ago is known to all daemons in it."""
UNABLE_MOST_MS = 30_000


@dataclass(slots=True)
class Away:
    """A daemon that does not act. `dead`: the process is gone, else it stands still. `known`: processes that know of it."""

    since: int
    dead: bool
    known: "set[Daemon]" = field(default_factory=set)


@dataclass(slots=True)
class Back:
    """A daemon that acts again. `dead`: it is another process; `stood`: its whole machine stood still, and maybe its clock."""

    since: int
    dead: bool
    stood: bool = False


class ServiceChecker:
    """Looks at what executes, by machine; at who knows that a daemon is away; and at how a cluster starts."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.away: dict[NodeId, Away] = {}
        self.back: dict[NodeId, Back] = {}
        self.excused: dict[NodeId, Away] = {}
        """For which absence of its daemon each node was excused: that goes on when the node returns to the ring without one."""
        self.masters: dict[Daemon, set[NodeId]] = {}
        """Who acted in a ring that a daemon was in, by daemon."""
        self.changed: dict[object, tuple[object, int]] = {}
        """For each ring the daemons in it, and since when it is these."""
        self.lined: dict[Daemon, int] = {}
        """Since when each daemon is part of a quorate line."""
        self.together: dict[tuple[Daemon, NodeId], int] = {}
        """Since when a daemon, which knows of no master, has had a node in its ring."""
        self.unable: dict[NodeId, tuple[object, int]] = {}

    def look(self) -> str | None:
        """The first thing that is wrong, or None."""
        rings = self._rings()
        self._keep_account(rings)
        wrong = self._twice(None) or self._started_too_soon(rings) or self._master_is_able(rings)
        self._who_knows(rings)
        return wrong

    # What executes

    def executing(self) -> list[NodeId]:
        """The nodes on which the service executes at this instant."""
        machines = self.world.machines.items()
        return [node for node, machine in machines if machine.powered and machine.service and not machine.frozen]

    def _twice(self, starts: NodeId | None) -> str | None:
        """The service executes on two nodes, or is about to. `starts`: where it is being started."""
        running = sorted({*self.executing(), *([starts] if starts is not None else [])})
        for index, one in enumerate(running):
            for other in running[index + 1 :]:
                if not self._excused(one, other) and not self._excused(other, one):
                    return f"the service runs on {[one, other]}"
        return None

    def before(self, node: NodeId) -> str | None:
        """It is about to be started here."""
        return self._twice(node)

    def _excused(self, node: NodeId, other: NodeId) -> bool:
        """The other node could not see this one, and this one has failed since it was lost, or is only just back."""
        nodes = self.world.totem.nodes
        together = node in nodes and other in nodes and nodes[node].ring is nodes[other].ring
        away = self.away.get(node)
        if away is not None:
            if self.excused.get(node) is not away and not together and not self._known(away, other):
                self.excused[node] = away
            return self.excused.get(node) is away
        back, timing = self.back.get(node), self.world.options.timing
        if back is None or (back.dead and together and node not in self.excused):
            return False  # one that stood still is in the ring again before it knows that it stood still
        most_ms = timing.restart_ms + timing.grace_ms if back.dead else FORMED_MS if back.stood else 0
        return self.world.heap.now - back.since <= most_ms + KILLED_MS

    def _known(self, away: Away, other: NodeId) -> bool:
        """A daemon in the other's ring knows that this one was away while its node was in the ring."""
        nodes = self.world.totem.nodes
        ring = nodes[other].ring.nodes if other in nodes else ()
        return any(self.world.daemons.get(node) in away.known for node in ring)

    # Who knows what

    def _rings(self) -> "dict[object, list[Daemon]]":
        """The rings there are, and the daemons that are connected in each."""
        rings = dict[object, "list[Daemon]"]()
        for node, corosync in sorted(self.world.totem.nodes.items()):
            daemon = self.world.daemons.get(node)
            members = rings.setdefault(corosync.ring.id, [])
            if daemon is not None and daemon.connected:
                members.append(daemon)
        return rings

    def _keep_account(self, rings: "dict[object, list[Daemon]]") -> None:
        now = self.world.heap.now
        for node, machine in self.world.machines.items():
            daemon = self.world.daemons.get(node)
            if daemon is not None and daemon.responsive:
                if (away := self.away.pop(node, None)) is not None:
                    self.back[node] = Back(now, away.dead)
            elif not machine.powered or machine.frozen:
                self.away.pop(node, None)
                if machine.frozen:
                    self.back[node] = Back(now, dead=False, stood=True)
            elif (away := self.away.get(node)) is None:
                self.away[node] = Away(now, daemon is None)
            elif daemon is None and not away.dead:
                self.away[node] = Away(now, dead=True, known=away.known)
        for ring, daemons in rings.items():
            if self.changed.get(ring, (None, 0))[0] != tuple(map(id, daemons)):
                self.changed[ring] = tuple(map(id, daemons)), now
        self.changed = {ring: kept for ring, kept in self.changed.items() if ring in rings}
        for daemon in self.world.daemons.values():
            if daemon.pump.core.state.epoch != NOWHERE:
                self.lined.setdefault(daemon, now)
        pairs = [(daemon, node) for ring, own in rings.items() for daemon in own for node in self._nodes(ring)]
        self.together = {pair: self.together.get(pair, now) for pair in pairs if pair[0] not in self.masters}

    def _who_knows(self, rings: "dict[object, list[Daemon]]") -> None:
        """Those that were in the ring of a node for as long as it takes to notice, and those that met one of them since."""
        now, timing = self.world.heap.now, self.world.options.timing
        for node, away in self.away.items():
            if not self.world.machines[node].service:
                continue
            corosync = self.world.totem.nodes.get(node)
            notice_ms = SEEN_MS + (timing.restart_ms if away.dead else timing.lease_ms + timing.hello_ms)
            for ring, daemons in rings.items():
                quiet_ms = now - self.changed[ring][1]
                there = corosync is not None and corosync.ring.id == ring and min(now - away.since, quiet_ms) >= notice_ms
                if there or (quiet_ms >= SEEN_MS and any(daemon in away.known for daemon in daemons)):
                    away.known |= {daemon for daemon in daemons if daemon.responsive and _settled(daemon)}
        for daemons in rings.values():
            acting = {daemon.machine.id for daemon in daemons if daemon.pump.core.state.acting}
            for daemon in daemons if acting else ():
                self.masters.setdefault(daemon, set()).update(acting)
            for daemon in daemons:
                s = daemon.pump.core.state
                if s.master is not None and s.quorate and s.leased:
                    self.masters.setdefault(daemon, set()).add(s.master)
            told = set[NodeId]().union(*(self.masters.get(daemon, set()) for daemon in daemons))
            for daemon in daemons if told else ():  # what one of a ring knows, all of it know
                self.masters.setdefault(daemon, set()).update(told)

    # How a cluster starts

    def _nodes(self, ring: object) -> Collection[NodeId]:
        return next(each.ring.nodes for each in self.world.totem.nodes.values() if each.ring.id == ring)

    def _started_too_soon(self, rings: "dict[object, list[Daemon]]") -> str | None:
        """A first master before every daemon of the ring had its time to come. A member may have waited in an earlier ring."""
        now, hello_ms = self.world.heap.now, self.world.options.timing.hello_ms
        for ring, daemons in rings.items():
            acting = [daemon for daemon in daemons if daemon.pump.core.state.acting]
            if not acting or any(daemon in self.masters for daemon in daemons):
                continue
            young = all(now - self.lined.get(daemon, now) <= SEEN_MS for daemon in daemons)
            if young and now - self.changed[ring][1] < hello_ms * 9 // 10:
                spoken = set(acting[0].pump.core.state.group.peers)
                there = spoken | {daemon.machine.id for daemon in daemons}
                out = [node for node in self._nodes(ring) if node not in there and not self.world.machines[node].barred]
                since = {node: min(self.together.get((daemon, node), now) for daemon in daemons) for node in out}
                late = [node for node in out if now - since[node] < hello_ms * 9 // 10]
                if late:
                    return f"node {acting[0].machine.id} acts at the start, and nobody waited for the daemon of node {late[0]}"
        return None

    def swaps(self, node: NodeId, action: TicketedAction) -> str | None:
        """Priorities are swapped only by a master that took over from another."""
        if not isinstance(action, PrepareConfig) or not isinstance(action.change, SetPriorities):
            return None
        corosync = self.world.totem.nodes.get(node)
        ring = corosync.ring.nodes if corosync is not None else ()
        there = [daemon for each in {node, *ring} if (daemon := self.world.daemons.get(each)) is not None]
        seen = set[NodeId]().union(*(self.masters.get(daemon, set()) for daemon in there))
        return None if seen - {node} else f"node {node} swaps priorities, and nobody was master before it"

    # Who can be master

    def _master_is_able(self, rings: "dict[object, list[Daemon]]") -> str | None:
        """A master that cannot hold what a master has makes room for a node that can."""
        now = self.world.heap.now
        for ring, daemons in rings.items():
            acting = next((daemon for daemon in daemons if daemon.pump.core.state.acting), None)
            able = [daemon for daemon in daemons if not daemon.machine.problems(self.world.options.cloud is not None)]
            node = acting.machine.id if acting is not None else NodeId(0)
            fit = [daemon for daemon in able if daemon.responsive and _could_be_master(daemon, acting)]
            if acting is None or acting in able or not fit:
                for each in daemons:
                    self.unable.pop(each.machine.id, None)
                continue
            key = (ring, id(acting), self.changed[ring][1])
            if self.unable.get(node, (None, 0))[0] != key:
                self.unable[node] = key, now
            elif now - self.unable[node][1] > UNABLE_MOST_MS:
                return f"node {node} is master for {UNABLE_MOST_MS} ms and cannot serve; node {fit[0].machine.id} could"
        return None


def _settled(daemon: "Daemon") -> bool:
    return daemon.pump.core.state.group.settled


def _could_be_master(daemon: "Daemon", acting: "Daemon | None") -> bool:
    """It has the same file as the master, is admitted, and was able for so long that everybody believes it."""
    if acting is None or daemon is acting:
        return False
    world = daemon.world
    same = daemon.machine.disk.load()[0].id == acting.machine.disk.load()[0].id
    peer = acting.pump.core.state.group.peers.get(daemon.machine.id)
    replica = not world.options.database
    return same and replica and peer is not None and not peer.disallowed and world.heap.now - daemon.machine.able_since > 60_000
