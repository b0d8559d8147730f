"""The first installation changes nothing for VMs that run already (safety.md, rule 13)."""

from typing import TYPE_CHECKING

from corolistener.core.actions import SuspendVm
from corolistener.core.ledger import Version
from corolistener.ids import NodeId
from corolistener.sim import accounts

if TYPE_CHECKING:
    from corolistener.sim.totem import Corosync
    from corolistener.sim.world import Daemon, World


LATE_MS = 1500
"""The daemon says Hello so late after it came into the group, and takes the end of that lease in."""
DRIFT = 1
"""In thousands: a node counts by its own clock, which may be so much faster than the world's."""


class InstallChecker:
    """`new`: daemons that began with a disk without a ledger; `heard`: since when a quorum of daemons is in a group with each.

    What a quorum has heard of may be adopted: so from then on a node without a lease has to suspend it after the length of one.
    """

    def __init__(self, world: "World") -> None:
        self.world = world
        self.new: dict[NodeId, Daemon] = {}
        self.seen: dict[NodeId, Daemon] = {}
        self.heard: dict[NodeId, int] = {}
        self.told = 0

    def look(self) -> str | None:
        """The first violation, or None."""
        world = self.world
        if world.estate is None or world.checker.vms is None:
            return None
        for node, daemon in world.daemons.items():
            if self.seen.get(node) is not daemon:
                self.seen[node] = daemon
                self.heard.pop(node, None)
                if world.machines[node].memory.version == Version():
                    self.new[node] = daemon
                else:
                    self.new.pop(node, None)
            corosync = world.totem.nodes.get(node)
            if corosync is not None and self._most(corosync):
                self.heard.setdefault(node, world.heap.now)
        told, self.told = world.told[self.told :], len(world.told)
        for when, node, what in told:
            if isinstance(what, SuspendVm) and (why := self._suspended(when, node, what)) is not None:
                return why
        return None

    def _most(self, corosync: "Corosync") -> bool:
        """The daemons in one group with this node's have most of all votes. If others are there, the quorum device's count as
        well: it may vote for them at any time."""
        quorum, ring = self.world.options.quorum, corosync.ring
        there = [ring.votes[node] for node in corosync.group & ring.votes.keys()]
        all_votes = accounts.votes(self.world, accounts.voters(self.world)) + quorum.device
        return 2 * (sum(each.own for each in there) + quorum.device * (len(there) > 1)) > all_votes

    def just_heard(self, node: NodeId, since: int) -> bool:
        """The node's daemon is new, and a quorum of daemons can have heard for less than a lease of what began at `since`."""
        world, heard = self.world, self.heard.get(node)
        new = node in world.daemons and self.new.get(node) is world.daemons[node]
        return new and heard is not None and world.heap.now < max(heard, since) + world.options.timing.lease_ms + LATE_MS

    def _suspended(self, when: int, node: NodeId, action: SuspendVm) -> str | None:
        world = self.world
        daemon, checker = world.daemons.get(node), world.checker.vms
        copy = world.estate.nodes[node].hypervisor.copies.get(action.name) if world.estate is not None else None
        if daemon is None or daemon.asked or daemon.poisoned or self.new.get(node) is not daemon:
            return None
        if checker is None or action.name in checker.named or checker.leased.get(node) is daemon:
            return None
        early = when < self.heard.get(node, when) + world.options.timing.lease_ms * (1000 - DRIFT) // 1000
        if copy is not None and copy.running and copy.generation == 0 and early:
            return f"node {node} suspends {action.name}, which no ledger has ever known: {action.reason.value}"
        return None
