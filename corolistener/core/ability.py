"""Whether this node could hold what a master holds, and what it tells the others about that (safety.md, rule 17).

Its daemon probes directories, device and hook before they are needed. A problem that lasts makes the node ineligible. The node
is eligible again when its probe has found nothing for much longer, so that a disk that comes and goes moves the master once.
"""

from corolistener.core.actions import Multicast
from corolistener.core.events import Probed
from corolistener.core.messages import Able
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

UNABLE_MS = 10_000
ABLE_AGAIN_MS = 30_000
WHY_MOST = 200
"""Characters of a reason that the others are told."""


def probed(s: State, event: Probed, now: Instant) -> None:
    """The newest look. What the first one of a process finds counts at once: a restart must not make a node eligible."""
    ability, why = s.ability, "; ".join(event.problems)[:WHY_MOST]
    if not ability.looked and why:
        ability.unable = why
    if not ability.looked or bool(why) is not bool(ability.found):
        ability.since = now
    ability.looked, ability.found = True, why
    if ability.unable and why:
        ability.unable = why


def proceed(s: State, now: Instant) -> None:
    """Count what the probes have found for long enough, and tell the others."""
    ability = s.ability
    due = _due(s)
    if due is not None and now >= due:
        ability.unable = ability.found
    peer = s.group.peers.get(s.me)
    if peer is None or not s.group.settled:
        return
    if peer.unable != ability.unable and ability.told != (s.group.line, ability.unable):
        ability.told = s.group.line, ability.unable
        s.out.do(Multicast(Able(ability.unable)))


def delivered(s: State, sender: NodeId, message: Able) -> None:
    """A member cannot hold what a master holds, or can again."""
    if s.group.able(sender, message.why) and message.why:
        s.out.note(NoteCode.UNABLE, node=sender, why=message.why)


def _due(s: State) -> Instant | None:
    """When the last finding counts, if no later probe finds another one."""
    ability = s.ability
    if bool(ability.found) is bool(ability.unable):
        return None
    return Instant(ability.since + (UNABLE_MS if ability.found else ABLE_AGAIN_MS))


def deadline(s: State) -> Instant | None:
    """When to look again."""
    return _due(s)
