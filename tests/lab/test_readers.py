"""Programs without privileges ask a real daemon all they can: it keeps its lease, its memory and its time for root."""

import re
import sys
import time
from pathlib import Path

from lab.cluster import CHECKOUT, Node, wait_for
from lab.conftest import MakeCluster
from lab.machine import Entered
from lab.stories import CALM, FENCING, everything, noted, settled, status

CROWD = """
import socket, sys, time
sys.path.insert(0, sys.argv[1])
from corolistener.wire.control import encode
many, asks, reads = map(int, sys.argv[2:5])
path = "/run/corolistener/client"
there, bytes_read = [], 0
def connected():
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(5)
    client.connect(path)
    return client
while True:
    while len(there) < many:
        try:
            there.append(connected())
        except OSError:
            time.sleep(0.05)
            break
    for client in list(there):
        try:
            client.settimeout(0.05)
            for number in range(asks):
                client.sendall(encode({"id": number, "verb": "vms"}))
            if reads:
                bytes_read += len(client.recv(65536))
        except TimeoutError:
            pass
        except OSError:
            there.remove(client)
    time.sleep(0.005)
"""
MEMORY_MIB = 60
"""More than this the daemon's memory may not grow."""
LONG_S = 25.0


def crowd(node: Node, many: int, asks: int, reads: bool) -> Entered:
    """A process of a user without privileges, in [control] group, with so many connections."""
    who = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return node.popen([*who, sys.executable, "-c", CROWD, str(CHECKOUT), str(many), str(asks), str(int(reads))])


def resident_mib(node: Node) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{node.pid('daemon')}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def test_readers_take_nothing_from_the_decision(make_cluster: MakeCluster) -> None:
    """60 connections that ask, 40 that never read, 140 idle ones, on the master; each was enough to take something away."""
    cluster = make_cluster(daemons=True, settings={**FENCING, "control": {"group": "nogroup"}}, **CALM)
    n1 = cluster.node(1)
    settled(cluster, n1)
    before = resident_mib(n1)
    crowds = [crowd(n1, 60, 1, True), crowd(n1, 40, 20, False), crowd(n1, 140, 0, False)]
    wait_for(lambda: noted(n1, "control-full"), "their places are taken", 60)
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        assert status(n1)["lease"]["valid"]
        assert all(each.poll() is None for each in crowds)
        time.sleep(0.5)
    n1.cli("panic", "--reason", "a test under a crowd")
    wait_for(lambda: status(cluster.node(2)).get("panic"), "the panic is everywhere")
    n1.cli("recover")
    assert resident_mib(n1) < before + MEMORY_MIB
    for node in cluster.nodes:
        assert noted(node, "lease-ended") == []
        assert noted(node, "left") == []
    assert everything(n1)
    for each in crowds:
        each.kill()
        each.wait()
    settled(cluster, n1)
