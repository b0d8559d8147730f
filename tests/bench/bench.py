"""The figures of corolistener on real nodes: how long a takeover takes, how soon VMs of a lost node run elsewhere, what `-l`
and an idle daemon cost; and of its planner and its simulator, which need no nodes."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lab.cluster import TUNED, LabError, Node, cannot
from lab.node import daemon_argv

from bench import cost, place, planner, swarm, vms
from bench.figures import Figure, notes, table
from bench.scene import Scene, Takeover
from bench.stamps import MS
from corolistener.sim.large import opens_within, started

STOPWATCH = Path(__file__).with_name("stopwatch.py")
FORBIDDEN = ("asyncio", "dataclasses", "libvirt", "logging", "msgspec", "pyroute2", "sqlalchemy")
BINDINGS = "corolistener.corosync"
ROUNDS = {"takeover": 30, "stop": 15, "list": 40}
IDLE_S, QUICK_IDLE_S = 60.0, 3.0
LOADED = """
import contextlib, io, json, sys
from corolistener.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["-l"])
print(json.dumps(sorted(sys.modules)))
"""
QUORUM_NOTE = (
    "Quorum callback: as corosync told it on the new master, by whichever of two dispatched it first: a probe process of its"
    " own on corosync's quorum service, at the daemon's priority, or the daemon itself."
)
FIRST_NOTE = "{cause}: the probe was first in {probe} of {count}."
WITNESS_NOTE = (
    "Address: the kernel's netlink news as read by a witness process on the node, or the first ARP, which the daemon sends"
    " afterwards, whichever was earlier. ARP: the kernel's stamp of the frame arriving at the bridge. Token 150 ms, all nodes"
    " on one machine, whose processors the surviving nodes share."
)
LIST_NOTE = "-l: whole processes on a node, spawn to exit, alternating in one run, all at the same real-time priority."
IDLE_NOTE = (
    "Proportional memory flatters three daemons on one machine, which share their libraries; resident is the bound for one."
)

Progress = Callable[[str], None]


class Bench:
    """What the parts share: options, the running scene, and the figures so far."""

    def __init__(self, rounds: int | None, quick: bool, progress: Progress) -> None:
        self.rounds, self.quick, self.progress = rounds, quick, progress
        self.figures: list[Figure] = []

    def count(self, what: str) -> int:
        """How often."""
        return self.rounds or (2 if self.quick else ROUNDS[what])

    def add(self, name: str, unit: str, values: Sequence[float], note: str = "", **goal: float) -> None:
        """One more figure."""
        self.figures.append(Figure(name, unit, tuple(values), note=note, **goal))

    def repeat(self, what: str, happen: Callable[[], Takeover], count: int) -> list[Takeover]:
        """`count` takeovers, one after the other."""
        taken = []
        for number in range(1, count + 1):
            taken.append(happen())
            self.progress(f"{what} {number}/{count}: {ms(taken[-1].began, taken[-1].address):.0f} ms in all")
        return taken


def ms(begin: int, end: int) -> float:
    """Milliseconds between two stamps."""
    return (end - begin) / MS


# -- the parts


def takeover(bench: Bench, scene: Scene) -> None:
    """Kills of the master's node: quorum callback on the new master to address and first ARP."""
    taken = bench.repeat("kill", scene.kill, bench.count("takeover"))
    report(bench, "node killed", taken)


def cuts(bench: Bench, scene: Scene) -> None:
    """Cuts of the master's link: the same, and the master's own callback to address gone."""
    taken = bench.repeat("cut", scene.cut, bench.count("takeover"))
    report(bench, "link cut", taken)
    values = [ms(each.lost, each.gone) for each in taken]
    bench.add("isolated master: own quorum callback → address gone", "ms", values, WITNESS_NOTE, median=20)


def report(bench: Bench, cause: str, taken: list[Takeover]) -> None:
    """The figures of takeovers with one cause."""
    values = [ms(each.quorum, each.address) for each in taken]
    bench.add(f"{cause}: quorum callback → address on the device", "ms", values, QUORUM_NOTE, median=3, most=20)
    values = [ms(each.quorum, each.arp) for each in taken]
    bench.add(f"{cause}: quorum callback → first gratuitous ARP on the wire", "ms", values, WITNESS_NOTE, median=5)
    first = [each.seen_by for each in taken].count("probe")
    values = [ms(each.news or each.quorum, each.address) for each in taken]
    note = FIRST_NOTE.format(cause=cause.capitalize(), probe=first, count=len(taken))
    bench.add(f"{cause}: first news in the daemon → address on the device", "ms", values, note)
    bench.add(f"{cause}: failure → address on the device", "ms", [ms(each.began, each.address) for each in taken])


