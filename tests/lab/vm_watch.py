"""What the QEMU processes of a cluster do, seen from outside: a program that knows nothing of libvirt and corolistener.

It runs on the real machine (stdlib alone, `python -I vm_watch.py STORAGE`), looks every 25 ms at every node whose
/var/lib/shared is STORAGE, and prints one JSON object a line, at once:

    {"kind": "ready"}
    {"kind": "vm", "vm", "uuid", "node", "pid", "images", "state", "why", "earliest"}
    {"kind": "writers", "image", "pids", "nodes"}                 who holds QEMU's own lock for writing, on every change
    {"kind": "count", "image", "starts", "count"}                 what the guest has counted on its disk
    {"kind": "late", "ms"}                                        it did not look for that long

each with `wall` (CLOCK_REALTIME) and `boottime` (CLOCK_BOOTTIME) in ns. States: `found` (its monitor has not answered
yet), `running` (its processors may execute), `paused`, `gone`. For running and paused the stamp is QEMU's own, taken
before the first instruction and after the last one; for gone it is the moment of the news, and `earliest` the last one
at which the process was still there. A QEMU is seen through its second monitor (-qmp unix:…), which has no other user.
It ends when its stdin does.
"""

import itertools
import json
import os
import select
import selectors
import socket
import struct
import sys
import time
from typing import Any

Fact = dict[str, Any]
Disks = dict[tuple[int, int], str]  # device and inode of an image to its name

SHARED = "/var/lib/shared"
EVERY_S, LATE_S = 0.025, 0.2
COUNT_TICKS = 7  # looks between two looks at the disks: no multiple of what the guests count at
FDS_TICKS = 20  # looks between two looks at what a settled QEMU has open
WRITE_BYTE = 101  # QEMU locks byte 100 + n of an image for permission n that it has: 1 is to write
COUNTS = struct.Struct("<8sII")
MAGIC = b"corolab\0"


def stamps(wall: int | None = None) -> Fact:
    """A moment (default: now) on both clocks, ns."""
    now, boottime = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return {"wall": wall or now, "boottime": boottime - (now - wall if wall else 0)}


def read(path: str) -> bytes:
    """A file of /proc; empty when it is gone."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def say(kind: str, stamp: Fact, **fields: Any) -> None:
    """Print a fact."""
    print(json.dumps({"kind": kind, **fields, **stamp}), flush=True)


def locks_to_write(pid: int, fd: str) -> bool:
    """Whether this open file holds QEMU's lock for writing."""
    for line in read(f"/proc/{pid}/fdinfo/{fd}").splitlines():
        words = line.split()
        if words[:1] == [b"lock:"] and b"OFDLCK" in words:
            first, last = words[-2:]
            if int(first) <= WRITE_BYTE and (last == b"EOF" or int(last) >= WRITE_BYTE):
                return True
    return False


