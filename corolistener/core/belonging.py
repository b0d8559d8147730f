"""Whether the corosync that runs here belongs to the cluster of the file: the daemon acts in no other one.

Rule: safety.md, "Rules that attacks on the running system added", 21. A machine whose corosync was started with another file,
such as its distribution's sample, has the real cluster's corosync.conf, settings and ledger on its disk, but not its ring.
"""

from corolistener.core.events import Running
from corolistener.core.state import State
from corolistener.ids import NodeId

MEND = "systemctl restart corosync"


def foreign(s: State) -> str:
    """Why the running corosync is not the one of the file, and what to type; '' if it is, or if that is not known."""
    runs = s.runs
    if runs is None:
        return ""
    cluster, entry = s.storing.cluster, s.storing.cluster.node(s.me)
    if runs.cluster and runs.cluster != cluster.name:
        return f"corosync runs cluster {runs.cluster}, the file says {cluster.name or 'none'}: {MEND}"
    if runs.node not in (NodeId(0), s.me):
        return f"corosync runs as node {runs.node}, the file says {s.me}: {MEND}"
    if runs.addresses and entry is not None and not _may_have(s, runs, entry.address):
        return f"corosync runs with address {runs.addresses[0]}, the file says {entry.address}: {MEND}"
    return ""


def _may_have(s: State, runs: Running, address: str) -> bool:
    """While corosync has another version of the file than this node, a change of the address may be under way."""
    return not address or address in runs.addresses or runs.version != s.storing.file.version
