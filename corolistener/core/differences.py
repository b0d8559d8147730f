"""Settings that members rely on from each other, and where they differ.

Rule: safety.md, "Rules that attacks on the running system added", 2.

Each node says in its Hello what it runs with. A difference decides nothing: it is told and shown, because what holds for one
node and not for another is found by nobody at night.
"""

from dataclasses import dataclass

from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import NodeId

DEFAULT = "default"
"""Stands for the value of a setting that a node does not say, because it has its default."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`setting` is `table.key`, or `version` for the program's; `here` and `there` are what this node and `node` run with."""

    node: NodeId
    setting: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.setting} is {self.there} there and {self.here} here"


def differences(s: State) -> tuple[Difference, ...]:
    """Of all members, by node and setting. A member that says nothing is of an older version, and differs in nothing."""
    here = dict(s.config.relied_on)
    found = []
    for node in s.group.present:
        there = dict(s.group.peers[node].relied_on)
        for setting in sorted({*here, *there}) if there and node != s.me else ():
            mine, its = here.get(setting, DEFAULT), there.get(setting, DEFAULT)
            if mine != its:
                found.append(Difference(node, setting, mine, its))
    return tuple(found)


def say(s: State) -> None:
    """Each node's differences once, and again when they are others."""
    by_node: dict[NodeId, list[str]] = {}
    for each in differences(s):
        by_node.setdefault(each.node, []).append(str(each))
    for node in s.group.present:
        if node in by_node:
            s.tell(f"differs-{node}", NoteCode.SETTINGS_DIFFER, node=node, why="; ".join(by_node[node]))
        else:
            s.told.pop(f"differs-{node}", None)
