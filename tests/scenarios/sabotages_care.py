"""Broken cores: rules about restarts, about what a node knows of its VMs, and about leaving."""

from typing import Any

from corolistener.core import group
from corolistener.core.broken import Broken

SABOTAGES: dict[str, list[tuple[Any, str, Any]]] = {
    "a second hello of a restarted daemon is taken for a return": [(group, "_staying", lambda hellos, current: frozenset())],
    "a broken node starves its watchdog": [(Broken, "quiet", property(lambda self: False))],
}
