"""Everything a core remembers, in one place: what the line agreed on, what is only mine, and what I have been told."""

from dataclasses import dataclass, field

from corolistener.core.actions import Reason
from corolistener.core.config import Config, ConfigId, NodeEntry
from corolistener.core.copies import Copies
from corolistener.core.desk import Desk
from corolistener.core.duties import Duties
from corolistener.core.election import rank
from corolistener.core.events import Running
from corolistener.core.fencing import Fencing
from corolistener.core.group import Group
from corolistener.core.lease import Lease, Quorum, Recount
from corolistener.core.ledger import Keeping
from corolistener.core.lifecycle import Mode, Phase
from corolistener.core.messages import Alarm, Offer
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.core.processes import Processes
from corolistener.core.rewrite import Rewrite
from corolistener.core.shelf import Shelf
from corolistener.core.storing import Storing
from corolistener.core.view import Epoch, View
from corolistener.ids import Instant, NodeId, Ticket


@dataclass(frozen=True, slots=True)
class Watch:
    """An administrator's change that is rolled back if a node is lost before `until`."""

    config: ConfigId
    base: ConfigId
    until: Instant


@dataclass(frozen=True, slots=True)
class Void:
    """A withdrawn offer. Until then, who still has it is taken to be withdrawing it; this node tries so many times."""

    config: ConfigId
    base: ConfigId
    until: Instant
    tries: int = 1


@dataclass(slots=True)
class Ability:
    """Whether this node could be master. `found`: what its newest probe found, and since when; `unable`: what counts."""

    looked: bool = False
    found: str = ""
    since: Instant = Instant(0)
    unable: str = ""
    told: tuple[Epoch, str] | None = None


