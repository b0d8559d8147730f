"""The effect of lane `service`: the manager that runs only on the master, through programs that an administrator may replace.

The contract of a hook (behaviour, "Hooks"): what is wanted is its first argument; what is known is JSON on stdin and, in
text, COROLISTENER_* variables of an otherwise clean environment. Exit 0 is done, 75 try again later, anything else failed,
and then the last line on stderr says why. A hook runs in a session of its own, without terminal, without descriptors of
ours, and without our protection from the OOM killer; stdout goes nowhere. It may leave processes behind, as long as it ends
itself. One that has not ended when nobody waits for it any more is asked to (SIGTERM to its process group) and after GRACE_S
made to (SIGKILL).
"""

import asyncio
import errno
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from corolistener.core.actions import StartService, StopService, TakeDatabase
from corolistener.core.events import Outcome, Result
from corolistener.errors import EffectError

GRACE_S = 2.0
DEATH_S = 1.0
"""How long a process that was killed may take to go: one that hangs in the kernel does not, and is left to it."""
SILENCE_S = 0.2
"""How long after the end of a hook its stderr is waited for; what it left running may keep it open for ever."""
STATUS_S = 10.0
STDERR_BYTES = 4096
RUNNING, NOT_RUNNING, TRY_LATER = 0, 3, 75
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
REMEDIES = {
    errno.ENOENT: "does not exist (or the interpreter in its first line does not): install it, or name another in [service]",
    errno.EACCES: "may not be executed: chmod +x it, or name another in [service]",
    errno.ENOEXEC: "is no program: it needs a first line such as #!/bin/sh",
}

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
    """Runs one hook at a time: a stop begins after the start that was given up has really ended."""

    def __init__(self, programs: Programs, corosync_conf: str) -> None:
        self._programs, self._corosync_conf = programs, corosync_conf
        self._turn = asyncio.Lock()
        self._hooks: set[_Hook] = set()

    def configure(self, programs: Programs) -> None:
        """Run these from the next action on."""
        self._programs = programs

    async def open(self) -> None:
        """Nothing to open: all that a hook needs comes and goes with it."""

    async def close(self) -> None:
        """Listen no longer to what hooks left running; that goes on."""
        for hook in list(self._hooks):
            if hook.exited.done():
                hook.close()

    async def perform(self, action: StartService | StopService | TakeDatabase) -> Outcome:
        """Carry out one action of lane `service`; cancelling it ends the hook. Raises EffectError where it cannot be run."""
        match action:
            case StartService():
                more: dict[str, Fact] = {"reason": action.reason.value, "ring": str(action.until.ring), "ports": action.ports}
                return await self._outcome("StartService", self._programs.hook, "start", more)
            case StopService():
                return await self._outcome("StopService", self._programs.hook, "stop", {"reason": action.reason.value})
            case TakeDatabase():
                if self._programs.moved is None:
                    return Outcome(Result.DONE, facts=(("moved", "no moved hook"),))
                more = {"former": action.former, "ring": str(action.until.ring)}
                return await self._outcome("TakeDatabase", self._programs.moved, "moved", more)

    async def running(self) -> bool:
        """What the hook's `status` says (0 running, 3 not, as in LSB); raises EffectError where it says neither."""
        try:
            async with asyncio.timeout(STATUS_S):
                code, last = await self._run("status", self._programs.hook, "status", {})
        except TimeoutError:
            raise EffectError("status", f"{self._programs.hook} status: no answer for {STATUS_S:.0f} s") from None
        if code not in (RUNNING, NOT_RUNNING):
            raise EffectError("status", _ended(self._programs.hook, "status", code, last))
        return code == RUNNING

    async def _outcome(self, action: str, program: str, verb: str, more: Mapping[str, Fact]) -> Outcome:
        code, last = await self._run(action, program, verb, more)
        if code == 0:
            return Outcome(Result.DONE)
        return Outcome(Result.LATER if code == TRY_LATER else Result.FAILED, _ended(program, verb, code, last))

    async def _run(self, action: str, program: str, verb: str, more: Mapping[str, Fact]) -> tuple[int, str]:
        """Exit status (negative: signal) and last line of stderr. Ends only when the hook has, even if cancelled."""
        facts: dict[str, Fact] = {"action": verb, "corosync_conf": self._corosync_conf, "service_unit": self._programs.unit}
        async with self._turn:
            loop = asyncio.get_running_loop()
            given_up: asyncio.Future[None] = loop.create_future()
            conducting = loop.create_task(self._conduct((program, verb), {**facts, **more}, given_up))
            try:
                return await asyncio.shield(conducting)
            except OSError as error:
                remedy = REMEDIES.get(error.errno or 0, f"cannot be run: {error.strerror}")
                raise EffectError(action, f"hook {program} {remedy}") from error
            except asyncio.CancelledError:
                given_up.set_result(None)
                await _outlast(conducting)
                raise

    async def _conduct(
        self, argv: tuple[str, ...], facts: Mapping[str, Fact], given_up: "asyncio.Future[None]"
    ) -> tuple[int, str]:
        environment = ENVIRONMENT | {f"COROLISTENER_{name.upper()}": _text(fact) for name, fact in facts.items()}
        hook = _Hook(argv, environment, json.dumps(facts).encode() + b"\n")
        self._hooks.add(hook)
        hook.silent.add_done_callback(lambda _: self._hooks.discard(hook))
        try:
            await asyncio.wait((hook.exited, given_up), return_when=asyncio.FIRST_COMPLETED)
            if not hook.exited.done():
                await _end(hook)
            await asyncio.wait((hook.silent,), timeout=SILENCE_S)
        finally:
            if not hook.exited.done():  # the loop itself is ending, or the kernel does not let go of it
                hook.signal(signal.SIGKILL)
                await asyncio.wait((hook.exited,), timeout=DEATH_S)
                hook.close()
        return hook.code, hook.last_line()


