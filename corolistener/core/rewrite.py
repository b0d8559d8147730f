"""A rewrite of corosync.conf as a transaction of the cluster: the master's side.

prepare (compute the text) -> install (on the own disk) -> offer -> everybody stored or cannot -> reload -> commit. An
offer that no quorum stored, and one that corosync refuses to reload, is withdrawn. A master that dies in the middle
leaves files of a higher version behind; the next master rolls them forward.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from corolistener.core.actions import Multicast, PrepareConfig, ReloadConfig
from corolistener.core.config import Cluster, ConfigId, Timing
from corolistener.core.events import Outcome, Result
from corolistener.core.lease import Quorum
from corolistener.core.messages import Change, Committed, Offer, Refused, Unstored, Withdrawn
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.core.storing import Storing
from corolistener.ids import Instant, NodeId, Ticket

RELOAD_TRIES = 3


class Cause(Enum):
    """Why corosync.conf is rewritten."""

    TAKEOVER = "takeover"
    PUSHED = "pushed"
    REVERTED = "reverted"
    NODE_ADDED = "node-added"
    NODE_EDITED = "node-edited"
    NODE_REMOVED = "node-removed"
    FOUND_NEWER = "found-newer"
    DIVERGED = "diverged"
    ROLLED_BACK = "rolled-back"


class Stage(Enum):
    """How far the transaction is."""

    IDLE = "idle"
    PREPARING = "preparing"
    INSTALLING = "installing"
    OFFERED = "offered"
    RELOADING = "reloading"
    ENDING = "ending"
    """Said to be committed or withdrawn, and not yet delivered."""


@dataclass(frozen=True, slots=True)
class Request:
    """Why a rewrite is made, and for whom. `asked_by` 0 means by ourselves."""

    cause: Cause
    change: Change | None
    asked_by: NodeId = NodeId(0)
    number: int = 0

    @property
    def operators(self) -> bool:
        return self.asked_by != 0


@dataclass(slots=True)
class Rewrite:
    """One transaction at a time; operators' requests wait in `queue`."""

    stage: Stage = Stage.IDLE
    request: Request | None = None
    base: ConfigId = ConfigId()
    cluster: Cluster | None = None
    ticket: Ticket | None = None
    asked: frozenset[NodeId] = frozenset()
    """Who was there when the offer was made: whose answer is waited for."""
    refusals: dict[NodeId, str] = field(default_factory=dict)
    deadline: Instant = Instant(0)
    reloads: int = 0
    failures: int = 0
    retry_at: Instant = Instant(0)
    queue: list[Request] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        return self.stage is Stage.IDLE

    def begin(self, request: Request, agreed: ConfigId, version: int, members: tuple[NodeId, ...], out: Out) -> None:
        """Compute the text of `request.change` on top of the agreed file."""
        self.request, self.base = request, agreed
        self.stage, self.ticket = Stage.PREPARING, out.ticket()
        assert request.change is not None
        out.do(PrepareConfig(self.ticket, agreed, version, request.change, members))

    def roll_forward(
        self, cluster: Cluster, agreed: ConfigId, members: Iterable[NodeId], now: Instant, timing: Timing, out: Out
    ) -> None:
        """Offer a file that I have already: an earlier master died before it came into force."""
        self.request, self.base, self.cluster = Request(Cause.FOUND_NEWER, None), agreed, cluster
        self._offer(members, now, timing, out)

    def abandon(self) -> None:
        """No longer master: whoever is finishes it."""
        self.stage, self.request, self.cluster, self.ticket = Stage.IDLE, None, None, None
        self.queue.clear()

    def _offer(self, members: Iterable[NodeId], now: Instant, timing: Timing, out: Out) -> None:
        assert self.cluster is not None
        assert self.request is not None
        self.stage, self.deadline, self.refusals, self.reloads = Stage.OFFERED, Instant(now + timing.rewrite_ms), {}, 0
        self.asked = frozenset(members)
        request, cluster = self.request, self.cluster
        out.note(NoteCode.OFFERED, version=cluster.id.version, sha=cluster.id.sha256[:8], cause=request.cause.value)
        out.do(Multicast(Offer(cluster.id, self.base, request.cause.value, cluster.nodes, request.asked_by, request.number)))

    def unstored(self, node: NodeId, message: Unstored) -> None:
        """A member cannot store the offered file."""
        if self.stage is Stage.OFFERED and self.cluster is not None and message.config == self.cluster.id:
            self.refusals[node] = message.why or "unknown reason"

    def settle(
        self, files: Mapping[NodeId, ConfigId], storing: Storing, quorum: Quorum, now: Instant, timing: Timing, out: Out
    ) -> None:
        """Go on when the own disk has the text; and when each member has answered, or the time is over."""
        if self.stage is Stage.INSTALLING and not storing.busy:
            self._installed(files, storing, now, timing, out)
        if self.stage is Stage.ENDING and now >= self.deadline:
            self.stage, self.request, self.cluster = Stage.IDLE, None, None
        if self.stage is not Stage.OFFERED or self.cluster is None:
            return
        stored = {node for node, file in files.items() if file == self.cluster.id}
        if (self.asked & set(files)) - stored - set(self.refusals) and now < self.deadline:
            return
        if quorum.holds(stored):
            self.stage, self.ticket = Stage.RELOADING, out.ticket()
            out.do(ReloadConfig(self.ticket, self.cluster.id))
            return
        whys = "; ".join(f"node {n}: {why}" for n, why in sorted(self.refusals.items()) if n not in stored) or "no answer"
        self._withdraw(f"stored by {len(stored)} of {len(files)} members ({whys})", now, timing, out)

    def _installed(self, members: Iterable[NodeId], storing: Storing, now: Instant, timing: Timing, out: Out) -> None:
        if self.cluster is not None and storing.file == self.cluster.id:
            self._offer(members, now, timing, out)
        else:
            self._failed(storing.why, now, timing, out)

    def _withdraw(self, why: str, now: Instant, timing: Timing, out: Out) -> None:
        assert self.cluster is not None
        assert self.request is not None
        request = self.request
        out.do(Multicast(Withdrawn(self.cluster.id, self.base, why, request.asked_by, request.number)))
        self.stage, self.deadline = Stage.ENDING, Instant(now + timing.rewrite_ms)
        if not request.operators:
            self._back_off(now, timing)

    def ended(self, config: ConfigId) -> None:
        """A commit or a withdrawal was delivered."""
        if self.stage is Stage.ENDING and self.cluster is not None and self.cluster.id == config:
            self.stage, self.request, self.cluster = Stage.IDLE, None, None

    def _back_off(self, now: Instant, timing: Timing) -> None:
        self.failures += 1
        pause = timing.retry_first_ms * 2 ** min(self.failures - 1, 16)
        self.retry_at = Instant(now + min(timing.retry_most_ms, pause))

    def finished(self, ticket: Ticket, outcome: Outcome, storing: Storing, now: Instant, timing: Timing, out: Out) -> bool:
        """Take in how an action of mine ended; False if it was not mine."""
        if ticket != self.ticket:
            return False
        self.ticket = None
        if self.stage is Stage.RELOADING:
            self._reloaded(outcome, now, timing, out)
        elif outcome.result is not Result.DONE or outcome.cluster is None or storing.busy:
            self._failed(outcome.why or outcome.result.value, now, timing, out)
        else:
            self.cluster, self.stage = outcome.cluster, Stage.INSTALLING
            storing.put(outcome.cluster.id, outcome.text, out)
        return True

    def _failed(self, why: str, now: Instant, timing: Timing, out: Out) -> None:
        request, self.request, self.cluster, self.stage = self.request, None, None, Stage.IDLE
        assert request is not None
        if request.operators:
            out.do(Multicast(Refused(request.asked_by, request.number, "refused", why)))
            return
        self._back_off(now, timing)
        out.note(NoteCode.EFFECT_FAILED, action=request.cause.value, why=why, again_ms=self.retry_at - now)

    def _reloaded(self, outcome: Outcome, now: Instant, timing: Timing, out: Out) -> None:
        assert self.cluster is not None
        assert self.request is not None
        self.reloads += 1
        done = outcome.result is Result.DONE
        if not done and self.reloads < RELOAD_TRIES and outcome.result is not Result.FAILED:
            self.ticket = out.ticket()
            out.do(ReloadConfig(self.ticket, self.cluster.id))
            return
        if not done:
            self._withdraw(f"corosync did not reload: {outcome.why or outcome.result.value}", now, timing, out)
            return
        request, cluster = self.request, self.cluster
        self.stage, self.deadline, self.failures = Stage.ENDING, Instant(now + timing.rewrite_ms), 0
        out.do(Multicast(Committed(cluster.id, self.base, cluster.nodes, request.operators, request.asked_by, request.number)))
