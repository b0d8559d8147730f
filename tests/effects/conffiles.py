"""Files and disks for the tests of corosync.conf: texts that corosync would take, disks that are full, read-only or dying."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

CALLS = {"open", "flock", "close", "read", "stat", "fstat", "lstat", "listdir", "mkdir", "unlink", "link"}
CALLS |= {"rename", "fchmod", "fchown", "utime", "write", "fsync"}
NODES = ((1, "10.7.0.1", 30), (2, "10.7.0.2", 20), (4, "10.7.0.4", 10))


def conf(version: int = 5, name: str = "VMmanager", nodes: tuple[tuple[int, str, int], ...] = NODES, more: str = "") -> bytes:
    """A corosync.conf without a fault; `nodes` are (id, address, priority)."""
    entries = "".join(
        f"\tnode {{\n\t\tring0_addr: {address}\n\t\tnodeid: {node}\n\t\tprio: {prio}\n\t}}\n" for node, address, prio in nodes
    )
    return (
        f"# the administrator's own words\ntotem {{\n\tversion: 2\n\tcluster_name: {name}\n\tconfig_version: {version}\n}}\n"
        f"quorum {{\n\tprovider: corosync_votequorum\n\texpected_votes: {len(nodes)}\n}}\n"
        f"ihttpd {{\n\tcount: 1\n\tport0: 1500\n}}\nnodelist {{\n{entries}}}\n{more}"
    ).encode()


def names(directory: Path) -> list[str]:
    """What lies in the directory."""
    return sorted(os.listdir(directory))


def mount_small(directory: Path, bytes_free: int) -> None:
    """A disk of that size on the directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={bytes_free}", "small", str(directory)], check=True, timeout=30)


def make_read_only(directory: Path) -> None:
    """What is in the directory can be read, and nothing else."""
    subprocess.run(["mount", "--bind", str(directory), str(directory)], check=True, timeout=30)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True, timeout=30)


@contextmanager
def watching(notice: Callable[[str, str], None]) -> Iterator[None]:
    """Calls `notice` with "c_call" or "c_return" and the name, for every call of this thread that is one of CALLS."""

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event in ("c_call", "c_return") and getattr(function, "__name__", "") in CALLS:
            notice(event, function.__name__)

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def calls_of(work: Callable[[], object]) -> list[str]:
    """The system's calls that `work` makes, in order."""
    made: list[str] = []
    with watching(lambda event, name: made.append(name) if event == "c_call" else None):
        work()
    return made


def failing(number: int, for_good: bool, code: int = errno.EIO) -> Callable[[str, str], None]:
    """A disk whose call `number` fails, and all later ones if it is `for_good`. Descriptors still close."""
    count = iter(range(1 << 30))

    def notice(event: str, name: str) -> None:
        if event != "c_call" or name == "close":
            return
        at = next(count)
        if at == number or (for_good and at > number):
            raise OSError(code, os.strerror(code))

    return notice


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Runs `work` in a child that is killed at its event `number` (before or after a call). False if it ended before."""
    child = os.fork()
    if child == 0:
        count = iter(range(1 << 30))

        def notice(event: str, name: str) -> None:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with watching(notice):
                work()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)
