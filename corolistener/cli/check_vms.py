"""What `check` looks at where there are VMs: libvirt, the storage, the hook, and what a lost node is believed by."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from corolistener.daemon.settings import Settings
from corolistener.effects.virtual import identity, weakness

OK, WARNING, ERROR = "ok", "warning", "error"
HOOK = "/etc/libvirt/hooks/qemu.d/corolistener"
PATIENCE_S = 10
CONNECT = "import libvirt, sys; libvirt.registerErrorHandler(lambda *_: None, None); libvirt.openReadOnly(sys.argv[1])"
Said = tuple[str, str, str]
"""Level, text, and the file it is about, if any."""


def look(settings: Settings, others: Iterable[tuple[int, str]]) -> Iterator[Said]:
    """`others`: ids and names of the other nodes."""
    if settings.vms.uri is None:
        return
    yield from _libvirt(settings.vms.uri)
    yield from _storage(settings.vms.shared_storage)
    if not os.access(HOOK, os.X_OK):
        yield (
            WARNING,
            "libvirt's hook is not installed, and VMs start by hand where they are not placed: `corolistener hooks install`",
            HOOK,
        )
    yield from _guests()
    yield from _believed(settings, others)


def _libvirt(uri: str) -> Iterator[Said]:
    """In a process of its own: a libvirtd that hangs must not hang the check."""
    if importlib.util.find_spec("libvirt") is None:
        yield ERROR, "libvirt's Python library is missing: install corolistener with [vms]", ""
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", CONNECT, uri], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        yield ERROR, f"{uri} does not answer within {PATIENCE_S} s", ""
        return
    if done.returncode:
        yield (
            ERROR,
            f"{uri}: {(done.stderr.strip().splitlines() or ['no connection'])[-1].removeprefix('libvirt.libvirtError: ')}",
            "",
        )
    else:
        yield OK, f"{uri} answers", ""


def _storage(declared: Iterable[str]) -> Iterator[Said]:
    for each in declared:
        if each.startswith("/"):
            there = Path(each).is_dir()
            yield (
                (OK, "shared storage is there", each)
                if there
                else (WARNING, "no such directory: VMs on it do not start here", each)
            )


def _guests() -> Iterator[Said]:
    """libvirt-guests shuts VMs down with the host, which looks like the will of their users."""
    try:
        words = ["systemctl", "is-enabled", "libvirt-guests"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.stdout.strip() == "enabled":
        yield WARNING, "libvirt-guests would shut VMs down with the host: `systemctl disable --now libvirt-guests`", ""


def _believed(settings: Settings, others: Iterable[tuple[int, str]]) -> Iterator[Said]:
    """What makes a lost node's VMs start elsewhere without a human."""
    fencing = settings.fencing
    armed = fencing.watchdog != "off" and os.path.exists(fencing.watchdog_device)
    if armed:
        yield OK, "this node's watchdog is there", fencing.watchdog_device
        weak = weakness(identity(fencing.watchdog_device))
        if weak and not fencing.weak_watchdogs:
            text = f"{weak}, so it proves nothing to the others: use fence agents, or set fencing.weak_watchdogs"
            yield WARNING, text, fencing.watchdog_device
    elif fencing.watchdog == "required":
        yield ERROR, "a watchdog is required and there is none: this node is given no VMs", fencing.watchdog_device
    elif fencing.watchdog != "off":
        yield (
            WARNING,
            "no watchdog: once lost, this node is believed only by a fence agent or an operator",
            fencing.watchdog_device,
        )
    served = {node for agent in settings.agents for node in agent.nodes}
    without = [name or str(node) for node, name in others if node not in served and (not name or name not in served)]
    if without:
        yield (
            WARNING,
            f"no fence agent for {', '.join(without)}: lost, they are waited for until a watchdog or an operator speaks",
            "",
        )
