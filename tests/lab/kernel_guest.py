"""A virtual machine with a watchdog of its own, in which a piece of this checkout runs against real ioctls.

Debian's kernel (scripts/setup fetched it), an initramfs with busybox, and as root file system this machine's own, read-only:
so the guest runs the very Python and the very files that run here. What happens to it is seen from outside, through QEMU's
monitor: WATCHDOG when the device has run out, then SHUTDOWN with who wanted it (guest-reset or guest-shutdown).
"""

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lab.machine import CHECKOUT, LabError

KERNEL = CHECKOUT / ".guest/vmlinuz"
MODULES = CHECKOUT / ".guest/lib"
QEMU, BUSYBOX = "qemu-system-x86_64", "busybox"
MEMORY = "256M"
LIMIT_S = 600  # for what takes 15 seconds; without KVM, on a busy machine, a guest is ten times slower

# Pid 1. It ends the guest itself when its program has ended: whatever else ends it was not the program's will.
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox modprobe -a virtio_pci 9pnet_virtio 9p
busybox modprobe i6300esb {dog}
busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=131072,cache=loose host /host
for each in dev proc sys; do busybox mount --bind /$each /host/$each; done
busybox mount -t tmpfs tmpfs /host/run
{then}
"""
RUN = """busybox chroot /host {command} </dev/null
echo "guest: exit $?"
busybox poweroff -f
"""


class Told(NamedTuple):
    """What was seen of a guest: QEMU's events in their order, and everything on its console."""

    events: list[tuple[str, Any]]
    console: str

    @property
    def bitten(self) -> bool:
        """Its watchdog ran out, and the machine was reset for that."""
        names = [name for name, _ in self.events]
        return "WATCHDOG" in names and "guest-reset" in names[names.index("WATCHDOG") :]

    @property
    def ended(self) -> bool:
        """Its program ended without complaint, and then the guest by itself; nothing else happened."""
        return [name for name, _ in self.events] == ["guest-shutdown"] and "guest: exit 0" in self.console.splitlines()

    @property
    def lines(self) -> list[str]:
        """What the program said."""
        said = self.console.splitlines()
        return [line.removeprefix("story: ") for line in said if line.startswith("story: ")]


def cannot() -> str:
    """Why no guest can be run here, in one line; empty when one can."""
    if missing := [name for name in (QEMU, BUSYBOX, "setpriv") if not shutil.which(name)]:
        return f"not installed: {', '.join(missing)}"
    return "" if KERNEL.exists() else f"no kernel at {KERNEL}: run scripts/setup (it fetches one on amd64)"


def accelerator() -> list[str]:
    """KVM where this machine's processors do it, else QEMU's own interpreter. A /dev/kvm alone says little: one without
    hardware behind it (kvm_pvm) carries only kernels made for it, and others hang.

    The interpreter counts a guest's time in instructions (4 ns each) while it is busy, and a watchdog's with it: so a machine
    that stands still for a while starves no watchdog.
    """
    hardware = any(Path("/sys/module", name).exists() for name in ("kvm_intel", "kvm_amd"))
    if hardware and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm"]
    return ["-accel", "tcg", "-icount", "shift=2"]


def play(story: str, *, dog: str = "") -> Told:
    """Run a story of lab.guest_stories in a fresh guest, whose driver of the watchdog gets `dog` as its options."""
    python = [sys.executable, "-u", "-B", "-m", "lab.guest_stories", story]
    command = ["/usr/bin/env", "-i", f"PYTHONPATH={CHECKOUT}:{CHECKOUT}/tests", "PATH=/usr/bin:/bin", *python]
    return boot(RUN.format(command=shlex.join(command)), dog=dog)


def boot(then: str, *, dog: str = "", memory: str = MEMORY) -> Told:
    """Boot a guest whose pid 1 goes on with the shell's lines `then`, and watch it to its end.

    LabError when it has not ended after LIMIT_S, with what its console said; nothing of it is left in any case.
    """
    with tempfile.TemporaryDirectory(prefix=f"corolab-{os.getpid()}-guest-") as place:
        directory = Path(place)
        initramfs(directory, INIT.format(dog=dog, then=then))
        console = directory / "console"
        ours, its = socket.socketpair()
        with ours, _process(arguments(directory, its.fileno(), memory), its):
            try:
                events = watch(ours)
            except TimeoutError:
                said = console.read_text(errors="replace") if console.exists() else ""
                raise LabError(f"the guest has not ended after {LIMIT_S} s; its console:\n{said}") from None
        return Told(events, console.read_text(errors="replace"))


@contextlib.contextmanager
def _process(argv: Sequence[str], its: socket.socket) -> Iterator[None]:
    """QEMU while the block lasts; it dies with us, even by SIGKILL."""
    killed = ["setpriv", "--pdeathsig", "KILL", *argv]
    running = subprocess.Popen(killed, pass_fds=(its.fileno(),), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    its.close()
    try:
        yield
    except ConnectionError as error:
        raise LabError(f"QEMU did not start: {running.communicate(timeout=10)[1].strip()}") from error
    finally:
        running.kill()
        running.communicate()


def arguments(directory: Path, monitor: int, memory: str) -> list[str]:
    """QEMU's command line. -no-reboot: where the guest is reset it ends, and we see why."""
    return [
        QEMU,
        *("-machine", "pc", *accelerator(), "-m", memory, "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-serial", f"file:{directory}/console"),
        *("-device", "i6300esb", "-action", "watchdog=reset"),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-kernel", str(KERNEL), "-initrd", str(directory / "initramfs")),
        *("-append", "console=ttyS0 loglevel=5 panic=-1"),
    ]


def initramfs(directory: Path, init: str) -> None:
    """Make DIRECTORY/initramfs: busybox, the kernel's modules and `init`."""
    root = directory / "root"
    for name in ("bin", "proc", "sys", "dev", "host"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which(BUSYBOX) or BUSYBOX, root / "bin/busybox")
    shutil.copytree(MODULES, root / "lib")
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    packing = 'find . | "$1" cpio -o -H newc 2>/dev/null >../initramfs'
    subprocess.run(["sh", "-ec", packing, "pack", BUSYBOX], cwd=root, check=True)


def watch(monitor: socket.socket) -> list[tuple[str, Any]]:
    """Let the guest go, and read QEMU's events until QEMU ends. TimeoutError after LIMIT_S, ConnectionError if it never began.

    A SHUTDOWN is listed under its reason.
    """
    end = time.monotonic() + LIMIT_S
    for command in ("qmp_capabilities", "cont"):
        monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")
    answered, events, text = 0, [], b""
    while True:
        monitor.settimeout(max(0.001, end - time.monotonic()))
        try:
            more = monitor.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            break
        *lines, text = (text + more).split(b"\n")
        for told in map(json.loads, lines):
            answered += "return" in told
            if (name := told.get("event")) == "SHUTDOWN":
                events.append((told["data"]["reason"], told["data"]))
            elif name in ("WATCHDOG", "RESET", "GUEST_PANICKED"):
                events.append((name, told.get("data")))
    if answered < 2:
        raise ConnectionError("the monitor did not answer")
    return events
