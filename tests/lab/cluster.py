"""A cluster of real corosync nodes on one machine, for tests, the demo, the benches and scripts/lab.

    with Cluster(nodes=3) as cluster:
        cluster.start_corosync()
        cluster.wait_quorate()
        cluster.node(1).power_off()

Everything lives in namespaces and under one directory below the temporary one. Both die with the process that made
them (the namespaces even if it is killed) unless the cluster is `kept`.
"""

import itertools
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import hypervisor as vms
from lab import texts
from lab.machine import CHECKOUT, LIMIT_S, NAMESPACES, Init, LabError, Machine
from lab.node import Membership, Node, daemon_argv
from lab.texts import CLOUD_IP, CLOUD_IP6, NETWORK, NETWORK6, TUNED, plain_conf, seed_conf
from lab.vm_witness import VmWitness
from lab.waiting import live, stays, tails, wait_for
from lab.witness import Witness

__all__ = [
    "CHECKOUT", "CLOUD_IP", "CLOUD_IP6", "NETWORK", "NETWORK6", "SEED", "TUNED",
    "Cluster", "LabError", "Machine", "Membership", "Node", "VmWitness", "Witness",
    "cannot", "daemon_argv", "live", "plain_conf", "seed_conf", "stays", "sweep", "tails", "wait_for",
]  # fmt: skip

Conf = str | Callable[..., str]

PROGRAMS = ("corosync", "corosync-quorumtool", "ip", "nsenter", "unshare", "setsid")
SEED: dict[str, Any] = {"nodes": (2, 4, 8), "prios": (99, 100, 98), "conf": seed_conf}  # Cluster(**SEED)
FIRST_ADDRESS, FIRST_STATION = 46, 200  # last bytes; the seed's nodes are 46, 47 and 48
BRIDGE = """
set -e
read -r pid rest </proc/self/stat
ip link set lo up
ip link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
ip link set br0 up
"""

FORMED = re.compile(r"A new membership \(\S+\) was formed\. Members(.*)$")

_serial = itertools.count(1)


