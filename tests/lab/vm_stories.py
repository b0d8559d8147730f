"""What stories about VMs have in common: clusters whose nodes carry VMs, and what can be waited for there.

The witness looks from the first VM on until the end, whatever the story is about: `Vms` asserts at its end that none ever
ran twice and no image ever had two writers.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lab.agents import PASSWORD, Power, agent
from lab.cluster import Cluster, Conf, plain_conf, wait_for
from lab.dog import Dog
from lab.machine import SHARED
from lab.node import Node
from lab.run_with_dog import VIRTUAL
from lab.stories import noted, status
from lab.vm_witness import VmWitness
from lab.waiting import tails

URI, MIGRATE_URI = "qemu:///system", "qemu+tcp://{address}/system?unsafe=1"
WATCHDOG_MS = 4000
QUICK = {"grace_ms": 500, "margin_ms": 300, "restart_ms": 3000, "watchdog_timeout_ms": WATCHDOG_MS, "heartbeat_ms": 200}
"""Durations of the stories: short, and in the same order as the usual ones."""
TIMERS = {"token": 600, "coefficient": 0}
"""Not the tuned profile: a machine that boots guests stands still for longer than its token, and who is missed is fenced."""


def settings(nodes: Iterable[int], timing: Mapping[str, int], **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """corolistener.toml of a node that carries VMs; agents for all nodes unless `fencing` says otherwise."""
    agents = [agent(*nodes, options={"plug": "{node}", "passwd": PASSWORD}, then="off")]
    fencing = {**timing, "agent": agents, **sections.pop("fencing", {})}
    vms = {"uri": URI, "migrate_uri": MIGRATE_URI, "migrate_tls": False, "shared_storage": [SHARED], **sections.pop("vms", {})}
    return {"vms": vms, "fencing": {key: value for key, value in fencing.items() if value is not None}, **sections}


def cared_for(nodes: Iterable[Node], *names: str) -> None:
    """Wait until every one of these nodes has these VMs in its stable ledger, and their definitions on its disk."""
    wait_for(lambda: all(_knows(node, name) for node in nodes for name in names), f"{', '.join(names)} in everybody's care")


def _knows(node: Node, name: str) -> bool:
    """The node's list for libvirt's hook names the VM, and a definition of it is on the disk."""
    listed = node.path("/var/lib/corolistener/managed")
    shelf = node.path(f"/var/lib/corolistener/definitions/vm-{name}")
    known = listed.exists() and name in listed.read_text().split() and shelf.exists() and any(shelf.glob("*.xml"))
    return known and status(node).get("ledger", {}).get("stable", False)


class Vms:
    """A cluster whose nodes run libvirtd, corosync and corolistener, with a power switch and a witness."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        dogs: bool = False,
        virtual: Iterable[int] = (),
        timers: dict[str, Any] | None = None,
        conf: Conf = plain_conf,
        **sections: Any,
    ) -> None:
        made = settings(range(1, nodes + 1), QUICK, **sections)
        self.cluster = Cluster(nodes, conf, hypervisor=True, settings=made, **(TIMERS if timers is None else timers))
        self.dogs, self.virtual = dogs, frozenset(virtual)
        self._stack = contextlib.ExitStack()

    def up(self) -> "Vms":
        """Everything runs, and somebody is master with everything."""
        self._stack.callback(self.cluster.down)
        try:
            self.cluster.up()
            for node in self.cluster.nodes:
                node.dog = Dog(node) if self.dogs else None
                if node.nodeid in self.virtual:
                    node.path(VIRTUAL).touch()
            self.power = self._stack.enter_context(Power(self.cluster))
            self.witness: VmWitness = self._stack.enter_context(self.cluster.vm_witness())
            for node in self.cluster.nodes:
                node.start_all(pull=False)
            wait_for(lambda: all(self.capable(node) for node in self.cluster.nodes), "every node may be given VMs")
        except BaseException:
            self._stack.close()
            raise
        return self

    def down(self, verdict: bool = True) -> None:
        """The witness's verdict, then the end of everything."""
        try:
            if verdict:
                self.witness.assert_never_twice()
        finally:
            self._stack.close()

    def node(self, nodeid: int) -> Node:
        return self.cluster.node(nodeid)

    @property
    def on(self) -> list[Node]:
        return [node for node in self.cluster.nodes if node.on]

    # -- VMs

    def start(self, name: str, node: Node, *, image: bool = True) -> None:
        """A user defines a VM on a node and starts it; returns when it executes and is in the cluster's care."""
        if image:
            self.cluster.storage.create_image(name)
        node.hypervisor.define(name)
        node.hypervisor.virsh("start", name)
        self.witness.await_running(name, node)
        self.cared_for(name)

    def install_hooks(self) -> None:
        """libvirt's hook on every node; libvirtd looks for hooks when it starts."""
        for node in self.on:
            node.cli("hooks", "install")
            node.hypervisor.restart()
            wait_for(lambda node=node: len(noted(node, "hypervisor-connected")) >= 2, f"{node.name} is connected again")  # type: ignore[misc]

    def cared_for(self, *names: str) -> None:
        """Wait until every node that is on has these VMs in its stable ledger, and their definitions on its disk."""
        cared_for(self.on, *names)

    def capable(self, node: Node) -> bool:
        """Its hypervisor was reached, and the cluster has a master with a stable ledger."""
        seen = status(node)
        return bool(noted(node, "hypervisor-connected")) and seen.get("master") is not None and seen["ledger"]["stable"]

    def runs_on(self, name: str, *nodes: Node, limit: float = 90) -> Node:
        """Wait until the VM executes on exactly one node, one of these; that node."""
        names = {node.name for node in nodes}

        def where() -> list[str]:
            running = self.witness.running_on(name)
            return running if len(running) == 1 and set(running) <= names else []

        found = wait_for(where, f"{name} runs once, on one of {sorted(names)}", limit)
        return next(node for node in nodes if node.name == found[0])

    def proofs(self, lost: Node) -> set[str]:
        """The kinds of proof that were noted about a node, by anybody."""
        lines = [line for node in self.cluster.nodes for line in noted(node, "proven", node=lost.nodeid)]
        return {word.removeprefix("proof=") for line in lines for word in line.split() if word.startswith("proof=")}


@contextlib.contextmanager
def vms(nodes: int = 3, verdict: bool = True, **options: Any) -> Iterator[Vms]:
    """`Vms` for the length of a story; the verdict is asked for unless the story has failed already, or is about just that."""
    made = Vms(nodes, **options).up()
    try:
        yield made
    except BaseException:
        print(tails(100))  # the cluster is down when pytest asks for the logs
        made.down(verdict=False)
        raise
    made.down(verdict)
