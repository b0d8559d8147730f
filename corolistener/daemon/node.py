"""One running node: the pump with its neighbours on the loop. It wires; it decides nothing."""

import asyncio
import json
import logging
import os
import secrets
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from corolistener.core import events as e
from corolistener.core.actions import Answer
from corolistener.core.config import Cluster, Config, Serving, Timing
from corolistener.core.families import Family
from corolistener.core.notes import Note
from corolistener.core.status import Status
from corolistener.daemon.clock import now
from corolistener.daemon.effects import AsyncEffect, Perform
from corolistener.daemon.estate import Estate
from corolistener.daemon.links import Links
from corolistener.daemon.membership import Membership, Timers
from corolistener.daemon.notes import Log
from corolistener.daemon.relied_on import relied_on
from corolistener.daemon.sdnotify import Notifier
from corolistener.daemon.settings import Settings
from corolistener.effects.addresses.cloud import Addresses
from corolistener.effects.confdist import ConfigFile
from corolistener.effects.held import Claim, Held
from corolistener.effects.lockfiles import LockFiles
from corolistener.effects.memory import Memory
from corolistener.effects.probes import Needs, Probes, directories
from corolistener.effects.service import Service
from corolistener.effects.watchdog import Device
from corolistener.engine.lanes import DEADLINES_MS
from corolistener.engine.pump import Pump, escaped
from corolistener.engine.speech import Heard
from corolistener.errors import ConfigError, EffectError, InvariantViolation
from corolistener.ids import NodeId, VmName

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNKNOWN_TIMERS = Timers(token=3650, consensus=4380, device=0)
"""corosync's defaults for three nodes, until corosync itself can be asked."""
NOTES_S = 0.01


