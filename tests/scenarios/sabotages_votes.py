"""Broken cores for the rules about votes."""

from typing import Any

from corolistener.core.lease import Quorum

VOTES: dict[str, list[tuple[Any, str, Any]]] = {
    "what votequorum counts is all there is": [(Quorum, "most", lambda self, nodes, device: True)],
}