class Qemu:
    """One QEMU process of a node, from the moment it is found to its end."""

    def __init__(self, pid: int, node: str, argv: list[str], disks: Disks) -> None:
        words = dict(itertools.pairwise(argv))
        self.pid, self.node, self.disks = pid, node, disks
        self.vm = words["-name"].removeprefix("guest=").partition(",")[0]
        self.uuid = words.get("-uuid", "")
        self.monitor = words.get("-qmp", "").removeprefix("unix:").partition(",")[0]
        self.pidfd = os.pidfd_open(pid)
        self.socket: socket.socket | None = None
        self.heard = b""
        self.asked: Fact | None = None  # when query-status went out
        self.state, self.found = "", stamps()
        self.opened: set[str] = set()
        self.images: dict[str, str] = {}  # name of an image to the descriptor it is open as now

    def become(self, state: str, why: str, stamp: Fact, **more: Any) -> None:
        """Note a state, if it is another."""
        if state != self.state:
            self.state = state
            if state != "gone":
                self.look_at_fds()
            who = {"vm": self.vm, "uuid": self.uuid, "node": self.node, "pid": self.pid, "images": sorted(self.opened)}
            say("vm", stamp, **who, state=state, why=why, **more)

    def connect(self) -> bool:
        """Try to reach the monitor."""
        if not self.monitor:
            return False
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            line.connect(f"/proc/{self.pid}/root{self.monitor}")
        except OSError:  # not there yet
            line.close()
            return False
        self.socket = line
        return True

    def send(self, command: str) -> None:
        """Send a command to the monitor."""
        if self.socket:
            try:
                self.socket.send(json.dumps({"execute": command}).encode() + b"\n")
            except OSError:  # it is about to be found gone
                pass

    def ask(self) -> None:
        """Ask what it does, unless an answer is still to come."""
        if self.asked is None and self.state in ("running", "paused"):
            self.asked = stamps()
            self.send("query-status")

    def hear(self) -> bool:
        """Take what the monitor says; False when it has hung up."""
        try:
            said = self.socket.recv(65536) if self.socket else b""
        except BlockingIOError:
            return True
        except OSError:
            said = b""
        *lines, self.heard = (self.heard + said).split(b"\n")
        for line in lines:
            self.take(json.loads(line))
        return bool(said)

    def take(self, said: Fact) -> None:
        """Take one object."""
        if "QMP" in said:
            self.send("qmp_capabilities")
            self.asked = self.found if self.state == "found" else stamps()
            self.send("query-status")
        elif said.get("event") in ("RESUME", "STOP"):
            at = said["timestamp"]
            stamp = stamps(at["seconds"] * 10**9 + at["microseconds"] * 1000)
            self.become("running" if said["event"] == "RESUME" else "paused", said["event"], stamp)
        elif isinstance(answer := said.get("return"), dict) and "running" in answer:
            asked, self.asked = self.asked or stamps(), None
            if answer["running"]:  # at least since it was asked
                self.become("running", answer["status"], asked)
            else:
                self.become("paused", answer["status"], stamps())

    def look_at_fds(self) -> None:
        """Find the images it has open."""
        found: dict[str, str] = {}
        try:
            descriptors = os.listdir(f"/proc/{self.pid}/fd")
        except OSError:
            return
        for fd in descriptors:
            try:
                status = os.stat(f"/proc/{self.pid}/fd/{fd}")
            except OSError:
                continue
            name = self.disks.get((status.st_dev, status.st_ino))
            if name and (name not in found or locks_to_write(self.pid, fd)):
                found[name] = fd
        self.images = found
        self.opened |= found.keys()

    def writes(self) -> list[str]:
        """The images it holds the lock of."""
        return [name for name, fd in self.images.items() if locks_to_write(self.pid, fd)]


