"""`corolistener run`: the daemon from its first line to its last."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from corolistener.core.config import Cluster
from corolistener.core.events import LeaveAsked
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.tree import parse
from corolistener.daemon import behind, kept_uri, last_good, let_go
from corolistener.daemon import settings as settings_module
from corolistener.daemon.control import ControlServer
from corolistener.daemon.estate import WATCHDOG
from corolistener.daemon.node import Node
from corolistener.daemon.notes import Log
from corolistener.daemon.operators import Operators
from corolistener.daemon.sdnotify import Notifier, take_kept
from corolistener.daemon.settings import Settings
from corolistener.effects import places
from corolistener.effects.confstore import Versions
from corolistener.effects.keys import AUTHKEY, load_keys
from corolistener.effects.pull_server import PullServer
from corolistener.effects.watchdog import Device
from corolistener.effects.watchdog_device import DeviceFile
from corolistener.effects.whoami import node_here
from corolistener.errors import ConfigError, CorolistenerError, EffectError
from corolistener.ids import NodeId

UNIT = "corolistener.service"
SWITCH_S = 0.0005
"""How long a thread may keep the interpreter from the loop; Python's 5 ms are more than a takeover takes."""
REMIND_S = 60.0
PRIORITY = 1
"""Real-time priority of the loop: above everything ordinary, far below corosync (99)."""


def run(path: str | None = None, watchdog: Device | None = None) -> int:
    """Run until a signal or the farewell ends it; the exit status. Raises ConfigError before anything is touched.

    `watchdog` is reached in place of the device that the settings name.
    """
    with contextlib.suppress(ValueError):  # not in the main thread: then signals are not for us
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)  # until the loop listens: logrotate must not end a daemon that starts
    kept = take_kept((WATCHDOG,))
    try:
        settings, wrong = last_good.load(path)
        me, cluster = whoami(settings)
        mended = places.prepare_state(settings.paths.state)
        places.require_run(settings.paths.run)
    except ConfigError:
        let_go.let_go(last_good.run_directory(path))
        raise
    log = Log(settings.log)
    try:
        if mended is not None:
            log.say(logging.WARNING, "state-directory-mended", path=settings.paths.state, why=mended)
        for planted, why in places.planted(settings.paths.state, settings.locks.directory):
            log.say(logging.ERROR, "planted", path=planted, why=why)
        device = watchdog if watchdog is not None else DeviceFile(settings.fencing.watchdog_device)
        settings = kept_uri.with_uri(settings, me, log)
        return asyncio.run(_live(path, settings, me, cluster, log, device, kept, wrong))
    except ConfigError as error:
        log.say(logging.CRITICAL, "ended", why=error)
        let_go.let_go(settings.paths.run)  # systemd does not try again
        raise
    except CorolistenerError as error:
        log.say(logging.CRITICAL, "ended", why=error)
        raise
    finally:
        log.close()


def whoami(settings: Settings) -> tuple[NodeId, Cluster]:
    """Which node of the nodelist this is, by its addresses, and the facts of the file. Raises ConfigError."""
    versions = Versions(settings.cluster.corosync_conf)
    cluster, text = versions.load()
    facts = read_facts(parse(text, settings.cluster.corosync_conf))
    me = node_here(facts.nodes)
    if me is None:
        listed = ", ".join(node.addresses[0] for node in facts.nodes if node.addresses) or "none"
        why = f"no address of this machine is a ring address of the nodelist ({listed})"
        raise ConfigError(settings.cluster.corosync_conf, 0, why)
    return NodeId(me), cluster


def _say_started(settings: Settings, me: NodeId, cluster: Cluster, log: Log) -> None:
    log.say(logging.INFO, "started", node=me, pid=os.getpid(), config_version=cluster.id.version)
    for warning in settings.warnings:
        log.say(logging.WARNING, "settings", why=warning)


