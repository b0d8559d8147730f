"""The effect of lane `store`: what this node remembers of the ledger through a loss of power.

The calls run in a thread of their own, one after the other: a disk that hangs must not stop the daemon, and a write that
hung may not take effect after a later one. A write that failed or took too long is followed by one of everything.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from corolistener.core.actions import Record
from corolistener.core.events import Outcome, Recalled, Result
from corolistener.effects.memory_file import LedgerFile

T = TypeVar("T")
Aside = Callable[[Path, str], None]


class Memory:
    """The ledger in a directory. `aside` is told of a damaged file: where it is now, and what was wrong with it."""

    def __init__(self, directory: str, aside: Aside) -> None:
        self._file, self._aside = LedgerFile(Path(directory)), aside
        self._thread = ThreadPoolExecutor(1, "memory")

    async def recall(self) -> Recalled:
        """What the disk remembers. Raises ConfigError, EffectError where that cannot be known (LedgerFile.recall)."""
        return await self._in_thread(self._file.recall)

    async def perform(self, action: Record) -> Outcome:
        """Carry out one action of lane `store`; raises EffectError with the system's words."""
        await self._in_thread(lambda: self._file.write(action))
        return Outcome(Result.DONE)

    async def close(self) -> None:
        """Give file and thread back, after what is being written."""
        await self._in_thread(self._file.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            found, self._file.aside = self._file.aside, []
            for path, why in found:
                self._aside(path, why)
