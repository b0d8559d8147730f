"""My corosync.conf: what I have, what I should have, and how I get it. Every member runs this, the master too.

Behaviour, "corosync.conf": members request the text over the ring, store it and acknowledge. Versions only rise; the one
way back is the withdrawal of an offer that never came into force. Should corosync run with a version that was withdrawn,
or is higher for another reason, the file gets a higher one yet: corosync refuses who comes with less than it has seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from corolistener.core.actions import InstallConfig, Multicast, PrepareConfig, ReadConfig, ReloadConfig, WithdrawConfig
from corolistener.core.config import Cluster, ConfigId, Timing
from corolistener.core.events import Outcome, Result
from corolistener.core.messages import Restamp, RevertTo, Stored, Text, Unstored, Wanted
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.ids import Instant, NodeId, Ticket

ASK_AGAIN_MS = 2000
RESTAMP_AGAIN_MS = 30_000


@dataclass(slots=True)
class Storing:
    """`file` names what is on the disk, `cluster` are its facts; `target` is what should be there.

    `running` is the version that corosync works with, 0 where that is not known, `told` what the others know; `writing` is
    what is being put on the disk, `serving` the file whose text I am sending; `alone` is a change made without a master,
    `reload_alone` says that corosync is to read it then.
    """

    me: NodeId
    file: ConfigId
    cluster: Cluster
    running: int = 0
    told: Stored = Stored(ConfigId())
    target: ConfigId | None = None
    ask_at: Instant = Instant(0)
    failures: int = 0
    writing: ConfigId | None = None
    install: Ticket | None = None
    withdraw: Ticket | None = None
    back: tuple[ConfigId, ConfigId] | None = None
    """What is being taken back, and the file before it."""
    serve: Ticket | None = None
    serving: ConfigId | None = None
    alone: Ticket | None = None
    reload_alone: bool = False
    restamp_at: Instant = Instant(0)
    seen: Cluster | None = None
    why: str = ""
    """Why the last writing failed."""

    @property
    def busy(self) -> bool:
        """The disk is being written: what is on it will be known later."""
        return self.install is not None or self.withdraw is not None

    def tell(self) -> Stored | None:
        """What the others do not know yet of my file, or None."""
        now = Stored(self.file, self.running)
        if self.busy or now == self.told:
            return None
        self.told = now
        return now

    def found(self, cluster: Cluster) -> bool:
        """This is what is on the disk, by somebody else's hand; True if that is news. What is being written may replace it:
        how that ends will tell."""
        self.seen = cluster if self.busy else None
        if self.busy or cluster.id == self.file:
            return False
        self.file, self.cluster = cluster.id, cluster
        return True

    def aim(self, target: ConfigId | None, now: Instant) -> None:
        """This file is to be had; None for the one that is there."""
        if target != self.target:
            self.target, self.failures, self.ask_at = target, 0, now

    def ask(self, holders: Iterable[NodeId], now: Instant, out: Out) -> None:
        """Request the text from one of those who have it, again and again until it is here."""
        source = min(holders, default=None)
        if self.target is not None and source is not None and not self.busy and now >= self.ask_at:
            self.ask_at = Instant(now + ASK_AGAIN_MS)
            out.do(Multicast(Wanted(self.target, source)))

    def deadline(self) -> list[Instant]:
        """When to ask again, or to give the file a version that corosync will take."""
        asks, stale = self.target is not None and not self.busy, self.running > self.file.version
        return [self.ask_at] * asks + [self.restamp_at] * stale

    def wanted(self, message: Wanted, out: Out) -> None:
        """Somebody asks me. One text in flight serves everybody who asked before it is delivered."""
        if message.of == self.me and message.config == self.file and self.serving != self.file:
            self.serving, self.serve = self.file, out.ticket()
            out.do(ReadConfig(self.serve, self.file))

    def text(self, message: Text, sender: NodeId, out: Out) -> None:
        if sender == self.me:
            self.serving = None
        elif message.config == self.target and not self.busy:
            self.put(message.config, message.text, out)

    def put(self, config: ConfigId, text: bytes, out: Out) -> None:
        """Write this text; nothing else may be being written."""
        self.writing, self.install = config, out.ticket()
        out.do(InstallConfig(self.install, config, text))

    def withdrawn(self, config: ConfigId, base: ConfigId, out: Out) -> None:
        """Take back what was stored of an offer, also where it is just being stored: the lane keeps the order."""
        if self.withdraw is None and (self.file == config or self.writing == config):
            self._take_back(config, base, out)

    def _take_back(self, config: ConfigId, base: ConfigId, out: Out) -> None:
        self.withdraw, self.back = out.ticket(), (config, base)
        out.do(WithdrawConfig(self.withdraw, config, base))

    def roll_back_alone(self, base: ConfigId, members: tuple[NodeId, ...], out: Out) -> None:
        """Quorum went with an administrator's change: no master can put it right, so every node does, with equal bytes."""
        out.note(NoteCode.ROLLBACK, version=self.file.version, to=base.version, reason="quorum-lost")
        self.reload_alone, self.alone = True, out.ticket()
        out.do(PrepareConfig(self.alone, self.file, self.file.version + 1, RevertTo(base.version), members))

    def restamp(self, version: int, members: tuple[NodeId, ...], now: Instant, out: Out) -> None:
        """See that the file's version is not lower than the one corosync runs with. `version` has never been used."""
        if self.running > self.file.version and not self.busy and self.alone is None and now >= self.restamp_at:
            self.restamp_at = Instant(now + RESTAMP_AGAIN_MS)
            self.reload_alone, self.alone = False, out.ticket()
            out.do(PrepareConfig(self.alone, self.file, version, Restamp(), members))

    def finished(self, ticket: Ticket, outcome: Outcome, now: Instant, timing: Timing, out: Out) -> bool:
        """Take in how an action of mine ended; False if it was not mine."""
        done = outcome.result is Result.DONE
        if ticket == self.serve:
            self.serve = None
            if done and self.serving is not None:
                out.do(Multicast(Text(self.serving, outcome.text)))
            else:
                self.serving = None
        elif ticket == self.install:
            config, self.install, self.writing = self.writing, None, None
            self._installed(outcome, done, now, timing, out)
            if outcome.result is Result.TIMED_OUT and self.withdraw is None and config is not None:
                # It may be on the disk all the same, now or soon. What is there once it was taken back is known again.
                self._take_back(config, self.file, out)
        elif ticket == self.withdraw:
            self.withdraw = None
            self._take_over(outcome)
            if outcome.result is Result.TIMED_OUT and self.back is not None:
                self._take_back(*self.back, out)
        elif ticket == self.alone:
            self.alone = None
            self._prepared_alone(outcome, done, out)
        else:
            return False
        return True

    def _take_over(self, outcome: Outcome) -> None:
        cluster = outcome.cluster if outcome.result is Result.DONE else self.seen
        self.seen = None
        if cluster is not None:
            self.file, self.cluster = cluster.id, cluster

    def _installed(self, outcome: Outcome, done: bool, now: Instant, timing: Timing, out: Out) -> None:
        self._take_over(outcome)
        reload, self.reload_alone, self.why = self.reload_alone, False, outcome.why or outcome.result.value
        if done:
            out.note(NoteCode.STORED, version=self.file.version, sha=self.file.sha256[:8])
            if reload:
                out.do(ReloadConfig(out.ticket(), self.file))
        elif self.target is not None:
            self.failures += 1
            pause = min(timing.retry_most_ms, ASK_AGAIN_MS * 2 ** min(self.failures - 1, 10))
            self.ask_at = Instant(now + pause)
            out.note(NoteCode.UNSTORED, version=self.target.version, why=outcome.why)
            out.do(Multicast(Unstored(self.target, outcome.why)))

    def _prepared_alone(self, outcome: Outcome, done: bool, out: Out) -> None:
        if done and outcome.cluster is not None and not self.busy:
            self.put(outcome.cluster.id, outcome.text, out)
        else:
            self.reload_alone = False
            out.note(NoteCode.EFFECT_FAILED, action="change-alone", why=outcome.why)

    def disconnected(self) -> None:
        """corosync is gone, and with it what was on its way."""
        self.serving = None
