"""The places that the daemon writes to: nobody else may own them, put something into them, or stand in for them.

Whoever plants a symbolic link, a pipe or a hard link under a name that root writes to, makes root write elsewhere, wait, or
tell secrets. So every place is looked at when the daemon starts, on a slave as on the master, and by `corolistener check`.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from corolistener.core.actions import Lock
from corolistener.effects import trust
from corolistener.effects.files import words
from corolistener.effects.lockfiles import PREFIX
from corolistener.errors import ConfigError

PRIVATE = 0o700
"""Mode of the state directory: definitions of VMs, with console passwords, are in it."""
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
LISTED = 5
"""Of what is planted in one directory so much is told."""


def prepare_state(directory: str) -> str | None:
    """Makes the state directory, private to its owner; returns what was put right, if anything. Blocks.

    A mode that only let others look is put right. A directory that others could write is refused: nobody knows what they
    have put there. Raises ConfigError.
    """
    path = Path(directory)
    trust.require(path)
    try:
        path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & trust.OTHERS_WRITE:  # a sticky one is good enough to hold a file of root's, and not for this
            raise ConfigError(
                directory, 0, f"others can write here (mode {mode:04o}): look at what is in it, then chmod 0700 {path}"
            )
        if mode & 0o077:
            path.chmod(PRIVATE)
            return f"its mode was {mode:04o}, and is now {PRIVATE:04o}"
    except FileExistsError:
        raise ConfigError(directory, 0, "this is not a directory: remove it, or name another in [paths] state") from None
    except OSError as error:
        if not path.is_dir():
            raise ConfigError(directory, 0, words(error, path).removeprefix(f"{path}: ")) from None
    return None


def require_run(directory: str) -> None:
    """Raises ConfigError where others could put sockets of their own in place of the daemon's. Blocks."""
    trust.require(directory)
    try:
        look = os.stat(directory)
    except OSError:
        return  # it is made by who listens there
    if look.st_mode & trust.OTHERS_WRITE:
        mode = stat.S_IMODE(look.st_mode)
        raise ConfigError(directory, 0, f"others can put sockets here (mode {mode:04o}): chmod 0755 {directory}")


def planted(state: str, locks: str) -> Iterator[tuple[str, str]]:
    """(path, what is wrong and what to type) for everything under our names that root has not made. Blocks."""
    yield from _inside(Path(state))
    if (why := trust.objection(locks)) is not None:
        yield locks, why
    for lock in Lock:
        path = Path(locks, PREFIX + lock.value)
        if (why := stranger(path)) is not None:
            yield str(path), why


def _inside(directory: Path) -> Iterator[tuple[str, str]]:
    """What is in the state directory; of what is below it only what belongs to nobody here."""
    told = 0
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for path in entries:
        own = path.is_dir() and not path.is_symlink()
        why = trust.objection(path) if own else stranger(path)
        if why is not None and told < LISTED:
            told += 1
            yield str(path), why


def stranger(path: Path) -> str | None:
    """Why what is at `path` is no file that this program could have made; None if it is, or if nothing is there. Blocks."""
    try:
        look = os.lstat(path)
    except OSError:
        return None
    return judged(look, path)


def judged(look: os.stat_result, path: Path) -> str | None:
    """The same of something that was looked at. A lock, a log, a ledger has one name."""
    if not stat.S_ISREG(look.st_mode):
        kind = KINDS.get(stat.S_IFMT(look.st_mode), "no file")
        return f"there is {kind} in its place, of {trust.user(look.st_uid)}: remove {path}"
    if look.st_uid not in (0, os.geteuid()):
        return f"it belongs to {trust.user(look.st_uid)}: remove {path}"
    if look.st_nlink > 1:
        return f"it has {look.st_nlink} names (hard links): remove {path}"
    if look.st_mode & trust.OTHERS_WRITE:
        return f"others can write it (mode {stat.S_IMODE(look.st_mode):04o}): chmod go-w {path}"
    return None