async def _live(
    path: str | None,
    settings: Settings,
    me: NodeId,
    cluster: Cluster,
    log: Log,
    device: Device,
    kept: Mapping[str, int],
    wrong: ConfigError | None,
) -> int:
    """`wrong`: what is wrong with the settings, where the last good ones are used instead."""
    notifier = Notifier()
    _say_started(settings, me, cluster, log)
    node = Node(settings, me, cluster, log, notifier, device, kept)
    pull = await _pull_server(settings, node)
    operators = Operators(node, pull)
    operators.unmanaged, operators.edit, operators.guarded = node.estate.unmanaged, node.estate.edit, node.estate.guarded
    control = ControlServer(settings.paths.run, settings.control.group or "", operators)
    await control.start()
    node.unusable = str(wrong or "")
    await node.open()
    if wrong is None:
        await asyncio.to_thread(_keep_settings, settings, path, log)
    connecting = asyncio.create_task(node.membership.keep_connected())
    feeding = asyncio.create_task(_feed(notifier, node))
    telling = asyncio.create_task(behind.tell(node))
    reminding = asyncio.create_task(_remind(node))
    probing = asyncio.create_task(node.probes.run())
    (shell := _Shell(path, node, operators)).catch_signals()
    # What is alive now lives for ever: the collector need not look at it again in the middle of a takeover.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    _go_before_others(log)
    notifier.ready()
    connecting.add_done_callback(lambda task: node.left.set())
    feeding.add_done_callback(partial(node.ended, "feeding"))
    telling.add_done_callback(partial(node.ended, "telling"))
    probing.add_done_callback(partial(node.ended, "probing"))
    asyncio.get_running_loop().set_exception_handler(partial(_unexpected, node))
    try:
        await node.left.wait()
    finally:
        notifier.stopping()
        tasks = (connecting, feeding, telling, reminding, probing)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await _quietly(control.close(), log)
        if pull is not None:
            await _quietly(pull.close(), log)
        await _quietly(node.close(), log)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    if not shell.kept and node.pump.core.state.duties.nothing_held:
        node.claim.drop()
    node.claim.close()
    log.say(logging.INFO, "stopped", kept=shell.kept)
    return 0


def _keep_settings(settings: Settings, path: str | None, log: Log) -> None:
    """For a later start with settings that cannot be used."""
    try:
        last_good.keep(settings, path)
    except OSError as error:
        log.say(logging.WARNING, "settings-not-kept", why=error.strerror or error)


async def _remind(node: Node) -> None:
    """Settings that cannot be used are told of until they can."""
    while True:
        if node.unusable:
            node.log.say(logging.ERROR, "settings-unusable", why=node.unusable, using="the last good ones")
            node.notifier.status(f"settings cannot be used, the last good ones are: {node.unusable}")
        await asyncio.sleep(REMIND_S)


def _go_before_others(log: Log) -> None:
    """The loop's thread runs as soon as it can, as corosync does: where VMs keep every processor busy, heartbeats, the
    watchdog and a takeover would else wait for their turn. Threads and programs that it starts are ordinary again."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError as error:
        log.say(logging.WARNING, "no-real-time-priority", why=error.strerror or error)


def _unexpected(node: Node, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback or a task of nobody has raised: the log says so. What decides has its own nets (Node.take, Node.ended)."""
    error = context.get("exception")
    trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    node.log.say(logging.ERROR, "bug", action="loop", why=context.get("message", ""), trace=trace)


async def _quietly(closing: Awaitable[None], log: Log) -> None:
    try:
        await asyncio.wait_for(asyncio.ensure_future(closing), 5)
    except (TimeoutError, CorolistenerError, OSError) as error:
        log.say(logging.WARNING, "closing", why=error)


