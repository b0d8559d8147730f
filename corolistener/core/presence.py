"""Whether a node is here, as far as the group says."""

from corolistener.core.state import State
from corolistener.ids import NodeId


def here(s: State, node: NodeId) -> bool:
    """It is of the line, or its daemon is being restarted, or about to say Hello."""
    return node in s.group.peers or node in s.group.pending or node in s.group.here


def called(s: State, node: NodeId) -> str:
    """A node as operators know it: its name, or its id where it has none."""
    entry = s.entry(node)
    return entry.name if entry is not None and entry.name else f"node {node}"
