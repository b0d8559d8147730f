"""What may stop a watchdog together with its machine: the watchdog is software, or the machine is a virtual one.

A software watchdog is a timer of the kernel: it does not fire in a kernel that hangs. A virtual machine that is suspended
stands still with all its devices, and goes on later as if no time had passed: its VMs run again under a lease that is over.
"""

import contextlib
from pathlib import Path

SOFTWARE = ("software watchdog", "softdog", "soft watchdog")
WATCHDOGS = Path("/sys/class/watchdog")
CPUINFO, XEN, DMI = Path("/proc/cpuinfo"), Path("/proc/xen/capabilities"), Path("/sys/class/dmi/id")
VENDORS = (
    "qemu",
    "kvm",
    "vmware",
    "xen",
    "virtualbox",
    "innotek",
    "microsoft corporation virtual",
    "bochs",
    "bhyve",
    "parallels",
)


def weakness(identity: str) -> str:
    """Why what this node measures is no proof by itself, in words, or ''. `identity`: its watchdog's; '' without one."""
    if any(word in identity.lower() for word in SOFTWARE):
        return f"{identity} is a software watchdog: it stands still when the kernel hangs"
    return "this node is a virtual machine: its clock and its watchdog stand still when it is suspended" if virtual() else ""


def identity(device: str) -> str:
    """What the driver behind a watchdog's device calls itself; '' where that is not known. Opens nothing: that would arm it."""
    name = Path(device).resolve().name
    return _text(WATCHDOGS / ("watchdog0" if name == "watchdog" else name) / "identity")


def virtual() -> bool:
    """This machine is a virtual one. Xen's first domain runs on a hypervisor as well, and is none."""
    if "control_d" in _text(XEN):
        return False
    flags = next((line.split() for line in _text(CPUINFO).splitlines() if line.startswith("flags")), [])
    vendor = f"{_text(DMI / 'sys_vendor')} {_text(DMI / 'product_name')}".lower()
    return "hypervisor" in flags or any(name in vendor for name in VENDORS)


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""
