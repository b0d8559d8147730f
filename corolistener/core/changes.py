"""Changes of corosync.conf: what the master rewrites next, and what operators asked for."""

from dataclasses import replace

from corolistener.core import recovery
from corolistener.core.actions import Answer, Multicast, ReloadConfig
from corolistener.core.config import Cluster, ConfigId, OnTakeover
from corolistener.core.election import swapped
from corolistener.core.events import ChangeAsked, Outcome, Result
from corolistener.core.messages import (
    TEXT_MOST,
    AddNode,
    Change,
    Committed,
    EditNode,
    Offer,
    Proposed,
    PushText,
    Refused,
    RemoveNode,
    Restamp,
    RevertTo,
    SetPriorities,
    Stored,
    Unstored,
    Withdrawn,
)
from corolistener.core.notes import NoteCode
from corolistener.core.rewrite import Cause, Request
from corolistener.core.state import State, Void, Watch
from corolistener.core.whole import Whole
from corolistener.ids import Instant, NodeId, Ticket

QUEUE_MOST = 16
GIVE_UP_NEWER = 2
WITHDRAW_TRIES = 6
RELOAD_AGAIN_MS = 30_000


def cause_of(change: Change) -> Cause:
    match change:
        case PushText():
            return Cause.PUSHED
        case RevertTo():
            return Cause.REVERTED
        case AddNode():
            return Cause.NODE_ADDED
        case EditNode():
            return Cause.NODE_EDITED
        case RemoveNode():
            return Cause.NODE_REMOVED
        case SetPriorities():
            return Cause.TAKEOVER
        case Restamp():
            return Cause.DIVERGED


def asked(s: State, event: ChangeAsked, now: Instant) -> None:
    """An operator asks here: the master carries it out, wherever it is."""
    if not s.quorate or s.master is None:
        why = "this partition has no quorum" if not s.quorate else "no node is master"
        s.out.do(Answer(event.request, True, "no-master", (("why", f"{why}; nothing was changed"),)))
        return
    if isinstance(event.change, PushText) and len(event.change.text) > TEXT_MOST:
        why = f"{len(event.change.text)} bytes are too many for a corosync.conf: {TEXT_MOST} at most"
        s.out.do(Answer(event.request, True, "refused", (("why", why),)))
        return
    s.requests[event.request] = Instant(now + s.config.timing.request_ms)
    s.out.do(Multicast(Proposed(event.request, event.change)))


def expire(s: State, now: Instant) -> None:
    """Requests that nobody answered, because the world hangs."""
    for number in [number for number, until in s.requests.items() if now >= until]:
        _answer(s, number, "timed-out", _unknown("no answer from the master in time"))


def orphaned(s: State, code: str, why: str) -> None:
    """The master that had it in hand is none any more: what is on disks is finished or taken back, and nobody answers the
    rest. Who became master again on the same ring has forgotten it, too."""
    for number in list(s.requests):
        _answer(s, number, code, _unknown(why))


def _unknown(why: str) -> tuple[tuple[str, str], ...]:
    return (("why", f"{why}; look at `corolistener config log` before asking again"),)


def _answer(s: State, number: int, code: str, fields: tuple[tuple[str, str], ...]) -> None:
    if s.requests.pop(number, None) is not None:
        s.out.do(Answer(number, True, code, fields))


def proposed(s: State, sender: NodeId, message: Proposed) -> None:
    if s.master != s.me:
        return
    if not s.acting or len(s.rewrite.queue) >= QUEUE_MOST:
        why = "the master has no right to act now" if not s.acting else "too many changes are waiting"
        s.out.do(Multicast(Refused(sender, message.request, "busy", f"{why}; ask again in a moment")))
        return
    s.rewrite.queue.append(Request(cause_of(message.change), message.change, sender, message.request))


def prepared(s: State, ticket: Ticket, outcome: Outcome) -> Outcome:
    """An operator's file does not cost the quorum: corosync would lose it at the reload, and everything would stop until the
    change is undone. It does not leave a node out that may run VMs: a machine that gets its number would pass for it."""
    request, cluster, ledger = s.rewrite.request, outcome.cluster, s.keeping.ledger
    if ticket != s.rewrite.ticket or request is None or not request.operators or cluster is None:
        return outcome
    if why := _costs_quorum(s, cluster):
        return Outcome(Result.FAILED, f"{why}: first start the nodes that are off; add a node when all others are there")
    listed = {entry.id for entry in cluster.nodes}
    for node in recovery.owed(s):
        if node not in listed and ledger.proven(node) is None:
            names = ", ".join(row.vm.name for row in ledger.on(node) if row.on)
            mend = f"`corolistener fence {node}`, or switch it off and `corolistener fence --confirm {node}`"
            return Outcome(Result.FAILED, f"node {node} may still run {names}, and nothing proves that it does not: {mend}")
    return outcome


