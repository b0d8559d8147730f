"""A node of the lab: a machine with corosync and corolistener on it."""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab import texts
from lab.hypervisor import Hypervisor
from lab.machine import CHECKOUT, LIMIT_S, Machine
from lab.waiting import wait_for

if TYPE_CHECKING:
    from lab.cluster import Cluster
    from lab.dog import Dog

WITH_DOG = Path(__file__).with_name("run_with_dog.py")
LOCKS = (".lock.vmmgr.service", ".lock.vmmgr.relocated")


def daemon_argv(*args: str) -> list[str]:
    """The command line of the program under test: the one beside our interpreter, else the checkout's own."""
    beside = Path(sys.executable).parent / "corolistener"
    program = beside if beside.exists() else CHECKOUT / ".venv/bin/corolistener"
    return [str(program), "--config", "/etc/corolistener/corolistener.toml", *args]


class Membership(NamedTuple):
    """What corosync-quorumtool says on one node."""

    quorate: bool
    ring: str
    members: frozenset[int]


class Node(Machine):
    """A machine in the nodelist: corosync, corolistener, the ring address on a bridge vmbr0."""

    def __init__(self, cluster: "Cluster", nodeid: int, number: int, prio: int | None) -> None:
        super().__init__(f"n{nodeid}", cluster.directory / f"n{nodeid}", cluster.kept)
        self.cluster, self.nodeid, self.number, self.prio = cluster, nodeid, number, prio
        self.hypervisor = Hypervisor(self)
        self.dog: Dog | None = None
        """Its watchdog: set before the node is started; it takes the power away when it is starved."""
        self.harmed = False
        """The story took its corosync, its link or its power away: what the ring does then is no unrest."""

    @property
    def address(self) -> str:
        """Its ring0 address."""
        return f"{texts.NETWORK}.{self.number}"

    @property
    def address6(self) -> str:
        """Its IPv6 address on the same device."""
        return f"{texts.NETWORK6}:{self.number}"

    @property
    def mac(self) -> str:
        """The hardware address of vmbr0, so that a frame tells whose it is."""
        return f"02:c0:00:00:00:{self.number:02x}"

    # -- power and link

    def power_on(self, *, start: bool = False, pull: bool = True) -> None:
        """Boot: new boot id, /run, /tmp and /dev/shm empty, /etc and /var as they were.

        With `start` the usual start follows: `corolistener config pull` (unless not `pull`), corosync, corolistener.
        """
        self.cluster.power_on([self])
        if start:
            self.start_all(pull=pull)

    def power_off(self) -> None:
        """SIGKILL of everything on the node at once, then its link is gone."""
        self.harmed = True
        self.power_down()
        self.cluster.unplug(self)

    def start_all(self, *, pull: bool = True) -> None:
        """What systemd does at boot: corosync (ExecStartPre pull, Restart=always), then the daemon, supervised.

        On a node for VMs also its libvirtd, and its watchdog, if it has one.
        """
        if self.cluster.hypervisor:
            self.hypervisor.start(wait=False, supervised=True)
        if self.dog is not None:
            self.dog.start()
        self.start_corosync(restart="always", pull=pull)
        self.start_daemon(supervised=True)

    def cut(self, carrier: bool = False) -> None:
        """Cut the node's link on the bridge's side. With `carrier` the node's own device stays up: a switch failed."""
        self.harmed = True
        self.cluster.ip(f"link set {self.name} nomaster" if carrier else f"link set {self.name} down")

    def heal(self) -> None:
        """Undo `cut()` and `Cluster.split()`."""
        self.cluster.ip(f"link set {self.name} master br0 up")

    def linked(self) -> bool:
        """Whether the node's port is up and on the bridge that all share."""
        shown = self.cluster.ip("link show " + self.name)
        return "master br0 " in shown and "NO-CARRIER" not in shown and ",UP" in shown

    # -- corosync

    def start_corosync(self, wait: bool = False, *, restart: str = "no", pull: bool = False) -> None:
        """Start corosync; with `wait` return when it answers. `pull` runs `config pull` before, as the drop-in does."""
        before = daemon_argv("config", "pull") if pull else None
        self.start("corosync", ["corosync", "-f"], restart=restart, before=before, delay_s=0.2)
        if wait:
            wait_for(self.membership, f"corosync on {self.name} answers")

    def stop_corosync(self) -> None:
        """A clean stop (SIGTERM), waited for."""
        self.harmed = True
        self.stop("corosync")

    def kill_corosync(self) -> None:
        """SIGKILL of corosync alone."""
        self.harmed = True
        self.send("corosync", signal.SIGKILL)

    def pause_corosync(self) -> None:
        """SIGSTOP of corosync alone."""
        self.harmed = True
        self.send("corosync", signal.SIGSTOP)

    def resume_corosync(self) -> None:
        """SIGCONT."""
        self.send("corosync", signal.SIGCONT)

    def membership(self) -> Membership | None:
        """What corosync here sees; None while it does not answer."""
        if not self.on:
            return None
        try:
            text = self.run(["corosync-quorumtool", "-s"], check=False, timeout=10).stdout
        except subprocess.TimeoutExpired:
            return None
        facts = dict(re.findall(r"^(Quorate|Ring ID): +(\S+)", text, re.MULTILINE))
        members = re.findall(r"^ +(\d+) +\d+ .*\S", text.partition("Membership information")[2], re.MULTILINE)
        if "Quorate" not in facts:
            return None
        return Membership(facts["Quorate"] == "Yes", facts["Ring ID"], frozenset(map(int, members)) - {0})

    def quorate(self) -> bool:
        """Whether corosync here answers and says it is quorate."""
        seen = self.membership()
        return seen is not None and seen.quorate

    @property
    def corosync_conf(self) -> str:
        """The text of the node's corosync.conf."""
        return self.path("/etc/corosync/corosync.conf").read_text()

    @corosync_conf.setter
    def corosync_conf(self, text: str) -> None:
        self.path("/etc/corosync/corosync.conf").write_text(text)

    def config_version(self) -> int:
        """config_version of the node's file."""
        found = re.search(r"^\s*config_version:\s*(\d+)", self.corosync_conf, re.MULTILINE)
        return int(found[1]) if found else 0

    # -- corolistener

    def write_settings(self, **sections: Mapping[str, Any]) -> None:
        """Write corolistener.toml: the lab's settings, single keys overridden (None removes one)."""
        self.path("/etc/corolistener/corolistener.toml").write_text(texts.toml(texts.settings(**sections)))

    def start_daemon(self, args: Sequence[str] = (), *, supervised: bool = False, env: Mapping[str, str] | None = None) -> None:
        """Start corolistener. `supervised` starts it again 100 ms after any end, as Restart=always does."""
        restart = "always" if supervised else "no"
        argv = daemon_argv(*args, "run")
        if self.dog is not None:
            argv = [sys.executable, str(WITH_DOG), *argv[1:]]
            env = {**(env or {}), "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"}
        self.start("daemon", argv, restart=restart, burst=1000, env=env)

    def stop_daemon(self) -> None:
        """A clean stop (SIGTERM), waited for."""
        self.stop("daemon")

    def kill_daemon(self) -> None:
        """SIGKILL of the daemon alone; a supervised one comes back by itself."""
        self.send("daemon", signal.SIGKILL)

    def pause_daemon(self) -> None:
        """SIGSTOP."""
        self.send("daemon", signal.SIGSTOP)

    def resume_daemon(self) -> None:
        """SIGCONT."""
        self.send("daemon", signal.SIGCONT)

    def cli(
        self, *args: str, check: bool = True, timeout: float = LIMIT_S, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `corolistener ARGS` on the node with the node's settings."""
        return self.run(daemon_argv(*args), check=check, timeout=timeout, input=input)

    def lock_files(self) -> set[str]:
        """The names of VMmanager's lock files in the node's /tmp that are regular files."""
        paths = [self.path("/tmp") / name for name in LOCKS] if self.on else []
        return {path.name for path in paths if path.is_file() and not path.is_symlink()}

    def service_running(self) -> bool:
        """Whether the lab's service runs here."""
        return self.on and self.run(["/etc/corolistener/service", "status"], check=False).returncode == 0

    def service_log(self) -> list[tuple[int, str]]:
        """(wall clock in ns, start or stop) for every change of the lab's service, oldest first."""
        path = self.path("/var/log/service.log")
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def log_text(self) -> str:
        """The daemon's log file."""
        path = self.path("/var/log/corolistener.log")
        return path.read_text(errors="replace") if path.exists() else ""

    def log_lines(self) -> list[str]:
        """The daemon's log file as lines."""
        return self.log_text().splitlines()
