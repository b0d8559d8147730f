"""The effect of lane `lock`: the files by which VMmanager knows that it may start here, and that it was moved here.

The directory is /tmp by default, where every user may create our names before we do. So a name counts only for a
regular file that belongs to us and says, in one line of JSON, that it is this node's and this boot's. Anything else is
put aside, to `NAME.aside-N`, never followed, opened or removed: an administrator may want to see it.

Nothing is synced to the disk: a lock tells what holds in this boot, and after a crash it must not hold.

The calls run in a thread of their own, one after the other: a disk that hangs must not stop the daemon, and a call that
hung may not take effect after a later one.
"""

import asyncio
import ctypes
import errno
import json
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from corolistener.core.actions import Lock, ReleaseLock, TakeLock
from corolistener.core.events import Outcome, Result
from corolistener.errors import EffectError

T = TypeVar("T")
PREFIX = ".lock.vmmgr."
ATTEMPTS = 100
LONGEST = 512
AT_FDCWD, RENAME_EXCHANGE = -100, 2
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REMEDIES = {
    errno.ENOENT: "create it, or name another in [locks] directory",
    errno.ENOTDIR: "create it, or name another in [locks] directory",
    errno.EROFS: "remount it writable, or name another in [locks] directory",
    errno.ENOSPC: "free some inodes, or name another in [locks] directory",
}

Facts = tuple[tuple[str, str], ...]


class LockFiles:
    """The lock files of one node in one boot. `cleared` says what open() found and did away with, as facts for a note."""

    def __init__(self, directory: str, node: int, boot: str) -> None:
        self._directory, self._node, self._boot = directory, node, boot
        self._thread = ThreadPoolExecutor(1, "locks")
        self.cleared: Facts = ()

    async def open(self) -> None:
        """Take away what an earlier boot, or somebody else, left. Where that fails the daemon starts all the same."""
        try:
            self.cleared = await self.clear_stale()
        except EffectError as error:
            self.cleared = (("failed", error.why),)

    async def close(self) -> None:
        """Give the thread back; the files stay."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def perform(self, action: TakeLock | ReleaseLock) -> Outcome:
        """Carry out one action of lane `lock`; raises EffectError with what to do."""
        path = self._path(action.lock)
        match action:
            case TakeLock():
                facts = await self._in_thread("TakeLock", lambda: self._take(path, action.until.ring.seq))
            case ReleaseLock():
                facts = await self._in_thread("ReleaseLock", lambda: self._release(path))
        return Outcome(Result.DONE, facts=facts)

    async def found(self) -> tuple[Lock, ...]:
        """The locks that a former process of this boot took."""

        def look() -> tuple[Lock, ...]:
            return tuple(lock for lock in Lock if _owner(self._path(lock)) == (self._node, self._boot))

        return await self._in_thread("found", look)

    async def clear_stale(self) -> Facts:
        """Make sure that only this boot's locks bear our names: those of an earlier boot are removed, others put aside."""

        def clear() -> Facts:
            stale = [lock for lock in Lock if _owner(self._path(lock)) != (self._node, self._boot)]
            return tuple(fact for lock in stale for fact in self._release(self._path(lock)) if fact[0] != "absent")

        return await self._in_thread("clear_stale", clear)

    def _path(self, lock: Lock) -> str:
        return os.path.join(self._directory, PREFIX + lock.value)

    async def _in_thread(self, action: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            words = f"lock directory {self._directory}: {error.strerror}"
            remedy = REMEDIES.get(error.errno or 0)
            raise EffectError(action, f"{words}: {remedy}" if remedy else words) from error

    # -- from here on in the thread

    def _take(self, path: str, generation: int) -> Facts:
        if _owner(path) == (self._node, self._boot):
            return (("kept", "yes"),)
        content = json.dumps({"node": self._node, "boot": self._boot, "generation": generation}).encode() + b"\n"
        facts: Facts = ()
        for _ in range(ATTEMPTS):
            try:
                return facts + _create(path, content)
            except FileExistsError:
                facts = (("aside", _free_name(path)),)
            if (written := _swap(path, facts[0][1], content)) is not None:
                return facts + written
        raise OSError(errno.EBUSY, f"somebody else creates {os.path.basename(path)} again and again")

    def _release(self, path: str) -> Facts:
        owner = _owner(path)
        try:
            if owner and owner[0] == self._node:
                os.unlink(path)
                return (("removed", path),)
            aside = _free_name(path)
            os.rename(path, aside)
            return (("aside", aside),)
        except (FileNotFoundError, NotADirectoryError):
            return (("absent", "yes"),)


def _create(path: str, content: bytes) -> Facts:
    """Create a file that was not there. A full disk does not keep us from it: readers need its presence alone."""
    descriptor = os.open(path, CREATE, 0o600)
    try:
        os.write(descriptor, content)
    except OSError as error:
        return (("empty", error.strerror or ""),)
    finally:
        os.close(descriptor)
    return ()


def _owner(path: str) -> tuple[int, str] | None:
    """Node and boot id that a lock file names, or None where there is no lock file of ours."""
    try:
        if not _is_ours(os.lstat(path)):  # looking first: opening alone can set off what a device node does
            return None
        descriptor = os.open(path, LOOK)
    except OSError:
        return None
    try:
        if not _is_ours(os.fstat(descriptor)):
            return None
        content = json.loads(os.read(descriptor, LONGEST))
        return content["node"], content["boot"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    finally:
        os.close(descriptor)


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _free_name(path: str) -> str:
    """A name to put something aside to: nobody can foresee it and occupy it first."""
    return f"{path}.aside-{time.time_ns()}"


def _swap(path: str, aside: str, content: bytes) -> Facts | None:
    """Create a file under the name `aside` and let it change places with what is at `path`, so that nobody slips in between.

    None where that was not to be had: `path` has gone, or is now at `aside` because the file system cannot exchange names
    (NFS, old ZFS).
    """
    facts = _create(aside, content)
    code = _exchange(aside, path)
    if code == 0:
        return facts
    os.unlink(aside)
    if code not in (errno.ENOENT, errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        pass
    return None


def _exchange(one: str, other: str) -> int:
    """renameat2(2) with RENAME_EXCHANGE, which Python does not offer; 0 or the error number."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return 0
    return ctypes.get_errno()