def _costs_quorum(s: State, cluster: Cluster) -> str:
    """Why the members are no quorum of what this file says; '' if they are, or if one vote of two is enough."""
    whole = Whole.of_votes({entry.id: entry.votes for entry in cluster.nodes}, cluster.device)
    if s.quorum.two_node or whole.most(s.group.present, s.quorum.device):
        return ""
    here = whole.of(s.group.present) + min(s.quorum.device, whole.device)
    return f"{here} of {whole.all + whole.device} votes would be here then, and that is no quorum"


def refused(s: State, message: Refused) -> None:
    if message.node == s.me:
        _answer(s, message.request, message.code, (("why", message.why),))


def offered(s: State, message: Offer) -> None:
    s.offer = message
    if message.asked_by == s.me and message.request in s.requests:
        fields = (("stage", "offered"), ("version", str(message.config.version)))
        s.out.do(Answer(message.request, False, "ok", fields))
        for node in s.group.present:
            if s.group.peers[node].file == message.config:
                _progress(s, node, message.config, "stored", "")


def stored(s: State, sender: NodeId, message: Stored) -> None:
    peer = s.group.peers.get(sender)
    if peer is not None and peer.file != message.config:
        _progress(s, sender, message.config, "stored", "")
    s.group.stored(sender, message)


def unstored(s: State, sender: NodeId, message: Unstored) -> None:
    s.rewrite.unstored(sender, message)
    _progress(s, sender, message.config, "not-stored", message.why)
    if sender != s.me:
        s.out.note(NoteCode.UNSTORED, node=sender, version=message.config.version, why=message.why)


def _progress(s: State, node: NodeId, config: ConfigId, stage: str, why: str) -> None:
    offer = s.offer
    if offer is not None and offer.config == config and offer.asked_by == s.me and offer.request in s.requests:
        fields = (("stage", stage), ("node", str(node)), ("members", str(len(s.group.present))), ("why", why))
        s.out.do(Answer(offer.request, False, "ok", fields))


def committed(s: State, sender: NodeId, message: Committed, now: Instant) -> None:
    """From here on this file is in force, for everybody at the same place in the order."""
    s.group.came_into_force(message)
    s.rewrite.ended(message.config)
    if sender != s.master or message.config.version <= s.agreed.version:
        return
    s.agreed, s.nodes, s.offer = message.config, message.nodes, None
    s.out.note(NoteCode.COMMITTED, version=message.config.version, sha=message.config.sha256[:8])
    s.watch = Watch(message.config, message.base, Instant(now + s.config.timing.rollback_ms)) if message.watched else None
    s.rollback = None
    s.reload_at = Instant(now + RELOAD_AGAIN_MS)  # the others tell soon what their corosync runs with
    if message.asked_by == s.me:
        _answer(s, message.request, "ok", (("version", str(message.config.version)),))


def withdrawn(s: State, message: Withdrawn, now: Instant) -> None:
    """The text is not to come back from somebody who is still taking it off the disk."""
    s.rewrite.ended(message.config)
    s.offer = None
    s.void = Void(message.config, message.base, Instant(now + s.config.timing.rewrite_ms))
    s.out.note(NoteCode.WITHDRAWN, version=message.config.version, why=message.why)
    s.storing.withdrawn(message.config, message.base, s.out)
    if message.asked_by == s.me:
        _answer(s, message.request, "withdrawn", (("why", message.why),))