class Watch:
    """All QEMU processes of a cluster."""

    def __init__(self, storage: str) -> None:
        self.storage = storage
        status = os.stat(storage)
        self.key = (status.st_dev, status.st_ino)
        self.foreign: set[int] = set()
        self.ours: dict[int, str] = {}  # pid to node: what may yet become a QEMU
        self.qemus: dict[int, Qemu] = {}
        self.selector = selectors.DefaultSelector()
        self.writers: dict[str, list[int]] = {}
        self.disks: Disks = {}
        self.open: dict[str, int] = {}  # name of an image to our own descriptor
        self.counts: dict[str, tuple[int, int]] = {}
        self.tick, self.looked = 0, stamps()

    def run(self) -> None:
        """Until stdin ends."""
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        say("ready", stamps())
        due = time.monotonic()
        while True:
            before = stamps()
            ready = self.selector.select(max(0.0, due - time.monotonic()))
            if any(key.data is None for key, _ in ready):
                return
            self.hear([key.data for key, _ in ready])
            self.looked = before  # whoever was not ready was alive then
            if time.monotonic() >= due:
                if (late := time.monotonic() - due) > LATE_S:
                    say("late", stamps(), ms=int(late * 1000))
                self.look()
                due = max(due + EVERY_S, time.monotonic() + EVERY_S / 2)

    def hear(self, ready: list[tuple[str, Qemu]]) -> None:
        """Monitors first: what a QEMU said before its end counts."""
        now = stamps()
        for what, qemu in ready:
            if what == "monitor" and qemu.socket and not qemu.hear():
                self.selector.unregister(qemu.socket)
                qemu.socket.close()
                qemu.socket = None
        for what, qemu in ready:
            if what == "end":
                self.forget(qemu, now)

    def forget(self, qemu: Qemu, now: Fact) -> None:
        """It is gone."""
        if qemu.socket:
            while qemu.hear():
                if not select.select([qemu.socket], [], [], 0)[0]:
                    break
            self.selector.unregister(qemu.socket)
            qemu.socket.close()
        self.selector.unregister(qemu.pidfd)
        os.close(qemu.pidfd)
        qemu.become("gone", "ended", now, earliest=max(self.looked["boottime"], qemu.found["boottime"]))
        del self.qemus[qemu.pid]

    def look(self) -> None:
        """One look at everything."""
        self.tick += 1
        self.look_for_processes()
        if self.tick % COUNT_TICKS == 1:
            self.look_at_disks()
        for qemu in self.qemus.values():
            if not qemu.socket and qemu.connect():
                self.selector.register(qemu.socket, selectors.EVENT_READ, ("monitor", qemu))
        self.look_at_locks()
        if self.qemus:
            list(self.qemus.values())[self.tick % len(self.qemus)].ask()

    def look_for_processes(self) -> None:
        """Find new processes, and among the nodes' own those that have become a QEMU."""
        now = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self.foreign &= now
        for pid in self.ours.keys() - now:
            del self.ours[pid]
        for pid in now - self.foreign - self.ours.keys():
            if node := self.node_of(pid):
                self.ours[pid] = node
            else:
                self.foreign.add(pid)
        for pid, node in self.ours.items():
            if pid not in self.qemus and read(f"/proc/{pid}/comm").startswith(b"qemu-system"):
                argv = read(f"/proc/{pid}/cmdline").decode(errors="replace").split("\0")
                if "-name" in argv:  # else libvirtd's own question what this QEMU can do
                    self.welcome(pid, node, argv)

    def welcome(self, pid: int, node: str, argv: list[str]) -> None:
        """A QEMU is new."""
        try:
            qemu = Qemu(pid, node, argv, self.disks)
        except ProcessLookupError:
            return
        self.look_at_disks()
        self.qemus[pid] = qemu
        self.selector.register(qemu.pidfd, selectors.EVENT_READ, ("end", qemu))
        qemu.become("found", "started", qemu.found)

    def node_of(self, pid: int) -> str:
        """The node a process is on; empty when it is on none of this cluster's."""
        try:
            status = os.stat(f"/proc/{pid}/root{SHARED}")
        except OSError:
            return ""
        ours = (status.st_dev, status.st_ino) == self.key
        return read(f"/proc/{pid}/root/etc/hostname").decode().strip() if ours else ""

    def look_at_disks(self) -> None:
        """Find the images, and what the guests have counted on them."""
        names = {name for name in os.listdir(self.storage) if name.endswith(".img")}
        for name in self.open.keys() - names:
            os.close(self.open.pop(name))
        for name in names - self.open.keys():
            self.open[name] = os.open(f"{self.storage}/{name}", os.O_RDONLY)
            status = os.fstat(self.open[name])
            self.disks[status.st_dev, status.st_ino] = name
        for name, fd in sorted(self.open.items()):
            raw = os.pread(fd, COUNTS.size, 512)
            if len(raw) == COUNTS.size and raw.startswith(MAGIC):
                _, *counted = COUNTS.unpack(raw)
                if self.counts.get(name) != (found := (counted[0], counted[1])):
                    self.counts[name] = found
                    say("count", stamps(), image=name, starts=found[0], count=found[1])

    def look_at_locks(self) -> None:
        """Who may write which image."""
        found: dict[str, list[int]] = {}
        for qemu in self.qemus.values():
            writes = qemu.writes()
            if not writes or (self.tick + qemu.pid) % FDS_TICKS == 0:
                qemu.look_at_fds()
                writes = qemu.writes()
            for name in writes:
                found.setdefault(name, []).append(qemu.pid)
        for name, pids in found.items():
            if len(pids) > 1:  # the first may have let go before the last took it: only who still has it counts
                found[name] = [pid for pid in pids if name in self.qemus[pid].writes()]
        for name in sorted(found.keys() | self.writers.keys()):
            pids = found.get(name, [])
            if pids != self.writers.get(name, []):
                self.writers[name] = pids
                say("writers", stamps(), image=name, pids=pids, nodes=[self.qemus[pid].node for pid in pids])


if __name__ == "__main__":
    try:
        Watch(sys.argv[1]).run()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
