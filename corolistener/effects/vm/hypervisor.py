"""The effect of lanes `vm:NAME`: what the VMs of this node do, and what is done to them.

What is told keeps its order with what is done: a VM is read anew after every word of libvirt and after every action, and
what was read while an action on it ended is read again. So nothing that was so before an action is told after it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import libvirt

from corolistener.core.actions import ResumeVm, SuspendVm
from corolistener.core.capacity import Capacity
from corolistener.core.events import Copied, CopyChanged, Defined, DefinitionSeen, Event, HypervisorLost, Listed, Outcome, Pause
from corolistener.core.reports import VmState
from corolistener.effects.detached import detached
from corolistener.effects.vm import acts
from corolistener.effects.vm.ends import Ends
from corolistener.effects.vm.files import EVERY_S, DefinitionFiles
from corolistener.effects.vm.flights import Flights, VmAction
from corolistener.effects.vm.lines import Domain, Fault, Lines, Told, plainly, within, words
from corolistener.effects.vm.room import Room
from corolistener.effects.vm.settings import VmSettings
from corolistener.effects.vm.sight import Rules, Sight, find_pools, look, read, survey
from corolistener.errors import EffectError
from corolistener.ids import NodeId, VmName

T = TypeVar("T")
AGAIN_S, AGAIN_MOST_S = 0.1, 3.0
LOOKS_MOST = 4
LOOK_S, LIST_S = 15.0, 60.0
"""libvirt only reads its own memory for these: where they take longer it hangs, though it says it is alive."""
CLOSE_S = 5.0
REFRESH_S = 60.0
"""libvirt has no news of a change of memory or cpus in a definition, and a kernel none of a server that died."""

Tell = Callable[[str, Mapping[str, object]], None]


class Hypervisor:
    """This node's. `observe` is told what the core shall know, `told` what the log shall: hypervisor-connected,
    hypervisor-away, vm-not-ours, vm-autostart-off, vm-metadata-wrong. `definition` gives the text that the ledger names, or
    raises LookupError or OSError; it is called in a thread, as is `keep`, with the text of a definition that is replaced.

    `on_capacity` is told what this node has after connecting and when it changes; None: it cannot carry VMs now.
    """

    def __init__(
        self,
        settings: VmSettings,
        me: NodeId,
        observe: Callable[[Event], None],
        told: Tell,
        definition: Callable[[VmName, str], bytes],
        keep: Callable[[VmName, bytes], None] = lambda name, text: None,
    ) -> None:
        self.on_capacity: Callable[[Capacity | None], None] = lambda _: None
        self._settings, self._me, self._observe, self._told, self._definition = settings, me, observe, told, definition
        self._keep_text = keep
        self._room = Room(settings, me)
        self._flights = Flights(self._landed)
        self._opened: Lines | None = None
        self._lines: Lines | None = None
        self._life = 0
        self._listed = False
        self._lost = asyncio.Event()
        self._why = "it has not been reached yet"
        self._ends = Ends(lambda: asyncio.get_running_loop().time())
        self._files = DefinitionFiles()
        self._pools: dict[str, str] = {}
        self._sights: dict[VmName, Sight] = {}
        self._defined: dict[VmName, str] = {}
        self._named: dict[VmName, str] = {}
        self._turns: Counter[VmName] = Counter()
        self._stale: set[VmName] = set()
        self._looking: set[VmName] = set()
        self._looks = asyncio.Semaphore(LOOKS_MOST)
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the connection

    async def open(self) -> None:
        """Begin to connect; returns at once, whatever libvirtd does."""
        self._spawn(self._keep())

    async def close(self) -> None:
        """Let go of libvirt; every VM stays as it is."""
        tasks, self._tasks = list(self._tasks), set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lines, self._listed = None, False
        self._life += 1
        if self._opened is not None:
            with contextlib.suppress(TimeoutError):
                await within(CLOSE_S, self._opened.close)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "hypervisor", "exception": error, "task": task})

    async def _keep(self) -> None:
        """Connect, tell everything, wait until the connection is lost; again."""
        pause = AGAIN_S
        while True:
            self._life += 1
            self._lost.clear()
            lines = self._opened = Lines(self._settings.uri, self._hear_from(self._life))
            try:
                await self._until_lost(self._serve(lines))
            except Fault as error:
                if not self._lost.is_set():
                    self._away(words(error))
            except TimeoutError:
                self._away("it does not answer")
            pause = AGAIN_S if self._listed else min(2 * pause, AGAIN_MOST_S)
            self._drop(lines)
            await asyncio.sleep(pause)

    async def _until_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives. Raises Fault when the connection is lost first."""
        loop = asyncio.get_running_loop()
        done, lost = loop.create_task(work), loop.create_task(self._lost.wait())
        done.add_done_callback(_silent)
        try:
            await asyncio.wait({done, lost}, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            raise Fault(f"the hypervisor does not answer: {self._why}")
        finally:
            done.cancel()
            lost.cancel()

    async def _serve(self, lines: Lines) -> None:
        """Connect, tell everything, and from then on what libvirt has no news of, now and then."""
        await detached(plainly(lines.connect))
        self._lines = lines
        self._ends.forget()
        self._stale.clear()
        await self._list(lines)
        self._why = ""
        self._told("hypervisor-connected", {"uri": self._settings.uri, "kind": lines.kind, "vms": len(self._sights)})
        await within(LOOK_S, lines.warm)
        while True:
            await self._measure(lines)
            await self._watch_files()
            for name in [name for name, sight in self._sights.items() if sight.id >= 0]:
                self._look_at(name)

    async def _watch_files(self) -> None:
        """For a minute: look again at every VM whose definition libvirt has written anew."""
        end = asyncio.get_running_loop().time() + REFRESH_S
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(EVERY_S)
            for name in sorted(await detached(self._files.changed)):
                if name in self._sights:
                    self._look_at(name)

    async def _find_pools(self, lines: Lines) -> frozenset[str]:
        """The declared pools that are active. A path is remembered: a pool that is gone does not make its disks local."""
        paths, active = await within(LOOK_S, lambda: find_pools(lines, self._settings.shared_storage))
        known, self._pools = self._pools, {**self._pools, **paths}
        if known != self._pools:
            for name in self._sights:
                self._look_at(name)
        return active

    async def _measure(self, lines: Lines) -> None:
        active = await self._find_pools(lines)
        if (capacity := await self._room.measure(lines, active)) is not None:
            self.on_capacity(capacity)

    def _away(self, why: str) -> None:
        if why != self._why:
            self._told("hypervisor-away", {"uri": self._settings.uri, "why": why})
        self._why = why

    def _drop(self, lines: Lines) -> None:
        """Forget a connection; what hangs on it ends with it, in a thread because ending may hang as well."""
        known, self._listed, self._lines = self._listed, False, None
        self._life += 1
        if known:
            self._observe(HypervisorLost())
            self._room.forget()
            self.on_capacity(None)
        asyncio.get_running_loop().create_task(detached(lines.close)).add_done_callback(_silent)

    def _hear_from(self, life: int) -> Callable[[Told], None]:
        """What the loop hears from one connection; called in libvirt's thread."""
        loop = asyncio.get_running_loop()

        def hear(news: Told) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._hear, life, news)

        return hear

    def _hear(self, life: int, news: Told) -> None:
        if life != self._life:
            return
        name = VmName(news.name)
        match news.kind:
            case "closed":
                silent = news.detail == libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE
                self._away("it is silent" if silent else "the connection ended")
                self._lost.set()
                return
            case "pool":
                if self._lines is not None:
                    self._spawn(self._remeasure(self._lines))
                return
            case "lifecycle" if news.event == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN:
                self._ends.shutdown(name, news.detail)
            case "lifecycle" if news.event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                self._ends.stopped(name, news.detail)
        self._look_at(name)

    async def _remeasure(self, lines: Lines) -> None:
        with contextlib.suppress(Fault, TimeoutError):
            await self._measure(lines)

    # -- what there is

    async def _list(self, lines: Lines) -> None:
        """Tell every copy; what an action has changed meanwhile is looked at again."""
        await self._find_pools(lines)
        turns = dict(self._turns)
        sights = await within(LIST_S, lambda: survey(lines, self._rules))
        while changed := sorted(name for name, turn in self._turns.items() if turn != turns.get(name, 0)):
            turns = dict(self._turns)
            for name in changed:
                sight = await within(LOOK_S, partial(look, lines, self._rules, name))
                sights.pop(name, None) if sight is None else sights.update({name: sight})
        for name, sight in sights.items():
            self._notice(name, sight, self._sights.get(name))
        before, self._sights = self._sights, sights
        copies = [sight.copied for _, sight in sorted(sights.items()) if sight.copied is not None]
        for copied in copies:
            self._define(sights[copied.vm.name])
        self._listed = True
        self._named = {name: sight.uuid for name, sight in sights.items() if sight.text}
        self._observe(Listed(tuple(self._careful(each) for each in copies), tuple(sorted(self._named.items()))))
        self._ended_unheard(before)
        for name in sorted(self._stale):
            self._look_at(name)

    def _ended_unheard(self, before: Mapping[VmName, Sight]) -> None:
        """Tell the causes of the ends of which the events were lost with the connection, as far as libvirt remembers them."""
        for name, was in sorted(before.items()):
            sight = self._sights.get(name)
            if was.copied is None or sight is None or sight.id >= 0:
                continue
            if (by_user := self._ends.remembered(name, sight.off)) is not None:
                self._observe(CopyChanged(name, None, by_user))

    def _look_at(self, name: VmName) -> None:
        """There may be news of a VM."""
        self._stale.add(name)
        if self._listed and self._lines is not None and name not in self._looking:
            self._looking.add(name)
            self._spawn(self._look(name, self._lines, self._life))

    async def _look(self, name: VmName, lines: Lines, life: int) -> None:
        try:
            while name in self._stale and life == self._life:
                async with self._looks:
                    self._stale.discard(name)
                    turn = self._turns[name]
                    sight = await within(LOOK_S, partial(look, lines, self._rules, name))
                if life == self._life and turn == self._turns[name]:
                    self._tell(name, sight)
                else:
                    self._stale.add(name)
        except (Fault, TimeoutError) as error:
            if life == self._life:
                self._away(words(error) if str(error) else "it does not answer")
                self._lost.set()  # what cannot be read is not known: begin again
        finally:
            self._looking.discard(name)
            if name in self._stale:
                self._look_at(name)

    def _tell(self, name: VmName, sight: Sight | None) -> None:
        was, by_user = self._sights.get(name), self._ends.take(name)
        self._notice(name, sight, was)
        if sight is None:
            self._sights.pop(name, None)
        else:
            self._sights[name] = sight
        self._name(name, sight.uuid if sight is not None and sight.text else "")
        had = was.copied if was is not None else None
        if sight is not None and sight.copied is not None:
            if by_user is not None and had is not None and was is not None and was.id != sight.id:
                self._observe(CopyChanged(name, None, by_user))
            self._define(sight)
            self._observe(CopyChanged(name, self._careful(sight.copied)))
        elif had is not None or by_user is not None or self._turns[name]:
            # libvirt's list may be ahead of its events: without the event nobody knows yet why it ended.
            self._observe(CopyChanged(name, None, by_user))

    def _careful(self, copied: Copied) -> Copied:
        """A copy that a call may still let run, though nobody waits for that call any more, counts as running. What a call that
        nobody waits for has suspended is nobody's will; what this node is just starting is suspended until it is resumed."""
        name = copied.vm.name
        if copied.state is VmState.RUNNING:
            self._flights.late.discard(name)
            return copied
        if self._flights.stray(name, ResumeVm):
            return replace(copied, state=VmState.RUNNING)
        if copied.pause is Pause.STARTING and self._flights.starting(name):
            return replace(copied, pause=Pause.CALL)
        if copied.pause is Pause.CALL and (name in self._flights.late or self._flights.stray(name, SuspendVm)):
            return replace(copied, pause=Pause.OTHER)
        return copied

    def _name(self, name: VmName, uuid: str) -> None:
        """A definition came, went, or is another VM's."""
        if self._named.get(name, "") != uuid:
            self._named.update({name: uuid}) if uuid else self._named.pop(name)
            self._observe(DefinitionSeen(name, uuid))

    def _define(self, sight: Sight) -> None:
        """The definition comes before the copy that names it."""
        definition = sight.copied.vm.definition if sight.copied is not None else ""
        if definition and sight.text and self._defined.get(sight.name) != definition:
            self._defined[sight.name] = definition
            self._observe(Defined(sight.name, definition, sight.text))

    def _notice(self, name: VmName, sight: Sight | None, was: Sight | None) -> None:
        """What an administrator shall know of a VM, once."""
        if sight is None:
            return
        if sight.why and (was is None or was.why != sight.why):
            self._told("vm-not-ours", {"vm": name, "why": sight.why})
        if sight.mistakes and (was is None or was.mistakes != sight.mistakes):
            self._told("vm-metadata-wrong", {"vm": name, "why": "; ".join(sight.mistakes)})
        if sight.autostart and not sight.why and (lines := self._lines) is not None:
            self._told("vm-autostart-off", {"vm": name})
            self._spawn(self._stop_autostart(lines, name))

    async def _stop_autostart(self, lines: Lines, name: VmName) -> None:
        with contextlib.suppress(Fault, TimeoutError):  # it is tried again when the VM is looked at again
            await within(LOOK_S, lambda: acts.stop_autostart(lines, name))

    def unmanaged(self) -> tuple[tuple[VmName, str], ...]:
        """The VMs that libvirt knows and that are not ours, and why."""
        return tuple((name, sight.why) for name, sight in sorted(self._sights.items()) if sight.why)

    def migrations(self) -> dict[VmName, tuple[int, int]]:
        """The VMs that leave, with the bytes that are there and those that are left (0, 0: not known yet)."""
        return dict(self._flights.progress)

    @property
    def _rules(self) -> Rules:
        return Rules(self._settings, self._me, self._pools)

    # -- what is done

    async def perform(self, action: VmAction) -> Outcome:
        """Carry out one action of a lane `vm:NAME`; raises EffectError with libvirt's words. Cancelled, nobody waits for it any
        more: no further step is taken, but a call that hangs in libvirt may still have its effect."""
        lines, kind = self._lines, type(action).__name__
        if lines is None:
            raise EffectError(kind, f"the hypervisor does not answer: {self._why}")
        flight = self._flights.perform(
            action, lines, self._guard(lines), self._definition, self._keep_text, self._settings, self._ends
        )
        try:
            return await self._until_lost(flight)
        except Fault as error:
            raise EffectError(kind, str(error)) from error

    def _guard(self, lines: Lines) -> Callable[[Domain, bool], str]:
        """Whether a domain is ours; called in threads."""

        def why(domain: Domain, anew: bool) -> str:
            name = VmName(domain.name())
            known = self._sights.get(name)
            if known is None or anew or known.uuid != domain.UUIDString():
                known = read(domain, self._rules, name)
            return known.why

        return why

    def _landed(self, name: VmName) -> None:
        """A call has come back: what was read before is old, and there may be news."""
        self._turns[name] += 1
        self._look_at(name)


def _silent(task: "asyncio.Task[T]") -> None:
    """Whoever waits has its error; nobody shall be told that nobody did."""
    if not task.cancelled():
        task.exception()
