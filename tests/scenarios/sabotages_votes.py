"""Broken cores for the rules about votes, and about the cluster that a daemon may act in."""

from typing import Any

from corolistener.core import line
from corolistener.core.lease import Quorum

VOTES: dict[str, list[tuple[Any, str, Any]]] = {
    "what votequorum counts is all there is": [(Quorum, "most", lambda self, nodes, device: True)],
    "any corosync is the cluster's own": [(line, "foreign", lambda s: "")],
}