def clean_stop(bench: Bench, scene: Scene) -> None:
    """Clean stops of the master's node: SIGTERM to address on the next, and corosync's own part."""
    taken = bench.repeat("stop", scene.stop, bench.count("stop"))
    values = [ms(each.began, each.address) for each in taken]
    bench.add("clean stop of the master's node: SIGTERM → address on the next", "ms", values, median=120)
    bench.add("  of it the daemon's own end: SIGTERM → ended", "ms", [ms(each.began, each.ended) for each in taken])
    values = [ms(each.ended, each.quorum) for each in taken]
    bench.add("  corosync's own part: its SIGTERM → quorum callback on the next", "ms", values)


def listing(bench: Bench, scene: Scene) -> None:
    """`corolistener -l` against `corosync-quorumtool -l`, with and without a daemon."""
    _, node = scene.calm()
    raced(bench, node, "with a daemon")
    node.stop_daemon()
    raced(bench, node, "without a daemon")
    node.start_daemon()
    scene.calm()


def raced(bench: Bench, node: Node, how: str) -> None:
    """Both programs, and an interpreter that only imports."""
    bench.progress(f"-l {how}")
    ours, theirs = [*daemon_argv()[:1], "-l"], ["corosync-quorumtool", "-l"]
    bare = [sys.executable, "-c", "import argparse, json, socket"]
    argv = [sys.executable, "-I", str(STOPWATCH), str(bench.count("list")), *ours, "--", *theirs, "--", *bare]
    listed, tool, interpreter = json.loads(node.run(argv, timeout=600).stdout)
    bench.add(f"corolistener -l {how}", "ms", listed, LIST_NOTE)
    bench.add(f"corosync-quorumtool -l, {how}", "ms", tool, LIST_NOTE)
    bench.add("python -c 'import argparse, json, socket'", "ms", interpreter, LIST_NOTE)
    ratios = [mine / its for mine, its in zip(listed, tool, strict=True)]
    bench.add(f"corolistener -l : corosync-quorumtool -l, {how}", "×", ratios, LIST_NOTE, median=1.5)


def imports(bench: Bench, scene: Scene) -> None:
    """What `-l` imports that it must not, with and without a daemon."""
    _, node = scene.calm()
    with_daemon = loaded(node)
    node.stop_daemon()
    without = loaded(node)
    node.start_daemon()
    scene.calm()
    for how, modules, forbidden in (("with", with_daemon, (*FORBIDDEN, BINDINGS)), ("without", without, FORBIDDEN)):
        bad = [name for name in modules if any(name == each or name.startswith(f"{each}.") for each in forbidden)]
        note = f"Imported by -l {how} a daemon and not allowed: {', '.join(bad)}." if bad else ""
        bench.add(f"forbidden modules imported by -l, {how} a daemon", "modules", [float(len(bad))], note, most=0)
        bench.add(f"modules imported by -l in all, {how} a daemon", "modules", [float(len(modules))])


def loaded(node: Node) -> list[str]:
    """The modules that a `-l` on the node has imported."""
    found: list[str] = json.loads(node.run([sys.executable, "-P", "-c", LOADED]).stdout)
    return [name for name in found if name not in ("contextlib", "io")]


def idle(bench: Bench, scene: Scene) -> None:
    """Memory and CPU of the daemons of a cluster at rest."""
    scene.calm()
    time.sleep(0 if bench.quick else 5)
    seconds = QUICK_IDLE_S if bench.quick else IDLE_S
    bench.progress(f"idle for {seconds:g} s")
    pids = [pid for node in scene.cluster.nodes if (pid := node.pid("daemon"))]
    shares = cost.shares(pids, seconds)
    memory = [cost.rollup(pid) for pid in pids]
    bench.add("idle daemon, three nodes: proportional memory", "MB", [each["Pss"] for each in memory], IDLE_NOTE, median=40)
    bench.add("idle daemon, three nodes: resident memory", "MB", [each["Rss"] for each in memory], IDLE_NOTE)
    bench.add(f"idle daemon, three nodes: CPU over {seconds:g} s", "% of a core", shares, "", median=0.3)


def planned(bench: Bench) -> None:
    """Relocation plans for 1,000 nodes and up to 100,000 VMs."""
    bench.progress("planner")
    found = planner.figures(bench.rounds or (1 if bench.quick else planner.ROUNDS))
    bench.figures += found
    bench.progress(planner.growth(found))


def ledgers(bench: Bench) -> None:
    """How long a ledger of 100,000 VMs takes to open where one of three nodes comes with an older one, in virtual time."""
    taken = opens_within(started(100_000))
    assert taken is not None, "it does not open"
    bench.add("ledger of 100,000 VMs opens", "s", [taken / 1000], "virtual seconds from power on")


