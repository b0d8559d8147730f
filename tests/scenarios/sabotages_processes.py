"""Broken cores for the rule that only one process of a node is its daemon."""

from typing import Any

from corolistener.core.processes import Processes

PROCESSES: dict[str, list[tuple[Any, str, Any]]] = {
    "any process of a node is its daemon": [(Processes, "sift", lambda self, event, out: (event,))],
}
