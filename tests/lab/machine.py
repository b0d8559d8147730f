"""One machine of the lab: an init process, and the namespaces that make it a machine of its own.

Its directory is the skeleton of a root: what the machine has at /etc/corosync is DIRECTORY/etc/corosync outside.
Everything on it lives in one pid namespace, so a SIGKILL of its init is a loss of power: nothing on it acts again.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
CHECKOUT = Path(__file__).resolve().parents[2]
NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid")
OWN = (
    "/etc/corosync", "/etc/corolistener", "/etc/libvirt",
    "/var/lib/corosync", "/var/lib/corolistener", "/var/lib/libvirt",
)  # fmt: skip
PRIVATE = (*OWN, "/var/log", "/run", "/tmp")
SHARED = "/var/lib/shared"
VOLATILE = ("run", "tmp")

# Arguments: directory, host name, then directories that must stay visible though a private one hides them.
# cat lives as long as its owner: whoever holds the other end of its stdin dies, and the machine dies with it.
# SIGCHLD is ignored across exec, so orphans of the machine are reaped by the kernel.
BOOT = """
set -e
read -r pid rest </proc/self/stat
cd "$1"; hostname "$2"; shift 2
mkdir -p run/lab/etc run/lab/lib
mount -o bind,ro /etc run/lab/etc
mount -o bind,ro /var/lib run/lab/lib
for kept; do mkdir -p ".$kept"; mount --rbind "$kept" ".$kept"; done
mount --bind etc /etc
mount --bind var/lib /var/lib
if [ -e shared ]; then mount --bind shared /var/lib/shared; mount --bind var/cache /var/cache; fi
mount --rbind var/log /var/log
mount --rbind tmp /tmp
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t proc proc /proc
mount --bind boot_id /proc/sys/kernel/random/boot_id
mount -t sysfs -o ro sysfs /sys
for dog in /dev/watchdog*; do if [ -e "$dog" ]; then mount --bind /dev/null "$dog"; fi; done
mount --rbind run /run
"""
HOLD = """
echo "$pid"
exec env --ignore-signal=CHLD {hold} >/dev/null 2>&1
"""

# What systemd does for a service, no more: ExecStartPre (never fatal), Restart, RestartSec, StartLimitBurst.
SUPERVISE = """
state=/run/lab/{name}; starts=0
echo $$ >"$state.supervisor"
cd /
exec </dev/null >>/var/log/{name}.out 2>&1
while :; do
    {before}
    [ -e "$state.stop" ] && break
    sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0.pid"; exec "$@"' "$state" {argv}
    code=$?
    rm -f "$state.pid"; echo $code >>"$state.exits"
    [ -e "$state.stop" ] && break
    case {restart} in no) break;; on-failure) [ $code = 0 ] && break;; esac
    starts=$((starts + 1)); [ $starts -ge {burst} ] && break
    sleep {delay_s}
    [ -e "$state.stop" ] && break
done
"""
LIMIT_S = 90  # for what takes milliseconds: a machine that is shared may stand still for seconds


class LabError(Exception):
    """The lab cannot do what was asked: one line that says what and why."""


class Process(NamedTuple):
    """One process of a machine: its pid and its parent's outside, its pid inside, its command line."""

    pid: int
    parent: int
    inner: int
    argv: tuple[str, ...]


def poll(condition: Callable[[], T], limit_s: float, every_s: float = 0.02) -> T:
    """The first truthy value of `condition`, or its last one when `limit_s` has passed."""
    end = time.monotonic() + limit_s
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(every_s)
    return value


def stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time (clock ticks after boot) of a process: the pair (pid, start) never repeats."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