class _Hook:
    """A program that runs, and the end of what it says on stderr. The constructor starts it; raises OSError.

    `exited` is done when it has ended (`code` is then as subprocess gives it), `silent` when nobody holds its stderr any
    more. Not asyncio's own subprocess: that one takes a few turns of the loop to start, and when it is cancelled in them it
    kills the program but not the rest of its group.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self.silent: asyncio.Future[None] = self._loop.create_future()
        self.code = -signal.SIGKILL
        self._tail = b""
        self._stderr, theirs = os.pipe()
        os.set_blocking(self._stderr, False)
        try:
            with _readable(stdin) as facts:
                self._process = subprocess.Popen(
                    argv,
                    stdin=facts,
                    stdout=subprocess.DEVNULL,
                    stderr=theirs,
                    cwd="/",
                    env=environment,
                    start_new_session=True,
                )
        except OSError:
            os.close(self._stderr)
            raise
        finally:
            os.close(theirs)
        _expose(self._process.pid)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._exit)
        self._loop.add_reader(self._stderr, self._hear)

    def signal(self, number: int) -> bool:
        """Signal the whole group; False where it has no member left. Its number is not given away while it has one."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def last_line(self) -> str:
        """The last line that says something, without control characters."""
        lines = self._tail.decode("utf-8", "replace").splitlines()
        shown = ("".join(char for char in line if char.isprintable()).strip() for line in reversed(lines))
        return next(filter(None, shown), "")

    def close(self) -> None:
        """Listen no longer. Who still writes gets SIGPIPE."""
        if not self.exited.done():
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self.exited.cancel()
        if not self.silent.done():
            self._loop.remove_reader(self._stderr)
            os.close(self._stderr)
            self.silent.set_result(None)

    def _exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.code = self._process.wait()
        self.exited.set_result(None)

    def _hear(self) -> None:
        said = os.read(self._stderr, 1 << 16)
        self._tail = (self._tail + said)[-STDERR_BYTES:]
        if not said:
            self._loop.remove_reader(self._stderr)
            os.close(self._stderr)
            self.silent.set_result(None)


def _expose(pid: int) -> None:
    """Take back the protection from the OOM killer that our unit gives us: the manager inherits it otherwise."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as setting:
            setting.write("0")
    except OSError:
        pass  # it has ended already


async def _end(hook: _Hook) -> None:
    """End a hook with all its group: politely, then not."""
    hook.signal(signal.SIGTERM)
    if not await _gone(hook, GRACE_S):
        hook.signal(signal.SIGKILL)
        await _gone(hook, DEATH_S)


async def _gone(hook: _Hook, limit_s: float) -> bool:
    """Whether all its group went within this time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while not (hook.exited.done() and not hook.signal(0)):
        if loop.time() >= end:
            return False
        await asyncio.sleep(0.01)
    return True


async def _outlast(task: "asyncio.Task[tuple[int, str]]") -> None:
    """Wait for a task that ends by itself, however often we are told not to: what comes next relies on its end."""
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            pass
    if not task.cancelled():
        task.exception()  # seen: it could not be run, and nobody waits for it any more


@contextmanager
def _readable(content: bytes) -> Iterator[int]:
    """A descriptor from which a child reads `content` at its leisure: unlike a pipe it never makes the writer wait."""
    descriptor = os.memfd_create("facts")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _ended(program: str, verb: str, code: int, last: str) -> str:
    how = f"signal {-code}" if code < 0 else f"exit {code}"
    return f"{program} {verb}: {how}" + (f": {last}" if last else "")


def _text(fact: Fact) -> str:
    if fact is None:
        return ""
    return " ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)
