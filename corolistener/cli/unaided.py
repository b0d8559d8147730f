"""What corosync alone can tell of the nodes, for `-l` on a node without a daemon.

Every key of cmap is a question of its own to corosync and takes as long as a hundred lines of Python, so only the
needed ones are asked for; who is a member, and whether they are quorate, is one question to the quorum service.
"""

from __future__ import annotations

import itertools
import select
import sys

from corolistener.corosync.cmap import Cmap
from corolistener.corosync.errors import CsError, LibraryUnavailable, NotExist
from corolistener.corosync.quorum import Quorum, QuorumChanged
from corolistener.errors import CorolistenerError

TYPE_CHECKING = False  # part of `corolistener -l`
if TYPE_CHECKING:
    from typing import Any

    Row = dict[str, Any]

PATIENCE_S = 2.0
UNKNOWN = (
    *("version", "protocol", "uptime_ms", "cluster", "node", "role", "mode", "phase", "acting", "quorate", "ring"),
    *("epoch", "master", "waits_for", "lease", "nodes", "config", "file", "address", "service", "locks"),
    *("bad_messages", "ledger", "owed", "proven", "foreign", "unusable", "differences", "panic", "hook"),
)
"""Keys of a status, in its order; what corosync cannot tell stays null. A test compares them with wire/control.py."""


def status_from_corosync(why: str) -> Row:
    """The part of a status that corosync knows. `why` the daemon could not be asked goes to stderr.

    The master is what the rule says, highest priority first and then the lowest id; whether that node acts as one only
    a daemon knows. Raises CorolistenerError where corosync cannot be asked either.
    """
    try:
        with Cmap() as cmap, Quorum() as quorum:
            state = _state(quorum)
            nodes = _nodes(cmap, state.nodes)
    except LibraryUnavailable:
        raise CorolistenerError(f"{why}, and corosync does not run here either: `systemctl start corosync`") from None
    except CsError as error:
        raise CorolistenerError(f"{why}, and corosync cannot be asked: {error}") from None
    print(f"corolistener: {why}; corosync was asked instead, so the master is by priority alone", file=sys.stderr)
    joined = [row for row in nodes if row["status"] == "joined"]
    master = max(joined, key=lambda row: (row["priority"], -row["id"]), default=None) if state.quorate else None
    for row in joined if master else ():
        row["role"] = "M" if row is master else "S"
    return {
        **dict.fromkeys(UNKNOWN),
        "role": "none",
        "quorate": state.quorate,
        "ring": f"{state.ring.node}.{state.ring.seq}",
        "master": master["id"] if master else None,
        "nodes": nodes,
    }


def _state(quorum: Quorum) -> QuorumChanged:
    """corosync's own word on members and quorum. Raises CsError, CorolistenerError if it does not come."""
    quorum.trackstart(current=True, changes=False)
    while True:
        for value in quorum.dispatch():
            if isinstance(value, QuorumChanged):
                return value
        if not select.select([quorum], [], [], PATIENCE_S)[0]:
            raise CorolistenerError(f"corosync does not say whether it is quorate, for {PATIENCE_S:g} s")


def _nodes(cmap: Cmap, members: tuple[int, ...]) -> list[Row]:
    """Every node of the nodelist and every other member, by id, in the shape of a status (wire/control.py)."""
    rows: dict[int, Row] = {}
    for place in itertools.count():
        entry = f"nodelist.node.{place}."
        node = _get(cmap, entry + "nodeid")
        if not isinstance(node, int):
            break
        rows[node] = _row(node, str(_get(cmap, entry + "ring0_addr")), node in members)
        rows[node]["priority"] = _number(_get(cmap, entry + "prio"))
    for node in members:
        if node not in rows:
            rows[node] = _row(node, _first_address(str(_get(cmap, f"runtime.members.{node}.ip"))), True)
    return [rows[node] for node in sorted(rows)]


def _row(node: int, ip: str, joined: bool) -> Row:
    row = {"id": node, "name": None, "ip": ip, "status": "joined" if joined else "left", "role": "-", "priority": 0}
    return {**row, "replication": None, "config_version": None, "member": None, "eligible": None, "why": [], "unable": None}


def _get(cmap: Cmap, key: str) -> object:
    try:
        return cmap.get(key)
    except NotExist:
        return ""


def _first_address(links: str) -> str:
    """corosync writes `r(0) ip(10.0.0.1) r(1) ip(...)`."""
    return links.partition("ip(")[2].partition(")")[0]


def _number(value: object) -> int:
    """A foreign key is a string, and may be anything."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