class Node:
    """Everything that lives as long as the daemon. `answered` is called with answers to operators, `left` when the
    farewell is through."""

    def __init__(
        self,
        settings: Settings,
        me: NodeId,
        cluster: Cluster,
        log: Log,
        notifier: Notifier,
        device: Device,
        kept: Mapping[str, int],
    ) -> None:
        self.settings, self.log, self.notifier = settings, log, notifier
        self._vms = settings.vms  # another table needs another process
        self.boot = BOOT_ID.read_text(encoding="ascii").strip()
        self.timers = UNKNOWN_TIMERS
        self.answered: Callable[[Answer], None] = lambda answer: None
        self.left = asyncio.Event()
        self.started_ms = now()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._told_broken = False
        self._notes: list[tuple[float | None, Note]] = []
        self._links: asyncio.Task[None] | None = None
        self.addresses = Addresses(settings.address, self.observe)
        self.locks = LockFiles(settings.locks.directory, me, self.boot)
        self.service = Service(settings.service, settings.cluster.corosync_conf, settings.paths.run)
        self.membership = Membership(self.take, self._timers_told, log)
        self.config_file = ConfigFile(settings.cluster.corosync_conf, me, self.membership.reload)
        self.memory = Memory(settings.paths.state, self._put_aside)
        self.estate = Estate(settings, me, cluster, log, notifier, self.observe, self._measured, device, kept)
        self.probes = Probes(self._needs(), self.observe)
        self.claim = Claim(settings.paths.run)
        self.unusable = ""
        """Why the settings cannot be used, and the last good ones are."""
        self.incarnation = secrets.token_hex(8)
        self.config = self._config(me, cluster)
        lanes: dict[Family, Perform] = {
            "address": self.addresses.perform,
            "lock": self.locks.perform,
            "service": self.service.perform,
            "config": self.config_file.perform,
            "store": self.estate.storing(self.memory.perform),
            "corosync": self.membership.perform,
            **self.estate.lanes(),
        }
        service_ms = int(settings.service.timeout_s * 1000)
        self.pump = Pump(
            self.config,
            {name: AsyncEffect(perform, self._kick, log) for name, perform in lanes.items()},
            self.membership,
            self,
            {**DEADLINES_MS, "service": service_ms, "fence": max(self.estate.agents.longest_ms(), DEADLINES_MS["fence"])},
        )

    async def open(self) -> None:
        """Open the neighbours and tell the core what the disk remembers and what a former process of this boot left.

        Raises EffectError, and ConfigError for a ledger of a newer version: a node must not forget on purpose.
        """
        recalled = await self.memory.recall()
        await self.addresses.open()
        await self.locks.open()
        await self.service.open()
        found = e.Found(
            address=self.settings.address is not None and await self.addresses.present(self.settings.address),
            locks=await self.locks.found(),
            service=await self._service_runs(),
        )
        told = await self.estate.open()
        self._claim()
        if self.locks.cleared:
            self.log.say(logging.WARNING, "locks-cleared", **dict(self.locks.cleared))
        self.config = self._config(self.config.me, self.config.cluster)  # the watchdog is known now
        self.take([e.Configured(self.config), recalled, *told, found, await self.probes.first()])
        self._links = asyncio.create_task(Links(lambda: tuple(self.pump.core.state.fencing.awaited), self.observe).watch())

    def _needs(self) -> Needs:
        """What this node needs to be master."""
        settings = self.settings
        moved = settings.service.moved
        return Needs(
            directories(settings.locks.directory, settings.paths.state),
            settings.address.device if settings.address is not None else "",
            (settings.service.hook, *((moved,) if moved is not None else ())),
            settings.service.unit or "",
        )

    def _claim(self) -> None:
        """From here on this process answers for what a former one held. Written down, for whoever has to let go of it."""
        cloud, settings = self.settings.address, self.settings
        held = Held(
            boot=self.boot,
            node=self.config.me,
            run=settings.paths.run,
            locks=settings.locks.directory,
            hook=settings.service.hook,
            unit=settings.service.unit,
            corosync_conf=settings.cluster.corosync_conf,
            orderly_ms=self.config.timing.orderly_ms,
            address=cloud.ip if cloud is not None else "",
            prefix=cloud.prefix if cloud is not None else 0,
            device=cloud.device if cloud is not None else "",
            invocation=os.environ.get("INVOCATION_ID", ""),
        )
        try:
            self.claim.write(held)
        except OSError as error:
            self.log.say(logging.WARNING, "held-not-written", why=error.strerror or error)

    def _put_aside(self, path: Path, why: str) -> None:
        self.log.say(logging.ERROR, "ledger-damaged", path=path, why=why)

    async def _service_runs(self) -> bool:
        """A hook that cannot say counts as not running: a slave without a manager must not keep the master waiting."""
        try:
            return await self.service.running()
        except EffectError as error:
            self.log.say(logging.ERROR, "service-status-unknown", why=error.why)
            return False

    async def close(self) -> None:
        """Close the neighbours; what is held stays held."""
        if self._timer is not None:
            self._timer.cancel()
        if self._links is not None:
            self._links.cancel()
        self._write_notes()
        await self.addresses.close()
        await self.service.close()
        await self.locks.close()
        await self.estate.close()
        await self.memory.close()
        self.probes.close()

    # What drives the pump

    def take(self, happened: Sequence[Heard]) -> None:
        """Handle events that have just happened, in this order."""
        self.log.stamp = time.time()
        for event in happened:
            self.pump.post(event)
        self._kick()
        self.log.stamp = None

    def observe(self, event: e.Event) -> None:
        """An effect has seen something in the world; it may be in the middle of an action."""
        self.pump.post(event)
        asyncio.get_running_loop().call_soon(self._kick)

    def _kick(self) -> None:
        """Run the pump, and set the timer for what it waits for. Never from inside itself.

        What goes wrong around the pump ends deciding as what goes wrong in it does: without a timer this node would hold
        what it holds, silently and for ever.
        """
        if self._running:
            return
        self._running = True
        stamped = self.log.stamp
        self.log.stamp = stamped if stamped is not None else time.time()
        try:
            self.pump.run(now())
            self._arm()
            keeping = self.pump.core.state.keeping
            self.estate.tell_managed(keeping.version, keeping.ledger.placements)
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing of it may leave the loop dead and silent
            self.log.say(logging.ERROR, "bug", action="kick", trace=traceback.format_exc())
            self.pump.give_up(escaped("node-runs", error))
            self.pump.run(now())
        finally:
            self._running = False
            self.log.stamp = stamped
        if self.pump.broken is not None and not self._told_broken:
            self._told_broken = True
            self._report(self.pump.broken)

    def step(self) -> bool:
        """Have the core take a step; whether it did. A core that has given up takes none, and that is no fault any more."""
        before = self.pump.steps
        self.take([e.TimePassed()])
        return self.pump.steps > before or self.pump.broken is not None

    def ended(self, name: str, task: asyncio.Future[None]) -> None:
        """A task that never ends has ended. Nothing is decided there: the log says so, and an unfed watchdog does the rest."""
        if not task.cancelled() and not self.left.is_set():
            self.log.say(logging.CRITICAL, "bug", action=name, why=repr(task.exception()))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.pump.deadline()
        if deadline is not None:
            delay = max(0, deadline - now()) / 1000
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        deadline, instant = self.pump.deadline(), now()
        if deadline is not None and instant >= deadline:
            self.pump.post(e.TimePassed())
            self._kick()
        else:
            self._arm()  # the loop's clock and ours differ by a rounding: never act early

    def _report(self, violation: InvariantViolation) -> None:
        path = self.save_journal("broken")
        self.log.say(logging.CRITICAL, "broken", name=violation.name, evidence=violation.evidence, journal=path)
        self.notifier.status(f"broken: {violation}; VMs are kept suspended, nothing else is decided")
        self.membership.retire()

    # What the pump needs (ports Teller)

    def note(self, note: Note) -> None:
        """Kept for a moment: the log's thread must not take the interpreter from a takeover that is under way."""
        if not self._notes:
            asyncio.get_running_loop().call_later(NOTES_S, self._write_notes)
        self._notes.append((self.log.stamp, note))

    def _write_notes(self) -> None:
        notes, self._notes, stamp = self._notes, [], self.log.stamp
        for self.log.stamp, note in notes:
            self.log.note(note)
        self.log.stamp = stamp

    def answer(self, answer: Answer) -> None:
        self.answered(answer)

    def leave(self) -> None:
        self.left.set()

    # Settings and corosync's timers

    def _config(self, me: NodeId, cluster: Cluster) -> Config:
        settings = self.settings
        return Config(
            me=me,
            boot=self.boot,
            incarnation=self.incarnation,
            cluster=cluster,
            timing=self._timing(),
            cloud=settings.address,
            on_takeover=settings.cluster.on_takeover,
            database=settings.database,
            care=self.estate.care(),
            relied_on=relied_on(settings, self._vms),
            serving=Serving(int(settings.service.timeout_s * 1000), settings.service.killable),
            pid=os.getpid(),
        )

    def _timing(self) -> Timing:
        try:
            return self.settings.timing(*self.timers)
        except ConfigError as error:
            self.log.say(logging.ERROR, "lease-too-short", why=error)
            fencing = self.settings.fencing
            return Timing(
                heartbeat_ms=fencing.heartbeat_ms,
                lease_ms=self.settings.least_lease_ms(*self.timers),
                grace_ms=fencing.grace_ms,
                restart_ms=fencing.restart_ms,
                hello_ms=fencing.hello_ms,
                margin_ms=fencing.margin_ms,
                start_grace_ms=int(fencing.start_grace_s * 1000),
            )

    def _timers_told(self, timers: Timers) -> None:
        if timers == self.timers:
            return
        self.timers = timers
        self._configure(self.pump.core.state.storing.cluster)

    def _measured(self) -> None:
        """The hypervisor says what this node has, or that it cannot carry VMs now."""
        self._configure(self.pump.core.state.storing.cluster)

    def _configure(self, cluster: Cluster) -> None:
        self.config = self._config(self.config.me, cluster)
        self.log.say(logging.INFO, "settings", lease_ms=self.config.timing.lease_ms, cloud=_shown(self.config))
        self.take([e.Configured(self.config)])

    def reconfigure(self, settings: Settings, cluster: Cluster) -> None:
        """New settings, all of them valid, and the corosync.conf that is on the disk now."""
        self.settings = settings
        self.service.configure(settings.service)
        self.probes.needs = self._needs()
        self._claim()
        self.estate.configure(settings, cluster)
        self._configure(cluster)

    # What operators see

    def status(self) -> Status:
        return self.pump.core.status(now())

    def objection(self, name: VmName, uuid: str, sharing: tuple[VmName, ...]) -> str:
        return self.pump.core.objection(name, now(), uuid, sharing)

    def save_journal(self, why: str, secrets: bool = False) -> str:
        """Write the journal into the state directory, without passwords unless `secrets`; returns its path, or why it could
        not be written."""
        path = Path(self.settings.paths.state, f"journal-{why}-{time.strftime('%Y%m%dT%H%M%S')}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                for line in self.pump.journal.lines(secrets):
                    file.write(line + "\n")
        except OSError as error:
            return json.dumps(f"not written: {error.strerror}")
        return str(path)


def _shown(config: Config) -> str:
    cloud = config.cloud
    return f"{cloud.ip}/{cloud.prefix}%{cloud.device}" if cloud is not None else "none"
