"""Which members count as witnesses of what was committed when the ledger is opened.

Committed means: on the disks of a majority. So any majority of disks has it, if no disk forgets or goes back. A node whose disk
did so is *doubted*. There are two ways to know:

- the node says so itself: the marks of its file do not fit (effects/memory_file), so the file was restored or copied;
- another member remembers that the node announced a newer version than it has now. Each node keeps in its own file what
  the others announced (`Keeping.heard`), and its Hello says so. This also catches a disk that went back as a whole.

A ledger also says whose it is (`Ledger.cluster`), from its first chapter on. A machine that comes from another cluster with the
same name, ids and addresses has a sound file, maybe with a higher version. The members whose ledger has another owner than
those of most members are strangers, and doubted; if no owner has most, all of them are. An operator's order does not make them
witnesses.

A node without a ledger that the newest ledger does not know is new: it never stored anything, and says so truthfully. Else no
cluster could grow from one node to two. (Not covered: a node that was installed anew, with its whole disk, after its first
view, while every other member of that view is away.)

Half of the votes of an even number of nodes is enough to know: the other half is no majority, so nothing was committed without
one of these disks. With two nodes, of which one has lost its disk, or was lost itself before it could write the first chapter,
the ledger opens. To open it at all still takes a majority, of which the others may remember nothing.

A doubted node counts as a node that remembers nothing, until it has taken the whole ledger from the others and stored it. If
the other members are no majority, the ledger stays closed, and that is told; an operator who knows that nothing newer exists
can open it with what is here (`corolistener recover --ledger`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection

from corolistener.core.actions import Answer, Multicast
from corolistener.core.doubts import strangers
from corolistener.core.events import LedgerAsked
from corolistener.core.ledger import Version
from corolistener.core.messages import OpenLedger
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import NodeId

NOTHING = Version()
Enough = Callable[[State, Collection[NodeId]], bool]
"""Whether every majority knows what is on the disks of these nodes, or has one of them (core/keeping)."""


def heard(s: State) -> tuple[tuple[Version, tuple[NodeId, ...]], ...]:
    """What this node remembers of the others' disks, for its Hello: nodes by version, because most have the same."""
    nodes = defaultdict[Version, list[NodeId]](list)
    for node, version in s.keeping.heard.items():
        nodes[version].append(node)
    return tuple((version, tuple(sorted(nodes[version]))) for version in sorted(nodes))


def learned(s: State) -> None:
    """A view was formed: tell who is doubted; a doubted node knows it of itself until it has taken the whole ledger. Who is a
    stranger is one among these members only."""
    aliens = _strangers(s)
    for node in s.group.present:
        why = s.group.peers[node].doubt
        if why and node == s.me and not s.keeping.doubt and node not in aliens:
            s.keeping.doubt = why
        if why:
            s.tell(f"doubted-{node}", NoteCode.LEDGER_WENT_BACK, node=node, why=why)


def versions(s: State) -> dict[NodeId, Version]:
    """The version of each member; NOTHING for one that is doubted, unless an operator ordered to open with what is here; that
    order makes no stranger a witness."""
    peers, trusted = s.group.peers, s.keeping.trusted
    aliens = _strangers(s)
    believed = {node for node in s.group.present if node not in aliens and (trusted or not peers[node].doubt)}
    return {node: peers[node].ledger if node in believed else NOTHING for node in s.group.present}


def obstacle(s: State, enough: Enough, told: Enough) -> str:
    """Why these members must not open the ledger, where `enough` says what is a majority, and `told` what has a node in common
    with every majority; '' if they may."""
    found, aliens = versions(s), _strangers(s)
    if aliens and max(found.values()) == NOTHING:
        return f"the ledgers of {_names(aliens)} are of several clusters: move the files of the wrong ones away, and restart"
    if s.keeping.trusted:
        return ""
    doubtful = [node for node in s.group.present if s.group.peers[node].doubt]
    fresh = not doubtful and max(found.values()) == NOTHING  # nobody remembers anything, and nobody should
    if not doubtful and _begun_only(s):
        return ""
    witnesses = [node for node, version in found.items() if version != NOTHING or fresh or _new(s, node)]
    if enough(s, witnesses) or (not fresh and told(s, witnesses) and enough(s, s.group.present)):
        return ""
    others = f"; {_names(doubtful)} do not count" if doubtful else ""
    return f"the nodes that remember the ledger ({_names(witnesses) or 'none'}) are no majority{others}"


def _begun_only(s: State) -> bool:
    """Every node that there is is here, and no ledger has ever had a change: its first chapter did not reach them all. Nobody
    else could know more, so a node without a ledger counts too."""
    present, peers = set(s.group.present), s.group.peers
    all_here = present.issuperset(entry.id for entry in s.nodes) and all(whole.nodes <= present for whole in s.quorum.wholes)
    return all_here and not s.keeping.ledger.placements and not any(peers[node].owned for node in present)


def _strangers(s: State) -> dict[NodeId, str]:
    there = {node: s.group.peers[node] for node in s.group.present}
    return strangers({node: peer.owner for node, peer in there.items()}, any(peer.owned for peer in there.values()))


def _new(s: State, node: NodeId) -> bool:
    """This member has no ledger because it never was in a view that had this one: whoever was is in its `known` rows."""
    return not s.group.peers[node].doubt and node not in s.keeping.ledger.known


def _names(nodes: Collection[NodeId]) -> str:
    return ", ".join(map(str, nodes))


def asked(s: State, event: LedgerAsked, enough: Enough, told: Enough) -> None:
    """An operator orders to open the ledger with what is here."""
    why = ""
    if not s.quorate or not s.group.settled or s.me not in s.group.peers:
        why = "this node is not part of a quorum"
    elif s.keeping.open:
        why = "the ledger is open"
    elif not obstacle(s, enough, told):
        why = "the ledger is about to open"
    else:
        s.out.do(Multicast(OpenLedger(s.group.ring, event.by)))
    s.out.do(Answer(event.request, done=True, code="refused" if why else "ok", fields=(("why", why),) if why else ()))


def ordered(s: State, message: OpenLedger) -> None:
    """The order is delivered. It counts in the ring in which the operator saw what is here, as long as the view lasts."""
    if message.ring == s.group.ring and s.group.settled and not s.keeping.open:
        s.keeping.trusted = True
        s.out.note(NoteCode.LEDGER_FORCED, by=message.by)