def tell(pid: int, number: int) -> None:
    """Send a signal to a process that may just have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Entered(subprocess.Popen[Any]):
    """A command inside, started through nsenter; signals go to the command itself."""

    def __init__(self, init: int, argv: Sequence[str], **options: Any) -> None:
        self._init = init
        super().__init__(argv, **options)

    def send_signal(self, sig: int) -> None:
        """As subprocess's own. Killing the nsenter instead would leave a zombie inside to the real machine's init."""
        for process in inhabitants(self._init):
            if process.parent == self.pid:
                tell(process.pid, sig)
        if sig == signal.SIGCONT:
            super().send_signal(sig)


class Init:
    """The process that holds a set of namespaces: pid 1 inside. With `kept` it outlives us, else it dies with us."""

    def __init__(self, pid: int = 0, started: int = 0) -> None:
        self.pid, self.started = pid, started
        self._unshare: subprocess.Popen[str] | None = None
        self._entered: list[Entered] = []

    def boot(self, script: str, *args: str, kept: bool = False) -> "Init":
        """Begin to make the namespaces and run `script` in them; `ready()` completes it."""
        script += HOLD.format(hold="sleep infinity" if kept else "cat")
        self._unshare = subprocess.Popen(
            ["unshare", "--kill-child", *NAMESPACES, "--", "sh", "-c", script, "init", *args],
            stdin=subprocess.DEVNULL if kept else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return self

    def ready(self) -> "Init":
        """Wait until the namespaces stand; LabError with the shell's own words when they cannot."""
        unshare = self._unshare
        if not unshare or not unshare.stdout or not unshare.stderr:
            raise LabError("booted by another process")
        line = unshare.stdout.readline()
        if not line.strip():
            why = unshare.stderr.read().strip()
            self.reap()
            raise LabError(f"cannot make namespaces: {why}")
        self.pid = int(line)
        self.started = (stat(self.pid) or ("", 0))[1]
        return self

    @property
    def alive(self) -> bool:
        """Whether this very process (not another with its pid) still runs."""
        now = stat(self.pid) if self.pid else None
        return now is not None and now[1] == self.started and now[0] not in "ZX"

    def enter(self, *argv: str) -> list[str]:
        """Command line that runs `argv` inside."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-i", "-p", "--", *argv]

    def popen(self, argv: Sequence[str], **options: Any) -> "Entered":
        """Start a command inside, with subprocess's `options`."""
        self._entered = [entered for entered in self._entered if entered.poll() is None]
        self._entered.append(Entered(self.pid, self.enter(*argv), **options))
        return self._entered[-1]

    def kill(self) -> None:
        """SIGKILL; returns when nothing of it is left: the kernel lets an init go only after all its processes."""
        if self.alive:
            inside = inhabitants(self.pid)
            tell(self.pid, signal.SIGKILL)
            for entrance in {process.parent for process in inside} - {process.pid for process in inside} - {0}:
                tell(entrance, signal.SIGCONT)  # an nsenter stops when its child is stopped, and then reaps nobody
        elif self._unshare:  # never became ready
            self._unshare.kill()
        self.reap()

    def reap(self) -> None:
        """Wait until the init and all its processes are gone."""
        if self._unshare:
            self._outlast(self._unshare)
            for pipe in (self._unshare.stdin, self._unshare.stdout, self._unshare.stderr):
                if pipe:
                    pipe.close()
            self._unshare = None
        for entered in self._entered:
            self._outlast(entered)
        poll(lambda: not self.alive, 10)

    def _outlast(self, process: subprocess.Popen[Any]) -> None:
        """Wait for it. An nsenter may have stopped with its child only after it was told to go on: then it reaps nobody, and
        the kernel lets the init wait for that for ever."""
        while True:
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                for entered in self._entered:
                    tell(entered.pid, signal.SIGCONT)
            else:
                return


def farm(real: Path, copy: Path, own: Iterable[str]) -> None:
    """Make `copy` look like `real` through links (to the read-only bind at /run/lab/NAME), but for the names in `own`.

    So a machine gets an /etc of its own without a directory being made on the real one.
    """
    copy.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(real):
        if entry.name not in own:
            target = os.readlink(entry.path) if entry.is_symlink() else f"/run/lab/{real.name}/{entry.name}"
            (copy / entry.name).symlink_to(target)