class Cluster:
    """Nodes on one bridge. `nodes` is a count (ids from 1) or the ids; node i has the address 172.31.223.(46 + i).

    `conf` is the text of corosync.conf, or a function (nodes, **timers) -> text, timers in ms as `plain_conf` has
    them; `settings` overrides sections of corolistener.toml. `directory` makes it kept: it outlives this process.
    `hypervisor` prepares every node for a libvirtd of its own and gives the cluster its `storage`.
    """

    def __init__(
        self,
        nodes: int | Iterable[int] = 3,
        conf: Conf = plain_conf,
        *,
        prios: Sequence[int | None] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        name: str | None = None,
        directory: Path | None = None,
        hypervisor: bool = False,
        **timers: Any,
    ) -> None:
        sweep()
        self.kept = directory is not None
        self.name = name or f"lab{next(_serial)}"
        self.directory = directory or Path(tempfile.gettempdir()) / f"corolab-{os.getpid()}-{self.name}"
        self.conf, self.timers, self.settings = conf, timers, dict(settings or {})
        self.hypervisor, self.storage = hypervisor, vms.Storage(self.directory / "shared")
        self.vm_witnesses: list[VmWitness] = []
        self.bridge = Init()
        self.stations: list[Machine] = []
        self.key = secrets.token_hex(32)
        ids = list(range(1, nodes + 1) if isinstance(nodes, int) else nodes)
        wanted = list(prios) if prios is not None else [100 - 10 * place for place in range(len(ids))]
        self.nodes = [Node(self, nodeid, FIRST_ADDRESS + place, wanted[place]) for place, nodeid in enumerate(ids)]

    # -- life

    def up(self) -> "Cluster":
        """Make the bridge and power on every node; nothing is started on them. LabError when the machine cannot."""
        if self.hypervisor and (reason := vms.cannot()):
            raise LabError(reason)
        self.directory.mkdir(mode=0o700)
        if self.hypervisor:
            self.storage.directory.mkdir()
        live.append(self)
        try:
            self.bridge = Init().boot(BRIDGE, kept=self.kept).ready()
            text = self.conf if isinstance(self.conf, str) else self.conf(self.nodes, **self.timers)
            for node in self.nodes:
                self.install(node, text)
            self.power_on(self.nodes)
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """End everything: no process, namespace, mount or file of the cluster is left."""
        for witness in self.vm_witnesses:
            witness.stop()
        for machine in [*self.nodes, *self.stations]:
            machine.power_down()
        self.bridge.kill()
        if self.directory.exists():
            shutil.rmtree(self.directory)
        if self in live:
            live.remove(self)

    def __enter__(self) -> "Cluster":
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()

    # -- machines

    def install(self, node: Node, conf: str) -> None:
        """Put the lab's files on the node's empty disk."""
        node.install()
        names = "".join(f"{each.address} {each.name}\n" for each in self.nodes)
        node.path("/etc/hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{names}")
        node.corosync_conf = conf
        node.write_settings(**self.settings)
        node.path("/etc/corolistener/key").write_text(self.key + "\n")
        node.path("/etc/corolistener/key").chmod(0o600)
        node.path("/etc/corolistener/service").write_text(texts.SERVICE)
        node.path("/etc/corolistener/service").chmod(0o755)
        if self.hypervisor:
            node.hypervisor.install(self.storage)

    def add_node(self, nodeid: int, prio: int | None = None, conf: str = "") -> Node:
        """One more node, powered on, nothing started, not in the others' nodelist; its own corosync.conf is `conf`."""
        node = Node(self, nodeid, FIRST_ADDRESS + len(self.nodes), prio)
        self.nodes.append(node)
        self.install(node, conf)
        self.power_on([node])
        return node

    def add_station(self) -> Machine:
        """A machine on the wire that is no node: a namespace to hold an address or run a program in."""
        number = FIRST_STATION + len(self.stations)
        station = Machine(f"s{number}", self.directory / f"s{number}", self.kept)
        station.install()
        self.stations.append(station)
        station.power_up()
        station.await_up()
        self.plug(station, number)
        return station

    def node(self, nodeid: int) -> Node:
        """The node with this id."""
        return next(node for node in self.nodes if node.nodeid == nodeid)

    def others(self, *nodes: Node) -> list[Node]:
        """Every node but these."""
        return [node for node in self.nodes if node not in nodes]

    def power_on(self, nodes: Sequence[Node]) -> None:
        """Power on several nodes at once."""
        for node in nodes:
            node.power_up()
        for node in nodes:
            node.await_up()
            self.plug(node, node.number)

    # -- the wire

    def ip(self, *lines: str, check: bool = True) -> str:
        """Run `ip` commands in the bridge's namespace; their output. A node's port there has the node's name."""
        # Only the network namespace is entered: `netns PID` means a pid out here.
        argv = ["nsenter", "-t", str(self.bridge.pid), "-n", "ip", *([] if check else ["-force"]), "-batch", "-"]
        done = subprocess.run(argv, input="\n".join(lines) + "\n", text=True, capture_output=True, timeout=LIMIT_S)
        if check and done.returncode:
            raise LabError(f"{self.name}: ip: {'; '.join(lines)}: {done.stderr.strip()}")
        return done.stdout

    def plug(self, machine: Machine, number: int) -> None:
        """Join a machine to the bridge: its bridge device vmbr0 carries the addresses that end in `number`."""
        self.ip(
            f"link add {machine.name} type veth peer name eth0 netns {machine.init.pid}",
            f"link set {machine.name} master br0 up",
        )
        machine.ip(
            "link set lo up",
            "link add vmbr0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
            f"link set vmbr0 address 02:c0:00:00:00:{number:02x}",
            "link set eth0 master vmbr0 up",
            "link set vmbr0 up",
            f"addr add {NETWORK}.{number}/24 dev vmbr0",
            f"addr add {NETWORK6}:{number}/64 dev vmbr0 nodad",
        )

    def unplug(self, machine: Machine) -> None:
        """Take a machine's port away; it may be gone with the machine already."""
        self.ip(f"link del {machine.name}", check=False)

    def split(self, *groups: Sequence[Node]) -> None:
        """Give each group a bridge of its own; nodes keep their carrier. `heal()` of every node undoes it."""
        for place, group in enumerate(groups, 1):
            for node in group:
                node.harmed = True
            self.ip(f"link add br{place} type bridge forward_delay 0 stp_state 0 mcast_snooping 0", check=False)
            self.ip(f"link set br{place} up", *(f"link set {node.name} master br{place} up" for node in group))

    def witness(self, machine: Machine | None = None) -> Witness:
        """Start a witness: on a machine of all its addresses and frames, on the bridge of every frame a port sends in.

        A port's name is its node's. It ends with `stop()`, its machine or the cluster.
        """
        number = next(_serial)
        if machine is None:
            return Witness(self.bridge, self.directory / f"witness{number}", "--incoming", "--device", "[ns]*")
        return Witness(machine.init, self.directory / f"witness{number}")

    def vm_witness(self) -> VmWitness:
        """Start the witness of all VMs on all nodes. One at a time; it ends with `stop()`, its `with`, or the cluster."""
        self.vm_witnesses.append(VmWitness(self.storage.directory, self.directory / f"vms{next(_serial)}"))
        return self.vm_witnesses[-1]

    def cut(self) -> None:
        """Cut every node's link at the same moment; the nodes' own devices stay up, as when a switch fails."""
        for node in self.nodes:
            node.harmed = True
        self.ip(*(f"link set {node.name} nomaster" for node in self.nodes if node.on))

    def heal(self) -> None:
        """Heal the link of every node that is on, at the same moment."""
        self.ip(*(f"link set {node.name} master br0 up" for node in self.nodes if node.on))

    # -- the cluster as a whole

    def start_corosync(self) -> None:
        """Start corosync on every node."""
        for node in self.nodes:
            node.start_corosync()

    def start_daemons(self, *, supervised: bool = False) -> None:
        """Start corolistener on every node."""
        for node in self.nodes:
            node.start_daemon(supervised=supervised)

    def start_hypervisors(self, *, supervised: bool = False) -> None:
        """Start libvirtd on every node; return when all answer."""
        for node in self.nodes:
            node.hypervisor.start(wait=False, supervised=supervised)
        for node in self.nodes:
            node.hypervisor.await_answer()

    def add_vm(self, name: str, node: Node | None = None) -> None:
        """Make a VM: its image on the shared storage, its definition on every node that is on. Start it on `node`."""
        self.storage.create_image(name)
        for each in self.nodes:
            if each.on:
                each.hypervisor.define(name)
        if node:
            node.hypervisor.virsh("start", name)

    def wait_quorate(self, nodes: Sequence[Node] | None = None, limit: float = LIMIT_S) -> None:
        """Wait until exactly these nodes (default: all that are on) are members on one ring and quorate."""
        wanted = [node for node in self.nodes if node.on] if nodes is None else list(nodes)
        ids = frozenset(node.nodeid for node in wanted)

        def agreed() -> bool:
            seen = {node.membership() for node in wanted}
            first = next(iter(seen))
            return len(seen) == 1 and first is not None and first.quorate and first.members == ids

        wait_for(agreed, f"nodes {sorted(ids)} are quorate", limit)

    def unrest(self) -> list[str]:
        """What corosync tells of rings that broke by themselves, because the machine stood still for too long.

        A ring of the very same members, or without a node that has its power, its link and its corosync; as the nodes
        saw it that were not harmed themselves.
        """
        whole = [node for node in self.nodes if node.on and not node.harmed and not node.exits("corosync")]
        ids = {node.nodeid for node in whole}

        def broke(line: str) -> bool:
            found = FORMED.search(line)
            lost = {int(each) for each in found[1].partition("left:")[2].split()} if found else set()
            return found is not None and (not found[1].strip() or bool(lost & ids))

        return [
            f"{self.name} {node.name}: {line}" for node in whole for line in node.output("corosync").splitlines() if broke(line)
        ]

    def holders(self, address: str = CLOUD_IP) -> list[int]:
        """The ids of the nodes that have the address on vmbr0."""
        return [node.nodeid for node in self.nodes if node.holds(address)]


# -- the machine under the lab


def cannot() -> str:
    """Why this machine cannot carry a lab, in one line; empty when it can."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and mounts"
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"not installed: {', '.join(missing)}"
    probe = subprocess.run(
        ["unshare", "--fork", *NAMESPACES, "sh", "-ec", "mount -t proc proc /proc; ip link add br0 type bridge"],
        capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    return "" if probe.returncode == 0 else f"no namespaces here: {probe.stderr.strip()}"


def sweep() -> None:
    """Remove the directories of clusters whose process is gone (their namespaces went with it)."""
    for path in Path(tempfile.gettempdir()).glob("corolab-*-*"):
        owner = re.match(r"corolab-(\d+)-", path.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
