"""What a process costs: memory and time of processors."""

import os
import time
from collections.abc import Sequence
from pathlib import Path


def spent(pid: int) -> float:
    """Seconds all threads of a process have run."""
    files = [Path(f"/proc/{pid}/task/{thread}/schedstat") for thread in os.listdir(f"/proc/{pid}/task")]
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def shares(pids: Sequence[int], seconds: float) -> list[float]:
    """Percent of a core that each of them uses, over so many seconds from now."""
    before, begin = [spent(pid) for pid in pids], time.perf_counter()
    time.sleep(seconds)
    return [(spent(pid) - was) / (time.perf_counter() - begin) * 100 for pid, was in zip(pids, before, strict=True)]


def rollup(pid: int) -> dict[str, float]:
    """smaps_rollup in MB."""
    rows = [row.split() for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    return {row[0].rstrip(":"): int(row[1]) / 1024 for row in rows}