def visible() -> list[str]:
    """What the project needs to run and a private directory would hide, as a checkout below /tmp."""
    wanted = {CHECKOUT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    hidden = {path for path in wanted if any(path.is_relative_to(private) for private in PRIVATE)}
    return [str(path) for path in sorted(hidden) if hidden.isdisjoint(path.parents)]


class Machine:
    """A machine on the lab's wire. Off until `power_up()`; its disk (`directory`) survives a loss of power."""

    def __init__(self, name: str, directory: Path, kept: bool = False) -> None:
        self.name, self.directory, self.kept = name, directory, kept
        self.init = Init()

    def install(self) -> None:
        """Make the empty disk."""
        own = {Path(path).name for path in PRIVATE} | {"hostname", "hosts", "mtab"}
        farm(Path("/etc"), self.directory / "etc", own)
        farm(Path("/var/lib"), self.directory / "var/lib", own)
        for path in PRIVATE:
            self.path(path).mkdir(parents=True, exist_ok=True)
        self.path("/tmp").chmod(0o1777)
        self.path("/etc/hostname").write_text(self.name + "\n")
        self.path("/etc/mtab").symlink_to("../proc/self/mounts")

    def share(self, storage: Path) -> None:
        """From the next power up on the machine has `storage` at /var/lib/shared, and a /var/cache of its own."""
        (self.directory / "shared").symlink_to(storage)
        for path in (SHARED, "/var/cache"):
            self.path(path).mkdir(parents=True)

    def path(self, inside: str | Path) -> Path:
        """Where a file of the machine (an absolute path under one of PRIVATE) is found from outside."""
        return self.directory / str(inside).lstrip("/")

    # -- power

    def power_up(self) -> None:
        """Begin to start: new boot id, empty /run, /tmp and /dev/shm. `await_up()` completes it."""
        if self.init.alive:
            raise LabError(f"{self.name} is already on")
        for volatile in VOLATILE:
            for entry in (self.directory / volatile).iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (self.directory / "boot_id").write_text(f"{uuid.uuid4()}\n")
        self.init = Init().boot(BOOT, str(self.directory), self.name, *visible(), kept=self.kept)

    def await_up(self) -> None:
        """Wait until the namespaces stand."""
        self.init.ready()

    def power_down(self) -> None:
        """SIGKILL of everything on the machine at once; its disk stays."""
        self.init.kill()

    @property
    def on(self) -> bool:
        """Whether the machine has power."""
        return self.init.alive

    @property
    def boot_id(self) -> str:
        """What the machine reads at /proc/sys/kernel/random/boot_id."""
        return (self.directory / "boot_id").read_text().strip()

    # -- commands

    def enter(self, *argv: str) -> list[str]:
        """Command line that runs `argv` in all namespaces of the machine; LabError when it is off."""
        if not self.on:
            raise LabError(f"{self.name} is off")
        return self.init.enter(*argv)

    def popen(self, argv: Sequence[str], **options: Any) -> Entered:
        """Start a command on the machine with subprocess's `options` (text by default); LabError when it is off."""
        if not self.on:
            raise LabError(f"{self.name} is off")
        options["env"] = environment(options.get("env"))
        return self.init.popen(argv, **{"text": True, **options})

    def run(
        self,
        argv: Sequence[str],
        check: bool = True,
        input: str | None = None,
        timeout: float = LIMIT_S,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine and capture its text. `check`: LabError with its stderr unless it exits 0.

        subprocess.TimeoutExpired after `timeout` s; the command is dead then.
        """
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        with self.popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as running:
            try:
                out, err = running.communicate(input, timeout)
            except BaseException:
                running.kill()
                raise
        if check and running.returncode:
            raise LabError(f"{self.name}: {shlex.join(argv)}: exit {running.returncode}: {err.strip()}")
        return subprocess.CompletedProcess(argv, running.returncode, out, err)

    def ip(self, *lines: str) -> None:
        """Run several `ip` commands as one batch."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def addresses(self, device: str = "vmbr0") -> list[dict[str, Any]]:
        """The addresses of a device as `ip -j addr` gives them (keys local, prefixlen, family, …)."""
        shown = json.loads(self.run(["ip", "-j", "addr", "show", "dev", device]).stdout)
        return [address for link in shown for address in link.get("addr_info", [])]

    def holds(self, address: str, device: str = "vmbr0") -> bool:
        """Whether `address` is on `device`; a machine that is off holds nothing."""
        return self.on and any(each["local"] == address for each in self.addresses(device))

    # -- processes

    def processes(self) -> list[Process]:
        """Every process of the machine but its init, in order of pid."""
        return [process for process in inhabitants(self.init.pid) if process.inner != 1] if self.on else []

    def pid(self, unit: str) -> int | None:
        """The pid, outside, of a unit's main process; None while it does not run."""
        return self._noted(unit, "pid")

    def _noted(self, unit: str, mark: str) -> int | None:
        """The pid, outside, of the living process that wrote its own pid down as `mark`."""
        try:
            inner = int(self.path(f"/run/lab/{unit}.{mark}").read_text())
        except (OSError, ValueError):
            return None
        return next((process.pid for process in self.processes() if process.inner == inner), None)

    def exits(self, unit: str) -> list[int]:
        """The exit codes of a unit's main process since power on, oldest first (128 + n for signal n)."""
        path = self.path(f"/run/lab/{unit}.exits")
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    # -- units

    def start(
        self,
        unit: str,
        argv: Sequence[str],
        *,
        restart: str = "no",
        before: Sequence[str] | None = None,
        delay_s: float = 0.1,
        burst: int = 5,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start a unit as systemd would: `restart` no, on-failure or always, at most `burst` starts, `delay_s` apart.

        Returns when the main process runs (or has already ended, or all starts are spent). `before` is its
        ExecStartPre, run before every start, whose failure stops nothing. Output goes to /var/log/UNIT.out.
        LabError when the unit runs, or its supervisor is about to start it again.
        """
        # A supervisor whose process has just ended for good is given the time to end too.
        poll(lambda: self.pid(unit) or not self._noted(unit, "supervisor"), LIMIT_S, 0.003)
        if self.pid(unit) or self._noted(unit, "supervisor"):
            raise LabError(f"{self.name}: {unit} runs already")
        for mark in ("pid", "stop", "exits"):
            self.path(f"/run/lab/{unit}.{mark}").unlink(missing_ok=True)
        commands = {"argv": shlex.join(argv), "before": shlex.join(before or [":"])}
        script = SUPERVISE.format(name=unit, restart=restart, burst=burst, delay_s=delay_s, **commands)
        self.run(["setsid", "-f", "sh", "-c", script], env=env)
        poll(lambda: self.pid(unit) or self.exits(unit), LIMIT_S, 0.003)

    def send(self, unit: str, number: int) -> None:
        """Send a signal to a unit's main process; LabError when it does not run."""
        pid = self.pid(unit)
        if pid is None:
            raise LabError(f"{self.name}: {unit} does not run")
        os.kill(pid, number)

    def stop(self, unit: str, number: int = signal.SIGTERM, limit_s: float = LIMIT_S) -> None:
        """End a unit, its supervisor too; AssertionError when they have not gone after `limit_s`. Nothing to do, no error.

        What has been stopped stays so: the order stands until the supervisor has read it, whatever it was just doing.
        """
        self.path(f"/run/lab/{unit}.stop").touch()
        told: set[int] = set()

        def gone() -> bool:
            pid = self.pid(unit)
            if pid is not None and pid not in told:
                told.add(pid)
                tell(pid, number)
            return pid is None and self._noted(unit, "supervisor") is None

        if not poll(gone, limit_s, 0.005):
            raise AssertionError(f"{self.name}: {unit} did not end within {limit_s} s of signal {number}")

    def output(self, unit: str) -> str:
        """Everything a unit has written to stdout and stderr."""
        path = self.path(f"/var/log/{unit}.out")
        return path.read_text(errors="replace") if path.exists() else ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what belongs to our own supervisor or test runner."""
    alien = re.compile("NOTIFY_SOCKET|WATCHDOG_|LISTEN_|INVOCATION_ID|JOURNAL_STREAM|PYTEST_|TMPDIR")
    return {key: value for key, value in os.environ.items() if not alien.match(key)} | dict(extra or {})


def inhabitants(init: int) -> list[Process]:
    """Every process in the pid namespace of process `init`, itself included."""
    try:
        namespace = os.readlink(f"/proc/{init}/ns/pid")
    except OSError:
        return []
    found = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") != namespace:
                continue
            status, argv = Path(f"/proc/{pid}/status").read_text(), Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:  # ended meanwhile, or a zombie
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines())
        inner = int(fields["NSpid"].split()[-1])
        found.append(Process(pid, int(fields["PPid"]), inner, tuple(argv.split("\0")[:-1])))
    return found
