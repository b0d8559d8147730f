"""Asks a daemon of a virtual cluster, or a real one, a great many broken requests. `scripts/fuzz` runs this."""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from corolistener.wire.control import CLIENT

from .asker import Asker, Wrong
from .scene import Codes, fuzzed

WARM = 0.1
"""The share of the requests after which memory is measured first: caches are full then."""
MEMORY_MIB = 48
Tell = Callable[[str], None]
FORBIDDEN = ("control-error", "bug", "broken")


class Found(NamedTuple):
    """What a run has seen."""

    requests: int
    seconds: float
    codes: dict[str, int]
    slowest_s: float
    memory_mib: tuple[int, int]
    descriptors: tuple[int, int]

    def __str__(self) -> str:
        told = " ".join(f"{code}={times}" for code, times in sorted(self.codes.items()))
        return (
            f"{self.requests} requests in {self.seconds:.0f} s ({self.requests / self.seconds:.0f} a second): "
            f"{told}; slowest {self.slowest_s:.1f} s; memory {self.memory_mib[0]} -> {self.memory_mib[1]} MiB, "
            f"descriptors {self.descriptors[0]} -> {self.descriptors[1]}"
        )


class Watched(NamedTuple):
    """The process that is asked; `forbidden` returns what its log has that it may not have."""

    pid: int
    forbidden: Callable[[], list[str]]

    @property
    def memory_mib(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) // 1024

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def fuzz(run_dir: Path, watched: Watched, requests: int, seed: int, progress: Tell = lambda line: None) -> Found:
    """Ask so many. Raises Wrong for an answer that is missing or not clear, a log that complains, and for growth."""
    asker, began, told = Asker(run_dir, seed), time.monotonic(), time.monotonic()

    def look() -> None:
        nonlocal told
        if found := watched.forbidden():
            raise Wrong(f"the log: {found}")
        if time.monotonic() > told + 10:
            told = time.monotonic()
            progress(f"{asker.sent} of {requests}, {asker.sent / (told - began):.0f} a second, {watched.memory_mib} MiB")

    before = watched.descriptors
    asker.open()
    try:
        warm = int(requests * WARM)
        asker.run(warm, look)
        memory = watched.memory_mib
        asker.run(requests - warm, look)
        memory_mib = memory, watched.memory_mib
    except Wrong as wrong:
        time.sleep(1)  # the log's thread writes what was told
        raise Wrong(f"{wrong}; the log: {watched.forbidden()}") from None
    finally:
        asker.close()
    look()
    end = time.monotonic() + 30
    while (after := watched.descriptors) > before and time.monotonic() < end:
        time.sleep(0.05)
    found = Found(requests, time.monotonic() - began, dict(asker.codes), asker.slowest_s, memory_mib, (before, after))
    if after > before or memory_mib[1] > memory + MEMORY_MIB:
        raise Wrong(f"growth: {found}")
    return found


def virtual(requests: int, seed: int, progress: Tell = lambda line: None) -> Found:
    """Ask a node of a virtual cluster, whose control server and core are real. Raises Wrong."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        run_dir = Path(directory, "run")
        with fuzzed(run_dir) as (_, codes):
            (run_dir / CLIENT).chmod(0o666)
            return fuzz(run_dir, Watched(os.getpid(), lambda: complaints(codes)), requests, seed, progress)


def complaints(codes: Codes) -> list[str]:
    return [f"{code}: {codes.last[code]}" for code in FORBIDDEN if codes.codes[code]]


def real(run_dir: Path, pid: int, log: Path, requests: int, seed: int, progress: Tell = lambda line: None) -> Found:
    """Ask the daemon `pid` that listens in `run_dir` and writes `log`. Raises Wrong."""
    read = log.stat().st_size

    def forbidden() -> list[str]:
        nonlocal read
        with log.open("rb") as file:
            file.seek(read)
            lines = file.read().decode("utf-8", "replace").splitlines()
            read = file.tell()
        return [line for line in lines if any(f" {code} " in line for code in FORBIDDEN)][:3]

    return fuzz(run_dir, Watched(pid, forbidden), requests, seed, progress)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Ask a daemon broken requests, on every socket and with every verb; exit status 1 if it fails to answer.",
    )
    parser.add_argument("--requests", type=int, default=20_000, metavar="N", help="how many (20000)")
    parser.add_argument("--seed", type=int, metavar="S", help="of the dice; else a fresh one")
    parser.add_argument("--progress", action="store_true", help="tell every 10 s how far it is")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="sockets of a real daemon; else a virtual cluster is asked")
    parser.add_argument("--pid", type=int, metavar="PID", help="the real daemon's process")
    parser.add_argument("--log", type=Path, metavar="FILE", help="the real daemon's log")
    given = parser.parse_args(argv)
    if given.requests < 1:
        parser.error("--requests: at least 1")
    if (given.run_dir is None) != (given.pid is None) or (given.run_dir is None) != (given.log is None):
        parser.error("--run-dir, --pid and --log belong together")
    seed = int.from_bytes(os.urandom(4), "big") if given.seed is None else given.seed
    tell: Tell = (lambda line: print(line, flush=True)) if given.progress else lambda line: None
    print(f"{given.requests} requests, seed {seed}", flush=True)
    try:
        if given.run_dir is None:
            print(virtual(given.requests, seed, tell))
        else:
            print(real(given.run_dir, given.pid, given.log, given.requests, seed, tell))
    except Wrong as wrong:
        print(f"seed {seed}: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
