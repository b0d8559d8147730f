"""The lab's power switch, and the fence agent by which daemons reach it: a node that is switched off really loses its power.

    with Power(cluster) as power:
        power.manner[3] = Manner.HANGS

Daemons live in the namespaces of their nodes and see no process of another. So the switch is outside, in the process that
made the cluster, and has a socket on the disk of every node, beside the agent, which is a program as any other: fence-agents'
options on stdin, exit status 0 for success. No cut of the lab's wire reaches it: a management network is another network.
"""

import json
import shutil
import socketserver
import threading
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab.machine import LabError

if TYPE_CHECKING:
    from lab.cluster import Cluster
    from lab.node import Node

SOURCE = Path(__file__).with_name("fence_lab")
PROGRAM, SOCKET = "/etc/corolistener/fence_lab", "/etc/corolistener/power"
PASSWORD = "lab-pass-word"
"""The switch asks for it: an agent without its options fails."""


class Manner(Enum):
    """How the agent for a node behaves."""

    WORKS = "works"
    FAILS = "fails"
    HANGS = "hangs"
    """It never answers, and does nothing."""
    TIMES_OUT = "times-out"
    """It switches the node off and is not told so: it says that it failed."""
    LIES = "lies"
    """It says that it has switched the node off, and has not."""


class Call(NamedTuple):
    """One run of the agent: on which node, what for, for whom."""

    by: int
    action: str
    node: int


def agent(*nodes: int | str, **more: Any) -> dict[str, Any]:
    """A [[fencing.agent]] table for the settings of a lab's node, single keys overridden."""
    options = {"plug": "{name}", "passwd": PASSWORD}
    return {"nodes": list(nodes), "program": PROGRAM, "options": options, **more}


class Power:
    """The switch of one cluster. `manner` and `slow_s` (seconds before anything is done) are by id of the node that is to be
    switched; `calls` are the agents' runs, oldest first. With `start` a node that is switched on starts as at boot."""

    def __init__(self, cluster: "Cluster", *, start: bool = True) -> None:
        self.cluster, self.start = cluster, start
        self.manner: dict[int, Manner] = {}
        self.slow_s: dict[int, float] = {}
        self.calls: list[Call] = []
        self._one = threading.Lock()
        self._over = threading.Event()
        self._servers: list[tuple[_Socket, threading.Thread]] = []

    def __enter__(self) -> "Power":
        for node in self.cluster.nodes:
            self.install(node)
        return self

    def __exit__(self, *_: object) -> None:
        """Answer nobody any more; returns when nothing is being switched."""
        self._over.set()
        for server, thread in self._servers:
            server.shutdown()
            thread.join()
            server.server_close()
        with self._one:
            pass

    def install(self, node: "Node") -> None:
        """Put the agent on a node's disk, and a socket of the switch beside it."""
        program, path = node.path(PROGRAM), node.path(SOCKET)
        shutil.copy(SOURCE, program)
        program.chmod(0o755)
        path.unlink(missing_ok=True)
        server = _Socket(str(path), _Asked)
        server.power, server.by = self, node.nodeid
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self._servers.append((server, thread))

    def switch_on(self, node: "Node") -> None:
        """Somebody does it by hand, and no agent comes between before the node has begun to start."""
        with self._one:
            if not node.on:
                node.power_on(start=True)

    def count(self, action: str, node: int) -> int:
        """How often an agent was run for this."""
        return sum((call.action, call.node) == (action, node) for call in self.calls)

    def answer(self, by: int, asked: dict[str, str]) -> tuple[int, str]:
        """The exit status and the last words of an agent."""
        if asked.get("passwd") != PASSWORD:
            return 1, "Unable to connect/login to fencing device"
        action, plug = asked.get("action", ""), asked.get("plug", "")
        node = next((each for each in self.cluster.nodes if plug in (each.name, str(each.nodeid))), None)
        if action == "monitor":
            return 0, ""
        if node is None:
            return 1, f"Failed: no plug {plug!r}"
        self.calls.append(Call(by, action, node.nodeid))
        manner = self.manner.get(node.nodeid, Manner.WORKS)
        if manner is Manner.HANGS:
            self._over.wait()
            return 1, "the lab is over"
        self._over.wait(self.slow_s.get(node.nodeid, 0))
        if manner is Manner.FAILS:
            return 1, "Failed: Timed out waiting to power off"
        if manner is not Manner.LIES and (words := self._switch(node, action)) is not None:
            return words
        return (1, "Failed: connection reset by power switch") if manner is Manner.TIMES_OUT else (0, "")

    def _switch(self, node: "Node", action: str) -> tuple[int, str] | None:
        """Do it. None where it is done, else what there is to say."""
        with self._one:
            if self._over.is_set():
                return 1, "the lab is over"
            if action == "status":
                return 0 if node.on else 2, ""
            if action not in ("off", "on", "reboot"):
                return 1, f"Failed: Unrecognised action {action!r}"
            try:
                if action != "on" and node.on:
                    node.power_off()
                if action != "off" and not node.on:
                    node.power_on(start=self.start)
            except LabError as error:
                return 1, f"Failed: {error}"
        return None


class _Socket(socketserver.ThreadingUnixStreamServer):
    """The switch's socket on one node."""

    daemon_threads = True
    power: Power
    by: int


class _Asked(socketserver.StreamRequestHandler):
    """One agent: a line of JSON with its options, and a line with what it shall say."""

    server: _Socket

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        status, words = self.server.power.answer(self.server.by, json.loads(line))
        try:
            self.wfile.write(json.dumps([status, words]).encode() + b"\n")
        except OSError:
            pass  # the agent was given up