def rewrite(s: State, now: Instant) -> None:
    """The file that this node should have, and the master's next rewrite: what is broken first, then the takeover's
    own, then the operators'."""
    versions = [s.storing.file.version, s.storing.running, s.offer.config.version if s.offer is not None else 0]
    s.burnt = max(s.burnt, *versions, *[peer.file.version for peer in s.group.peers.values()])
    files = s.group.files
    s.rewrite.settle(files, s.storing, s.quorum, now, s.config.timing, s.out)
    _withdraw_again(s, now)
    goal = _goal(s, files)
    s.storing.aim(goal, now)
    if s.rewrite.idle and goal is None:
        s.storing.restamp(s.burnt + 1, s.group.present, now, s.out)
    if goal is not None and s.group.settled:
        s.storing.ask((node for node, file in files.items() if file == goal and node != s.me), now, s.out)
    if not s.acting or not s.rewrite.idle or not s.group.settled or s.storing.busy:
        return
    if now >= s.rewrite.retry_at:
        _own(s, files, now)
    if s.rewrite.idle and s.rewrite.queue and s.storing.file == s.agreed and s.duties.taken(s.config.cloud is not None):
        _begin(s, s.rewrite.queue.pop(0))
    if s.rewrite.idle and s.storing.file == s.agreed and now >= s.reload_at and _outdated(s):
        s.reload_at = Instant(now + RELOAD_AGAIN_MS)
        s.out.do(ReloadConfig(s.out.ticket(), s.agreed))


def _withdraw_again(s: State, now: Instant) -> None:
    """A disk that did not take the file before the offer back may do so later. In the end the offer is as good as any file."""
    void = s.void
    if void is None or now < void.until or s.storing.file != void.config or s.storing.busy:
        return
    if void.tries >= WITHDRAW_TRIES:
        s.void = None
        return
    s.void = replace(void, until=Instant(now + s.config.timing.rewrite_ms), tries=void.tries + 1)
    s.storing.withdrawn(void.config, void.base, s.out)


def _outdated(s: State) -> bool:
    """The corosync of a member that has the file in force runs with an older one: it was away, or its daemon, at the reload."""
    here = (s.group.peers[node] for node in s.group.present)
    return any(0 < peer.running < s.agreed.version for peer in here if peer.file == s.agreed)


def _goal(s: State, files: dict[NodeId, ConfigId]) -> ConfigId | None:
    """The file to have instead of the own one: what is offered, what is in force, or, for the master, the newest there is."""
    own = s.storing.file.version
    if s.offer is not None and s.offer.config.version > own:
        return s.offer.config
    if s.agreed.version > own:
        return s.agreed
    if not s.acting or not s.rewrite.idle:
        return None
    newest = max((file for file in files.values() if not s.voided(file)), default=s.agreed)
    return newest if newest.version > max(own, s.agreed.version) else None


def _begin(s: State, request: Request) -> None:
    s.rewrite.begin(request, s.storing.file, s.burnt + 1, s.group.present, s.out)


def _own(s: State, files: dict[NodeId, ConfigId], now: Instant) -> None:
    """What the cluster itself needs: a rollback, one file for all, the takeover's swap."""
    file, agreed = s.storing.file, s.agreed
    if s.void is not None and now < s.void.until:
        files = {node: agreed if s.voided(each) else each for node, each in files.items()}
    newest = max(files.values(), default=agreed)
    tried = s.storing.failures >= GIVE_UP_NEWER
    if file.version > agreed.version:
        if not s.voided(file) and (file.version == newest.version or tried):
            s.rewrite.roll_forward(s.storing.cluster, agreed, files, now, s.config.timing, s.out)
        return
    if file != agreed:
        edited = file.version == agreed.version or agreed not in files.values()
        if edited and newest.version <= agreed.version:
            _begin(s, Request(Cause.DIVERGED, Restamp()))
        return
    if s.rollback is not None:
        watch, s.rollback = s.rollback, None
        if now < watch.until:
            _begin(s, Request(Cause.ROLLED_BACK, RevertTo(watch.base.version)))
            return
    if newest.version > agreed.version:
        if tried or s.voided(newest):
            _begin(s, Request(Cause.DIVERGED, Restamp()))
    elif any(each.version == agreed.version and each != agreed for each in files.values()):
        _begin(s, Request(Cause.DIVERGED, Restamp()))
    elif s.first == s.me:
        return  # the first master after a start took nothing over: whose priority is higher is merely late
    elif s.duties.taken(s.config.cloud is not None) and s.config.on_takeover is OnTakeover.SWAP:
        swap = swapped(s.nodes, s.me)
        if swap:
            _begin(s, Request(Cause.TAKEOVER, SetPriorities(swap)))