async def _feed(notifier: Notifier, node: Node) -> None:
    """systemd's watchdog is fed by a step that the core has taken: a loop that merely turns is no sign of life."""
    while True:
        alive = node.step()
        status = node.status()
        words = "quorate" if status.quorate else "not quorate"
        master = f"node {status.master}" if status.master is not None else "nobody"
        if node.pump.broken is None:
            notifier.status(f"{'master' if status.acting else 'not master'}, {words}, master is {master}")
        if alive:
            notifier.feed()
        await asyncio.sleep(notifier.watchdog_s or 10)


async def _pull_server(settings: Settings, node: Node) -> PullServer | None:
    versions = Versions(settings.cluster.corosync_conf)
    try:
        keys = load_keys((Path(settings.cluster.key_file), AUTHKEY))
    except ConfigError as error:
        node.log.say(logging.WARNING, "config-pull-unavailable", why=error)
        return None
    server = PullServer(node.config.me, keys, versions.read)
    facts = read_facts(parse(versions.read(), settings.cluster.corosync_conf))
    addresses = next((each.addresses for each in facts.nodes if each.nodeid == node.config.me), ())
    try:
        await server.start(addresses, settings.cluster.pull_port)
    except EffectError as error:
        node.log.say(logging.WARNING, "config-pull-unavailable", why=error)
        return None
    return server


class _Shell:
    """Signals. `kept` says that the process ends without letting go, for the next one."""

    def __init__(self, path: str | None, node: Node, operators: Operators) -> None:
        self._path, self._node, self._operators = path, node, operators
        self.kept = False
        self._again = False
        self._reloading: asyncio.Task[None] | None = None

    def catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen)

    def _terminate(self) -> None:
        asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        """A farewell; or, for the next process, nothing at all."""
        if self._operators.prepared.is_set() or await asyncio.to_thread(restart_job):
            self.kept = True
            self._node.left.set()
        elif self._node.pump.broken is not None:
            self._node.left.set()  # it has let go of everything, and decides nothing: also no farewell
        else:
            self._node.take([LeaveAsked()])

    def _reopen(self) -> None:
        """logrotate has moved the log away: nothing else is read again."""
        asyncio.get_running_loop().run_in_executor(None, self._node.log.reopen)

    def _hang_up(self) -> None:
        """Open the log anew and read settings and corosync.conf again; one more signal meanwhile means once more."""
        self._reopen()
        self._again = True
        if self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        try:
            while self._again:
                self._again = False
                self._node.notifier.reloading()
                await self._read_again()
                self._node.notifier.ready()
        finally:
            self._reloading = None

    async def _read_again(self) -> None:
        """An invalid file keeps the old settings. Files and names are read in a thread, because a disk or a resolver may hang.

        A change of corosync.conf that is installed meanwhile makes what was read an old version, so it is read again.
        """
        log, storing = self._node.log, self._node.pump.core.state.storing
        try:
            while True:
                before = storing.file
                fresh = await asyncio.to_thread(settings_module.load_to_run, self._path)
                _, cluster = await asyncio.to_thread(whoami, fresh)
                if storing.file == before:
                    break
        except (CorolistenerError, OSError) as error:
            log.say(logging.ERROR, "settings-kept", why=error)
        else:
            old = self._node.settings
            fixed = [name for name in ("paths", "locks", "control", "vms") if getattr(fresh, name) != getattr(old, name)]
            if fixed:
                log.say(logging.WARNING, "settings-need-restart", tables=" ".join(fixed))
            self._node.unusable = ""
            self._node.reconfigure(fresh, cluster)
            await asyncio.to_thread(_keep_settings, fresh, self._path, log)


def restart_job() -> bool:
    """systemd is restarting this unit: the next process follows at once and adopts everything.

    Asked only where systemd started us (INVOCATION_ID); no answer means no.
    """
    if not os.environ.get("INVOCATION_ID"):
        return False
    try:
        listed = subprocess.run(
            ["systemctl", "list-jobs", "--no-legend", "--plain"], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return any(words[1:3] == [UNIT, "restart"] for words in map(str.split, listed.stdout.splitlines()))