def simulated(bench: Bench) -> None:
    """100 nodes with 3,000 VMs for 80 virtual seconds."""
    bench.progress("simulator")
    bench.figures.append(swarm.figure(bench.rounds or 1))


def about_vms(bench: Bench) -> None:
    """VMs on real nodes, in clusters of their own."""
    for figure in vms.figures(bench.rounds, bench.quick, bench.progress):
        bench.figures.append(figure)


Part = Callable[[Bench, Scene], None]
PARTS: dict[str, tuple[Part, ...]] = {
    "takeover": (takeover, cuts),
    "isolated": (cuts,),
    "clean-stop": (clean_stop,),
    "list": (listing,),
    "import": (imports,),
    "idle": (idle,),
}
NODELESS: dict[str, Callable[[Bench], None]] = {"planner": planned, "simulator": simulated, "ledger": ledgers}
"""The parts that need no nodes, nor root."""
VMS = "vms"
"""The part that has clusters of its own: their nodes run libvirtd, and lose VMs."""
NAMES = (*PARTS, VMS, *NODELESS)
IDLE_TIMERS = {"token": 1000}
"""The idle figures are taken with the lab's ordinary timers, as on a real cluster; everything else with the tuned ones."""


def chosen(names: Sequence[str]) -> list[Part]:
    """The parts on real nodes by name, each once, in the order of PARTS."""
    wanted = list(PARTS) if not names or "all" in names else [name for name in PARTS if name in names]
    return list(dict.fromkeys(part for name in wanted for part in PARTS[name]))


def wants(names: Sequence[str], part: str) -> bool:
    """Whether a part is asked for."""
    return not names or part in names or "all" in names


def obstacle(names: Sequence[str]) -> str:
    """Why the machine cannot do what is asked for, in one line; empty when it can."""
    nodes = bool(chosen(names)) or wants(names, VMS)
    return (cannot() if nodes else "") or (vms.cannot() if wants(names, VMS) else "")


def run(bench: Bench, names: Sequence[str], wait_s: float) -> None:
    """Measure. LabError where the machine cannot, AssertionError where a cluster does not come to rest."""
    parts = chosen(names)
    for name, measure in NODELESS.items():
        if wants(names, name):
            place.quiet(wait_s, bench.progress)
            measure(bench)
    for timers, some in (
        (TUNED, [part for part in parts if part is not idle]),
        (IDLE_TIMERS, [part for part in parts if part is idle]),
    ):
        if some:
            place.quiet(wait_s, bench.progress)
            bench.progress("three nodes start")
            with Scene(**timers) as scene:
                for part in some:
                    part(bench, scene)
    if wants(names, VMS):
        place.quiet(wait_s, bench.progress)
        about_vms(bench)


def lines(bench: Bench) -> Iterator[str]:
    """What is printed."""
    yield from table(bench.figures)
    yield ""
    yield from notes(bench.figures)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    top.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(NAMES)} or all (the default)")
    top.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="so many rounds of each (default: 30 takeovers a cause, 15 stops, 9 plans;"
        " of vms 5 kills and cuts, 3 of a node with 30 VMs)",
    )
    top.add_argument("--quick", action="store_true", help="two rounds and a short rest: to see that it works")
    top.add_argument("--wait", type=float, default=0, metavar="S", help="wait up to S seconds for a quiet machine")
    top.add_argument("--json", action="store_true", help="print JSON instead of a table")
    top.add_argument("--readme", action="store_true", help="also write the table into README.md")
    return top


def main() -> int:
    """The program."""
    options = parser().parse_args()
    if unknown := [name for name in options.parts if name not in (*NAMES, "all")]:
        print(f"bench: no part named {unknown[0]!r}; there are: {' '.join(NAMES)} all", file=sys.stderr)
        return 2
    if reason := obstacle(options.parts):
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    start = place.here()
    bench = Bench(options.rounds, options.quick, lambda text: print(f"bench: {text}", file=sys.stderr, flush=True))
    whole = True
    try:
        run(bench, options.parts, options.wait)
    except (LabError, AssertionError) as error:
        print(f"bench: {error}\nbench: what was measured until then:", file=sys.stderr)
        whole = False
    where = f"{start}; load average {place.load():.1f} after"
    if options.json:
        print(json.dumps({"where": where, "figures": [figure.plain() for figure in bench.figures]}, indent=2))
    else:
        print(where, "", *lines(bench), sep="\n")
    if options.readme and whole:
        place.write_readme(bench.figures, where)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
