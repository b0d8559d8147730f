"""What libvirt on a node tells of its VMs, with the moment it is heard: a program that knows nothing of corolistener.

It prints one JSON object a line, at once, after a "ready": {"kind": "libvirt", "vm", "what", "wall", "boottime"}, times in ns;
`what` is defined, started, suspended, resumed or stopped. It ends when libvirtd does, or when it is killed.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.node import Node

PROGRAM = Path(__file__).resolve()
WHATS = {0: "defined", 1: "undefined", 2: "started", 3: "suspended", 4: "resumed", 5: "stopped"}


def say(**fact: object) -> None:
    """A fact, now."""
    stamps = {"wall": time.time_ns(), "boottime": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
    print(json.dumps({**fact, **stamps}), flush=True)


def listen(uri: str) -> None:
    """Print, until the connection ends."""
    import libvirt

    over = threading.Event()

    def told(_c: object, domain: Any, event: int, _d: int, _o: object) -> None:
        say(kind="libvirt", vm=domain.name(), what=WHATS.get(event, str(event)))

    libvirt.virEventRegisterDefaultImpl()
    connection = libvirt.open(uri)
    connection.registerCloseCallback(lambda *_: over.set(), None)
    connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, told, None)
    say(kind="ready")
    while not over.is_set():
        libvirt.virEventRunDefaultImpl()


def start(node: "Node", file: Path) -> "subprocess.Popen[Any]":
    """Run the program on a node, printing into `file`; it ends with the node's power."""
    with file.open("w") as out:
        argv = [sys.executable, "-P", str(PROGRAM)]
        return node.popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    listen("qemu:///system")
