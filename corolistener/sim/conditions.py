"""States of affairs that a fault may wait for: each names the node it is about, or says that it is not so now.

A message "on the wire" has been said and has reached nobody yet, not even its sender.
"""

from corolistener.core.actions import InstallConfig
from corolistener.core.messages import Committed, Message, Offer, Stored, Verdict
from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim.world import Predicate, World

LEASE_ENDING_MS = 400


def _states(world: World) -> dict[NodeId, State]:
    return {node: daemon.pump.core.state for node, daemon in world.daemons.items() if daemon.responsive}


def acting(world: World) -> NodeId | None:
    """The lowest node that acts as master."""
    return min((node for node, s in _states(world).items() if s.acting), default=None)


def _on_the_wire(kind: type[Message]) -> Predicate:
    def sender(world: World) -> NodeId | None:
        when, node = world.sent.get(kind, (-1, NodeId(0)))
        return node if when == world.heap.now else None

    return sender


def _round_open(world: World) -> NodeId | None:
    return min((node for node, s in _states(world).items() if s.group.open), default=None)


def _no_service_yet(world: World) -> NodeId | None:
    node = acting(world)
    return node if node is not None and not world.machines[node].service else None


def _service_starting(world: World) -> NodeId | None:
    starting = (node for node, s in _states(world).items() if s.duties.service.ticket is not None and s.duties.service.toward)
    return min(starting, default=None)


def _service_stopping(world: World) -> NodeId | None:
    stopping = (n for n, s in _states(world).items() if s.duties.service.ticket is not None and not s.duties.service.toward)
    return min(stopping, default=None)


def _lease_ending(world: World) -> NodeId | None:
    for node, s in sorted(_states(world).items()):
        if s.acting and s.lease.ends is not None and 0 < s.lease.ends - world.clock(node) <= LEASE_ENDING_MS:
            return node
    return None


def _installing(world: World) -> NodeId | None:
    """A node is putting an offered file in place."""
    for node, daemon in sorted(world.daemons.items()):
        lane = daemon.pump.lanes.get("config")
        if daemon.responsive and lane is not None and isinstance(lane.running, InstallConfig):
            return node
    return None


CONDITIONS: dict[str, Predicate] = {
    "acting": acting,
    "commit-on-the-wire": _on_the_wire(Committed),
    "installing": _installing,
    "lease-ending": _lease_ending,
    "no-service-yet": _no_service_yet,
    "offer-on-the-wire": _on_the_wire(Offer),
    "round-open": _round_open,
    "service-starting": _service_starting,
    "service-stopping": _service_stopping,
    "stored-on-the-wire": _on_the_wire(Stored),
    "verdict-on-the-wire": _on_the_wire(Verdict),
}
"""The words of `when` in stories and drawn runs."""
