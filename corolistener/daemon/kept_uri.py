"""A node whose ledger has VMs on it keeps a hypervisor: the last known `[vms] uri`, where the settings name none any more.

Without one it would see none of its VMs, and its word that nothing runs here would be worth nothing (safety.md, rule 2).
"""

import logging
from dataclasses import replace
from pathlib import Path

from corolistener.daemon.notes import Log
from corolistener.daemon.settings import Settings
from corolistener.effects.memory_file import LedgerFile
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId

FILE = "uri"


def with_uri(settings: Settings, me: NodeId, log: Log) -> Settings:
    """The settings, with the uri that was last used if this node has VMs in its ledger and the settings name none.

    Raises ConfigError where none is known: the daemon must not start then.
    """
    path = Path(settings.paths.state, FILE)
    if settings.vms.uri:
        _keep(path, settings.vms.uri, log)
        return settings
    names = _here(settings, me, log)
    if not names:
        return settings
    kept = _kept(path)
    many = f"this node has VMs in the ledger ({', '.join(names[:5])}{', ...' * (len(names) > 5)})"
    if not kept:
        raise ConfigError(settings.path, 0, f"{many}, and [vms] uri is not set: set it, or move them off first")
    log.say(logging.ERROR, "vms-uri-kept", uri=kept, why=f"{many}, and [vms] uri is not set: the last one is kept")
    return replace(settings, vms=replace(settings.vms, uri=kept))


def _here(settings: Settings, me: NodeId, log: Log) -> list[str]:
    """The VMs that the ledger on this disk has on this node. One that cannot be read is told of when it is opened for use."""
    file = LedgerFile(Path(settings.paths.state))
    try:
        recalled = file.recall()
    except (ConfigError, EffectError):
        return []
    finally:
        file.close()
    for path, why in file.aside:
        log.say(logging.ERROR, "ledger-damaged", path=path, why=why)
    return sorted(row.vm.name for row in recalled.rows.placed if me in row.holders)


def _kept(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _keep(path: Path, uri: str, log: Log) -> None:
    if _kept(path) == uri:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(uri + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        log.say(logging.WARNING, "vms-uri-not-kept", why=error.strerror or error)
