"""The copies of VMs on this node, and what is to become of each: level-triggered, like the duties of a master."""

from collections.abc import Container
from dataclasses import dataclass, field

from corolistener.core import pauses
from corolistener.core.config import Timing
from corolistener.core.events import Copied
from corolistener.core.instance import SHUT_DOWN_MS, Copy, Deed
from corolistener.core.reports import Inventory, VmState
from corolistener.ids import Instant, VmName

TIMING, NEVER = Timing(), Instant(0)
Key = tuple[VmName, str]
"""A VM and the SHA-256 of a definition of it."""


@dataclass(slots=True)
class Copies:
    """All of them. `known`: the hypervisor has listed them and answers. `held`: they stay suspended until the ledger of a
    quorate line is stable and this node is admitted. `told`: the inventory that the others know."""

    vms: dict[VmName, Copy] = field(default_factory=dict)
    known: bool = False
    met: bool = False
    """The hypervisor has listed them before."""
    young_until: Instant = Instant(0)
    """Until then a pause may have been asked for by a former process of this daemon."""
    held: bool = False
    since: Instant | None = None
    """Since when nothing may run here; None while it may."""
    defined: dict[VmName, str] = field(default_factory=dict)
    """The UUID of every VM that is defined here, whether it runs or not."""
    undefined: set[VmName] = field(default_factory=set)
    """VMs that belong here and that a user undefined."""
    told: Inventory | None = None
    turn: int = 0
    """Counts what has changed."""
    begun: int = 0
    """Counts deeds."""
    upto: int = 0
    """The index of the ledger's last change of a VM that is here or belongs here: when that is stable, all of it is firm."""
    waiting: set[VmName] = field(default_factory=set)
    """The VMs that belong here and do not run, or move: what others say of these may matter."""
    compared: tuple[object, ...] = ()
    """For what nothing new was found to tell the others."""
    looked: object = None
    """What was looked at when nothing was left to do."""

    @property
    def quiet(self) -> bool:
        """Everything is confirmed suspended: nothing runs, nothing is on its way, nothing is in doubt."""
        return self.known and all(copy.quiet for copy in self.vms.values())

    @property
    def any(self) -> bool:
        """There is a copy that is ours, or may be one."""
        return any((copy.state is not None or copy.doubt or copy.risky) and not copy.foreign for copy in self.vms.values())

    def listed(
        self,
        seen: tuple[Copied, ...],
        now: Instant,
        spread: Container[Key] = (),
        coming: Container[VmName] = (),
        steady: bool = False,
        timing: Timing = TIMING,
    ) -> None:
        """The hypervisor's whole list. It answers, so whatever failed is tried again at once.

        What is there when this process begins may be about to shut down because a former one asked it to.
        """
        first, self.known, self.met = not self.met, True, True
        if first:
            self.young_until = Instant(now + pauses.YOUNG_MS)
        for copy in self.vms.values():
            copy.retry_at = Instant(0)
        self.turn += 1
        for name in set(self.vms) - {each.vm.name for each in seen}:
            copy = self.vms[name]
            copy.vanished(copy.foreign or copy.ends_by_us(now), now)
        for each in seen:
            self.seen(each, spread, coming, steady, now, timing)
            if first and each.ending:
                self.vms[each.vm.name].former = Instant(now + SHUT_DOWN_MS)

    def seen(
        self,
        copied: Copied,
        spread: Container[Key] = (),
        coming: Container[VmName] = (),
        steady: bool = False,
        now: Instant = NEVER,
        timing: Timing = TIMING,
    ) -> None:
        """The hypervisor's word on one copy. `spread` are the definitions that every member was told, `coming` the VMs that are
        on their way to this node, `steady` says that this node wants nothing but that its VMs run."""
        copy = self.vms.setdefault(copied.vm.name, Copy(copied.vm))
        if not copy.vm.is_same(copied.vm.uuid):
            copy.gone()
            copy.becomes(copied.vm)
        was, before = copy.state, copy.reported
        copy.vm, copy.state, copy.generation, copy.doubt = copied.vm, copied.state, copied.generation, False
        copy.unmanaged, copy.let_go = copied.unmanaged, copied.let_go
        pauses.noticed(copy, was, copied, steady and now >= self.young_until, now, timing)
        fresh = was is None or copy.arriving
        copy.arriving = fresh and copied.vm.name in coming and copied.state is VmState.SUSPENDED
        if (copied.vm.name, copied.vm.definition) in spread:
            copy.definition = copied.vm.definition
        copy.ended_at, copy.assumed = None, False
        if copied.state is VmState.RUNNING:
            copy.ended = False
        if copy.reported != before:  # the hypervisor is asked about each again and again: mostly it has no news
            self.turn += 1

    def gone(self, name: VmName, by_user: bool | None, now: Instant, timing: Timing) -> None:
        """There is no copy any more. Who was asked by us to shut down did not do so by its user's will, and what was known to
        be gone has not ended once more: that is late news, of one that was destroyed before the next one was begun.

        An end has one cause. An end of which the cause is not known yet (`by_user` None) waits for it; a crash that was only
        assumed is taken back when the user's will is told before the next start.
        """
        copy = self.vms.get(name)
        self.turn += 1
        if copy is None:
            return
        if copy.foreign:
            copy.gone()
            return
        own = copy.ends_by_us(now)
        leaves = copy.ticket is not None and copy.deed is Deed.MIGRATE
        if by_user is None:
            copy.vanished(own, now)
            return
        waited = copy.ended_at is not None
        ran = copy.ran or (waited and copy.ended_running)
        if not by_user and not own and not leaves and ran:
            copy.crashed(now, timing)
        if by_user and not own and (copy.state is not None or copy.doubt or waited or copy.assumed):
            copy.ended = True
            if copy.assumed:
                copy.crashes -= 1
                copy.failures, copy.why = 0, ""
        copy.ended_at, copy.assumed = None, False
        copy.gone()

    def spread(self, key: Key) -> None:
        """Every member was told this definition."""
        copy = self.vms.get(key[0])
        if copy is not None and copy.vm.definition == key[1] != copy.definition:
            copy.definition = key[1]
            self.turn += 1

    def lost(self) -> None:
        """The hypervisor does not answer: nothing is known but what there may be."""
        self.known = False
        self.turn += 1
        for copy in self.vms.values():
            copy.doubt = True
