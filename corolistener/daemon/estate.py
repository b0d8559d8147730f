"""What a node has for VMs: hypervisor, definitions, fence agents, watchdog. Each is a neighbour of its own; here they are made.

Without `[vms] uri` there is no hypervisor, and libvirt's library is not even loaded. The watchdog and the agents are there all
the same: a master without VMs fences for those that have some.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from corolistener.core.actions import EditVm, KeepDefinitions, ReadDefinition, TicketedAction
from corolistener.core.capacity import Capacity
from corolistener.core.config import Care, Cluster, OnShutdown, Unreconciled
from corolistener.core.events import Armed, Event, Outcome
from corolistener.core.families import Family
from corolistener.core.ledger import Placed, Version
from corolistener.core.wishes import Wishes
from corolistener.daemon.effects import Perform
from corolistener.daemon.guarded import Guarded
from corolistener.daemon.links import linked
from corolistener.daemon.notes import Log
from corolistener.daemon.sdnotify import Notifier
from corolistener.daemon.settings import Settings
from corolistener.effects.definitions import Definitions
from corolistener.effects.fence import FenceAgents
from corolistener.effects.virtual import weakness
from corolistener.effects.watchdog import Device, Mode, Watchdog
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId, Ticket, VmName

if TYPE_CHECKING:
    from corolistener.effects.vm.hypervisor import Hypervisor

WATCHDOG = "watchdog"
"""The name under which systemd keeps its descriptor."""


class Estate:
    """`observe` is told what the core shall know, `changed` that the capacity of this node is another one. `kept` are
    descriptors of a former process. `device` is what a watchdog is reached by."""

    def __init__(
        self,
        settings: Settings,
        me: NodeId,
        cluster: Cluster,
        log: Log,
        notifier: Notifier,
        observe: Callable[[Event], None],
        changed: Callable[[], None],
        device: Device,
        kept: Mapping[str, int],
    ) -> None:
        self.settings, self.me, self._log, self._changed = settings, me, log, changed
        self._observe = observe
        self._state = Path(settings.paths.state)
        self.capacity: Capacity | None = None
        self._barred = False
        self.weak = ""
        self.definitions = Definitions(self._state / "definitions")
        self.agents = FenceAgents(settings.agents, _names(cluster), me, linked, self._say)
        self.watchdog = Watchdog(
            Mode(settings.fencing.watchdog) if settings.vms.uri else Mode.OFF,
            device,
            settings.fencing.watchdog_timeout_ms,
            longer_than_ms=settings.fencing.restart_ms,
            kept=kept.get(WATCHDOG),
            keep=lambda descriptor: notifier.keep(WATCHDOG, descriptor),
            forget=lambda: self._let_go(notifier),
        )
        self.hypervisor = self._hypervisor() if settings.vms.uri else None
        self.guarded = Guarded(self._state, self.definitions.text, log)

    def _hypervisor(self) -> "Hypervisor":
        try:
            from corolistener.effects.vm.hypervisor import Hypervisor
            from corolistener.effects.vm.settings import Manage, VmSettings
        except ImportError as error:
            why = f"vms.uri is set, and libvirt's Python library is missing: {error}"
            raise ConfigError(self.settings.path, self.settings.lines.get("vms.uri", 0), why) from None
        vms = self.settings.vms
        made = VmSettings(
            uri=vms.uri or "",
            manage=Manage(vms.manage),
            shared_storage=vms.shared_storage,
            reserved_memory_percent=vms.reserved_memory_percent,
            max_per_node=vms.max_per_node,
            migrate_uri=vms.migrate_uri,
            migrate_tls=vms.migrate_tls,
        )
        hypervisor = Hypervisor(made, self.me, self._observe, self._say, self.definitions.text, self.definitions.keep)
        hypervisor.on_capacity = self._measured
        return hypervisor

    @staticmethod
    def _let_go(notifier: Notifier) -> None:
        notifier.forget(WATCHDOG)

    def _say(self, code: str, fields: Mapping[str, object]) -> None:
        loud = code in ("hypervisor-away", "fence-agent-failed", "vm-metadata-wrong")
        self._log.say(logging.WARNING if loud else logging.INFO, code, **dict(fields))

    def _measured(self, capacity: Capacity | None) -> None:
        capacity = None if self._barred else capacity
        if capacity != self.capacity:
            self.capacity = capacity
            self._changed()

    def lanes(self) -> dict[Family, Perform]:
        """The neighbours by family; there is none for VMs where there is no hypervisor."""
        found: dict[Family, Perform] = {"fence": self.agents.perform, "watchdog": self.watchdog.perform}
        return found if self.hypervisor is None else {**found, "vm": self.guarded.watching(self.hypervisor.perform)}

    def storing(self, ledger: Perform) -> Perform:
        """Lane `store`: ledger and definitions, in one order."""

        async def perform(action: TicketedAction) -> Outcome:
            if isinstance(action, KeepDefinitions | ReadDefinition):
                return await self.definitions.perform(action)
            return await ledger(action)

        return perform

    def care(self) -> Care:
        """What the core is told of all this."""
        return Care(
            hypervisor=self.hypervisor is not None,
            capacity=self.capacity,
            proofs=self.settings.fencing.proofs,
            agents=self.agents.nodes(),
            parallel_starts=self.settings.vms.parallel_starts,
            on_shutdown=OnShutdown(self.settings.vms.on_shutdown),
            disallowed=Unreconciled(self.settings.fencing.disallowed),
            weak=self.weak,
            weak_watchdogs=self.settings.fencing.weak_watchdogs,
        )

    async def open(self) -> list[Event]:
        """Open everything; what the core has to know first. Raises EffectError.

        Where a watchdog is required and there is none, this node runs, and is given no VMs.
        """
        shelved, timeout_ms = await self.definitions.recall(), 0
        try:
            timeout_ms = await self.watchdog.open()
            found = dict(self.watchdog.found)
            self._log.say(logging.INFO, "watchdog", **found)
            self.weak = weakness(found.get("identity", "") if timeout_ms else "")
            if self.weak:
                self._log.say(logging.WARNING, "watchdog-weak", why=self.weak)
        except EffectError as error:
            self._barred = True
            self._log.say(logging.ERROR, "watchdog-missing", why=f"{error.why}; this node is given no vms")
        if self.hypervisor is not None:
            await self.hypervisor.open()
        return [shelved, Armed(timeout_ms)]

    async def close(self) -> None:
        """Close everything; every VM and the watchdog stay as they are."""
        if self.hypervisor is not None:
            await self.hypervisor.close()
        await self.agents.close()
        await self.watchdog.close()
        await self.definitions.close()
        self.guarded.close()

    def configure(self, settings: Settings, cluster: Cluster) -> None:
        """Other settings: agents and limits at once; the rest needs another process."""
        self.settings = settings
        self.agents.configure(settings.agents, _names(cluster))

    def unmanaged(self) -> Iterable[tuple[str, str]]:
        """The VMs of this node's hypervisor that are not in the cluster's care, and why."""
        return self.hypervisor.unmanaged() if self.hypervisor is not None else ()

    async def edit(self, name: VmName, wishes: Wishes) -> None:
        """Write an administrator's wishes into a VM that nobody cares for yet. Raises EffectError."""
        if self.hypervisor is not None:
            await self.hypervisor.perform(EditVm(Ticket(0), name, wishes))

    def tell_managed(self, version: Version, rows: Mapping[VmName, Placed]) -> None:
        """Write down, if it is news, what is in the cluster's care: libvirt's hook asks about it, whatever runs."""
        if self.hypervisor is not None:
            self.guarded.tell(version, rows)


def _names(cluster: Cluster) -> dict[NodeId, str]:
    return {entry.id: entry.name for entry in cluster.nodes}
