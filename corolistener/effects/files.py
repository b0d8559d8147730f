"""Whole files in one instant: written beside, synced, renamed. Blocks."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a new file is and who may read it; `modified_ns` is wall-clock, None for now."""

    mode: int
    uid: int | None = None
    gid: int | None = None
    modified_ns: int | None = None


def owner_of(look: os.stat_result, keep_time: bool = False) -> Owner:
    """The same as an existing file's."""
    return Owner(stat.S_IMODE(look.st_mode), look.st_uid, look.st_gid, look.st_mtime_ns if keep_time else None)


def read(path: Path, most: int, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """A regular file of at most `most` bytes; unless `follow` no symbolic link. O_NONBLOCK, so that a pipe in its place stops
    nobody. Raises OSError."""
    with naming(path), opened(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)) as descriptor:
        look = os.fstat(descriptor)
        if not stat.S_ISREG(look.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise OSError(errno.EFBIG, f"longer than {most} bytes")
    return data, look


def put(target: Path, data: bytes, owner: Owner, temporary: Path, replace: bool = True) -> None:
    """Makes `target` a file of these bytes, or leaves what is there; on disk when this returns. Raises OSError.

    `temporary`, in the same directory, is nobody else's: one found there is removed. Without `replace` an existing
    target raises FileExistsError.
    """
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        _write(temporary, data, owner)
        if replace:
            os.rename(temporary, target)
        else:
            os.link(temporary, target)
            temporary.unlink()
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(target.parent)


def sync(path: Path) -> None:
    """Makes file and name last. Raises OSError."""
    with naming(path), opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes a rename last. Raises OSError."""
    with naming(path), opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


def _write(path: Path, data: bytes, owner: Owner) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with naming(path), opened(path, flags) as descriptor:
        look = os.fstat(descriptor)
        if owner.uid is not None and owner.gid is not None and (owner.uid, owner.gid) != (look.st_uid, look.st_gid):
            os.fchown(descriptor, owner.uid, owner.gid)
        os.fchmod(descriptor, owner.mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if owner.modified_ns is not None:
            os.utime(descriptor, ns=(owner.modified_ns, owner.modified_ns))
        os.fsync(descriptor)


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A descriptor that is closed at the end; a file created by it is readable by its owner alone. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Calls on a descriptor do not say which file they failed for; now they do."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def words(error: OSError, path: Path) -> str:
    """The file, `path` if the error does not name one, and the system's reason: fit for a person."""
    return f"{error.filename or path}: {error.strerror or error}"
