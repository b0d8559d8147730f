"""What must never be, seen across nodes; looked at after everything that happens. And what must be in the end.

A core that is dead, stopped or still catching up is not asked for its beliefs. What executes is looked at all the same
(service_checkers, vm_checkers).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from corolistener.core.actions import StartService, TicketedAction, WithdrawConfig
from corolistener.core.config import ConfigId
from corolistener.core.lifecycle import Mode, Phase
from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim import vm_checkers
from corolistener.sim.broken_checkers import BrokenChecker
from corolistener.sim.install_checkers import InstallChecker
from corolistener.sim.lease_checkers import LeaseChecker
from corolistener.sim.machines import Machine
from corolistener.sim.message_checkers import MessageChecker
from corolistener.sim.restart_checkers import RestartChecker
from corolistener.sim.service_checkers import ServiceChecker
from corolistener.sim.settings import SettingsChecker
from corolistener.sim.votes_checkers import ClaimChecker

if TYPE_CHECKING:
    from corolistener.sim.world import World

COMING_BACK_MS = 7000
"""A daemon that was away has this long to find out and let go: restart_ms and some for stopping."""

JUMP_MOST = 2000
"""Versions that a file may rise by at once. More than that are never used in a run, also by a node that was away."""


class Violated(AssertionError):
    """A sentence of safety.md is not true."""


class Checker:
    """Looks at a world. `away` says since when a node's daemon cannot act, `back` when it could again."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.away: dict[NodeId, int] = {}
        self.back: dict[NodeId, int] = {}
        self.digests: dict[NodeId, tuple[object, dict[str, Any]]] = {}
        """What the order has changed on each node, and after which turn of which daemon that was so."""
        self.agreeing: dict[NodeId, tuple[NodeId, object, object]] = {}
        """With whom each node was last found to agree, and after which turns of both."""
        self.leases = LeaseChecker(world)
        self.claims = ClaimChecker(world)
        self.restarts = RestartChecker(world)
        self.broken = BrokenChecker(world)
        self.installed = InstallChecker(world)
        self.settings = SettingsChecker(world)
        self.services = ServiceChecker(world)
        self.messages = MessageChecker(world)
        self.vms = vm_checkers.VmChecker(world, world.estate) if world.estate is not None else None

    def look(self) -> None:
        """Raises Violated for the first thing that is wrong."""
        self._keep_account()
        self._nothing_broken()
        able = {node: self.world.daemons[node].pump.core.state for node in self._able()}
        self._one_acting(able)
        self._facts_as_believed(able)
        self._one_address(able)
        if (why := self.services.look()) is not None:
            raise Violated(why)
        self._same_line(able)
        looks = (
            self.restarts.look(able),
            self.broken.look(),
            self.installed.look(),
            self.settings.look(able),
            self.messages.look(),
        )
        if (why := next(filter(None, (self.leases.look(able), self.claims.look(able), *looks)), None)) is not None:
            raise Violated(why)
        if self.vms is not None:
            self.vms.look()
            if self.vms.wrong is not None:
                raise Violated(self.vms.wrong)

    def _keep_account(self) -> None:
        for node, machine in self.world.machines.items():
            daemon = self.world.daemons.get(node)
            if daemon is not None and daemon.responsive:
                if self.away.pop(node, None) is not None:
                    self.back[node] = self.world.heap.now
            elif machine.powered:
                self.away.setdefault(node, self.world.heap.now)
            else:
                self.away.pop(node, None)

    def _able(self) -> list[NodeId]:
        """Nodes whose daemon has taken in everything that there is for it."""
        found = []
        for node, daemon in self.world.daemons.items():
            corosync = self.world.totem.nodes.get(node)
            behind = corosync is not None and (
                corosync.news > 0 or corosync.ring.done[node] < len(corosync.ring.log) or corosync.outbox
            )
            left = daemon.pump.core.state.mode in (Mode.LEFT, Mode.BROKEN)
            if daemon.responsive and not behind and not daemon.queue and not left:
                found.append(node)
        return found

    def _nothing_broken(self) -> None:
        for node, daemon in self.world.daemons.items():
            if daemon.pump.broken is not None and not daemon.poisoned:
                raise Violated(f"node {node}: {daemon.pump.broken}")

    def _one_acting(self, able: dict[NodeId, State]) -> None:
        acting: dict[object, NodeId] = {}
        for node, s in able.items():
            if s.acting:
                if s.group.ring in acting:
                    raise Violated(f"nodes {acting[s.group.ring]} and {node} act in ring {s.group.ring}")
                acting[s.group.ring] = node

    def _facts_as_believed(self, able: dict[NodeId, State]) -> None:
        """What a core says it has or has not is so, unless something is on its way, or a former process left it and it is to be
        looked at once more: what that one had begun may have ended since."""
        for node, s in able.items():
            machine, duties = self.world.machines[node], s.duties
            if node in self.world.checker.back and self.world.heap.now - self.back[node] < COMING_BACK_MS:
                continue
            for duty, fact in ((duties.address, machine.address), (duties.service, machine.service)):
                if duty.ticket is None and not duty.found and duty.had is not None and duty.had is not fact:
                    raise Violated(f"node {node}: {duty.name.value} is {fact}, the core thinks {duty.had}")

    def _one_address(self, able: dict[NodeId, State]) -> None:
        """In one ring; who has lost the right is letting go."""
        holders: dict[object, NodeId] = {}
        for node, s in able.items():
            duty = s.duties.address
            if not self.world.machines[node].address or (duty.ticket is not None and not duty.toward):
                continue
            if s.mode is Mode.ADOPTING or not s.quorum.quorate:
                continue
            if s.group.ring in holders:
                raise Violated(f"nodes {holders[s.group.ring]} and {node} have the address in ring {s.group.ring}")
            holders[s.group.ring] = node

    def before(self, machine: Machine, action: TicketedAction) -> None:
        """An action is about to be carried out on this machine."""
        if self.vms is not None:
            self.vms.before(machine, action)
        starts = self.services.before(machine.id) if isinstance(action, StartService) else None
        if (why := starts or self.services.swaps(machine.id, action)) is not None:
            raise Violated(why)

    def after(self, machine: Machine, action: TicketedAction, before: ConfigId) -> None:
        """An action has been carried out; the file was `before`."""
        file = machine.disk.load()[0].id
        if file != before and file.version <= before.version and not isinstance(action, WithdrawConfig):
            raise Violated(f"node {machine.id}: {file} replaced {before} by {type(action).__name__}")
        if file.version > before.version + JUMP_MOST:
            raise Violated(f"node {machine.id}: {file} replaced {before}: the versions between are lost for ever")

    def _same_line(self, able: dict[NodeId, State]) -> None:
        """Who is at the same place of the order agrees on everything that only the order changes."""
        seen: dict[object, NodeId] = {}
        for node, s in able.items():
            if not s.group.settled or node not in s.group.peers or node not in self.world.totem.nodes:
                continue
            ring, core = self.world.totem.nodes[node].ring, self.world.daemons[node].pump.core
            if self.digests.get(node, (None,))[0] != (core, core.turns):
                self.digests[node] = (core, core.turns), _digest(s)
            other = seen.setdefault((ring.id, ring.done[node]), node)
            (then, theirs), (after, mine) = self.digests[other], self.digests[node]
            if other == node or self.agreeing.get(node) == (other, then, after):
                continue
            if theirs != mine:
                parts = [f"{name}: {theirs[name]} / {mine[name]}" for name in mine if mine[name] != theirs[name]]
                raise Violated(f"nodes {other} and {node} disagree in ring {ring.id}: " + "; ".join(parts))
            self.agreeing[node] = other, then, after


