"""corosync.conf on this node's disk: the file, its kept versions beside it, and how one replaces the other.

Whenever the machine stops, the file is whole: the old one or the new one. Every file is written under another name in
the same directory, synced, renamed, and the directory synced. The file that is replaced is first copied to
`corosync.conf.VERSION`, so that at no instant it is absent; the last ten stay. Whoever writes holds a lock on the
directory: the daemon and `config pull` never write at once, and a temporary file found under the lock is left over
from a crash and may go.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corolistener.core.config import Cluster, ConfigId
from corolistener.coroconf.successor import validate_successor
from corolistener.effects import files
from corolistener.engine.conf import cluster_of, config_id
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId
from corolistener.wire.pull import TEXT_MOST

KEPT_MOST = 10
FILE_MODE = 0o644
LOCK_S = 2.0
"""How long another writer may take: it writes two small files."""
LOCK_RETRY_S = 0.02
VERSION = re.compile("0|[1-9][0-9]{0,19}", re.ASCII)
UNREADABLE = "unreadable"
"""In place of the version of a kept file that could not be parsed."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of corosync.conf on this disk. `modified` is wall-clock seconds; `current`: it is the file itself."""

    id: ConfigId
    path: Path
    modified: float
    current: bool


class Versions:
    """One corosync.conf and what is kept of it. Blocks: for threads, and for programs that have nothing else to do.

    A path that is a symbolic link stands for the file behind it, wherever that is when a method is called.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def load(self) -> tuple[Cluster, bytes]:
        """The file's facts and bytes. Raises ConfigError where it is missing or cannot be read."""
        text = self.read()
        return cluster_of(text, str(self.path)), text

    def read(self) -> bytes:
        """The file's bytes. Raises ConfigError where there are none or too many."""
        return _readable(self.path)[0]

    def kept(self, version: int) -> bytes:
        """The kept file of that version. Raises ConfigError naming those there are."""
        return _kept(self._target(), version)

    def log(self) -> list[Version]:
        """What there is, oldest version first, the file itself last. Raises ConfigError where one cannot be read."""
        target = self._target()
        text, modified = _readable(target)
        here = Version(config_id(text, str(self.path)), self.path, modified, True)
        found = [_version(target, version) for version in _kept_versions(target)]
        return [version for version in found if version.id != here.id] + [here]

    def install(self, config: ConfigId, text: bytes, me: NodeId, force: bool = False) -> tuple[tuple[str, str], ...]:
        """Puts `text`, which `config` names, in place of the file, if it may follow it on node `me`.

        A file that is there already is synced and left. `force` lets a lower version and another cluster's file in.
        A present file that cannot be parsed is no reason to refuse a good one: it is kept as `.unreadable`.
        Returns facts for the note. Raises ConfigError where the text may not be installed, EffectError where it cannot.
        """
        if hashlib.sha256(text).hexdigest() != config.sha256:
            raise ConfigError(str(self.path), 0, f"the text received is not that of version {config}")
        with self._writing("install") as target:
            current = _present(target)
            if current == text:
                files.sync(target)  # it may be from a run that ended between rename and sync
                return (("version", str(config.version)), ("present", "already"))
            parsed = _parsed(current)
            facts = validate_successor(None if force or parsed is None else current, text, me, str(self.path))
            if facts.config_version != config.version:
                raise ConfigError(str(self.path), 0, f"the text received has version {facts.config_version}")
            kept = _replace(target, current, UNREADABLE if parsed is None else str(parsed.version), text)
        return (("version", str(config.version)), *((("kept", kept),) if kept else ()))

    def withdraw(self, config: ConfigId, previous: ConfigId) -> tuple[tuple[str, str], ...]:
        """Puts the kept file `previous` back if the file is still `config`; else leaves what is there.

        Returns facts for the note. Raises ConfigError where `previous` is not kept, EffectError where it cannot be put.
        """
        with self._writing("withdraw") as target:
            found = _parsed(_present(target))
            if found != config:
                return (("found", str(found or UNREADABLE)),)
            text = _kept(target, previous.version)
            if hashlib.sha256(text).hexdigest() != previous.sha256:
                path = str(_kept_path(target, previous.version))
                raise ConfigError(path, 0, f"the kept file is not the one that was in force, {previous}")
            _put(target, target, text, files.owner_of(target.stat()))
        return (("restored", str(previous)),)

    def _target(self) -> Path:
        return Path(os.path.realpath(self.path))

    @contextlib.contextmanager
    def _writing(self, action: str) -> Iterator[Path]:
        """Alone in the directory of the file that is yielded; the world's errors are said in its words."""
        target = self._target()
        try:
            with files.opened(target.parent, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                _lock(descriptor, target.parent)
                yield target
        except OSError as error:
            raise EffectError(action, files.words(error, target)) from None


def _kept_path(target: Path, version: int | str) -> Path:
    return target.with_name(f"{target.name}.{version}")


def _kept_versions(target: Path) -> list[int]:
    """Versions kept, lowest first. Raises ConfigError where the directory cannot be read."""
    prefix = f"{target.name}."
    try:
        names = os.listdir(target.parent)
    except OSError as error:
        raise ConfigError(str(target.parent), 0, error.strerror or str(error)) from None
    tails = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return sorted(int(tail) for tail in tails if VERSION.fullmatch(tail))


def _kept(target: Path, version: int) -> bytes:
    there = _kept_versions(target)
    path = _kept_path(target, version)
    if version not in there:
        names = ", ".join(map(str, there)) or "none"
        raise ConfigError(str(path), 0, f"no such version is kept here; there are: {names}")
    return _readable(path)[0]


def _version(target: Path, version: int) -> Version:
    path = _kept_path(target, version)
    text, modified = _readable(path)
    return Version(ConfigId(version, hashlib.sha256(text).hexdigest()), path, modified, False)


def _present(target: Path) -> bytes | None:
    """The file's bytes, None if there is no file. Raises OSError."""
    try:
        return files.read(target, TEXT_MOST)[0]
    except FileNotFoundError:
        return None


def _replace(target: Path, current: bytes | None, version: str, text: bytes) -> str:
    """Keeps the file's bytes under its version and puts the text in its place. Returns the kept file's name."""
    if current is None:
        _put(target, target, text, files.Owner(FILE_MODE))
        return ""
    look, kept = target.stat(), _kept_path(target, version)
    _put(target, kept, current, files.owner_of(look, keep_time=True))
    _put(target, target, text, files.owner_of(look))
    _prune(target, kept)
    return kept.name


def _put(target: Path, path: Path, text: bytes, owner: files.Owner) -> None:
    files.put(path, text, owner, temporary=target.with_name(f".{target.name}.new"))


def _prune(target: Path, newest: Path) -> None:
    """Removes what is older than the last ten. The file is in place by now: what cannot go may stay."""
    with contextlib.suppress(OSError, ConfigError):
        others = [path for version in _kept_versions(target) if (path := _kept_path(target, version)) != newest]
        for path in others[: max(0, len(others) + 1 - KEPT_MOST)]:
            path.unlink()


def _parsed(text: bytes | None) -> ConfigId | None:
    """The id of a file that can be read."""
    if text is None:
        return None
    try:
        return config_id(text)
    except ConfigError:
        return None


def _readable(path: Path) -> tuple[bytes, float]:
    """A file's bytes and when they were written. Raises ConfigError."""
    try:
        text, look = files.read(path, TEXT_MOST)
    except OSError as error:
        raise ConfigError(str(path), 0, error.strerror or str(error)) from None
    return text, look.st_mtime


def _lock(descriptor: int, path: Path) -> None:
    """The directory's lock, which ends with the descriptor or the process. Raises OSError after LOCK_S."""
    end = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise OSError(errno.EAGAIN, "another process is writing here", str(path)) from None
        time.sleep(LOCK_RETRY_S)
