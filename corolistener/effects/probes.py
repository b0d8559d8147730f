"""Whether this node could hold now what a master holds: looked at before it is needed, every few seconds (safety.md, rule 17).

Each look does what the real thing needs: a file is created in the directories, the device is there, the hook can be executed.
The looks run in a thread of their own, because a disk that hangs is one of the things that they find.
"""

import asyncio
import errno
import os
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from corolistener.core.events import Event, Probed

EVERY_S = 5.0
ASKING_S = 2.0
HANGS_S = 5.0
"""A look that has not ended by then is a problem of its own."""
NETWORK = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a master needs here. `device`: '' where no address follows the master."""

    directories: tuple[tuple[str, str], ...]
    """What each is for, and its path."""
    device: str = ""
    programs: tuple[str, ...] = ()
    unit: str = ""
    """'' where the service is not a unit of systemd."""


def directories(locks: str, state: str) -> tuple[tuple[str, str], ...]:
    """Where a master creates files, as `Needs` has it."""
    return ("lock directory", locks), ("state directory", state)


class Probes:
    """`observe` is told what each look has found."""

    def __init__(self, needs: Needs, observe: Callable[[Event], None]) -> None:
        self.needs = needs
        self._observe = observe
        self._thread = ThreadPoolExecutor(1, "probes")

    async def first(self) -> Event:
        """What the look at the start finds."""
        return Probed(await self._look())

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._observe(Probed(await self._look()))

    def close(self) -> None:
        """Wait for nothing that hangs."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> tuple[str, ...]:
        looking = asyncio.get_running_loop().run_in_executor(self._thread, problems, self.needs)
        try:
            return await asyncio.wait_for(asyncio.shield(looking), HANGS_S)
        except TimeoutError:
            looking.add_done_callback(lambda done: done.cancelled() or done.exception())
            return (f"a look at the directories has not ended within {HANGS_S:.0f} s",)


def problems(needs: Needs) -> tuple[str, ...]:
    """Everything that a master needs and that is not to be had here now, in words."""
    found = [_unwritable(what, path) for what, path in needs.directories]
    if needs.device and not (NETWORK / needs.device).exists():
        found.append(f"device {needs.device}: is not there")
    found += [f"hook {path}: cannot be executed" for path in needs.programs if not os.access(path, os.X_OK)]
    found.append(_no_unit(needs.unit) if needs.unit else "")
    return tuple(why for why in found if why)


def _no_unit(unit: str) -> str:
    """Why systemd could not start a unit: it knows none of that name. No answer is no reason."""
    words = ["systemctl", "show", "--property=LoadState", "--value", "--", unit]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=ASKING_S, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"unit {unit}: {said}" if said in ("not-found", "bad-setting", "error", "masked") else ""


def _unwritable(what: str, path: str) -> str:
    """Why no file can be created in a directory; '' where that works. A full disk does not keep anybody from a lock file."""
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".corolistener-probe-"):
            return ""
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ""
        return f"{what} {path}: {error.strerror}"
