"""What a daemon said it would not do: safety.md, "Promises" and "Moves"."""

from typing import TYPE_CHECKING

from corolistener.core.actions import ResumeVm, StartVm
from corolistener.core.reports import Inventory
from corolistener.ids import NodeId
from corolistener.sim.hypervisor import name_of

if TYPE_CHECKING:
    from corolistener.sim.world import Daemon, World


class Promises:
    """What each daemon last said of its VMs; another process has promised nothing."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.told: dict[NodeId, tuple[Daemon, Inventory]] = {}

    def said(self, node: NodeId, message: Inventory) -> None:
        self.told[node] = self.world.daemons[node], message

    def broken(self, node: NodeId, action: StartVm | ResumeVm) -> str | None:
        """Why this must not be asked of this node's hypervisor, if it must not."""
        name, what = name_of(action), f"{type(action).__name__}({name_of(action)}) on node {node}"
        daemon, estate = self.world.daemons[node], self.world.estate
        copy = estate.nodes[node].hypervisor.copies.get(name) if estate is not None else None
        if isinstance(action, ResumeVm) and copy is not None and copy.arriving:
            return f"{what}, where half of its memory is"
        speaker, message = self.told.get(node, (None, Inventory()))
        row = daemon.pump.core.state.keeping.ledger.placements.get(name)
        given_up = [each.given_up for each in message.troubles if each.name == name and each.given_up]
        if speaker is daemon and row is not None and row.node == node and row.generation in given_up:
            return f"{what}, which has given up generation {row.generation} of it"
        return None
