"""Whether only root, or the user that this program runs as, can change what is at a path.

The daemon reads settings and runs hooks and agents as root, so whoever can change one of them, or put something else in its
place, is root. A path is trusted if everything on the way to it is: each directory from / on, each symbolic link, the file.

Programs are judged when the settings are read, at start and at a reload, and not again before each call. Nobody but root can
change a trusted path later, and a stop of the service must not fail because an administrator has typed a wrong chmod.
"""

import errno
import grp
import os
import pwd
import stat
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from corolistener.effects import files
from corolistener.errors import ConfigError

LINKS_MOST = 40
"""As many symbolic links as the kernel follows in one path."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
SHEBANG_MOST = 256
"""Bytes of a program's first line that the kernel reads."""


def objection(path: str | Path) -> str | None:
    """Why `path` is not trusted, and what to type; None if it is, or if nothing is there. Blocks.

    A missing file in a trusted directory is trusted: only root can create it.
    """
    try:
        return _walk(os.path.join(os.getcwd(), path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"cannot be examined: {error.strerror or error}"


def require(path: str | Path) -> None:
    """Raises ConfigError unless `path` is trusted."""
    if (why := objection(path)) is not None:
        raise ConfigError(str(path), 0, why)


def read(path: str | Path, most: int) -> bytes:
    """A trusted file of at most `most` bytes; /dev/null is an empty one. Blocks. Raises ConfigError, OSError."""
    require(path)
    look = os.stat(path)
    if stat.S_ISDIR(look.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return b"" if is_null(look) else files.read(Path(path), most)[0]


def objections(programs: Iterable[str]) -> list[ConfigError]:
    """For programs that root runs: each that is not trusted, itself or the interpreter in its first line. Blocks."""
    found = []
    for program in dict.fromkeys(programs):
        why = objection(program)
        if why is None and (interpreter := _interpreter(program)) and (why := objection(interpreter)) is not None:
            why = f"its interpreter {interpreter}: {why}"
        if why is not None:
            found.append(ConfigError(program, 0, why))
    return found


def _walk(path: str) -> str | None:
    """Look at every component, and at those of the targets of links, as the kernel would follow them."""
    left, place, links = deque(path.split("/")), "/", 0
    around = os.lstat(place)
    if why := _judged(place, around, around):
        return why
    while left:
        name = left.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            place = os.path.dirname(place)
            around = os.lstat(place)
            continue
        entry = os.path.join(place, name)
        look = os.lstat(entry)
        if why := _judged(entry, look, around):
            return why
        if stat.S_ISLNK(look.st_mode):
            links += 1
            if links > LINKS_MOST:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(entry)
            left.extendleft(reversed(target.split("/")))
            if target.startswith("/"):
                place = "/"
                around = os.lstat(place)
        else:
            place, around = entry, look
    return None


def _judged(path: str, look: os.stat_result, around: os.stat_result) -> str | None:
    """The objection to one component; `around` is the directory it is in.

    In a sticky directory that others may write, such as /tmp, they can rename only what is their own. They may also create a
    hard link there to a file of root's that was never meant to be used here.
    """
    if look.st_uid not in (0, os.geteuid()):
        if stat.S_ISLNK(look.st_mode):
            return f"the symbolic link {path} belongs to {user(look.st_uid)}: remove it, or chown -h root {path}"
        what = "the directory " if stat.S_ISDIR(look.st_mode) else ""
        return f"{what}{path} belongs to {user(look.st_uid)}, who can change it: chown root {path}"
    mode = stat.S_IMODE(look.st_mode)
    if is_null(look):
        return None
    if stat.S_ISLNK(look.st_mode) or not mode & OTHERS_WRITE:
        return _linked(path, look, around)
    if stat.S_ISDIR(look.st_mode):
        if mode & stat.S_ISVTX:
            return None
        return f"{_writers(look)} can replace what is in the directory {path} (mode {mode:04o}): chmod go-w {path}"
    return f"{_writers(look)} can write {path} (mode {mode:04o}): chmod go-w {path}"


def is_null(look: os.stat_result) -> bool:
    """/dev/null: whatever is written to it, it stays empty."""
    return stat.S_ISCHR(look.st_mode) and look.st_rdev == os.makedev(1, 3)


def _linked(path: str, look: os.stat_result, around: os.stat_result) -> str | None:
    if stat.S_ISREG(look.st_mode) and look.st_nlink > 1 and stat.S_IMODE(around.st_mode) & OTHERS_WRITE:
        return f"{path} is one of {look.st_nlink} hard links in a directory that others can write: move a copy elsewhere"
    return None


def _writers(look: os.stat_result) -> str:
    """Who can write beside the owner, in words."""
    if look.st_mode & stat.S_IWOTH:
        return "every user"
    try:
        return f"the group {grp.getgrgid(look.st_gid).gr_name}"
    except KeyError:
        return f"the group {look.st_gid}"


def user(uid: int) -> str:
    """A user in words."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _interpreter(program: str) -> str | None:
    """What the kernel runs for a script; None for anything else. A pipe in its place stops nobody."""
    try:
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        first = os.read(descriptor, SHEBANG_MOST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    line = first.partition(b"\n")[0]
    words = line.removeprefix(b"#!").split()
    return os.fsdecode(words[0]) if line.startswith(b"#!") and words else None
