"""Each sentence of core/invariants is said when it is broken, and not when it is not."""

from dataclasses import replace
from typing import Any

import pytest

from corolistener.core import invariants
from corolistener.core.actions import (
    Action,
    FeedWatchdog,
    Fence,
    InstallConfig,
    KillNode,
    Lock,
    MigrateVm,
    Multicast,
    Reason,
    ResumeVm,
    StartService,
    StartVm,
    TakeLock,
    Until,
)
from corolistener.core.capacity import Vm
from corolistener.core.config import Care, Cluster, Config, ConfigId, ProofKind
from corolistener.core.group import Peer
from corolistener.core.instance import Copy
from corolistener.core.ledger import Panic, Placed, Proven, Rows, Version
from corolistener.core.lifecycle import Mode
from corolistener.core.machine import Core
from corolistener.core.messages import Entries
from corolistener.core.reports import VmState
from corolistener.core.view import RingId
from corolistener.errors import InvariantViolation
from corolistener.ids import Instant, NodeId, Ticket, VmName

ME, OTHER, GONE, NOW = NodeId(1), NodeId(2), NodeId(3), Instant(1000)
RING, VERSION, FILE = RingId(8, ME), Version(8, 0, 7, "run-1"), ConfigId(3, "sha")
UNTIL, T = Until(RING, Instant(5000)), Ticket(1)
A = Vm(VmName("a"), 1024, 1)
ROW = Placed(A, ME, 4)


def acting(*rows: Placed) -> Core:
    """A master of a line of two under a lease, its ledger stable."""
    core = Core(Config(ME, "boot", "run-1", Cluster(FILE, "VMmanager", ()), care=Care(hypervisor=True)))
    s = core.state
    s.mode, s.master, s.acting = Mode.RUNNING, ME, True
    s.group.ring, s.group.ring_nodes, s.group.members, s.group.joined = RING, (ME, OTHER), (ME, OTHER), True
    s.group.peers = {node: Peer(f"boot-{node}", f"run-{node}", FILE) for node in (ME, OTHER)}
    s.quorum.ring, s.quorum.quorate, s.lease.ends = RING, True, Instant(5000)
    s.keeping.version, s.keeping.open, s.keeping.reached = VERSION, True, 7
    s.keeping.ledger.take(Rows(placed=rows))
    s.copies.known = True
    return core


def said(core: Core, *actions: Action, before: Mode = Mode.RUNNING, now: int = NOW) -> str:
    """The name of what is broken, or ''."""
    try:
        invariants.check(core, list(actions), before, Instant(now))
    except InvariantViolation as violation:
        return violation.name
    return ""


def proposal(**rows: Any) -> Multicast:
    return Multicast(Entries(VERSION, Rows(**rows)))


def test_nothing_is_said_of_what_is_lawful() -> None:
    core = acting(ROW)
    lawful = [
        StartVm(T, A, 4, UNTIL, Reason.PLACED),
        TakeLock(T, Lock.SERVICE, UNTIL, Reason.ELECTED),
        StartService(T, UNTIL, (), Reason.ELECTED),
        FeedWatchdog(T, UNTIL),
        FeedWatchdog(T, None),
        InstallConfig(T, ConfigId(4, "sha"), b""),
        Fence(T, GONE, "boot-3", UNTIL),
        proposal(placed=(replace(ROW, on=False),), proven=(Proven(GONE, "boot-3", ProofKind.AGENT),)),
    ]
    assert said(core, *lawful) == ""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda s: setattr(s.lease, "ends", NOW), "acting-needs-a-lease"),
        (lambda s: setattr(s.quorum, "quorate", False), "acting-needs-quorum"),
        (lambda s: setattr(s, "master", OTHER), "acting-means-elected"),
        (lambda s: s.group.peers.pop(ME), "acting-means-elected"),
        (lambda s: setattr(s, "mode", Mode.ADOPTING), "modes"),
    ],
)
def test_what_an_acting_node_is(change: Any, name: str) -> None:
    core = acting()
    change(core.state)
    assert said(core) == name


@pytest.mark.parametrize("idle", [False, True])
def test_only_who_acts_takes_and_not_too_late(idle: bool) -> None:
    core = acting()
    core.state.acting = not idle
    late = TakeLock(T, Lock.SERVICE, Until(RING, NOW), Reason.ELECTED)
    assert said(core, late) == "taking-means-acting"


def test_the_service_waits_for_former_masters() -> None:
    core, start = acting(), StartService(T, UNTIL, (), Reason.ELECTED)
    core.state.claims = {ME: None, GONE: NOW}
    assert said(core, start) == "service-only-when-cleared"
    core.state.duties.service.failures = 1
    assert said(core, start) == "", "it was cleared when it was tried first"
    core.state.duties.service.failures, core.state.claims = 0, {OTHER: None}
    assert said(core, start) == "service-only-when-cleared"


