"""The commands of stories about VMs, hypervisors, watchdogs, fence agents, and what operators say of them."""

from collections.abc import Callable

from corolistener.core.actions import (
    EditVm,
    Fence,
    KeepDefinitions,
    KillNode,
    MarkVm,
    MigrateVm,
    ReadDefinition,
    ResumeVm,
    ShutDownVm,
    Spare,
    StartVm,
    StopVm,
    SuspendVm,
    TellExpected,
    TicketedAction,
)
from corolistener.core.notes import NoteCode
from corolistener.core.wishes import (
    ExcuseOrder,
    FenceOrder,
    ForgetOrder,
    MoveOrder,
    Order,
    StartOrder,
    StopOrder,
    Wishes,
    WishOrder,
)
from corolistener.ids import NodeId, VmName
from corolistener.sim.agents import Manner
from corolistener.sim.identity_faults import IDENTITY_FAULTS
from corolistener.sim.start_faults import cold_start
from corolistener.sim.store_faults import goes_back
from corolistener.sim.vms import STORAGE, Estate, read_options, read_vm, span_ms
from corolistener.sim.world import World

LATE_MS = 1000
HIDDEN_OF_VMS = {
    NoteCode.VM_STARTED,
    NoteCode.VM_RESUMED,
    NoteCode.VM_SUSPENDED,
    NoteCode.VM_STOPPED,
    NoteCode.VM_SHUT_DOWN,
    NoteCode.FENCING,
}


def shown_vm(action: TicketedAction) -> str | None:
    """The canonical text of an action about VMs; '' for one that is none, None for one that is left out."""
    match action:
        case StartVm():
            return f"StartVm({action.vm.name}, generation={action.generation}, {action.reason.value})"
        case ResumeVm() | SuspendVm() | StopVm():
            return f"{type(action).__name__}({action.name}, {action.reason.value})"
        case MigrateVm():
            return f"MigrateVm({action.name}, to=n{action.to})"
        case ShutDownVm():
            return f"ShutDownVm({action.name}, {action.reason.value})"
        case EditVm():
            return f"EditVm({action.name})"
        case MarkVm() | KeepDefinitions() | ReadDefinition():
            return None
        case Fence():
            return f"Fence(n{action.node})"
        case Spare() | KillNode():
            return f"{type(action).__name__}(n{action.node})"
        case TellExpected():
            return f"TellExpected({action.votes})"
    return ""


