"""What operators may ask of VMs and nodes. Every type has a place in wire/ring.py."""

from dataclasses import dataclass

from corolistener.ids import NodeId, VmName


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an administrator wants of a VM; None leaves it as it is. `nodes` empty: it may run anywhere."""

    priority: int | None = None
    start_order: int | None = None
    together: frozenset[str] | None = None
    apart: frozenset[str] | None = None
    nodes: frozenset[NodeId] | None = None
    managed: bool | None = None


@dataclass(frozen=True, slots=True)
class StartOrder:
    """The VM is to run: where it was, or on `node`."""

    name: VmName
    node: NodeId = NodeId(0)


@dataclass(frozen=True, slots=True)
class StopOrder:
    """The VM is to be shut down, and not started again. `force`: its own system is not asked."""

    name: VmName
    force: bool = False


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """The VM is to go to another node, `to` or the freest that fits; `live` without being stopped."""

    name: VmName
    to: NodeId = NodeId(0)
    live: bool = True


@dataclass(frozen=True, slots=True)
class WishOrder:
    """What is wanted of a VM, for the node that has it."""

    name: VmName
    wishes: Wishes


@dataclass(frozen=True, slots=True)
class ForgetOrder:
    """The ledger is to forget the VM: it is not started any more, and its name is free."""

    name: VmName


@dataclass(frozen=True, slots=True)
class ExcuseOrder:
    """A node is given no VMs (`on`), and its own are moved off (`drain`); or it is as every other again.

    `leaving`: it says so itself, for as long as its process lives.
    """

    node: NodeId
    on: bool = True
    drain: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class FenceOrder:
    """The fence agents of a lost node are to be tried now."""

    node: NodeId


Order = StartOrder | StopOrder | MoveOrder | WishOrder | ExcuseOrder | FenceOrder | ForgetOrder
