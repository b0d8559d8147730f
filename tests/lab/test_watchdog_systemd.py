"""The shipped unit under a real systemd, pid 1 of a guest with a real watchdog: what its store of descriptors does with it."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from lab import kernel_guest as guest
from lab.machine import CHECKOUT

SYSTEMD = Path("/lib/systemd/systemd")

# A root of its own in memory, with this machine's /usr and the checkout; in it only the units that are told of here.
ROOT = """
busybox mkdir /new; busybox mount -t tmpfs tmpfs /new; cd /new
busybox mkdir -p dev proc sys run tmp var etc/systemd/system usr .{checkout}
for each in bin sbin lib lib64; do busybox ln -s usr/$each $each; done
busybox mount --bind /host/usr usr
busybox mount --bind /host{checkout} .{checkout}
busybox mount -t tmpfs tmpfs run
for each in dev proc sys; do busybox mount --move /$each $each; done
echo 4d6f7265206f6e652c20746f6f21abcd >etc/machine-id
echo 30000 >run/timeout_ms
: >run/told
cat() {{ busybox cat "$@"; }}
{units}
exec busybox chroot . {systemd} --unit=story.target --show-status=no --log-level=warning <dev/null >dev/console 2>&1
"""
TARGET = """[Unit]
DefaultDependencies=no
Wants=corolistener.service story.service
"""
SERVICE = f"""[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh {CHECKOUT}/tests/lab/guest_unit.sh
StandardOutput=file:/dev/console
"""


def unit() -> str:
    """conf/corolistener.service with our program, and without what this guest has not."""
    text = (CHECKOUT / "conf/corolistener.service").read_text()
    text = re.sub(r"^(Wants|After|PartOf|WantedBy)=.*\n", "", text, flags=re.MULTILINE)
    text = text.replace(
        "[Service]\n", f"DefaultDependencies=no\n[Service]\nEnvironment=PYTHONPATH={CHECKOUT}:{CHECKOUT}/tests\n"
    )
    program = shlex.join([sys.executable, "-B", "-m", "lab.guest_unit"])
    assert "ExecStart=corolistener run\n" in text
    return text.replace("ExecStart=corolistener run\n", f"ExecStart={program}\nStandardError=file:/dev/console\n")


def files() -> str:
    """Lines of the shell that write the units."""
    units = {"story.target": TARGET, "story.service": SERVICE, "corolistener.service": unit()}
    return "\n".join(f"cat >etc/systemd/system/{name} <<'END'\n{text}\nEND" for name, text in units.items())


def test_the_descriptor_survives_a_crash_and_a_restart_and_goes_with_a_stop() -> None:
    """Every process but the first, and the first after the stop, adopts it; none but those arms it."""
    if reason := guest.cannot():
        pytest.skip(f"no guest here: {reason}")
    if not SYSTEMD.exists():
        pytest.skip(f"no guest with systemd here: no {SYSTEMD}")
    then = ROOT.format(checkout=shlex.quote(str(CHECKOUT)), units=files(), systemd=SYSTEMD)
    told = guest.boot(then, memory="512M")
    assert told.lines == [
        "armed: opened=1 adopted=0 kept=1 active",
        "killed: opened=1 adopted=1 kept=1 active",
        "restarted: opened=1 adopted=2 kept=1 active",
        "stopped: opened=1 adopted=2 kept=0 inactive",
        "started: opened=2 adopted=2 kept=1 active",
        "starving",
    ], told.console
    assert told.bitten, told
