"""Calls to libvirt that have not come back yet. One that nobody waits for any more is still there, and may still take effect.

So what lets a VM go is sure of it only when every call that could let it run has come back.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from corolistener.core.actions import EditVm, MarkVm, MigrateVm, ResumeVm, ShutDownVm, StartVm, StopVm, SuspendVm
from corolistener.core.events import Outcome
from corolistener.effects.detached import detached
from corolistener.effects.vm import acts
from corolistener.effects.vm.acts import Call, Guard, Keep, Text
from corolistener.effects.vm.ends import SHUT_DOWN_S, STOPPED_S, Ends
from corolistener.effects.vm.lines import Fault, Lines, plainly
from corolistener.effects.vm.settings import VmSettings, target
from corolistener.errors import EffectError
from corolistener.ids import VmName

VmAction = StartVm | ResumeVm | SuspendVm | StopVm | MarkVm | MigrateVm | ShutDownVm | EditVm
SLOW_MOST = 8
"""libvirtd has 20 workers for everybody: starts and migrations that hang leave the others for what cannot wait."""
PROGRESS_S = 1.0
ABORT_S = 0.5
T = TypeVar("T")


def name_of(action: VmAction) -> VmName:
    return action.vm.name if isinstance(action, StartVm) else action.name


@dataclass(eq=False, slots=True)
class Flight:
    """One call under way."""

    action: VmAction
    call: Call
    task: "asyncio.Task[Outcome]"


class Flights:
    """`landed` is told of every call that has come back, before who waits for it."""

    def __init__(self, landed: Callable[[VmName], None]) -> None:
        self._landed = landed
        self._air: dict[VmName, list[Flight]] = {}
        self._slow = asyncio.Semaphore(SLOW_MOST)
        self.progress: dict[VmName, tuple[int, int]] = {}
        self.late: set[VmName] = set()
        """VMs that a call has suspended for which nobody waited any more."""

    def stray(self, name: VmName, kind: type[VmAction]) -> bool:
        """Whether a call of this kind is under way that nobody waits for."""
        return any(isinstance(each.action, kind) and each.call.given_up.is_set() for each in self._air.get(name, ()))

    def starting(self, name: VmName) -> bool:
        """Whether a start is under way."""
        return any(isinstance(each.action, StartVm) for each in self._air.get(name, ()))

    async def perform(
        self, action: VmAction, lines: Lines, guard: Guard, text: Text, keep: Keep, settings: VmSettings, ends: Ends
    ) -> Outcome:
        """Carry out an action. Raises EffectError, Fault."""
        call = Call(lines, guard)
        match action:
            case StartVm():
                if not self.stray(action.vm.name, StopVm):
                    ends.begin(action.vm.name)
                return await self._fly(action, call, lambda: acts.start(call, action, text, keep), slow=True)
            case ResumeVm():
                return await self._fly(action, call, lambda: acts.resume(call, action))
            case SuspendVm():
                return await self._suspend(action, call)
            case StopVm():
                return await self._stop(action, call, ends)
            case MarkVm():
                return await self._fly(action, call, lambda: acts.mark(call, action))
            case MigrateVm():
                return await self._migrate(action, call, settings)
            case ShutDownVm():
                ends.ask(action.name, SHUT_DOWN_S)
                return await self._fly(action, call, lambda: acts.shut_down(call, action), slow=True)
            case EditVm():
                return await self._fly(action, call, lambda: acts.edit(call, action), slow=True)

    async def _fly(
        self,
        action: VmAction,
        call: Call,
        work: Callable[[], Outcome],
        back: Callable[[], None] = lambda: None,
        slow: bool = False,
    ) -> Outcome:
        """Let a thread do it, and call `back` when it has; cancelled, the thread is told and goes on alone.

        Of `slow` ones only so many are under way at once, each until it has come back, whoever waits for it.
        """
        if slow:
            await self._slow.acquire()
        task = asyncio.get_running_loop().create_task(detached(plainly(work)))
        name, flight = name_of(action), Flight(action, call, task)
        self._air.setdefault(name, []).append(flight)

        def landed(_: object) -> None:
            back()
            if slow:
                self._slow.release()
            _heard(task)
            if isinstance(action, SuspendVm) and call.given_up.is_set():
                self.late.add(name)
            self._air[name].remove(flight)
            if not self._air[name]:
                del self._air[name]
            self._landed(name)

        task.add_done_callback(landed)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            call.given_up.set()
            raise

    def _others(self, name: VmName, call: Call, *kinds: type[VmAction]) -> list[Flight]:
        return [each for each in self._air.get(name, ()) if each.call is not call and isinstance(each.action, kinds)]

    async def _suspend(self, action: SuspendVm, call: Call) -> Outcome:
        name = action.name
        for each in self._air.get(name, ()):
            each.call.given_up.set()
        while True:
            risky = self._others(name, call, ResumeVm, MigrateVm)
            migrating = bool(self._others(name, call, MigrateVm))
            starting = bool(self._others(name, call, StartVm))
            outcome = await self._fly(action, call, partial(acts.suspend, call, action, starting, migrating))
            if not risky:
                return outcome
            await asyncio.wait({each.task for each in risky}, timeout=ABORT_S)

    async def _stop(self, action: StopVm, call: Call, ends: Ends) -> Outcome:
        name = action.name
        for each in self._air.get(name, ()):
            each.call.given_up.set()

        def stop() -> Outcome:
            return acts.stop(call, action)

        while True:
            risky = self._others(name, call, StartVm, ResumeVm, MigrateVm)
            ends.ask(name)
            outcome = await self._fly(action, call, stop, lambda: ends.ask(name, STOPPED_S))
            if not risky:
                return outcome
            await asyncio.wait({each.task for each in risky}, timeout=ABORT_S)

    async def _migrate(self, action: MigrateVm, call: Call, settings: VmSettings) -> Outcome:
        try:
            to = target(settings.migrate_uri, call.lines.kind, action.address, settings.migrate_tls)
        except ValueError as error:
            raise EffectError("MigrateVm", str(error)) from error
        loop = asyncio.get_running_loop()
        self.progress[action.name] = (0, 0)
        watch = loop.create_task(self._follow(action.name, call.lines))
        try:
            return await self._fly(action, call, lambda: acts.migrate(call, action, to), slow=True)
        except asyncio.CancelledError:
            loop.create_task(detached(plainly(lambda: acts.abort(call.lines, action.name)))).add_done_callback(_heard)
            raise
        finally:
            watch.cancel()
            self.progress.pop(action.name, None)

    async def _follow(self, name: VmName, lines: Lines) -> None:
        with contextlib.suppress(Fault):
            while True:
                await asyncio.sleep(PROGRESS_S)
                found = await detached(plainly(lambda: acts.progress(lines, name)))
                if found is not None:
                    self.progress[name] = found


def _heard(task: "asyncio.Task[T]") -> None:
    """Whoever waited has its error; nobody shall be told that nobody did."""
    if not task.cancelled():
        task.exception()
