"""Three real corosync nodes with corolistener and six VMs on this machine; the master's node is killed, and you see what
follows: the takeover, the proof that the node is off, and its VMs running elsewhere.

Everything lives in network namespaces and is gone afterwards.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from lab import kept
from lab.agents import Power
from lab.cluster import CHECKOUT, CLOUD_IP, NETWORK, SEED, Cluster, LabError, Node, VmWitness, cannot, wait_for
from lab.machine import tell
from lab.vm_stories import cared_for
from lab.vm_stories import settings as vm_settings

from bench import stamps, timeline
from bench.sight import Sight
from bench.timeline import Moment

LIMIT_S = 90.0
LATE_S = 0.3
"""A moment is printed when it is this old: until then an earlier one may still come to light."""
SHORT_TOKEN_MS = 300
VMS = ("web", "db", "mail", "dns", "shop", "wiki")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being waited for, and how long it took."""
    print(f"  {what} ... ", end="", flush=True)
    begin = time.monotonic()
    yield
    print(f"{time.monotonic() - begin:.1f} s", flush=True)


def heading(text: str) -> None:
    """A line that stands out where the terminal can show it."""
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\n\033[1m{text}\033[0m" if bold else f"\n{text}", flush=True)


def begin(cluster: Cluster) -> Node:
    """Start everything; the master once it has everything a master has."""
    addresses = ", ".join(f"{node.name} {node.address}" for node in cluster.nodes)
    print(f"  nodes: {addresses}; cloud IP {CLOUD_IP}")
    with step("libvirtd answers on every node"):
        cluster.start_hypervisors()
    with step("corosync forms a ring and is quorate"):
        cluster.start_corosync()
        cluster.wait_quorate()
    with step("corolistener agrees on a master, which takes address, locks and service"):
        cluster.start_daemons(supervised=True)
        wait_for(lambda: complete(cluster), "a master with address, locks and service", LIMIT_S, 0.1)
    return cluster.node(cluster.holders()[0])


def complete(cluster: Cluster) -> bool:
    """One node holds the address and has everything else, and every daemon is in the line."""
    holders = cluster.holders()
    if len(holders) != 1:
        return False
    master = cluster.node(holders[0])
    if len(master.lock_files()) < 2 or not master.service_running():
        return False
    views = [line.fields.get("members", "") for line in stamps.lines(master.log_text()) if line.code == "view"]
    return len(views[-1].split(",")) == len(cluster.nodes)


def listing(node: Node) -> None:
    """What `corolistener -l` prints there."""
    print(f"\n{node.name}# corolistener -l\n{node.cli('-l').stdout}", end="", flush=True)


# -- VMs


def populate(cluster: Cluster) -> dict[str, Node]:
    """Users start VMs, two on each node; where each runs once all are in the cluster's care."""
    homes = {name: cluster.nodes[place // 2] for place, name in enumerate(VMS)}
    with step(f"six VMs are started, and come into the cluster's care: {', '.join(VMS)}"):
        for name, node in homes.items():
            cluster.storage.create_image(name)
            node.hypervisor.define(name)
            node.hypervisor.virsh("start", name)
        cared_for(cluster.nodes, *homes)
    return homes


def moved(node: Node) -> None:
    """What `corolistener vm list` prints there."""
    print(f"\n{node.name}# corolistener vm list\n{node.cli('vm', 'list').stdout}", end="", flush=True)


def downtimes(cluster: Cluster, witness: VmWitness, lost: dict[str, Node]) -> None:
    """For how long each lost VM did not execute, as the witness saw it, who asks the QEMUs themselves."""
    print()
    for name, old in lost.items():
        new = cluster.node(int(witness.running_on(name)[0].removeprefix("n")))
        down = (witness.first_running(name, new) - witness.last_running(name, old)) / 1e9
        print(f"{'':24}    VM {name}: {old.name} to {new.name}, down for {down:.1f} s")
    witness.assert_never_twice()
    print(f"{'':24}    no VM ran twice at any moment, and no image had two writers", flush=True)


# -- the takeover


class Story:
    """The takeover of `victim`'s mastership: what is known of it at any moment, and how much of that has been printed."""

    def __init__(self, cluster: Cluster, victim: Node, sight: Sight, began: int, vms: Collection[str]) -> None:
        self.cluster, self.victim, self.sight, self.began, self.vms = cluster, victim, sight, began, vms
        self.survivors = cluster.others(victim)
        self.printed = 0
        self.explained = False
        self.quorum: int | None = None

    def moments(self) -> list[Moment]:
        """Everything known so far, in order."""
        found = [timeline.spoken(self.sight.wire(), CLOUD_IP, {node.mac: node.name for node in self.survivors})]
        for node in self.survivors:
            found += [timeline.noticed(node.name, fact, CLOUD_IP, self.victim.nodeid) for fact in self.sight.on(node)]
            found += [timeline.told(node.name, line) for line in stamps.lines(node.log_text(), self.began)]
            started = [wall for wall, what in node.service_log() if what == "start" and wall >= self.began]
            found += [Moment(wall, node.name, "service started", "service") for wall in started]
        return timeline.first_each(moment for moment in found if moment)

    def tell(self) -> None:
        """Print what is old enough and has not been printed."""
        known = self.moments()
        if self.quorum is None:
            master = next((moment.node for moment in known if moment.by == "bridge"), None)
            self.quorum = next((each.wall for each in known if (each.node, each.what) == (master, timeline.QUORUM)), None)
            if self.quorum is None:
                return
        old = [moment for moment in known if moment.wall < time.time_ns() - LATE_S * 1e9]
        for text in timeline.rows(old[self.printed :], self.began, self.quorum):
            print(text, flush=True)
        self.printed = max(self.printed, len(old))
        if not self.explained and any(moment.by == "bridge" for moment in old):
            self.explained = True
            self.explain()

    def explain(self) -> None:
        """Why nothing happens for a while."""
        for node in self.survivors:
            if wait_ms := timeline.waits(stamps.lines(node.log_text(), self.began)):
                why = f"without a proof {self.victim.name} may serve until its lease and grace end"
                print(f"{'':24}    the service waits {wait_ms} ms: {why}", flush=True)

    def over(self) -> bool:
        """Every survivor has the new configuration, every lost VM runs, and everything has been printed."""
        self.tell()
        known = self.moments()
        done = {moment.node for moment in known if moment.what.endswith(timeline.RELOADED)}
        run = {moment.what for moment in known} >= {f"VM {name} {timeline.RUNS}" for name in self.vms}
        return len(done) == len(self.survivors) and run and self.printed >= len(known)


def takeover(cluster: Cluster, master: Node, homes: dict[str, Node]) -> None:
    """Kill the master's node and tell what follows."""
    lost = {name: node for name, node in homes.items() if node is master}
    with Power(cluster), cluster.vm_witness() as witness, Sight(cluster, *cluster.others(master)) as sight:
        for name, node in homes.items():
            witness.await_running(name, node)
        heading(f"The node of the master, {master.name}, loses power")
        print(timeline.HEAD, flush=True)
        began = time.time_ns()
        tell(master.init.pid, signal.SIGKILL)
        story = Story(cluster, master, sight, began, lost)
        kill = Moment(began, master.name, "SIGKILL of everything on this node")
        print(*timeline.rows([kill], began, None), flush=True)
        master.power_off()
        wait_for(story.over, "everything is taken over", LIMIT_S, 0.1)
        downtimes(cluster, witness, lost)
    versions = {node.name: running_version(node) for node in story.survivors}
    print(f"{'':24}    corosync itself has loaded version " + ", ".join(f"{of} on {name}" for name, of in versions.items()))


def running_version(node: Node) -> str:
    """The config_version that the corosync on a node has loaded."""
    return node.run(["corosync-cmapctl", "-g", "totem.config_version"]).stdout.split()[-1]


# -- the program


def kept_directory() -> Path:
    """Where scripts/lab looks for a lab, so that it can go on with this one."""
    script = SourceFileLoader("lab_script", str(CHECKOUT / "scripts/lab")).load_module()
    directory: Path = script.directory()
    return directory


def run(keep: bool, token: int | None) -> None:
    """The demonstration. LabError or AssertionError where it cannot be given."""
    timers: dict[str, Any] = {"token": token or 1000, "coefficient": 0}
    if timers["token"] <= SHORT_TOKEN_MS:
        timers["join"] = 30
    directory = kept_directory() if keep else None
    if directory:
        kept.make_room(directory)
    heading(f"Three nodes in network namespaces on {NETWORK}.0/24, the seed's corosync.conf, token {timers['token']} ms")
    settings = vm_settings(SEED["nodes"], {})
    cluster = Cluster(**SEED, **timers, directory=directory, hypervisor=True, settings=settings)
    cluster.up()
    stay = False
    try:
        master = begin(cluster)
        listing(master)
        homes = populate(cluster)
        moved(master)
        takeover(cluster, master, homes)
        listing(cluster.node(cluster.holders()[0]))
        moved(cluster.node(cluster.holders()[0]))
        stay = keep
    finally:
        if stay:
            kept.save(cluster, daemons=True)
        else:
            print()
            with step("cleaning up"):
                cluster.down()
    if stay:
        print(f"\nStill up. scripts/lab exec {cluster.others(master)[0].nodeid} corolistener status   scripts/lab start "
              f"{master.nodeid}   scripts/lab down")  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    top.add_argument("--keep", action="store_true", help="leave the nodes running, for scripts/lab")
    top.add_argument("--token", type=int, metavar="MS", help="corosync's token timeout (default 1000)")
    return top


def guarded(program: Callable[[], None]) -> int:
    """Exit status; what cannot be done is said in one line, and a signal cleans up like the end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        program()
    except (LabError, AssertionError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def main() -> int:
    """The program."""
    options = parser().parse_args()
    if options.token is not None and options.token < 100:
        print("demo: a token below 100 ms is none that corosync can keep", file=sys.stderr)
        return 2
    if reason := cannot():
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    return guarded(lambda: run(options.keep, options.token))


if __name__ == "__main__":
    sys.exit(main())
