"""A real libvirtd with QEMU on a node, and the storage that all nodes of a cluster share.

    with Cluster(nodes=2, hypervisor=True) as cluster:
        cluster.start_hypervisors()
        one, two = (node.hypervisor for node in cluster.nodes)
        cluster.storage.create_image("web")
        one.define("web")
        one.virsh("start", "web")
        one.migrate("web", two)
        cluster.add_vm("db", cluster.node(1))  # image, definition on every node, start on one

libvirtd is a unit of the node like corosync; QEMU is no child of it, survives its end and dies with the node's power.
virtlogd is not needed: QEMU's output goes to a file.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab import guest
from lab.machine import LIMIT_S, SHARED, LabError
from lab.waiting import wait_for

if TYPE_CHECKING:
    from lab.node import Node

UNIT = "libvirtd"
PROGRAMS = ("libvirtd", "virsh", "qemu-system-x86_64")
MONITORS = "/run/vm"  # on every node: NAME.qmp, where the witness asks a QEMU what it does
MEMORY_MIB = 16
NAMESPACE = uuid.UUID("5e0f6c2c-8d52-4f0a-9d1e-2b7c6a1f4e30")

DRIVERS = "/etc/libvirt/drivers"  # the one that is needed: with the other six it starts later and needs more memory
# libvirtd looks its default user up before it reads that it shall be root; on the machine itself nobody has made it.
USERS = {
    "/etc/passwd": "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
    "/etc/group": "libvirt-qemu:x:64055:\n",
}

LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
# The node is the namespace; QEMU gets none of its own, no owner is remembered on files that other nodes use too.
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
dynamic_ownership = 0
remember_owner = 0
stdio_handler = "file"
"""
# Nothing but what the guest needs: no network card (its firmware would try to boot from it), no USB, no balloon.
DOMAIN = """\
<domain type='{kind}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
{disk}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-qmp'/>
    <qemu:arg value='unix:{monitors}/{name}.qmp,server=on,wait=off'/>{options}
  </qemu:commandline>
</domain>
"""
DISK = """\
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{image}'/>
      <target dev='hda' bus='ide'/>
    </disk>"""


@functools.cache
def hardware() -> bool:
    """Whether the processor itself runs guests. A /dev/kvm without that interprets firmware: 3 s to boot, TCG takes 0.1."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return Path("/dev/kvm").exists() and bool(flags and {"vmx", "svm"} & set(flags[1].split()))


def cannot() -> str:
    """Why this machine cannot carry VMs, in one line; empty when it can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    return f"not installed: {', '.join(missing)} (scripts/setup does that)" if missing else ""


