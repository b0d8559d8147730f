"""States of affairs with VMs that a fault may wait for: each names the node it is about, or says that it is not so now."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from corolistener.core.messages import Chapter, Entries, Message
from corolistener.core.state import State
from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World

Predicate = Callable[["World"], NodeId | None]


def _states(world: "World") -> dict[NodeId, State]:
    if world.estate is None:
        return {}
    return {node: daemon.pump.core.state for node, daemon in world.daemons.items() if daemon.responsive}


def _fencing(world: "World") -> NodeId | None:
    """The master has a fence in flight."""
    at_work = (n for n, s in _states(world).items() if any(each.ticket is not None for each in s.fencing.attempts.values()))
    return min(at_work, default=None)


def _fenced(world: "World") -> NodeId | None:
    """A node whose fence is in flight."""
    for s in _states(world).values():
        for node, each in s.fencing.attempts.items():
            if each.ticket is not None:
                return node
    return None


def _owing(world: "World") -> NodeId | None:
    """The master waits for a proof."""
    return min((n for n, s in _states(world).items() if s.acting and s.fencing.gone), default=None)


def _placed_not_running(world: "World") -> NodeId | None:
    """A VM has just been placed on this node and does not run there yet."""
    for node, s in _states(world).items():
        if any(copy.risky for copy in s.copies.vms.values()):
            return node
    return None


def _suspending(world: "World") -> NodeId | None:
    for node, s in _states(world).items():
        if any(copy.ticket is not None and not copy.risky for copy in s.copies.vms.values()):
            return node
    return None


def _recording(world: "World") -> NodeId | None:
    return min((n for n, s in _states(world).items() if s.keeping.writing is not None), default=None)


def _on_the_wire(kind: type[Message]) -> Predicate:
    def sender(world: "World") -> NodeId | None:
        when, node = world.sent.get(kind, (-1, NodeId(0)))
        return node if world.estate is not None and when == world.heap.now else None

    return sender


def _migrating(side: str) -> Predicate:
    """The node that a VM is leaving, or the one that it is coming to."""

    def node_of(world: "World") -> NodeId | None:
        for s in _states(world).values():
            for name in sorted(s.keeping.ledger.moving):
                row = s.keeping.ledger.placements[name]
                return row.node if side == "source" else row.to
        return None

    return node_of


def _half_gone(world: "World") -> NodeId | None:
    """The node from which a VM's memory is on its way."""
    if world.estate is not None:
        for node, at in world.estate.nodes.items():
            if any(job.arrives for jobs in at.hypervisor.jobs.values() for job in jobs):
                return node
    return None


def _half_here(world: "World") -> NodeId | None:
    """The node that has a part of a VM's memory."""
    if world.estate is not None:
        for node, at in world.estate.nodes.items():
            if any(copy.arriving for copy in at.hypervisor.copies.values()):
                return node
    return None


VM_CONDITIONS: dict[str, Predicate] = {
    "fence-in-flight": _fencing,
    "being-fenced": _fenced,
    "proof-missing": _owing,
    "vm-coming": _placed_not_running,
    "vm-going": _suspending,
    "recording": _recording,
    "vm-leaving": _migrating("source"),
    "vm-arriving": _migrating("target"),
    "vm-half-gone": _half_gone,
    "vm-half-here": _half_here,
    "entries-on-the-wire": _on_the_wire(Entries),
    "chapter-on-the-wire": _on_the_wire(Chapter),
}
"""The words of `when` in stories and drawn runs."""
