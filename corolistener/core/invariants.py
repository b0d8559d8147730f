"""What must never be, on one node; looked at after every step, in production too.

The invariants across nodes (one master per ring, the service once) need to see all nodes: the simulator checks them.
"""

from collections.abc import Callable

from corolistener.core import care, keeping, mastership, moves, recovery, unreconciled, watchdog
from corolistener.core.actions import (
    Action,
    FeedWatchdog,
    Fence,
    HoldAddress,
    InstallConfig,
    KillNode,
    MigrateVm,
    Multicast,
    ResumeVm,
    StartService,
    StartVm,
    TakeDatabase,
    TakeLock,
)
from corolistener.core.ledger import unlawful
from corolistener.core.lifecycle import MODES, Mode
from corolistener.core.machine import Core
from corolistener.core.messages import Entries
from corolistener.core.state import State
from corolistener.errors import InvariantViolation
from corolistener.ids import Instant

Check = Callable[[State, list[Action], Instant], str | None]


def _acting_needs_a_lease(s: State, actions: list[Action], now: Instant) -> str | None:
    if s.acting and not s.lease.valid(now):
        return f"acting, lease ends {s.lease.ends}, now {now}"
    return None


def _acting_needs_quorum(s: State, actions: list[Action], now: Instant) -> str | None:
    if s.acting and not s.quorum.quorate:
        return f"acting in {s.group.ring} without quorum"
    return None


def _acting_means_elected(s: State, actions: list[Action], now: Instant) -> str | None:
    if s.acting and (s.master != s.me or s.me not in s.group.peers):
        return f"acting, master is {s.master}, line {sorted(s.group.peers)}"
    return None


def _taking_means_acting(s: State, actions: list[Action], now: Instant) -> str | None:
    taking = [a for a in actions if isinstance(a, HoldAddress | TakeLock | TakeDatabase | StartService)]
    if taking and not s.acting:
        return f"not acting, yet {taking[0]}"
    late = [a for a in taking if now >= a.until.not_after]
    return f"already over: {late[0]}" if late else None


def _service_only_when_cleared(s: State, actions: list[Action], now: Instant) -> str | None:
    if not any(isinstance(action, StartService) for action in actions) or s.duties.service.failures:
        return None
    others = {node: since for node, since in s.claims.items() if node != s.me}
    silent = s.unattended
    waiting = {n: since for n, since in others.items() if since is None or n in silent or now < mastership.vacated(s, n, since)}
    claims = {n: since for n, since in waiting.items() if since is None or not mastership.proven(s, n)}
    return f"service started while {claims} may serve" if claims else None


def _versions_rise(s: State, actions: list[Action], now: Instant) -> str | None:
    for action in actions:
        if isinstance(action, InstallConfig) and action.config.version <= s.storing.file.version:
            return f"install {action.config} over {s.storing.file}"
    return None


def _runs_where_placed(s: State, actions: list[Action], now: Instant) -> str | None:
    """Nothing is started or resumed but under the lease, by a stable placement with this node, and outside a panic.

    What is not in our care needs no placement: it is resumed where this node suspended it (strangers.amends).
    """
    for action in actions:
        if not isinstance(action, StartVm | ResumeVm | MigrateVm):
            continue
        name = action.vm.name if isinstance(action, StartVm) else action.name
        row, copy = s.keeping.ledger.placements.get(name), s.copies.vms.get(name)
        if row is None and copy is not None:
            row = s.keeping.ledger.row_of(copy.vm)  # it was renamed, and the ledger has its former name
        if not care.licensed(s, now) or s.copies.held or s.keeping.ledger.panic is not None:
            return f"{action} without leave"
        if isinstance(action, ResumeVm) and copy is not None and copy.foreign:
            continue
        if row is None or row.node != s.me or row.frozen or not keeping.firm(s, row.vm.name, keeping.stable(s)):
            return f"{action}, placed {row}"
        if bool(row.to) != isinstance(action, MigrateVm):
            return f"{action}, and the vm moves: {row}"
    return None


def _changes_are_lawful(s: State, actions: list[Action], now: Instant) -> str | None:
    for action in actions:
        if isinstance(action, Multicast) and isinstance(action.message, Entries):
            ledger, rows = s.keeping.ledger, action.message.rows
            if not s.acting or (ledger.panic is not None and (rows.placed or rows.proven or rows.forgotten)):
                return f"the ledger is changed by node {s.me}: acting {s.acting}, panic {ledger.panic}"
            here = [node for node in (each.node for each in rows.proven) if recovery.here(s, node)]
            if here:
                return f"a proof about node {here[0]}, which is here"
            if why := unlawful(ledger, rows, lambda row, node: moves.released(s, row, node)):
                return why
    return None


def _fed_lawfully(s: State, actions: list[Action], now: Instant) -> str | None:
    for action in actions:
        if isinstance(action, FeedWatchdog):
            leased = action.until is not None and care.licensed(s, now) and not s.copies.held
            if not leased and not watchdog.suspended(s) and not watchdog.spared(s, now):
                return "fed without a lease, and not everything is confirmed suspended"
    return None


def _fences_only_the_lost(s: State, actions: list[Action], now: Instant) -> str | None:
    for action in actions:
        if isinstance(action, Fence) and (not s.acting or recovery.here(s, action.node) or s.keeping.ledger.panic is not None):
            return f"fences node {action.node}"
    return None


def _ends_only_the_unreconciled(s: State, actions: list[Action], now: Instant) -> str | None:
    for action in actions:
        if isinstance(action, KillNode):
            peer = s.group.peers.get(action.node)
            if not s.acting or peer is None or not peer.disallowed or not unreconciled.may_be_ended(s, action.node):
                return f"ends corosync on node {action.node}"
    return None


STANDING: dict[str, Check] = {
    "acting-needs-a-lease": _acting_needs_a_lease,
    "acting-needs-quorum": _acting_needs_quorum,
    "acting-means-elected": _acting_means_elected,
}
"""Those that a step without any action can break, too."""
CHECKS: dict[str, Check] = {
    **STANDING,
    "taking-means-acting": _taking_means_acting,
    "service-only-when-cleared": _service_only_when_cleared,
    "versions-rise": _versions_rise,
    "runs-where-placed": _runs_where_placed,
    "changes-are-lawful": _changes_are_lawful,
    "fed-lawfully": _fed_lawfully,
    "fences-only-the-lost": _fences_only_the_lost,
    "ends-only-the-unreconciled": _ends_only_the_unreconciled,
}


def check(core: Core, actions: list[Action], before: Mode, now: Instant) -> None:
    """Raises InvariantViolation for the first one that does not hold after a step from mode `before`."""
    s = core.state
    for name, holds in (CHECKS if actions else STANDING).items():
        evidence = holds(s, actions, now)
        if evidence is not None:
            raise InvariantViolation(name, evidence)
    if s.mode is not before and s.mode not in MODES[before]:
        raise InvariantViolation("modes", f"{before.value} -> {s.mode.value}")
