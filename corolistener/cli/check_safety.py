"""What `check` looks at so that nobody but root rules this node: whose the files are that root reads, runs and writes."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import corolistener
from corolistener.cli.check_vms import HOOK
from corolistener.coroconf.tree import Document
from corolistener.coroconf.validate_totem import crypto
from corolistener.daemon.settings import Settings
from corolistener.effects import places, trust
from corolistener.effects.keys import AUTHKEY
from corolistener.errors import ConfigError

OK, WARNING, ERROR = "ok", "warning", "error"
QEMU_CONF, PKI, PKI_MIGRATE = "/etc/libvirt/qemu.conf", "/etc/pki/qemu", "/etc/pki/libvirt-migrate"
CERTIFICATES = ("ca-cert.pem", "server-cert.pem", "server-key.pem", "client-cert.pem", "client-key.pem")
CERTIFICATE_DIR = re.compile(r'\s*(migrate|default)_tls_x509_cert_dir\s*=\s*"([^"]+)"')
Said = tuple[str, str, str, str]
"""Level, topic, text, and the file it is about, if any."""


def look(settings: Settings, document: Document | None) -> Iterator[Said]:
    """Everything there is to say of one node. `document`: corosync.conf, None if it cannot be read."""
    yield from _programs(settings)
    yield from _places(settings)
    if settings.vms.uri is not None:
        if document is not None:
            yield from _ring(settings, document)
        yield from _migration(settings)


def _places(settings: Settings) -> Iterator[Said]:
    """What the daemon writes to. The directory of the locks has a finding of its own (check.locks)."""
    told = 0
    for level, path, why in _objections(settings):
        told += 1
        yield level, "places", why, path
    if not told:
        yield OK, "places", "nobody else has put anything where the daemon writes", ""


def _objections(settings: Settings) -> Iterator[tuple[str, str, str]]:
    state, run = settings.paths.state, settings.paths.run
    why = trust.objection(state)
    if why is not None:
        yield ERROR, state, why
    elif Path(state).exists():
        mode = stat.S_IMODE(os.stat(state).st_mode)
        if not Path(state).is_dir():
            yield ERROR, state, "this is not a directory: remove it, or name another in [paths] state"
        elif mode & trust.OTHERS_WRITE:
            yield ERROR, state, f"others can write here (mode {mode:04o}): look at what is in it, then chmod 0700 {state}"
        elif mode & 0o077:
            yield WARNING, state, f"others can look in (mode {mode:04o}), until the daemon starts again: chmod 0700 {state}"
    try:
        places.require_run(run)
    except ConfigError as error:
        yield ERROR, run, error.why
    if (why := places.stranger(Path(settings.log))) is not None and settings.log != os.devnull:
        yield ERROR, settings.log, why
    for path, why in places.planted(state, settings.locks.directory):
        if path != settings.locks.directory:
            yield ERROR, path, why


def _ring(settings: Settings, document: Document) -> Iterator[Said]:
    """The ring carries definitions of VMs, and these carry passwords of consoles."""
    path, transport = settings.cluster.corosync_conf, document.get("totem.transport") or "knet"
    cipher, digest = crypto(document)
    if transport != "knet":
        text = f"transport {transport} cannot encrypt, and console passwords of VMs cross it: write transport: knet"
        yield ERROR, "ring", text, path
    elif cipher == "none" or digest == "none":
        wanted = (("crypto_cipher", "aes256", cipher), ("crypto_hash", "sha256", digest))
        missing = [f"{key}: {value}" for key, value, has in wanted if has == "none"]
        what = "not encrypted" if cipher == "none" else "not authenticated"
        text = f"the ring is {what}, and console passwords of VMs cross it: write {' and '.join(missing)} in totem {{ }}"
        yield ERROR, "ring", f"{text}, and give every node the same {AUTHKEY} (corosync-keygen)", path
    else:
        yield OK, "ring", f"it is encrypted ({cipher}, {digest})", ""


def _migration(settings: Settings) -> Iterator[Said]:
    """Whether the memory of a VM can be encrypted on its way to another node."""
    if not settings.vms.migrate_tls:
        yield WARNING, "migration", "migrate_tls is off: the memory of VMs crosses the network in clear", settings.path
        return
    if not str(settings.vms.uri).startswith("qemu"):
        return
    directory = certificates(QEMU_CONF)
    missing = [name for name in CERTIFICATES if not Path(directory, name).is_file()]
    if missing:
        text = f"{', '.join(missing)} missing: live migrations will be refused, because memory must be encrypted (migrate_tls)"
        yield WARNING, "migration", f"{text}; make certificates, or write migrate_tls = false in [vms]", directory
    else:
        yield OK, "migration", f"the certificates of QEMU are in {directory}", ""


def certificates(qemu_conf: str) -> str:
    """Where QEMU looks for what it needs for a migration with TLS, in the order of libvirt."""
    said: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path(qemu_conf).read_text(errors="replace").splitlines():
            if found := CERTIFICATE_DIR.match(line):
                said[found[1]] = found[2]
    own = PKI_MIGRATE if "default" not in said and Path(PKI_MIGRATE).is_dir() else PKI
    return said.get("migrate") or said.get("default") or own


def _programs(settings: Settings) -> Iterator[Said]:
    """What the daemon, corosync and libvirt run or read as root. The settings themselves are judged when they are read."""
    package = Path(corolistener.__file__).resolve().parent
    problems = trust.objections([*settings.programs(), HOOK, str(package), settings.cluster.corosync_conf])
    for problem in problems:
        yield ERROR, "programs", problem.why, problem.path
    if not problems:
        yield OK, "programs", "only root can change what the daemon reads and runs", ""
