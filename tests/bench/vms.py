"""The figures about VMs, on real nodes with real libvirtd and QEMU: how soon a lost node's VMs run elsewhere, how soon a node
without quorum has suspended its own, and what a hundred of them cost a daemon at rest."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence

from lab import hypervisor
from lab.cluster import TUNED, Cluster
from lab.node import Node
from lab.stories import status
from lab.waiting import wait_for

from bench import cost
from bench.figures import Figure
from bench.stamps import MS
from bench.vm_scene import LIMIT_S, PARALLEL, Estate, Rescue

ORDINARY = {"token": 1000, "coefficient": 0}
PROFILES = {"token 1000": ORDINARY, "tuned": TUNED}
REACH_S = {"token 1000": 4.5, "tuned": 1.0}
ROUNDS, MANY_ROUNDS = 5, 3
LOST, QUICK_LOST, CUT, IDLE_VMS = 30, 4, 10, 100
IDLE_S, QUICK_IDLE_S, REST_S = 60.0, 3.0, 20.0
HYPERVISOR = "guests interpreted by QEMU (TCG)"
KILL_NOTE = (
    "Node killed: SIGKILL of everything on it; the agent is a program that finds it without power. In order: the first lines"
    " `view` and `fencing` of any daemon, the master's line `proven` (all stamped when their event came in); libvirt's news"
    " that the VM is defined on the new node, heard by a process there, so that libvirt's own definition of it counts as"
    " ours; its news that it is started, suspended; QEMU's own stamp of its first instruction. An agent is not believed while"
    " knet says that the link to the node stands; when it fell is corosync's own word on the master. A part is negative where"
    " news was heard late, or where the daemon began before the quorum callback, with the news that the node left its group."
)
MANY_NOTE = (
    "Lost VMs: the master's line `proven` to QEMU's stamp of the last one's first instruction, beside libvirt-python alone"
    f" on the same two nodes, as many on each, {PARALLEL} at a time: define, create suspended, resume; from the first call"
)
CUT_NOTE = (
    "Link cut: the node's own line `quorum-lost`, stamped when corosync's callback came in, to QEMU's stamp of the"
    " last stop; beside it ten VMs there that nobody cares for, suspended by ten threads at once, first call to last stop."
)
IDLE_NOTE = "A hundred VMs of libvirt's test hypervisor, which lives in the daemon's own process and counts as its own."
TEST_NODE = "<node><cpu><mhz>2000</mhz><model>x</model><active>{cpus}</active><nodes>1</nodes><sockets>1</sockets>"
TEST_NODE += "<cores>{cpus}</cores><threads>1</threads></cpu><memory>67108864</memory>{domains}</node>"
TEST_VM = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/srv/shared/{name}.img'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""
TEST_FILE = "/etc/corolistener/test.xml"

Progress = Callable[[str], None]


def cannot() -> str:
    """Why there can be no such figures here, in one line; empty when there can."""
    return hypervisor.cannot()


def figures(rounds: int | None, quick: bool, progress: Progress) -> Iterator[Figure]:
    """All of them, each as soon as there is one. Raises as `Vms` does."""
    begun = time.monotonic()
    few = rounds or (1 if quick else ROUNDS)
    for name, timers in PROFILES.items():
        progress(f"vms: three nodes start, {name}")
        with Estate(**timers) as estate:
            yield from killed(estate, name, few, progress)
            if timers is ORDINARY:
                lost, many = (QUICK_LOST if quick else LOST), rounds or (1 if quick else MANY_ROUNDS)
                yield from many_lost(estate, lost, many, progress)
                yield from cut(estate, few, progress)
    yield from idle(QUICK_IDLE_S if quick else IDLE_S, quick, progress)
    progress(f"vms: {time.monotonic() - begun:.0f} s in all")


def killed(estate: Estate, profile: str, rounds: int, progress: Progress) -> Iterator[Figure]:
    """One VM on a node that is killed."""
    found: list[Rescue] = []
    for number in range(1, rounds + 1):
        found.append(estate.rescued(1))
        progress(f"vms: kill, {profile}, {number}/{rounds}: {(found[-1].running[0] - found[-1].killed) / MS:.0f} ms in all")
        estate.back()
    name, reach = f"node killed, {profile}: SIGKILL → its VM runs elsewhere", REACH_S[profile] * 1000
    parts: tuple[tuple[str, Callable[[Rescue], float], float | None], ...] = (
        (name, lambda r: r.running[0] - r.killed, reach),
        ("  corosync: SIGKILL → view without it", lambda r: r.seen - r.killed, None),
        ("  ours: view → fencing", lambda r: r.fencing - r.seen, None),
        ("  agent, and knet's link: fencing → proof", lambda r: r.proven - r.fencing, None),
        ("    knet: SIGKILL → its link is down", lambda r: r.unlinked - r.killed, None),
        ("  ours: proof → libvirt on the new node has defined it", lambda r: r.told - r.proven, 50),
        ("  libvirt: defined → started, suspended", lambda r: r.started - r.told, None),
        ("  ours and libvirt: started → it runs", lambda r: r.running[0] - r.started, None),
    )
    for name, part, goal in parts:
        yield Figure(name, "ms", tuple(part(each) / MS for each in found), median=goal, note=KILL_NOTE)


def many_lost(estate: Estate, lost: int, rounds: int, progress: Progress) -> Iterator[Figure]:
    """Many VMs on a node that is killed, beside what libvirt needs for the same starts."""
    found, own = list[Rescue](), list[int]()
    for number in range(1, rounds + 1):
        found.append(estate.rescued(lost))
        estate.clear()
        own.append(estate.own_starts(found[-1].spread))
        ours = found[-1].running[-1] - found[-1].proven
        progress(f"vms: {lost} lost, {number}/{rounds}: {ours / MS:.0f} ms, libvirt alone {own[-1] / MS:.0f} ms")
        estate.back()
    times = [each.running[-1] - each.proven for each in found]
    first = tuple((each.told - each.proven) / MS for each in found)
    yield Figure(f"{lost} VMs lost: proof → libvirt has defined the first", "ms", first, median=50, note=KILL_NOTE)
    yield Figure(f"{lost} VMs lost: proof → all of them run", "ms", tuple(each / MS for each in times), note=MANY_NOTE)
    yield Figure(f"{lost} VMs, libvirt's own time for the same starts", "ms", tuple(each / MS for each in own), note=MANY_NOTE)
    ratios = tuple(ours / its for ours, its in zip(times, own, strict=True))
    yield Figure(f"{lost} VMs lost: ours : libvirt's own", "×", ratios, median=1.15, note=MANY_NOTE)


def cut(estate: Estate, rounds: int, progress: Progress) -> Iterator[Figure]:
    """Ten VMs on a node whose link is cut, and ten beside them that libvirt alone suspends."""
    n3 = estate.cluster.node(3)
    names, others = estate.populate(n3, CUT), estate.started_apart(n3, CUT)
    ours, own = list[float](), list[float]()
    for number in range(1, rounds + 1):
        lost, suspended = estate.cut_off(names)
        ours.append((suspended[-1] - lost) / MS)
        own.append(estate.own_suspends(others) / MS)
        progress(f"vms: cut {number}/{rounds}: {ours[-1]:.1f} ms, libvirt alone {own[-1]:.1f} ms")
    yield Figure(f"link cut: own quorum callback → last of {CUT} VMs suspended", "ms", tuple(ours), median=100, note=CUT_NOTE)
    yield Figure(f"{CUT} VMs, libvirt's own time to suspend them at once", "ms", tuple(own), note=CUT_NOTE)


# -- a hundred at rest


def idle(seconds: float, quick: bool, progress: Progress) -> Iterator[Figure]:
    """A daemon with a hundred VMs, and two without."""
    progress(f"vms: {IDLE_VMS} VMs at rest for {seconds:g} s")
    settings = {"vms": {"uri": f"test://{TEST_FILE}", "shared_storage": ["/srv/shared"]}}
    with Cluster(3, settings=settings, **ORDINARY) as cluster:
        names = [f"idle-{number}" for number in range(IDLE_VMS)]
        for node in cluster.nodes:
            node.path(TEST_FILE).write_text(test_file(names if node is cluster.node(1) else ()))
        cluster.start_corosync()
        cluster.wait_quorate()
        cluster.start_daemons()
        wait_for(lambda: all(cared_for(node, names) for node in cluster.nodes), f"{IDLE_VMS} VMs in care", LIMIT_S, 0.5)
        time.sleep(0 if quick else REST_S)
        pids = [pid for node in cluster.nodes if (pid := node.pid("daemon"))]
        spent = cost.shares(pids, seconds)
        memory = [cost.rollup(pid) for pid in pids]
    name = f"idle daemon with {IDLE_VMS} VMs"
    yield Figure(f"{name}: proportional memory", "MB", (memory[0]["Pss"],), median=60, note=IDLE_NOTE)
    yield Figure(f"{name}: resident memory", "MB", (memory[0]["Rss"],), note=IDLE_NOTE)
    peers = tuple(each["Pss"] for each in memory[1:])
    yield Figure("  its two peers, no VMs: proportional memory", "MB", peers, note=IDLE_NOTE)
    yield Figure(f"{name}: CPU over {seconds:g} s", "% of a core", (spent[0],), median=0.5, note=IDLE_NOTE)
    yield Figure(f"  its two peers, no VMs: CPU over {seconds:g} s", "% of a core", tuple(spent[1:]), note=IDLE_NOTE)


def test_file(names: Sequence[str]) -> str:
    """What libvirt's test hypervisor begins with: these VMs, which run."""
    domains = "".join(TEST_VM.format(name=name, uuid=uuid.uuid5(hypervisor.NAMESPACE, name)) for name in names)
    return TEST_NODE.format(cpus=64, domains=domains)


def cared_for(node: Node, names: Sequence[str]) -> bool:
    """These VMs are in its stable ledger, and their definitions on its disk."""
    listed = node.path("/var/lib/corolistener/managed")
    shelf = node.path("/var/lib/corolistener/definitions")
    if not listed.exists() or not set(names) <= set(listed.read_text().split()):
        return False
    shelved = all(any((shelf / f"vm-{name}").glob("*.xml")) for name in names)
    return shelved and bool(status(node).get("ledger", {}).get("stable"))
