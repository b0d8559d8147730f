"""Start of a cluster: nodes that no member has seen yet are waited for, because a slow boot is no failure.

`Fencing.met` are the nodes that some member has seen in this life of the cluster. A life begins when all daemons start with
no memory of each other; every Hello says whom its sender has met, so one restarted daemon learns it from the others.
A node that the ledger has VMs on and that was not met is *awaited*: no fence agent is used on it before `start_grace_ms` have
passed under a quorum. Signs of life (its corosync is in the ring, or a link of knet's to it is connected) begin the wait anew,
up to LIVES_MOST times `start_grace_ms`, so that a node whose daemon never comes is fenced in the end.

Only fence agents wait. Deadlines of other proofs run as always, and an operator's order to fence is carried out at once.
Rule: safety.md, "Rules that attacks on the running system added", 16.
"""

from collections.abc import Iterable

from corolistener.core.fencing import Awaited
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

LIVES_MOST = 5


def wait(s: State, owed: Iterable[NodeId], now: Instant) -> None:
    """Count the wait for the nodes that are owed and were not met. Only a member with a lease counts."""
    fencing, grace_ms = s.fencing, s.config.timing.start_grace_ms
    for node in owed:
        if node in fencing.met:
            continue
        awaited = fencing.awaited.get(node)
        if awaited is None:
            awaited = fencing.awaited[node] = Awaited(now, Instant(now + grace_ms))
        alive = _alive(s, node)
        if alive or awaited.alive:
            most = Instant(awaited.since + LIVES_MOST * grace_ms)
            awaited.until = max(awaited.until, min(most, Instant(now + grace_ms)))
        awaited.alive = alive


def _alive(s: State, node: NodeId) -> bool:
    return node in s.group.ring_nodes or node in s.fencing.linked


def over(s: State, node: NodeId, now: Instant) -> bool:
    """Fence agents may be used on this node: a member saw it, or the wait for it is over. The master tells that it waits."""
    if left_ms(s, node, now) == 0:
        s.told.pop(f"awaited-{node}", None)
        return True
    s.tell(f"awaited-{node}", NoteCode.AWAITED, node=node, wait_ms=s.config.timing.start_grace_ms)
    return False


def left_ms(s: State, node: NodeId, now: Instant) -> int:
    """How long fence agents still wait for this node; 0 if they do not."""
    awaited = s.fencing.awaited.get(node)
    if node in s.fencing.met or s.config.timing.start_grace_ms == 0:
        return 0
    if awaited is None:
        return s.config.timing.start_grace_ms
    return max(0, awaited.until - now)


def deadline(s: State) -> list[Instant]:
    """When a wait ends. While the node shows signs of life each pass prolongs the wait, so the instant moves on."""
    return [awaited.until for node, awaited in s.fencing.awaited.items() if node not in s.fencing.met]
