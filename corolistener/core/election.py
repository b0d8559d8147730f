"""Who is master: a function of values that every member knows.

Rules: behaviour/corolistener.md, "Roles". Highest priority first, equal priorities by the lower node id. A member is
eligible if its daemon is in the group, its corosync.conf is the agreed one (or newer) and it is not disallowed. With a
database, a node with `replication: off` is eligible only while no node with replication is a member, or has a daemon that is
being restarted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from corolistener.core.config import ConfigId, NodeEntry
from corolistener.ids import NodeId


class Ineligible(Enum):
    """Why a member cannot be master."""

    UNLISTED = "not-in-nodelist"
    CONFIG = "config-differs"
    DISALLOWED = "disallowed"
    REPLICATION = "replication-off"
    UNABLE = "cannot-serve"
    """It cannot hold what a master holds."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member as the election sees it. `entry` is None where the agreed nodelist does not have it."""

    id: NodeId
    entry: NodeEntry | None
    file: ConfigId
    disallowed: bool = False
    unable: bool = False


def rank(entries: Iterable[NodeEntry]) -> tuple[NodeEntry, ...]:
    """Highest priority first, equal ones by id."""
    return tuple(sorted(entries, key=lambda entry: (-entry.priority, entry.id)))


def obstacles(candidate: Candidate, agreed: ConfigId, replicated: bool) -> tuple[Ineligible, ...]:
    """Everything that keeps this member from being master; `replicated`: a member with a database replica exists."""
    found = []
    if candidate.entry is None:
        found.append(Ineligible.UNLISTED)
    if candidate.file.version < agreed.version or (
        candidate.file.version == agreed.version and candidate.file.sha256 != agreed.sha256
    ):
        found.append(Ineligible.CONFIG)
    if candidate.disallowed:
        found.append(Ineligible.DISALLOWED)
    if replicated and candidate.entry is not None and candidate.entry.replication is False:
        found.append(Ineligible.REPLICATION)
    if candidate.unable:
        found.append(Ineligible.UNABLE)
    return tuple(found)


def has_replica(
    candidates: Iterable[Candidate], agreed: ConfigId, database: bool, returning: Iterable[NodeEntry | None] = ()
) -> bool:
    """A member holds a replica and could be master, so that nodes without one have to stand back: also where it is unable now,
    because another node would begin without the data; and where its daemon is merely being restarted (`returning`)."""
    replicas = [each for each in candidates if database and each.entry is not None and each.entry.replication]
    awaited = database and any(entry is not None and entry.replication for entry in returning)
    return awaited or any(set(obstacles(each, agreed, False)) <= {Ineligible.UNABLE} for each in replicas)


def elect(
    candidates: Iterable[Candidate], agreed: ConfigId, database: bool = False, returning: Iterable[NodeEntry | None] = ()
) -> NodeId | None:
    """The master among `candidates`, or None where nobody is eligible. `returning`: nodes whose daemons are being restarted.

    Where nobody who could be master has the agreed file any more, the newest file among them counts: else a file edited
    by hand could leave the cluster without anybody to put it right. Where all who could be master are unable, the best of them
    is master.
    """
    candidates = tuple(candidates)
    replicated = has_replica(candidates, agreed, database, returning)
    against = {each: obstacles(each, agreed, replicated) for each in candidates}
    eligible = [each for each in candidates if not against[each]]
    eligible = eligible or [each for each in candidates if against[each] == (Ineligible.UNABLE,)]
    if not eligible:
        spare = [each for each in candidates if against[each] == (Ineligible.CONFIG,)]
        spare = spare or [each for each in candidates if against[each] == (Ineligible.CONFIG, Ineligible.UNABLE)]
        newest = max((each.file for each in spare), default=agreed)
        eligible = [each for each in spare if each.file == newest]
    return next((entry.id for entry in rank(each.entry for each in eligible if each.entry is not None)), None)


def swapped(entries: Iterable[NodeEntry], master: NodeId) -> tuple[tuple[NodeId, int], ...]:
    """The priorities that change when `master` takes the highest one and its holder gets the master's; () for none.

    The numbers stay the administrator's. Where the highest priority is the master's already, nothing changes.
    """
    ranked = rank(entries)
    own = next((entry for entry in ranked if entry.id == master), None)
    if own is None or own.priority == ranked[0].priority:
        return ()
    return tuple(sorted(((master, ranked[0].priority), (ranked[0].id, own.priority))))
