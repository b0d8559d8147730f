"""Programs that effects run: hooks, fence agents. How one is started, listened to, and ended with everything it has started.

A program runs in a session of its own, without terminal, without descriptors of ours, in an otherwise clean environment, and
without our protection from the OOM killer; stdout goes nowhere. It may leave processes behind, as long as it ends itself.
One that has not ended when nobody waits for it any more is asked to (SIGTERM to its process group) and after GRACE_S made to
(SIGKILL).
"""

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

GRACE_S = 2.0
DEATH_S = 1.0
"""How long a process that was killed may take to go: one that hangs in the kernel does not, and is left to it."""
SILENCE_S = 0.2
"""How long after the end of a program its stderr is waited for; what it left running may keep it open for ever."""
STDERR_BYTES = 4096
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
REMEDIES = {
    errno.ENOENT: "does not exist (or the interpreter in its first line does not): install it, or name another",
    errno.EACCES: "may not be executed: chmod +x it, or name another",
    errno.ENOEXEC: "is no program: it needs a first line such as #!/bin/sh",
}


class Programs:
    """Those of one neighbour that run, or that left something running that can still be heard."""

    def __init__(self) -> None:
        self._programs: set[Program] = set()

    def __len__(self) -> int:
        return len(self._programs)

    async def run(self, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes) -> "Program":
        """Run a program to its end, with `environment` beside ENVIRONMENT; raises OSError where it cannot be run.

        Ends only when the program has, even if cancelled.
        """
        loop = asyncio.get_running_loop()
        given_up: asyncio.Future[None] = loop.create_future()
        conducting = loop.create_task(self._conduct(argv, ENVIRONMENT | dict(environment), stdin, given_up))
        try:
            return await asyncio.shield(conducting)
        except asyncio.CancelledError:
            given_up.set_result(None)
            await _outlast(conducting)
            raise

    async def _conduct(
        self, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes, given_up: "asyncio.Future[None]"
    ) -> "Program":
        program = Program(argv, environment, stdin)
        self._programs.add(program)
        program.silent.add_done_callback(lambda _: self._programs.discard(program))
        try:
            await asyncio.wait((program.exited, given_up), return_when=asyncio.FIRST_COMPLETED)
            if not program.exited.done():
                await _end(program)
            await asyncio.wait((program.silent,), timeout=SILENCE_S)
        finally:
            if not program.exited.done():  # the loop itself is ending, or the kernel does not let go of it
                program.signal(signal.SIGKILL)
                await asyncio.wait((program.exited,), timeout=DEATH_S)
                program.close()
        return program

    def close(self) -> None:
        """Listen no longer to what programs left running; that goes on."""
        for program in list(self._programs):
            if program.exited.done():
                program.close()


def remedy(error: OSError, table: str) -> str:
    """What is wrong with a program that cannot be run, and what to do; `table` of the settings names it."""
    known = REMEDIES.get(error.errno or 0)
    if known is None:
        return f"cannot be run: {error.strerror}"
    return f"{known} in {table}" if known.endswith("another") else known


def how(code: int) -> str:
    """The end of a program in words: its exit status, or the signal that ended it."""
    return f"signal {-code}" if code < 0 else f"exit {code}"


class Program:
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
    """Take back the protection from the OOM killer that our unit gives us: what it starts inherits it otherwise."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as setting:
            setting.write("0")
    except OSError:
        pass  # it has ended already


async def _end(program: Program) -> None:
    """End a program with all its group: politely, then not."""
    program.signal(signal.SIGTERM)
    if not await _gone(program, GRACE_S):
        program.signal(signal.SIGKILL)
        await _gone(program, DEATH_S)


async def _gone(program: Program, limit_s: float) -> bool:
    """Whether all its group went within this time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while not (program.exited.done() and not program.signal(0)):
        if loop.time() >= end:
            return False
        await asyncio.sleep(0.01)
    return True


async def _outlast(task: "asyncio.Task[Program]") -> None:
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
