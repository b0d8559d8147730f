"""Who may be serving out of sight, as a new line and those who remember have it."""

from corolistener.core.group import Formed
from corolistener.core.state import State
from corolistener.core.view import Epoch
from corolistener.ids import Instant, NodeId


def take(s: State, formed: Formed, now: Instant) -> None:
    """Of those that may be serving, nodes in the ring that were declared absent count as unattended. Of those known here to
    have served, so does one that has come back to the ring without its daemon."""
    known = {node for node, since in s.claims.items() if since is not None} - s.doubted
    s.claims = _claims(s, formed, now)
    alone = set(s.group.ring_nodes) - set(s.group.here) - set(s.group.pending)
    silent = (s.absent | s.unattended) - set(formed.peers)
    s.unattended = set(formed.unattended) | (((known & alone) | silent) & set(s.claims))
    s.absent.clear()
    s.doubted &= set(s.claims)


def _claims(s: State, formed: Formed, now: Instant) -> dict[NodeId, Instant | None]:
    """Who may be serving, and since when out of sight: who was not there to see it counts from now."""
    saw = s.me not in formed.left_behind and s.epoch != Epoch()
    claims: dict[NodeId, Instant | None] = {}
    for node in sorted(formed.claims):
        known = s.claims.get(node) if saw else None
        claims[node] = None if node in formed.peers or node in s.group.pending else known if known is not None else now
    return claims


def doubt(s: State, now: Instant) -> None:
    """Where those who remember are no quorum, any absent node may have served a line unknown here, up to this moment; but not
    while I act."""
    present = set(s.group.present)
    if not s.acting and not s.quorum.trusts(s.remembering & present):
        for entry in s.nodes:
            if entry.id not in present and entry.id not in s.group.pending:
                s.doubted |= {entry.id} - set(s.claims)
                s.claims[entry.id] = now
