"""libvirt's own time for what the daemon has it do: the same calls through libvirt-python by so many threads, each with a
connection of its own that is open already, and nothing decided, agreed or written between them.

As a program on a node, `libvirt_own.py WHAT PARALLEL NAME…`: it prints "ready" when all connections are open, waits for a line,
does it to every VM, and prints {"began", "ended"}, wall clock in ns. What is done to each:

    start    defined from /tmp/NAME.xml, created suspended, resumed: as the daemon starts one
    suspend  suspended
    resume   resumed
    end      destroyed and undefined
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.node import Node

PROGRAM = Path(__file__).resolve()
LIMIT_S = 180.0
Connection = Any
Work = Callable[[Connection, str], None]


def _start(connection: Connection, name: str) -> None:
    import libvirt

    domain = connection.defineXML(Path(f"/tmp/{name}.xml").read_text())
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    domain.resume()


def _suspend(connection: Connection, name: str) -> None:
    connection.lookupByName(name).suspend()


def _resume(connection: Connection, name: str) -> None:
    connection.lookupByName(name).resume()


def _end(connection: Connection, name: str) -> None:
    import libvirt

    domain = connection.lookupByName(name)
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()
    domain.undefine()


WORKS: dict[str, Work] = {"start": _start, "suspend": _suspend, "resume": _resume, "end": _end}


def work(what: str, parallel: int, names: Sequence[str]) -> None:
    """The program."""
    import libvirt

    turn: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        turn.put(name)
    connections = [libvirt.open("qemu:///system") for _ in range(min(parallel, len(names)))]
    failed: list[BaseException] = []

    def run(connection: Connection) -> None:
        try:
            with contextlib.suppress(queue.Empty):
                while True:
                    WORKS[what](connection, turn.get_nowait())
        except libvirt.libvirtError as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.time_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"began": began, "ended": time.time_ns()}), flush=True)
    if failed:
        sys.exit(str(failed[0]))


def on(what: str, parallel: int, where: "Mapping[Node, Sequence[str]]") -> tuple[int, int]:
    """Do it on these nodes at the same moment: when the first began and the last had ended. AssertionError where one failed."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = []
    try:
        for node, names in where.items():
            if names:
                argv = [sys.executable, "-P", str(PROGRAM), what, str(parallel), *names]
                running.append(node.popen(argv, **pipes))
        for each in running:
            assert each.stdout.readline() == "ready\n", each.stderr.read()
        for each in running:
            each.stdin.write("\n")
            each.stdin.flush()
        told = [each.communicate(timeout=LIMIT_S) for each in running]
    finally:
        for each in running:
            each.kill()
            each.wait()
    wrong = [said for each, (_, said) in zip(running, told, strict=True) if each.returncode]
    assert not wrong, f"libvirt's own {what}: {wrong}"
    spans = [json.loads(out) for out, _ in told]
    return min(span["began"] for span in spans), max(span["ended"] for span in spans)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