@dataclass(slots=True)
class State:
    """The fields of the first block are the same on every member of the line (they change by delivered messages only);
    the rest is this node's own."""

    config: Config
    group: Group
    processes: Processes
    storing: Storing
    agreed: ConfigId
    nodes: tuple[NodeEntry, ...]
    database: bool
    master: NodeId | None = None
    starting: bool = False
    """The cluster is being started: whoever is elected now takes nothing over from anybody."""
    first: NodeId = NodeId(0)
    """The master, while it is the one that was elected when the cluster was started."""
    offer: Offer | None = None
    keeping: Keeping = field(default_factory=Keeping)
    alarm: Alarm | None = None
    """An operator's wish that the ledger does not say yet."""

    out: Out = field(default_factory=Out)
    quorum: Quorum = field(default_factory=Quorum)
    recount: Recount = field(default_factory=Recount)
    runs: Running | None = None
    """What corosync here says that it runs with; None until it has been asked."""
    lease: Lease = field(default_factory=Lease)
    duties: Duties = field(default_factory=Duties)
    ability: Ability = field(default_factory=Ability)
    rewrite: Rewrite = field(default_factory=Rewrite)
    copies: Copies = field(default_factory=Copies)
    fencing: Fencing = field(default_factory=Fencing)
    shelf: Shelf = field(default_factory=Shelf)
    desk: Desk = field(default_factory=Desk)
    unreconciled: dict[NodeId, Instant] = field(default_factory=dict)
    """Members with outdated copies, and since when the master sees them."""
    emptying: Instant | None = None
    """Since when this node is to leave and its VMs have to be gone first."""
    staying: Instant | None = None
    """Since when it has nothing left and stays for others that leave."""
    ask_at: Instant = Instant(0)
    """When it may ask again to be given none."""
    news: int = 0
    """Counts what members reported of their VMs."""
    unread: set[NodeId] = field(default_factory=set)
    """Members whose reports the ledger may not reflect yet."""
    considered: object = None
    """For what the master last found nothing to change in the ledger."""
    lease_ms: int = 0
    """How long a lease lasts now: what the settings say, but never longer than what the others count with."""
    leased: bool = False
    """This process has had a lease."""
    blank: bool = False
    """The disk had no ledger when this process began."""
    taken_in: bool = False
    """This process was admitted to a line with a stable ledger."""
    told_of_at: Instant | None = None
    """When a quorum was first told of the VMs that are here."""
    told_first: tuple[Instant, frozenset[NodeId]] | None = None
    """Who was told of them, and when that may first have been a quorum, as far as the votes are known."""
    expired: Instant | None = None
    """When the last lease ended, or would have ended had it not been given up before."""
    serves_ms: int = 0
    """How long after the end of its lease the service may run here, as the other nodes count."""
    kill_at: Instant | None = None
    """Until when the service may stop in order."""
    watchdog_ms: int = 0
    feed_at: Instant = Instant(0)
    feeding: Ticket | None = None
    starving: Instant | None = None
    unarming: bool = False
    disarming: bool = False
    mode: Mode = Mode.ADOPTING
    phase: Phase = Phase.IDLE
    adopt_until: Instant | None = None
    acting: bool = False
    why_not: Reason = Reason.NOT_MASTER
    epoch: Epoch = Epoch()
    """The last place on the quorate line that this node was part of."""
    lapsed: bool = False
    """The lease ended since."""
    restate: bool = False
    """Something was said or has changed that all must take in at once: a new round is needed."""
    dirty: bool = False
    """It had duties when the lease ended."""
    claims: dict[NodeId, Instant | None] = field(default_factory=dict)
    """Who may be serving: None while it can be asked, else since when it is out of sight."""
    unattended: set[NodeId] = field(default_factory=set)
    """Those of `claims` without a daemon that could stop the service, at their loss or now: only a proof ends the claim."""
    absent: set[NodeId] = field(default_factory=set)
    """Nodes that were declared absent in the open round. Which of them may be serving is known when it ends (core/claims)."""
    doubted: set[NodeId] = field(default_factory=set)
    """Those of `claims` that are not known to have served: nobody here remembers who did."""
    former: NodeId | None = None
    """The last one known to have served."""
    remembering: frozenset[NodeId] = frozenset()
    line_known: bool = False
    released: Epoch | None = None
    farewell_at: Instant | None = None
    verdicts: set[NodeId] = field(default_factory=set)
    requests: dict[int, Instant] = field(default_factory=dict)
    burnt: int = 0
    """The highest version that was ever offered: it is not given to another text."""
    remind_at: Instant | None = None
    """When the master tells next which VMs wait."""
    reload_at: Instant = Instant(0)
    """When corosync may be asked again to reload for a member that runs with an older file."""
    void: Void | None = None
    watch: Watch | None = None
    rollback: Watch | None = None
    last_step: Instant = Instant(0)
    deadline: Instant | None = None
    """When the next step has to be, if nothing happens."""
    due: Instant | None = None
    """When a whole pass has to look again, if nothing happens; the pulse goes on without one."""
    silent: bool = False
    """The last pass had nothing to say or do: another one, without news, would not either."""
    bad: dict[NodeId, int] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    @property
    def me(self) -> NodeId:
        return self.config.me

    @property
    def matched(self) -> bool:
        """corosync's word on quorum is for the ring we are in."""
        return self.quorum.ring == self.group.ring and self.group.joined

    @property
    def quorate(self) -> bool:
        """Quorate, by a word that is for this very ring."""
        return self.matched and self.quorum.quorate

    def voided(self, config: ConfigId) -> bool:
        """This file was withdrawn: it must not come back from somebody who could not take it off the disk."""
        return self.void is not None and self.void.config == config

    def entry(self, node: NodeId) -> NodeEntry | None:
        return next((entry for entry in self.nodes if entry.id == node), None)

    def unclaim(self, node: NodeId) -> None:
        """This node serves no more."""
        self.unattended.discard(node)
        if self.claims.pop(node, 0) != 0:
            self.former = node

    def view(self) -> View:
        """What every member of this ring agrees on."""
        present = set(self.group.present)
        ranked = tuple(entry.id for entry in rank(e for e in self.nodes if e.id in present))
        return View(self.group.ring, self.quorate, ranked, self.nodes)

    def tell(self, key: str, code: NoteCode, **fields: object) -> None:
        """A note that is said only when it differs from the last one under this key."""
        text = ",".join([code.value, *(f"{name}={value}" for name, value in fields.items())])
        if self.told.get(key) != text:
            self.told[key] = text
            self.out.note(code, **fields)
