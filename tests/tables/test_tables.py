"""Every line of every table is true."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from corolistener.core.config import Cluster, Config, ConfigId, NodeEntry
from corolistener.core.duties import Duties, Duty, DutyName, wanted
from corolistener.core.election import Candidate, elect, has_replica, obstacles
from corolistener.core.group import Group, Peer
from corolistener.core.lease import Quorum
from corolistener.core.lifecycle import Mode
from corolistener.core.mastership import may_act
from corolistener.core.processes import Processes
from corolistener.core.state import State
from corolistener.core.storing import Storing
from corolistener.core.view import RingId
from corolistener.ids import Instant, NodeId, Ticket

HERE = Path(__file__).parent
AGREED = ConfigId(5, "5")
FILES = {"old": ConfigId(4, "4"), "other": ConfigId(5, "x"), "new": ConfigId(6, "6")}
RING = RingId(8, NodeId(1))
NOW = Instant(1000)
Row = dict[str, str]


def rows(name: str) -> list[object]:
    return [pytest.param(row, id=" ".join(" ".join(row.values()).split()) or "empty") for row in _rows(name)]


def _rows(name: str) -> Iterator[Row]:
    lines = [line for line in (HERE / name).read_text().splitlines() if line and not line.startswith("#")]
    head = [word.strip() for word in lines[0].split("|")]
    for line in lines[1:]:
        yield dict(zip(head, (cell.strip() for cell in line.split("|")), strict=True))


def _candidate(text: str) -> Candidate:
    head, *words = text.split("/")
    node, priority = head.split(":")
    replication = True if "on" in words else False if "off" in words else None
    entry = NodeEntry(NodeId(int(node)), priority=0 if priority == "-" else int(priority), replication=replication)
    file = next((FILES[word] for word in words if word in FILES), AGREED)
    return Candidate(entry.id, None if "unl" in words else entry, file, "dis" in words)


@pytest.mark.parametrize("row", rows("election.txt"))
def test_election(row: Row) -> None:
    words = row["members"].split()
    members = [_candidate(text) for text in words if not text.endswith("/ret")]
    returning = [_candidate(text.removesuffix("/ret")).entry for text in words if text.endswith("/ret")]
    database = row["database"] == "yes"
    for order in (members, members[::-1]):
        assert str(elect(order, AGREED, database, returning) or "-") == row["master"]
    replicated = has_replica(members, AGREED, database, returning)
    against = [f"{each.id}:{why.value}" for each in members for why in obstacles(each, AGREED, replicated)]
    assert " ".join(against) == row["against"]


def _state(row: Row) -> State:
    listed = tuple(NodeEntry(NodeId(n)) for n in (1, 2, 3))
    config = Config(NodeId(1), "boot", "run", Cluster(AGREED, "vm", listed))
    members = tuple(NodeId(int(text)) for text in row["members"].split())
    group = Group(NodeId(1), RING, (NodeId(1), NodeId(2), NodeId(3)), members, NodeId(1) in members, formed_once=True)
    group.peers = {node: Peer("boot", "run", AGREED) for node in members}
    group.open = row["line"] == "open"
    group.down = {NodeId(3)} if row["line"] == "down" else set()
    s = State(config, group, Processes(NodeId(1)), Storing(NodeId(1), AGREED, config.cluster), AGREED, listed, False)
    s.mode, s.master = Mode(row["mode"]), NodeId(int(row["master"])) if row["master"] != "-" else None
    ring = RingId(4, NodeId(1)) if row["quorum"] == "old" else RING
    votes = {NodeId(n): 1 for n in (1, 2, 3)}
    s.quorum = Quorum(ring, row["quorum"] != "lost", 2, votes, exclusive=row["quorum"] != "both")
    s.lease.ends = Instant(NOW + 1) if row["lease"] == "yes" else Instant(NOW)
    s.claims = {"-": {}, "here": {NodeId(2): None}, "gone": {NodeId(2): Instant(0)}}[row["former"]]
    s.acting = row["before"] == "yes"
    return s


@pytest.mark.parametrize("row", rows("roles.txt"))
def test_roles(row: Row) -> None:
    assert may_act(_state(row), NOW) is (row["acting"] == "yes")


def _duty(name: DutyName, sign: str) -> Duty:
    had = {"-": False, "+": True, "f": True}.get(sign)
    toward, tried = sign in "+>xf", sign in "+xy"
    ticket = Ticket(1) if sign in "<>" else None
    return Duty(name, had, sign == "f", ticket=ticket, toward=toward, tried=tried)


@pytest.mark.parametrize("row", rows("duties.txt"))
def test_duties(row: Row) -> None:
    letters = dict(zip("ADLSR", DutyName, strict=True))
    signs = row["A D L S R"].split()
    duties = Duties(*(_duty(name, sign) for name, sign in zip(DutyName, signs, strict=True)))
    acting, planned = row["acting"] == "yes", row["acting"] == "planned"
    wishes = wanted(duties, acting, row["former"] == "-", planned, row["cloud"] == "yes")
    assert " ".join(letter for letter, name in letters.items() if wishes[name]) == row["wanted"]
