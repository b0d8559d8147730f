"""The effect of lane `service`: the manager that runs only on the master, through programs that an administrator may replace.

The contract of a hook (behaviour, "Hooks"): what is wanted is its first argument; what is known is JSON on stdin and, in
text, COROLISTENER_* variables of an otherwise clean environment. Exit 0 is done, 75 try again later, anything else failed,
and then the last line on stderr says why. How a program is run and ended: effects/programs.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Protocol

from corolistener.core.actions import KillService, StartService, StopService, TakeDatabase
from corolistener.core.events import Outcome, Result
from corolistener.effects import belongings
from corolistener.effects.programs import Programs as Running
from corolistener.effects.programs import how, remedy
from corolistener.errors import EffectError

STATUS_S = 10.0
KILL_S = 2.0
"""How long each part of a kill may take: the processes with our mark, and the hook's `kill`."""
RUNNING, NOT_RUNNING, TRY_LATER = 0, 3, 75

Fact = str | int | tuple[int, ...] | None


class Programs(Protocol):
    """What is run: `hook` with start, stop or status; `moved`, if any, on a move; `unit`, if any, is told to the hook."""

    @property
    def hook(self) -> str: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def moved(self) -> str | None: ...


class Service:
    """Runs one hook at a time: a stop begins after the start that was given up has really ended. A kill waits for nothing.

    `mark` is what hooks, and all that they start, carry in their environment.
    """

    def __init__(self, programs: Programs, corosync_conf: str, mark: str = "") -> None:
        self._programs, self._corosync_conf = programs, corosync_conf
        self._mark = {belongings.MARK: mark} if mark else {}
        self._turn = asyncio.Lock()
        self._running = Running()

    def configure(self, programs: Programs) -> None:
        """Run these from the next action on."""
        self._programs = programs

    async def open(self) -> None:
        """Nothing to open: all that a hook needs comes and goes with it."""

    async def close(self) -> None:
        """Listen no longer to what hooks left running; that goes on."""
        self._running.close()

    async def perform(self, action: StartService | StopService | KillService | TakeDatabase) -> Outcome:
        """Carry out one action of lane `service`; cancelling it ends the hook. Raises EffectError where it cannot be run."""
        match action:
            case StartService():
                more: dict[str, Fact] = {"reason": action.reason.value, "ring": str(action.until.ring), "ports": action.ports}
                return await self._outcome("StartService", self._programs.hook, "start", more)
            case StopService():
                return await self._outcome("StopService", self._programs.hook, "stop", {"reason": action.reason.value})
            case KillService():
                return await self._kill(action.reason.value)
            case TakeDatabase():
                if self._programs.moved is None:
                    return Outcome(Result.DONE, facts=(("moved", "no moved hook"),))
                more = {"former": action.former, "ring": str(action.until.ring)}
                return await self._outcome("TakeDatabase", self._programs.moved, "moved", more)

    async def _kill(self, reason: str) -> Outcome:
        """Everything with our mark, then what only the hook knows of (a unit), then what came meanwhile."""
        hook = self._programs.hook
        await asyncio.to_thread(self._kill_marked)
        try:
            async with asyncio.timeout(KILL_S):
                code, last = await self._hooked("KillService", hook, "kill", {"reason": reason}, {})
        except TimeoutError:
            code, last = TRY_LATER, f"no end within {KILL_S:.0f} s"
        left = await asyncio.to_thread(self._kill_marked)
        if left:
            return Outcome(Result.FAILED, f"killed, and still there: process {', '.join(map(str, left))}")
        if code == 0:
            return Outcome(Result.DONE)
        # A hook of an older version knows no `kill`: if its status says that nothing runs, nothing was left to it.
        if await self.running(KILL_S):
            return Outcome(Result.FAILED, _ended(hook, "kill", code, last))
        return Outcome(Result.DONE)

    def _kill_marked(self) -> tuple[int, ...]:
        return belongings.kill(self._mark[belongings.MARK], KILL_S / 2) if self._mark else ()

    async def running(self, within_s: float = STATUS_S) -> bool:
        """What the hook's `status` says (0 running, 3 not, as in LSB); raises EffectError where it says neither."""
        try:
            async with asyncio.timeout(within_s):
                code, last = await self._run("status", self._programs.hook, "status", {})
        except TimeoutError:
            raise EffectError("status", f"{self._programs.hook} status: no answer for {within_s:.0f} s") from None
        if code not in (RUNNING, NOT_RUNNING):
            raise EffectError("status", _ended(self._programs.hook, "status", code, last))
        return code == RUNNING

    async def _outcome(self, action: str, program: str, verb: str, more: Mapping[str, Fact]) -> Outcome:
        code, last = await self._run(action, program, verb, more)
        if code == 0:
            return Outcome(Result.DONE)
        return Outcome(Result.LATER if code == TRY_LATER else Result.FAILED, _ended(program, verb, code, last))

    async def _run(self, action: str, program: str, verb: str, more: Mapping[str, Fact]) -> tuple[int, str]:
        """As `_hooked`, one after the other, and marked."""
        async with self._turn:
            return await self._hooked(action, program, verb, more, self._mark)

    async def _hooked(
        self, action: str, program: str, verb: str, more: Mapping[str, Fact], mark: Mapping[str, str]
    ) -> tuple[int, str]:
        """Exit status (negative: signal) and last line of stderr. Ends only when the hook has, even if cancelled."""
        facts: dict[str, Fact] = {"action": verb, "corosync_conf": self._corosync_conf, "service_unit": self._programs.unit}
        facts |= more
        environment = {f"COROLISTENER_{name.upper()}": _text(fact) for name, fact in facts.items()} | dict(mark)
        try:
            hook = await self._running.run((program, verb), environment, json.dumps(facts).encode() + b"\n")
        except OSError as error:
            raise EffectError(action, f"hook {program} {remedy(error, '[service]')}") from error
        return hook.code, hook.last_line()


def _ended(program: str, verb: str, code: int, last: str) -> str:
    return f"{program} {verb}: {how(code)}" + (f": {last}" if last else "")


def _text(fact: Fact) -> str:
    if fact is None:
        return ""
    return " ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)