def _digest(s: State) -> dict[str, Any]:
    group = s.group
    return {
        "ring": group.ring,
        "members": group.here,
        "line": group.line,
        "peers": group.peers,
        "pending": sorted(group.pending),
        "master": s.master,
        "agreed": s.agreed,
        "nodes": s.nodes,
        "database": s.database,
        "met": sorted(s.fencing.met),
        "claims": sorted(node for node, since in s.claims.items() if since is None),
    }


def unsettled(world: "World", partly: bool = False) -> str | None:
    """Why the cluster is not yet as it should be for good; None where it is.

    All of it, or with `partly` those of the quorate ring.
    """
    quorate = [node for node in world.machines if node in world.totem.nodes and world.totem.quorate(node)]
    up = quorate if partly else list(world.machines)
    states = {node: world.daemons[node].pump.core.state for node in up if node in world.daemons}
    if not states or (not partly and len(states) < len(up)):
        return f"daemons on {sorted(states)} only"
    acting = [node for node, s in states.items() if s.acting]
    if len(acting) != 1:
        return f"acting: {acting}"
    for node, s in states.items():
        if s.group.open or not s.quorate or s.lapsed or s.group.present != tuple(states):
            return f"node {node}: open {s.group.open}, quorate {s.quorate}, lapsed {s.lapsed}, line {s.group.present}"
        if any(peer.disallowed for peer in s.group.peers.values()):
            return f"node {node}: somebody is disallowed"
        if s.phase is not (Phase.SETTLED if s.acting else Phase.IDLE):
            return f"node {node}: phase {s.phase.value}"
    why = _facts_missing(world, sorted(states), acting[0])
    if why is None and world.estate is not None:
        why = vm_checkers.unsettled(world, world.estate, states)
    return why


def undone(world: "World", absent: Sequence[NodeId]) -> str | None:
    """What the cluster still owes of nodes that are off for good, though operators have confirmed it; None for nothing."""
    states = {node: daemon.pump.core.state for node, daemon in world.daemons.items()}
    if world.estate is None or not absent:
        return None
    missing = [node for node in world.machines if node not in absent and (node not in states or not states[node].quorate)]
    return f"node {missing[0]} is not with the others" if missing else vm_checkers.undone(world.estate, states, absent)


def _facts_missing(world: "World", nodes: list[NodeId], master: NodeId) -> str | None:
    cloud = world.options.cloud is not None and world.machines[master].device
    for node in nodes:
        machine, is_master = world.machines[node], node == master
        if machine.address != (is_master and cloud) or machine.service != is_master or len(machine.locks) != 2 * is_master:
            return f"node {node}: address {machine.address}, locks {len(machine.locks)}, service {machine.service}"
    texts = {world.machines[node].disk.text for node in nodes if not world.machines[node].disk.full}
    if len(texts) != 1:
        return f"{len(texts)} different files"
    running = {world.totem.nodes[node].file.version for node in nodes}
    state = world.daemons[master].pump.core.state
    if running != {state.agreed.version} and not world.edited:
        return f"corosync runs with versions {sorted(running)}, agreed is {state.agreed.version}"
    return None
