"""Broken cores for the rules about votes, and about the cluster that a daemon may act in."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from corolistener.core import changes, line, mastership, recount, whole
from corolistener.core.config import NodeEntry
from corolistener.core.lease import Quorum
from corolistener.core.whole import Whole
from corolistener.ids import NodeId


def _lists_alone(
    lists: Iterable[tuple[NodeEntry, ...]], known: Collection[frozenset[NodeId]], votes: Mapping[NodeId, int], device: int
) -> tuple[Whole, ...]:
    """All votes that there are, without asking for a majority of those that the ledger knows."""
    lists = tuple(lists)
    every = whole.wholes(lists, known, votes, device)
    return tuple(each for each in every if any(each.nodes >= {entry.id for entry in listed} for listed in lists))


VOTES: dict[str, list[tuple[Any, str, Any]]] = {
    "what votequorum counts is all there is": [(Quorum, "most", lambda self, nodes, device: True)],
    "nodes that were added are a majority alone": [(line, "wholes", _lists_alone)],
    "a change may cost the quorum": [(changes, "_costs_quorum", lambda s, cluster: "")],
    "a replica whose daemon is restarted is none": [(mastership, "_returning", lambda s: ())],
    "votequorum is never told what it expects": [(recount, "tend", lambda s, now: None)],
    "any corosync is the cluster's own": [(line, "foreign", lambda s: "")],
}