def test_an_older_file_is_not_installed() -> None:
    assert said(acting(), InstallConfig(T, ConfigId(3, "other"), b"")) == "versions-rise"


RESUME = ResumeVm(T, A.name, UNTIL, Reason.PLACED)
MIGRATE = MigrateVm(T, A.name, OTHER, "192.0.2.2", UNTIL, Reason.ORDERED)


@pytest.mark.parametrize(
    ("row", "action", "change"),
    [
        (ROW, RESUME, lambda s: setattr(s.copies, "held", True)),
        (ROW, RESUME, lambda s: setattr(s.keeping.ledger, "panic", Panic("drill"))),
        (ROW, RESUME, lambda s: setattr(s, "mode", Mode.LEAVING)),
        (ROW, RESUME, lambda s: s.keeping.changed.update({A.name: 8})),
        (replace(ROW, node=OTHER), RESUME, lambda s: None),
        (replace(ROW, frozen="runs twice"), RESUME, lambda s: None),
        (None, RESUME, lambda s: None),
        (replace(ROW, to=OTHER), RESUME, lambda s: None),
        (ROW, MIGRATE, lambda s: None),
    ],
)
def test_a_vm_runs_where_it_is_placed(row: Placed | None, action: Action, change: Any) -> None:
    core = acting(*([row] if row is not None else []))
    change(core.state)
    assert said(core, action, before=core.state.mode) in ("runs-where-placed", "acting-needs-a-lease")


def test_what_moves_is_migrated() -> None:
    assert said(acting(replace(ROW, to=OTHER)), MIGRATE) == ""


def test_a_renamed_vm_is_resumed_by_the_row_that_has_its_uuid() -> None:
    """The ledger may have its former name still (rule 9)."""
    core, resume = acting(replace(ROW, vm=replace(A, uuid="u-1"))), replace(RESUME, name=VmName("renamed"))
    assert said(core, resume) == "runs-where-placed"
    core.state.copies.vms[VmName("renamed")] = Copy(Vm(VmName("renamed"), 1024, uuid="u-1"))
    assert said(core, resume) == ""


def test_changes_of_the_ledger_are_lawful() -> None:
    moved = replace(ROW, node=OTHER, generation=5)
    assert said(acting(ROW), proposal(placed=(moved,))) == "changes-are-lawful"
    assert said(acting(), proposal(proven=(Proven(OTHER, "boot-2", ProofKind.AGENT),))) == "changes-are-lawful"
    core = acting(ROW)
    core.state.keeping.ledger.panic = Panic("drill")
    assert said(core, proposal(placed=(ROW,))) == "changes-are-lawful"
    assert said(core, proposal(calm=True)) == ""
    core = acting()
    core.state.acting = False
    assert said(core, proposal(calm=True)) == "changes-are-lawful"


def test_the_watchdog_is_fed_under_a_lease_or_with_everything_suspended() -> None:
    core = acting()
    core.state.copies.vms[A.name] = Copy(A, VmState.RUNNING)
    assert said(core, FeedWatchdog(T, UNTIL)) == ""
    assert said(core, FeedWatchdog(T, None)) == "fed-lawfully"
    core.state.copies.held = True
    assert said(core, FeedWatchdog(T, UNTIL)) == "fed-lawfully"


def test_corosync_is_ended_only_on_a_member_that_was_left_behind_and_is_not_needed() -> None:
    core, end = acting(), KillNode(T, OTHER, UNTIL)
    core.state.quorum.needed, core.state.quorum.votes = 1, {ME: 1, OTHER: 1}
    assert said(core, end) == "ends-only-the-unreconciled"
    core.state.group.peers[OTHER] = replace(core.state.group.peers[OTHER], disallowed=True)
    assert said(core, end) == ""
    assert said(core, KillNode(T, GONE, UNTIL)) == "ends-only-the-unreconciled"
    core.state.quorum.needed = 2
    assert said(core, end) == "ends-only-the-unreconciled"
    core.state.quorum.needed, core.state.acting = 1, False
    assert said(core, end) == "ends-only-the-unreconciled"


def test_only_the_lost_are_fenced_and_by_the_master_outside_a_panic() -> None:
    assert said(acting(), Fence(T, OTHER, "boot-2", UNTIL)) == "fences-only-the-lost"
    for change in (lambda s: setattr(s, "acting", False), lambda s: setattr(s.keeping.ledger, "panic", Panic("drill"))):
        core = acting()
        change(core.state)
        assert said(core, Fence(T, GONE, "boot-3", UNTIL)) == "fences-only-the-lost"
