"""What a daemon on this node may hold, written down for whoever lets go of it when no daemon can (safety.md, rule 4).

The file says by what names to find it, not what is held: letting go of what is not there is done at once. It is in the run
directory, so a restart of the machine takes it away together with what it names, and it is read without any settings. The
daemon keeps it locked while it lives; a farewell removes it.
"""

import fcntl
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

NAME = "held.json"


@dataclass(frozen=True, slots=True)
class Held:
    """`address`, `prefix` and `device` are empty where no address follows the master. `invocation`: systemd's name of the run
    of the daemon that took all this over; `orderly_ms` is how long the service has to stop in order."""

    boot: str
    node: int
    run: str
    locks: str
    hook: str
    unit: str | None
    corosync_conf: str
    orderly_ms: int
    address: str = ""
    prefix: int = 0
    device: str = ""
    invocation: str = ""


class Claim:
    """The file of one living daemon."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory, NAME)
        self._descriptor: int | None = None

    def write(self, held: Held) -> None:
        """Say it, and keep the file locked from now on. Raises OSError."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = msgspec.json.encode(asdict(held))
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def drop(self) -> None:
        """Nothing is held any more."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """The process ends; what is held stays, and the file says what."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def left(directory: str) -> Held | None:
    """What the file names, if no daemon lives that holds it; None also where there is no file, or none that can be read."""
    try:
        descriptor = os.open(Path(directory, NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        said: dict[str, Any] = msgspec.json.decode(os.read(descriptor, 1 << 16), type=dict[str, Any])
        return Held(**{each.name: said[each.name] for each in fields(Held) if each.name in said})
    except (OSError, msgspec.DecodeError, TypeError):
        return None
    finally:
        os.close(descriptor)
