"""The truth of a world: which VM executed where, from when to when. No node can read it."""

from dataclasses import dataclass, field, replace

from corolistener.ids import NodeId, VmName

NEWS_MS = (1, 1, 60)
"""How late a hypervisor's news is: usually, at least, at most."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`vm` executed on `node` from `since` until before `to`, in ms of the world; `to` None: it does.

    `by_hand`: a user started it; `stray`: though it belonged elsewhere.
    """

    vm: VmName
    node: NodeId
    since: int
    stray: bool = False
    to: int | None = None
    by_hand: bool = False


@dataclass(slots=True)
class Executions:
    """Which VM executes where. `now`: by VM and node; `at`: the names by node; `past`: what has ended, in the order of ending;
    `twice`: the VMs that execute on more than one node."""

    now: dict[VmName, dict[NodeId, Interval]] = field(default_factory=dict)
    at: dict[NodeId, set[VmName]] = field(default_factory=dict)
    past: list[Interval] = field(default_factory=list)
    twice: set[VmName] = field(default_factory=set)

    def begin(self, vm: VmName, node: NodeId, when: int, stray: bool, by_hand: bool = False) -> None:
        where = self.now.setdefault(vm, {})
        where.setdefault(node, Interval(vm, node, when, stray, by_hand=by_hand))
        self.at.setdefault(node, set()).add(vm)
        if len(where) > 1:
            self.twice.add(vm)

    def end(self, vm: VmName, node: NodeId, when: int) -> None:
        begun = self.now.get(vm, {}).pop(node, None)
        if begun is not None:
            self.at[node].discard(vm)
            self.past.append(replace(begun, to=when))
        if len(self.now.get(vm, {})) < 2:
            self.twice.discard(vm)

    def overtaken(self, each: Interval, now: int) -> bool:
        """A user started it so shortly before it is moved elsewhere that its node cannot know: then it is astray."""
        if each.by_hand and now <= each.since + NEWS_MS[2]:
            self.now[each.vm][each.node] = replace(each, stray=True)
            return True
        return False

    def on(self, node: NodeId) -> list[Interval]:
        """What executes on a node, by name."""
        return [self.now[name][node] for name in sorted(self.at.get(node, ()))]
