"""A takeover told in the order in which it happened: what every witness, probe and log has seen of it, with times in ms."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import stamps
from bench.stamps import MS, Fact, Line

QUORUM, RELOADED, RUNS = "quorum callback", "reloaded everywhere", "runs"


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at `wall` (ns); `by` says who saw it."""

    wall: int
    node: str
    what: str
    by: str = ""


def told(node: str, line: Line) -> Moment | None:
    """What a line of the daemon's log adds to the story; None where it adds nothing."""
    lost = line.fields.get("node", "") if line.code in ("fencing", "proven") else ""
    vm = line.fields.get("vm", "")
    version = f"corosync.conf version {line.fields.get('version', '?')}"
    words = {
        ("view", ""): QUORUM,  # the first one of a ring that only lost nodes comes with it
        ("lock-taken", "service"): "lock file .lock.vmmgr.service",
        ("lock-taken", "relocated"): "lock file .lock.vmmgr.relocated",
        ("role", "master"): "becomes master",
        ("config-offered", ""): f"{version} offered to the others",
        ("config-stored", ""): f"{version} stored",
        ("config-committed", ""): f"{version} {RELOADED}",
        ("fencing", lost): f"asks the fence agent of n{lost}",
        ("proven", lost): f"n{lost} runs nothing: proof by {line.fields.get('proof', '?')}",
        ("vm-started", vm): f"VM {vm} created, suspended",
        ("vm-resumed", vm): f"VM {vm} {RUNS}",
    }
    detail = line.fields.get("lock") or line.fields.get("role") or lost or vm
    what = words.get((line.code, detail))
    return Moment(line.wall, node, what, "log") if what else None


def noticed(node: str, fact: Fact, ip: str, lost: int) -> Moment | None:
    """What a witness or probe on a node adds: the address, and corosync's word on a ring without the node `lost`."""
    wall = int(fact["wall"])
    if fact["kind"] == "quorum" and lost not in fact["nodes"]:
        return Moment(wall, node, QUORUM, "probe")
    if stamps.held(ip)(fact):
        return Moment(wall, node, f"{ip}/{fact['prefix']} on {fact['device']}", "netlink")
    return None


def spoken(facts: Iterable[Fact], ip: str, stations: Mapping[str, str]) -> Moment | None:
    """The first gratuitous ARP on the wire; `stations` gives nodes by hardware address."""
    for fact in facts:
        if fact["kind"] == "arp" and fact["gratuitous"] and fact["sender"] == ip and fact["mac"] in stations:
            return Moment(int(fact["wall"]), stations[fact["mac"]], "first gratuitous ARP on the wire", "bridge")
    return None


def first_each(moments: Iterable[Moment]) -> list[Moment]:
    """In order of time, cause before effect, and of what was seen twice on a node the first sight alone."""
    found: dict[tuple[str, str], Moment] = {}
    for moment in sorted(moments, key=lambda moment: (moment.wall, moment.what != QUORUM, moment.node, moment.what)):
        found.setdefault((moment.node, moment.what), moment)
    return list(found.values())


def waits(lines: Iterable[Line]) -> int | None:
    """For how many ms the new master has the service wait, if it does."""
    return next((int(line.fields["ms"]) for line in lines if line.code == "service-waits" and "ms" in line.fields), None)


def rows(moments: Sequence[Moment], began: int, quorum: int | None) -> Iterator[str]:
    """One line a moment: ms since `began`, ms since the new master's quorum callback, node, what, who saw it."""
    for moment in moments:
        since = f"{(moment.wall - began) / MS:10.1f}"
        after = f"{(moment.wall - quorum) / MS:+10.1f}" if quorum is not None else f"{'':10}"
        yield f"{since} {after}   {moment.node:<4} {moment.what:<46} {moment.by}".rstrip()


HEAD = f"{'ms since':>10} {'ms since':>10}\n{'the kill':>10} {'callback':>10}   {'node':<4} {'what':<46} seen by"
