"""A real ControlServer in a thread of its own, for tests of the server and of what talks to it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from corolistener.daemon.control import ControlServer, Handler, Peer
from corolistener.errors import RequestRefused

Progress = Callable[[dict[str, Any]], None]
Answer = Callable[[str, dict[str, Any], Progress, Peer], Awaitable[dict[str, Any]]]

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "protocol": 1,
    "uptime_ms": 93_784_000,
    "cluster": "VMmanager",
    "node": {"id": 7, "name": "n7", "address": "172.31.224.72"},
    "role": "master",
    "mode": "running",
    "phase": "settled",
    "acting": True,
    "quorate": True,
    "ring": "7.24",
    "epoch": "24.0",
    "master": 7,
    "waits_for": [],
    "lease": {"valid": True, "ms_left": 4200},
    "nodes": [
        {
            "id": node,
            "name": f"n{node}",
            "ip": ip,
            "status": "joined",
            "role": role,
            "priority": priority,
            "replication": True,
            "config_version": 3,
            "member": True,
            "eligible": True,
            "why": [],
            "unable": None,
        }
        for node, ip, role, priority in (
            (7, "172.31.224.72", "M", 100),
            (9, "172.31.224.74", "S", 40),
            (13, "172.31.224.80", "S", 10),
        )
    ],
    "config": {"version": 3, "sha256": "9f" * 32, "rewriting": "idle"},
    "file": {"version": 3, "sha256": "9f" * 32},
    "address": {"ip": "172.31.224.70", "prefix": 32, "device": "vmbr0", "state": "held"},
    "service": {"state": "running"},
    "locks": {"service": True, "relocated": True},
    "bad_messages": 0,
    "ledger": {"version": "24.1.7", "stored": "24.1.7", "open": True, "stable": True, "placements": 12},
    "owed": [],
    "proven": [],
    "foreign": None,
    "unusable": None,
    "differences": [],
    "panic": None,
    "hook": None,
}
"""The seed's three nodes, as the daemon on node 7 would tell of them."""


class Told:
    """A Handler that answers from a script and remembers what it was asked."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.reply: dict[str, Any] = STATUS
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.notes: list[tuple[str, dict[str, str]]] = []
        self.noted = threading.Event()

    def status(self) -> dict[str, Any]:
        return self.reply

    async def request(self, verb: str, args: dict[str, Any], progress: Progress, peer: Peer) -> dict[str, Any]:
        self.asked.append((verb, args))
        if self.answer is None:
            raise RequestRefused("not-now", f"no answer to {verb} is prepared")
        return await self.answer(verb, args, progress, peer)

    def note(self, code: str, fields: Mapping[str, str]) -> None:
        self.notes.append((code, dict(fields)))
        self.noted.set()


@contextmanager
def serving(run_dir: str, handler: Handler, group: str = "") -> Iterator[ControlServer]:
    """The server, listening; whatever start() raises is raised here."""
    loop = asyncio.new_event_loop()
    server = ControlServer(run_dir, group, handler)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
