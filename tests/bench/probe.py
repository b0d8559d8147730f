"""A witness of quorum that knows nothing of corolistener's daemon: corosync tells it what it tells the daemon.

As a program it prints one JSON object a line, at once, after a "ready" once corosync is there:

    {"kind": "quorum", "quorate", "ring": [node, seq], "nodes": […], "wall", "boottime"}

with the moment the callback came in on both clocks, in ns. It is printed a moment later, so as not to compete with those it
watches. It ends when corosync does.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.machine import Init

Fact = dict[str, Any]
PATIENCE_S = 60.0
LATER_S = 0.05
PROGRAM = Path(__file__).resolve()


def watch() -> Iterator[Fact]:
    """Facts, until corosync has gone. TimeoutError when it does not come up."""
    from corolistener.corosync.errors import CsError, LibraryUnavailable, TryAgain
    from corolistener.corosync.quorum import Quorum, QuorumChanged

    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            quorum = Quorum()
            quorum.trackstart()
            break
        except (LibraryUnavailable, TryAgain):
            if time.monotonic() > end:
                raise TimeoutError(f"no corosync within {PATIENCE_S:g} s") from None
            time.sleep(0.05)
    yield {"kind": "ready", "wall": time.time_ns()}
    came: list[tuple[int, int, QuorumChanged]] = []
    while True:
        if select.select([quorum], [], [], LATER_S if came else None)[0]:
            wall, boottime = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            try:
                came += [(wall, boottime, value) for value in quorum.dispatch() if isinstance(value, QuorumChanged)]
            except CsError:
                return
            continue
        for wall, boottime, value in came:
            fact = {"kind": "quorum", "quorate": value.quorate, "ring": list(value.ring), "nodes": list(value.nodes)}
            yield fact | {"wall": wall, "boottime": boottime}
        came.clear()


def start(init: "Init", file: Path) -> "subprocess.Popen[Any]":
    """Run the program in the namespaces of `init`, printing into `file`; it ends with them."""
    with file.open("w") as out:
        argv = [sys.executable, "-P", str(PROGRAM)]
        return init.popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    for fact in watch():
        print(json.dumps(fact), flush=True)