class VmVerbs:
    """What `Teller` can do with VMs."""

    world: World | None
    extra: list[str]

    @property
    def estate(self) -> Estate:
        if self.world is None or self.world.estate is None:
            raise ValueError("a story with VMs says `vms` after `nodes`")
        return self.world.estate

    def do_vms(self, *words: str) -> None:
        """`vms [watchdog=10s|off] [agents] [proofs=agent,operator] [boots=20s|never] [memory=64G[,64G ...]] [limit=N]`"""
        assert self.world is not None
        self.world.take_in(read_options(words))

    def do_vm(self, verb: str, *words: str) -> None:
        """`vm create NAME ... on n1 [memory=4G] [priority=N] [order=N] [together=G] [apart=G] [nodes=n1,n2]`, or
        `vm start|stop|suspend|destroy|crash|vanish NAME ... [on n1]`. `vanish`: destroyed; a list shows that
        a second before the event."""
        options = [word for word in words if "=" in word]
        plain = [word for word in words if "=" not in word]
        at = plain.index("on") if "on" in plain else len(plain)
        node = _node(plain[at + 1]) if at < len(plain) else None
        for name in map(VmName, plain[:at]):
            if verb == "create":
                assert node is not None
                self.estate.create(read_vm(name, options), node)
            else:
                self._by_hand(verb, name, node)

    def _by_hand(self, verb: str, name: VmName, node: NodeId | None) -> None:
        estate = self.estate
        if verb == "stop":
            estate.shut_down(name)
            return
        if node is None:
            raise ValueError(f"vm {verb} NAME on NODE")
        match verb:
            case "start":
                estate.start(name, node)
            case "suspend":
                estate.suspend(name)
            case "destroy" | "crash":
                estate.nodes[node].hypervisor.end_by_hand(name, by_user=verb == "destroy")
            case "vanish":
                estate.shut_down(name, LATE_MS)
            case _:
                raise ValueError(f"nobody can {verb!r} a vm")

    def do_hypervisor(self, name: str, state: str) -> None:
        """`hypervisor n1 stop|start`"""
        if state not in ("stop", "start"):
            raise ValueError("a hypervisor can stop or start")
        self.estate.stop_hypervisor(_node(name)) if state == "stop" else self.estate.start_hypervisor(_node(name))

    def do_agent(self, name: str, *words: str) -> None:
        """How the agent for a node behaves: `agent n3 works|fails|hangs|times-out [3s]`."""
        agent = self.estate.nodes[_node(name)].agent
        agent.manner = Manner(words[0])
        agent.latency_ms = span_ms(words[1]) if len(words) > 1 else None

    def do_watchdog(self, name: str, state: str) -> None:
        """`watchdog n1 works|broken`: one that is broken never bites, against what is assumed of it."""
        self.estate.nodes[_node(name)].watchdog.works = state == "works"

    def do_storage(self, name: str, state: str) -> None:
        """`storage n1 lost|back`"""
        storages = self.estate.nodes[_node(name)].hypervisor.storages
        storages.discard(STORAGE) if state == "lost" else storages.add(STORAGE)

    def do_memory(self, name: str, state: str) -> None:
        """The disk with the ledger: `memory n1 full|room`."""
        assert self.world is not None
        self.world.machines[_node(name)].memory.full = state == "full"

    def do_fence(self, *words: str) -> None:
        """`fence --confirm n3 at n1`"""
        flag, node, _, at = words
        if flag != "--confirm":
            raise ValueError("fence --confirm NODE at NODE")
        self.estate.confirm(_node(at), _node(node))

    def do_order(self, name: str, verb: str, what: str, *words: str) -> None:
        """An operator at a node: `order n1 move VM [n2] [cold]`, `order n1 start VM [n2]`, `order n1 stop VM [force]`,
        `order n1 wish VM priority=5`, `order n1 excuse n3 [drain]`, `order n1 readmit n3`, `order n1 fence n3`."""
        node = next((_node(word) for word in words if word.removeprefix("n").isdigit()), NodeId(0))
        orders: dict[str, Callable[[], Order]] = {
            "move": lambda: MoveOrder(VmName(what), node, "cold" not in words),
            "start": lambda: StartOrder(VmName(what), node),
            "stop": lambda: StopOrder(VmName(what), "force" in words),
            "wish": lambda: WishOrder(VmName(what), Wishes(priority=int(words[0].removeprefix("priority=")))),
            "excuse": lambda: ExcuseOrder(_node(what), drain="drain" in words),
            "readmit": lambda: ExcuseOrder(_node(what), on=False),
            "fence": lambda: FenceOrder(_node(what)),
            "forget": lambda: ForgetOrder(VmName(what)),
        }
        if verb not in orders:
            raise ValueError(f"nobody can order {verb!r}: {', '.join(orders)}")
        self.estate.order(_node(name), orders[verb]())

    def do_cold_start(self, *words: str) -> None:
        """All nodes lose power and get it back together: `cold-start n1 n2 n3+8000`, where n3 needs 8 s longer to boot;
        `n3+8000+2000`: its daemon comes 2 s after its corosync."""
        assert self.world is not None
        back = cold_start(self.world, NodeId(0), words)
        back()

    def do_identity(self, fault: str, name: str, *words: str) -> None:
        """What is done to the identity of a VM, for good: `identity vm-hidden n3 VM` and so on (sim/identity_faults)."""
        assert self.world is not None
        IDENTITY_FAULTS[fault].strike(self.world, _node(name), words)

    def do_panic(self, name: str, *reason: str) -> None:
        self.estate.alarm(_node(name), calm=False, reason=" ".join(reason))

    def do_recover(self, name: str, *words: str) -> None:
        """`recover n1`: from a panic; `recover n1 ledger`: open the ledger with what is here."""
        if words == ("ledger",):
            self.estate.open_ledger(_node(name))
        else:
            self.estate.alarm(_node(name), calm=True)

    def do_store(self, name: str, *words: str) -> None:
        """The node loses power, and its ledger file is another one: `store n1 backup 5`, `... snapshot 1`, `... clone n2`,
        `... another cluster`."""
        assert self.world is not None
        if goes_back(self.world, _node(name), words) is None:
            raise ValueError("there is nothing to go back to")

    def show_vms(self) -> None:
        """One line for each VM: where it is placed, and which copies there are in truth."""
        ledger = self.estate.newest()
        names = sorted({*self.estate.users.vms, *ledger.placements})
        for name in names:
            row = ledger.placements.get(name)
            where = "in nobody's care" if row is None else f"placed on n{row.node} generation={row.generation}"
            if row is not None:
                where += f" moves to n{row.to}" * bool(row.to)
                where += " shut down" * (not row.on) + f" frozen: {row.frozen}" * bool(row.frozen)
            copies = [
                f"{'runs' if copy.running else 'suspended'} on n{node} generation={copy.generation}"
                for node, at in sorted(self.estate.nodes.items())
                if (copy := at.hypervisor.copies.get(name)) is not None
            ]
            self.extra.append(f"{name}: {where}; {', '.join(copies) or 'no copy'}")


def _node(name: str) -> NodeId:
    if not name.removeprefix("n").isdigit():
        raise ValueError(f"{name!r} is no node: they are n1, n2 ...")
    return NodeId(int(name.removeprefix("n")))
