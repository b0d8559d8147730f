"""What belongs to the service on this node, found by a mark in the environment, and killed.

Every program that this daemon starts for the service gets the mark, and what it starts inherits it: also a process that has
made a session of its own, and whose parent has ended. A child of such a process belongs to it too, whatever its environment is.
What systemd starts for a hook (a unit, a scope made by a manager) has no mark: the hook's `kill` is for that.
"""

import os
import signal
import time
from collections.abc import Iterator

MARK = "COROLISTENER_SERVICE_OF"
"""The variable; its value is the run directory of the daemon, because more than one may share a machine."""
AGAIN_S = 0.02


def kill(mark: str, within_s: float) -> tuple[int, ...]:
    """Kill everything with this mark until nothing of it is left; what is still there after `within_s`."""
    end = time.monotonic() + within_s
    while found := sorted(belonging(mark)):
        if time.monotonic() >= end:
            return tuple(found)
        for pid in found:
            _kill(pid)
        time.sleep(AGAIN_S)
    return ()


def belonging(mark: str) -> set[int]:
    """The processes that carry this mark, or descend from one that does; without this process and what has ended."""
    wanted, me = f"{MARK}={mark}".encode(), os.getpid()
    parents, found = dict[int, int](), set[int]()
    for pid in _pids():
        parent = _parent(pid)
        if parent is None or pid == me:
            continue
        parents[pid] = parent
        if wanted in _environment(pid):
            found.add(pid)
    more = True
    while more:
        descended = {pid for pid, parent in parents.items() if parent in found} - found
        more = bool(descended)
        found |= descended
    return found


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            return environment.read().split(b"\0")
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    """The parent of a process; None where it has ended, also if nobody has waited for it yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            state, parent = stat.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in (b"Z", b"X") else int(parent)


def _kill(pid: int) -> None:
    """By a descriptor, so that no other process that gets its number meanwhile is hit."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _parent(pid) is not None:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        pass  # it has just ended
    finally:
        os.close(descriptor)
