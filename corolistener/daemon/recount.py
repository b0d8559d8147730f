"""Quorum that a reload has cost, where votequorum does not find it again although all expect what they did before.

At a reload every node reads its own file and announces what it expects, but only if that is new to it, and only an
announcement lets the quorum fall. Where files differ meanwhile (every node takes a change back for itself, and reloads) the
announcements can cross so that all expect 3 votes in the end and yet ask for 4. No later reload changes that, since what is
read is new to nobody (seen on 3.1.7). Somebody has to tell votequorum outright what it expects.
"""

import asyncio
import contextlib
import logging
import time

from corolistener.corosync.errors import CsError
from corolistener.corosync.quorum import QuorumChanged
from corolistener.corosync.values import RingId
from corolistener.corosync.votequorum import Info, VoteQuorum
from corolistener.daemon.notes import Log

EVERY_S, LOOKS = 0.5, 100


class Recount:
    """Looks on while there is no quorum on a ring that had it: no node was lost, so a reload or an operator did that.

    Quorum is lowered to a majority of what this corosync itself expects: to what a reload would have made of it, had the
    announcements not crossed. Those under way have EVERY_S to arrive.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seen: tuple[RingId, bool] | None = None
        self._left = 0
        self._looking: asyncio.Task[None] | None = None

    def quorum_changed(self, value: QuorumChanged) -> None:
        """corosync's word on quorum, as it comes."""
        lost = self._seen == (value.ring, True) and not value.quorate
        self._seen = (value.ring, value.quorate)
        self._left = LOOKS if lost else 0
        if lost and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    def forget(self) -> None:
        """The connection to corosync is gone."""
        self._seen, self._left = None, 0

    async def _look(self) -> None:
        while self._left:
            self._left -= 1
            await asyncio.sleep(EVERY_S)
            expected = await asyncio.to_thread(_recount)
            if expected:
                self._log.say(logging.WARNING, "votes-recounted", expected=expected)


def _recount() -> int:
    """Tell votequorum what it expects, if it asks for more votes than that takes, and still does in EVERY_S. Returns what it
    was told; 0 where it was right, or cannot be told: without corosync, and where too few are here for quorum anyhow."""
    with contextlib.suppress(CsError), VoteQuorum() as votes:
        if _right(votes.getinfo(0)):
            return 0
        time.sleep(EVERY_S)
        info = votes.getinfo(0)
        if not _right(info):
            votes.setexpected(info.expected_votes)
            return info.expected_votes
    return 0


def _right(info: Info) -> bool:
    return info.quorum <= max(info.expected_votes, info.total_votes) // 2 + 1
