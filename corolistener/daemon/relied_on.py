"""The settings that other members rely on, as a node says them in its Hello (core/differences)."""

from dataclasses import fields

from corolistener import __version__
from corolistener.daemon.settings import Fencing, Service, Settings, Vms

FENCING = (
    *("proofs", "heartbeat_ms", "grace_ms", "margin_ms", "restart_ms", "hello_ms"),
    *("watchdog", "watchdog_timeout_ms", "disallowed"),
)
VMS = ("uri", "manage", "shared_storage", "on_shutdown", "migrate_tls")
SERVICE = ("timeout_s",)


def relied_on(settings: Settings, vms: Vms) -> tuple[tuple[str, str], ...]:
    """Names (`table.key`) and values, sorted; `vms` is the table that the daemon was started with.

    What has its default is left out, so that the Hello stays short; the version is always there.
    """
    said = _said("fencing", settings.fencing, FENCING) | _said("service", settings.service, SERVICE) | _said("vms", vms, VMS)
    return tuple(sorted({"version": __version__, **said}.items()))


def _said(table: str, given: Fencing | Service | Vms, keys: tuple[str, ...]) -> dict[str, str]:
    defaults = {each.name: each.default for each in fields(given)}
    values = {key: getattr(given, key) for key in keys}
    return {f"{table}.{key}": _text(value) for key, value in values.items() if value != defaults[key]}


def _text(value: object) -> str:
    """Lists in the order of the alphabet: that of the file means nothing."""
    if isinstance(value, tuple):
        return " ".join(sorted(map(_text, value)))
    return str(getattr(value, "value", value))
