"""Settings that are not the same on all nodes: what members rely on from each other, and tell when it differs."""

from typing import TYPE_CHECKING, Any

from corolistener.core.config import OnShutdown, ProofKind, Unreconciled
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World

Said = tuple[tuple[str, str], ...]
USUAL: Said = (("version", "1"),)


def care_of(said: Said) -> dict[str, Any]:
    """The fields of Care that these settings make."""
    given, care = dict(said), dict[str, Any]()
    if "fencing.proofs" in given:
        care["proofs"] = tuple(map(ProofKind, given["fencing.proofs"].split("+")))
    if "vms.on_shutdown" in given:
        care["on_shutdown"] = OnShutdown(given["vms.on_shutdown"])
    if "fencing.disallowed" in given:
        care["disallowed"] = Unreconciled(given["fencing.disallowed"])
    return care


class SettingsChecker:
    """A member's status names each setting in which another one of its view differs, and nothing else.

    Settings belong to a process, and its first Hello has them, so there is nothing to wait for.
    """

    def __init__(self, world: "World") -> None:
        self.world = world

    def look(self, able: dict[NodeId, State]) -> str | None:
        """The first violation, or None."""
        estate = self.world.estate
        if estate is None or not estate.other_settings:
            return None
        for node, state in able.items():
            shown = self.world.daemons[node].pump.core.status(Instant(self.world.heap.now)).differences
            for other in state.group.present:
                said = {each.setting: (each.here, each.there) for each in shown if each.node == other}
                differ = self._differ(node, other, state)
                if differ is not None and said != differ:
                    return f"node {node} shows {said} for node {other}, whose settings differ in {differ}"
        return None

    def _differ(self, node: NodeId, other: NodeId, state: State) -> dict[str, tuple[str, str]] | None:
        """None where another process speaks for that node by now."""
        daemon = self.world.daemons.get(other)
        if daemon is None or daemon.config.incarnation != state.group.peers[other].incarnation:
            return None
        here, there = (dict(self.world.daemons[each].config.relied_on) for each in (node, other))
        pairs = {name: (here.get(name, "default"), there.get(name, "default")) for name in {*here, *there}}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
