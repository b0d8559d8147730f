"""A restart of a daemon is no event for anybody (safety.md, rule 22).

A restart counts here when everything around it was at rest and stays so: the ring is the same and quorate, the daemons of all
its other members go on, and the next process begins within `restart_ms`. All of that is read from the world, not from cores.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from corolistener.core.actions import Reason, StopService, SuspendVm
from corolistener.core.config import ConfigId
from corolistener.core.lifecycle import Mode, Phase
from corolistener.core.state import State
from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.rings import Ring
    from corolistener.sim.world import Daemon, World

WATCHED_MS = 15_000
EARLY_MS = 500
"""The next process has to be in the group, not only begun, before `restart_ms` have passed."""
NOTICED = frozenset({Reason.QUORUM_LOST, Reason.LEASE_ENDED, Reason.NOT_MASTER, Reason.SUPERSEDED_MASTER, Reason.DISALLOWED})
"""Reasons of letting go that nobody but the restart can have given here."""


@dataclass(slots=True)
class Restart:
    """One that is watched. `others` are the daemons of the ring's other members, `next` the process that follows."""

    since: int
    ring: "Ring"
    others: dict[NodeId, "Daemon"]
    master: NodeId | None
    agreed: ConfigId
    next: "Daemon | None" = None


class RestartChecker:
    """`rested`: the daemon of each node that was at rest when it was last looked at, with what a restart of it begins from."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.rested: dict[NodeId, tuple[Daemon, Restart]] = {}
        self.watched: dict[NodeId, Restart] = {}
        self.heard = 0

    def look(self, able: dict[NodeId, State]) -> str | None:
        """The first violation, or None."""
        for node, (daemon, begun) in list(self.rested.items()):
            if self.world.daemons.get(node) is not daemon:
                begun.since = self.world.heap.now
                self.watched[node] = begun
                del self.rested[node]
        for node in [node for node, each in self.watched.items() if not self._still(node, each)]:
            del self.watched[node]
        self._rest(able)
        return self._acted() or next((why for node in self.watched if (why := self._noticed(node, able)) is not None), None)

    def _still(self, node: NodeId, each: Restart) -> bool:
        """Nothing else has happened since."""
        world = self.world
        corosync, daemon, past = world.totem.nodes.get(node), world.daemons.get(node), world.heap.now - each.since
        if corosync is None or corosync.ring is not each.ring or not world.totem.quorate(node):
            return False
        if each.ring.limit is not None or each.ring.held:
            return False  # it carries nothing any more
        others = each.others.items()
        if any(world.daemons.get(node) is not was or was.paused or was.asked or was.poisoned for node, was in others):
            return False
        if each.next is None and world.machines[node].barred:
            return False  # it cannot start, and the small program may have let go of everything
        if any(world.machines[other].problems(world.options.cloud is not None) for other in each.ring.nodes):
            return False  # a new process looks at once whether it can serve
        if world.machines[node].status_lies:
            return False  # it asks once whether the service runs, and lets go of what the hook says is broken
        if each.next is None and daemon is not None and past < world.options.timing.restart_ms - EARLY_MS:
            each.next = daemon
        if each.next is None:
            return daemon is None and past < world.options.timing.restart_ms - EARLY_MS
        return each.next is daemon and not daemon.paused and not daemon.asked and past < WATCHED_MS

    def _rest(self, able: dict[NodeId, State]) -> None:
        """Who could be restarted now: everybody of a quorate ring is of one settled line that has a master."""
        world = self.world
        self.rested.clear()
        for ring in {id(each.ring): each.ring for each in world.totem.nodes.values()}.values():
            states = [able[node] for node in ring.nodes if node in able]
            if len(states) < len(ring.nodes) or not all(self._at_rest(s, ring) for s in states):
                continue
            daemons = {node: world.daemons[node] for node in ring.nodes}
            for s in states:
                others = {node: each for node, each in daemons.items() if node != s.me}
                self.rested[s.me] = daemons[s.me], Restart(0, ring, others, s.master, s.agreed)

    def _at_rest(self, s: State, ring: "Ring") -> bool:
        group = s.group
        whole = group.ring == ring.id and group.settled and group.present == ring.nodes and not group.pending
        clear = s.quorate and s.mode is Mode.RUNNING and not s.restate and s.master is not None and s.lease.ends is not None
        calm = s.phase is Phase.IDLE if s.master != s.me else s.phase is Phase.SETTLED
        return whole and clear and calm and not any(peer.disallowed or peer.unable for peer in group.peers.values())

    def _acted(self) -> str | None:
        """What the next process lets go of though nothing has happened."""
        told, self.heard = self.world.told[self.heard :], len(self.world.told)
        for _, node, what in told:
            watched = self.watched.get(node)
            if watched is None or watched.next is None or not isinstance(what, SuspendVm | StopService):
                continue
            if what.reason in NOTICED and (isinstance(what, SuspendVm) or watched.master == node):
                return f"node {node} was restarted and {type(what).__name__} follows: {what.reason.value}"
        return None

    def _noticed(self, node: NodeId, able: dict[NodeId, State]) -> str | None:
        each = self.watched[node]
        for other in each.ring.nodes:
            s = able.get(other)
            if s is None or s.group.ring != each.ring.id:
                continue
            peer = s.group.peers.get(node)
            if peer is not None and peer.disallowed:
                return f"node {node} was merely restarted, and is disallowed on node {other}"
            if s.group.settled and s.agreed == each.agreed and s.master != each.master and self._same_files(each):
                return f"node {node} was merely restarted, and node {s.master} is master in place of {each.master}"
        return None

    def _same_files(self, each: Restart) -> bool:
        """The election depends on files: nobody has touched one."""
        return all(self.world.machines[node].disk.load()[0].id == each.agreed for node in each.ring.nodes)