def domain_xml(
    name: str,
    image: str | None = None,
    memory_mib: int = MEMORY_MIB,
    kvm: bool | None = None,
    unlocked: tuple[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> str:
    """The definition of a VM: always the same uuid for a name. `image`: absolute path on the node, else NAME's shared one.

    `kvm` None: where the processor can. `unlocked` is for a VM that shall run twice: options of QEMU's drive and device,
    of which ("file.locking=off", "") takes no lock and ("", "share-rw=on") one that others may take too. `arguments` are
    further ones of QEMU's.
    """
    kind = "kvm" if (hardware() if kvm is None else kvm) else "qemu"
    path, disk, words = image or f"{SHARED}/{name}.img", "", list(arguments)
    if unlocked is None:
        disk = DISK.format(image=path)
    else:
        drive, device = (f",{each}" if each else "" for each in unlocked)
        words += ["-drive", f"file={path},format=raw,if=none,id=disk{drive}"]
        words += ["-device", f"ide-hd,drive=disk,bus=ide.0,bootindex=1{device}"]
    options = "".join(f"\n    <qemu:arg value='{word}'/>" for word in words)
    which = {"name": name, "uuid": uuid.uuid5(NAMESPACE, name), "kind": kind, "memory_mib": memory_mib}
    return DOMAIN.format(disk=disk, monitors=MONITORS, options=options, **which)


class Storage:
    """The shared storage of a cluster: `directory` outside is /var/lib/shared on every node."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def image(self, name: str) -> Path:
        """Where the image of a VM is found from outside."""
        return self.directory / f"{name}.img"

    def create_image(self, name: str) -> str:
        """Make the image of a VM that was never started; its path on the nodes. LabError when there is one of that name."""
        if self.image(name).exists():
            raise LabError(f"{name} has an image already")  # counting anew would look like a VM that runs twice
        self.image(name).write_bytes(guest.image())
        return f"{SHARED}/{name}.img"

    def counts(self, name: str) -> guest.Counts:
        """What the guest has counted: starts, and a number that goes up while it executes."""
        return guest.counts(self.image(name))


class Hypervisor:
    """libvirtd of a node. What is asked of it through virsh raises LabError with virsh's own words when it is refused."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.supervised = False

    def install(self, storage: Storage) -> None:
        """Put its files on the node's empty disk."""
        self.node.share(storage.directory)
        identity = uuid.uuid5(NAMESPACE, f"node {self.node.directory}")
        self.node.path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=identity))
        self.node.path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
        for file, line in USERS.items():  # instead of the links to the machine's own
            self.node.path(file).unlink()
            self.node.path(file).write_text(Path(file).read_text() + line)
        drivers = self.node.path(DRIVERS)
        drivers.mkdir()
        for driver in Path("/usr").glob("lib*/**/libvirt/connection-driver/libvirt_driver_qemu.so"):
            (drivers / driver.name).symlink_to(driver)

    # -- the daemon

    def start(self, wait: bool = True, *, supervised: bool = False) -> None:
        """Start libvirtd; with `wait` return when it answers. `supervised` starts it again 100 ms after any end."""
        if not (self.node.directory / "shared").exists():
            raise LabError(f"{self.node.name} has no storage for VMs: Cluster(hypervisor=True)")
        self.node.path(MONITORS).mkdir(exist_ok=True)
        environment = {"LIBVIRT_DRIVER_DIR": DRIVERS}
        self.supervised = supervised
        restart = "always" if supervised else "no"
        self.node.start(UNIT, ["libvirtd", "--listen"], restart=restart, burst=1000, env=environment)
        if wait:
            self.await_answer()

    def await_answer(self, limit: float = LIMIT_S) -> None:
        """Wait until libvirtd answers; LabError when it has ended instead."""

        def settled() -> bool:
            return self.answers() or (not self.supervised and bool(self.node.exits(UNIT)))

        wait_for(settled, f"libvirtd on {self.node.name} answers", limit)
        if not self.supervised and self.node.exits(UNIT):
            raise LabError(f"{self.node.name}: libvirtd has ended: {self.node.output(UNIT)[-1000:]}")

    def answers(self) -> bool:
        """Whether libvirtd answers, within 5 s."""
        try:
            return self.node.on and self.ask("uri", timeout=5).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def stop(self) -> None:
        """A clean stop (SIGTERM), waited for. The VMs run on."""
        self.node.stop(UNIT)

    def kill(self) -> None:
        """SIGKILL of libvirtd alone. The VMs run on."""
        self.node.send(UNIT, signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it takes connections and answers nobody. The VMs run on."""
        self.node.send(UNIT, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.node.send(UNIT, signal.SIGCONT)

    def restart(self) -> None:
        """Stop, start, wait for the answer."""
        self.stop()
        self.start(supervised=self.supervised)

    # -- VMs

    def ask(self, *words: str, timeout: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Run virsh on the node, whatever comes of it. subprocess.TimeoutExpired after `timeout` s."""
        return self.node.run(["virsh", "-q", "-c", "qemu:///system", *words], check=False, timeout=timeout)

    def virsh(self, *words: str, timeout: float = LIMIT_S) -> str:
        """Run virsh on the node; what it prints."""
        done = self.ask(*words, timeout=timeout)
        if done.returncode:
            raise LabError(f"{self.node.name}: virsh {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def define(self, name: str, xml: str | None = None) -> None:
        """Define a VM, from `xml` or as `domain_xml(name)` has it."""
        path = f"/tmp/{name}.xml"
        self.node.path(path).write_text(xml or domain_xml(name))
        self.virsh("define", path)

    def migrate(self, name: str, to: "Hypervisor") -> None:
        """Migrate a running VM live, with its definition; returns when it runs there.

        "unsafe" because libvirt does not take a plain directory for storage that is shared.
        """
        words = ("--live", "--p2p", "--unsafe", "--persistent", "--undefinesource")
        self.virsh("migrate", *words, name, f"qemu+tcp://{to.node.name}/system")

    def states(self) -> dict[str, str]:
        """VM to state (running, paused, shut off …) for every VM that libvirtd knows."""
        rows = (line.split(maxsplit=2) for line in self.virsh("list", "--all").splitlines())
        return {row[1]: row[2].strip() for row in rows if row}

    def running(self) -> set[str]:
        """The VMs that libvirtd takes for running; not the suspended ones."""
        return set(self.virsh("list", "--name", "--state-running").split())

    def processes(self) -> dict[str, int]:
        """VM to the pid, outside, of its QEMU, running or suspended, without asking libvirtd; {} when the power is off."""
        found = {}
        for process in self.node.processes():
            words = dict(zip(process.argv, process.argv[1:], strict=False))
            if os.path.basename(process.argv[0] if process.argv else "").startswith("qemu-system") and "-name" in words:
                found[words["-name"].removeprefix("guest=").partition(",")[0]] = process.pid
        return found
