"""The people who own VMs in a virtual cluster, and what they did: checkers hold the cluster to it."""

from collections.abc import Collection
from dataclasses import dataclass, field

from corolistener.core.capacity import Vm
from corolistener.ids import NodeId, VmName
from corolistener.sim.instances import Instance

TOLD_MS = 10_000
"""So late a master may still take in a shutdown that a start by hand has overtaken."""


@dataclass(slots=True)
class Users:
    """What the owners of the VMs did: who has which, which they want to run, and where they started a second copy by hand.

    `shut_down`: the VMs that a user shut down, or ordered to be stopped (`ordered_down`), at some time. `began`: where and when
    a user started a VM by hand after having shut it down last.
    `let_go`: the VMs that they took out of care at some time, by whatever means. `ended`: UUIDs of twins that they shut down.
    """

    vms: dict[VmName, Vm] = field(default_factory=dict)
    wanted: dict[VmName, bool] = field(default_factory=dict)
    shut_down: set[VmName] = field(default_factory=set)
    ordered_down: set[VmName] = field(default_factory=set)
    began: dict[VmName, tuple[NodeId, int]] = field(default_factory=dict)
    doubled: set[VmName] = field(default_factory=set)
    let_go: set[VmName] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    downs: dict[VmName, "Down"] = field(default_factory=dict)
    paused: dict[VmName, "Rest"] = field(default_factory=dict)

    def contradicts(self, name: VmName, holders: Collection[NodeId], now: int) -> str | None:
        """Why a VM must not be taken for shut down by its user now, if it must not.

        An operator's order to stop it may be carried out late, so it excuses for good. A shutdown by hand excuses only until
        its user has started the VM again where it belongs, and its node has had time to tell that.
        """
        if name not in self.shut_down:
            return f"{name} is taken to be shut down, and no user did that"
        node, at = self.began.get(name, (NodeId(0), now))
        if node in holders and now > at + TOLD_MS and name not in self.ordered_down:
            return f"{name} is taken to be shut down, and its user started it on node {node} {now - at} ms ago"
        return None


@dataclass(frozen=True, slots=True)
class Down:
    """A user shut a VM down at this time on this node, where `daemon` was listening, in this generation of its placement."""

    at: int
    node: NodeId
    daemon: object
    generation: int


@dataclass(slots=True)
class Rest:
    """A user suspended this instance of a VM on this node under the eyes of `daemon`. `sure`: it must have understood."""

    node: NodeId
    instance: Instance
    daemon: object
    sure: bool = False
