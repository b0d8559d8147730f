"""Which process of each node is its daemon: whoever has access to corosync may join the daemons' group, from any node.

CPG tells of processes, and all else in the core is about nodes. The daemon of a node is the process that said the last Hello;
a Hello names its own process, so that one that is only repeated by another process counts for nothing. On this node it is
this process.

- Only the daemon is heard. Of a process that has not said Hello only counts that it says something, and that another daemon has
  ended for good (Vacated, which names its process, too).
- What a process committed before its Hello (Committed) counts when the Hello tells that it is the daemon: the others of its
  former line have taken it in at once, and all of the next line have to agree on the file.
- A node is in the group while any process of it is. Once the daemon has left and only processes are there that were beside it
  when it said Hello, the node is not, until somebody joins: whoever has just joined cannot know them from a daemon that has not
  spoken, and all have to agree on who is there. Such a process is waited for like a daemon that is silent.
- The leave of any other process is no news. A daemon that was killed may leave after the next one has joined. So while there is
  a newcomer beside a daemon, the others say in their Hellos that this daemon may be restarting.

All of it changes only by what CPG delivers, in its order. Events without processes (old stories) pass as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from corolistener.core.events import BadMessage, CorosyncLost, Delivered, Departure, Event, GroupChanged, Speaking
from corolistener.core.messages import Committed, Hello, Vacated
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.ids import NodeId

NOBODY: frozenset[int] = frozenset()


@dataclass(slots=True)
class Processes:
    """`pid` is this process, on node `me`; 0: not known. `here`: the processes of each node in the group. `said`: the one of
    another node that said its last Hello. `beside`: those that were there with a daemon then. `gone`: nodes of which only such
    ones are left."""

    me: NodeId
    pid: int = 0
    here: dict[NodeId, frozenset[int]] = field(default_factory=dict)
    said: dict[NodeId, int] = field(default_factory=dict)
    beside: dict[NodeId, frozenset[int]] = field(default_factory=dict)
    gone: set[NodeId] = field(default_factory=set)
    early: dict[tuple[NodeId, int], Event] = field(default_factory=dict)
    """The last Committed of each process of another node whose daemon has not said Hello in this group."""

    def sift(self, event: Event, out: Out) -> tuple[Event, ...]:
        """What the event means for nodes; nothing, if it is of a process that is no daemon."""
        match event:
            case GroupChanged(members, processes=processes):
                return (event,) if members and not processes else self._changed(event)
            case Delivered(sender, Hello() as hello, pid) if pid and hello.pid in (0, pid):
                return self._hello(event, sender, pid, out) if sender != self.me or pid == self.pid else ()
            case Delivered(sender, Committed(), pid) if pid and self._daemon(sender) is None:
                self.early[sender, pid] = event
                return ()
            case Delivered(sender, message, pid) if pid:
                named = isinstance(message, Vacated) and message.pid in (0, pid)
                return (event,) if named or self._daemon(sender) == pid else ()
            case BadMessage(sender, _, pid) | Speaking(sender, pid) if pid:
                return (event,) if self._daemon(sender) in (None, pid) else ()
            case CorosyncLost():
                for kept in (self.here, self.said, self.beside, self.gone, self.early):
                    kept.clear()
        return (event,)

    @property
    def newcomers(self) -> set[NodeId]:
        """Other nodes on which a process has joined since their daemon said Hello: it may be the next daemon."""
        found = set()
        for node, pid in self.said.items():
            if len(there := self.here.get(node, NOBODY)) > 1 and there - {pid} - self.beside[node]:
                found.add(node)
        return found

    def _daemon(self, node: NodeId) -> int | None:
        return self.pid if node == self.me and self.pid else self.said.get(node)

    def _changed(self, event: GroupChanged) -> tuple[Event, ...]:
        before, self.here = self.here, _by_node(event.processes)
        self.early.clear()  # who says Hello after this knows of it
        lost: dict[NodeId, Departure] = {}
        for node, why in event.left:
            there = self.here.get(node, NOBODY)
            if there and self._daemon(node) not in before.get(node, NOBODY) - there:
                continue  # a process that is no daemon
            lost[node] = why
            self.said.pop(node, None)
            if there and there <= self.beside.get(node, NOBODY):
                self.gone.add(node)
        joined = tuple(sorted(set(event.joined)))
        if joined:
            self.gone.clear()
        self.gone &= set(self.here)
        return (GroupChanged(self._members, joined, tuple(lost.items())),) if joined or lost else ()

    @property
    def _members(self) -> tuple[NodeId, ...]:
        return tuple(sorted(set(self.here) - self.gone))

    def _hello(self, event: Event, node: NodeId, pid: int, out: Out) -> tuple[Event, ...]:
        early = self.early.pop((node, pid), None)
        return (*self._spoke(node, pid, out), *([early] if early is not None else []), event)

    def _spoke(self, node: NodeId, pid: int, out: Out) -> tuple[Event, ...]:
        """A daemon says Hello."""
        others = self.here.get(node, NOBODY) - {pid}
        for other in sorted(others - self.beside.get(node, NOBODY)):
            out.note(NoteCode.SECOND_PROCESS, node=node, pid=other, daemon=pid)
        self.said[node], self.beside[node] = pid, others
        if node not in self.gone:
            return ()
        self.gone.discard(node)
        return (GroupChanged(self._members, (node,)),)


def _by_node(processes: Iterable[tuple[NodeId, int]]) -> dict[NodeId, frozenset[int]]:
    found: dict[NodeId, set[int]] = {}
    for node, pid in processes:
        found.setdefault(node, set()).add(pid)
    return {node: frozenset(pids) for node, pids in found.items()}
