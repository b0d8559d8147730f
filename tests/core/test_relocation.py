"""The planner against its rules: a table of cases, a slow planner that knows nothing else, what must hold for any cluster."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corolistener.core.capacity import Capacity, Obstacle, Refusal, Vm
from corolistener.core.relocation import Choice, Placement, Plan, due, plan
from corolistener.ids import NodeId, VmName

TABLE = Path(__file__).parent.parent / "tables" / "relocation.txt"
Case = tuple[list[Capacity], list[Placement], list[Vm]]

# ---- the table


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


def _ids(text: str) -> frozenset[NodeId]:
    return frozenset(NodeId(int(word)) for word in text.split(","))


NODE_FIELDS = {
    "memory": ("memory_kib", int),
    "cpus": ("cpus", int),
    "storages": ("storages", _words),
    "reserved": ("reserved_memory_percent", int),
    "overcommit": ("cpu_overcommit_percent", int),
    "limit": ("vm_limit", int),
}
VM_FIELDS = {
    "memory": ("memory_kib", int),
    "cpus": ("cpus", int),
    "priority": ("priority", int),
    "order": ("start_order", int),
    "storages": ("storages", _words),
    "together": ("together", _words),
    "apart": ("apart", _words),
    "nodes": ("nodes", _ids),
}


def _fields(words, known):
    pairs = (word.split("=") for word in words)
    return {known[key][0]: known[key][1](value) for key, value in pairs}


def _vm(name: str, words: Sequence[str]) -> Vm:
    return Vm(VmName(name), **_fields(words, VM_FIELDS))


def _case(text: str) -> tuple[Case, int]:
    nodes, running, lost, parallel = [], [], [], 0
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        kind, name, *words = line.split()
        match kind:
            case "node":
                nodes.append(Capacity(NodeId(int(name)), **{"cpus": 8, **_fields(words, NODE_FIELDS)}))
            case "runs":
                name, node = name.split("@")
                running.append(Placement(_vm(name, words), NodeId(int(node))))
            case "lost":
                lost.append(_vm(name, words))
            case "parallel":
                parallel = int(name)
            case _:
                raise AssertionError(f"what is {line!r}?")
    return (nodes, running, lost), parallel


def _refusals(refusals: Iterable[Refusal]) -> str:
    return ", ".join(f"{each.nodes} {each.obstacle.value} {each.subject}".rstrip() for each in refusals)


def _shown(result: Plan) -> list[str]:
    lines = []
    for each in result.placements:
        reason = each.reason
        assert reason is not None
        assert each.vm.name in reason.unit
        unit = f" unit={'+'.join(reason.unit)}" if len(reason.unit) > 1 else ""
        passed = f" passed: {_refusals(reason.passed)}" if reason.passed else ""
        joined = f" {reason.joined}" if reason.choice is Choice.TOGETHER else ""
        lines.append(f"{each.vm.name} -> {each.node} {reason.choice.value}{joined} left={reason.left_kib}{unit}{passed}")
    for owed in result.owed:
        unit = f" unit={'+'.join(owed.unit)}" if len(owed.unit) > 1 else ""
        lines.append(f"{owed.vm.name} owed{unit}: {_refusals(owed.refusals)}".rstrip())
    return lines


def _rounds(placed: Sequence[Placement], parallel: int) -> list[str]:
    lines: list[str] = []
    while placed:
        now = due(placed, (), parallel)
        assert now
        lines.append(f"start {len(lines) + 1}: " + " ".join(f"{each.vm.name}@{each.node}" for each in now))
        placed = [each for each in placed if each not in now]
    return lines


def _table() -> list[tuple[str, str, str]]:
    blocks = TABLE.read_text().split("\n\n")[1:]
    found = []
    for block in blocks:
        given, wanted = re.split(r"^----\n?", block, flags=re.MULTILINE)
        found.append((given.splitlines()[0].lstrip("# "), given, wanted.strip()))
    return found


@pytest.mark.parametrize(("given", "wanted"), [pytest.param(given, wanted, id=title) for title, given, wanted in _table()])
def test_table(given: str, wanted: str) -> None:
    case, parallel = _case(given)
    result = plan(*case)
    assert "\n".join(_shown(result) + (_rounds(result.placements, parallel) if parallel else [])) == wanted


# ---- any cluster

NODES = [NodeId(number) for number in range(1, 7)]
GROUPS = st.frozensets(st.sampled_from("ghi"), max_size=1) | st.frozensets(st.sampled_from("ghi"))
STORAGES = st.frozensets(st.sampled_from("st"))
FEW = settings(max_examples=40, deadline=None)
MANY = settings(FEW, max_examples=100)


@st.composite
def vms(draw: st.DrawFn, names: Sequence[str]) -> list[Vm]:
    """VMs that get into each other's way."""
    some = draw(st.lists(st.sampled_from(names), unique=True))
    return [
        Vm(
            name=VmName(name),
            memory_kib=draw(st.integers(0, 6)),
            cpus=draw(st.integers(1, 3)),
            priority=draw(st.sampled_from([0, 0, 7])),
            start_order=draw(st.integers(0, 2)),
            storages=draw(st.just(frozenset()) | STORAGES),
            together=draw(st.just(frozenset()) | GROUPS),
            apart=draw(st.just(frozenset()) | GROUPS),
            nodes=draw(st.none() | st.frozensets(st.sampled_from(NODES))),
        )
        for name in some
    ]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A cluster; some VMs run on a node that is not among the members, some on two."""
    members = draw(st.lists(st.sampled_from(NODES), unique=True))
    nodes = [
        Capacity(
            node=node,
            memory_kib=draw(st.integers(0, 20)),
            cpus=draw(st.integers(1, 4)),
            storages=draw(st.just(frozenset("st")) | STORAGES),
            reserved_memory_percent=draw(st.sampled_from([0, 15])),
            cpu_overcommit_percent=draw(st.sampled_from([1600, 150])),
            vm_limit=draw(st.none() | st.integers(0, 4)),
        )
        for node in members
    ]
    held = [(vm, draw(st.lists(st.sampled_from(NODES), min_size=1, max_size=2, unique=True))) for vm in draw(vms("abcdef"))]
    return nodes, [Placement(vm, node) for vm, where in held for node in where], draw(vms("mnopqrst"))


def _usable(node: Capacity) -> tuple[int, int]:
    return (
        node.memory_kib * (100 - node.reserved_memory_percent) // 100,
        node.cpus * node.cpu_overcommit_percent // 100,
    )


def _there(node: NodeId, held: Iterable[Placement]) -> list[Vm]:
    return [each.vm for each in held if each.node == node]


def _left(node: Capacity, held: Iterable[Placement]) -> int:
    return _usable(node)[0] - sum(vm.memory_kib for vm in _there(node.node, held))


def _obstacles(node: Capacity, held: Sequence[Placement], unit: Sequence[Vm]) -> set[Obstacle]:
    """Everything against it, by the rules and nothing else."""
    there = _there(node.node, held)
    memory, cpus = _usable(node)
    apart = Counter(group for vm in unit for group in vm.apart)
    elsewhere = [each.vm for each in held if each.node != node.node]
    facts = {
        Obstacle.CONTRADICTION: max(apart.values(), default=0) > 1,
        Obstacle.FORBIDDEN: any(vm.nodes is not None and node.node not in vm.nodes for vm in unit),
        Obstacle.STORAGE: any(vm.storages - node.storages for vm in unit),
        Obstacle.TOGETHER: any(vm.together & other.together for vm in unit for other in elsewhere),
        Obstacle.APART: any(vm.apart & other.apart for vm in unit for other in there),
        Obstacle.LIMIT: node.vm_limit is not None and len(there) + len(unit) > node.vm_limit,
        Obstacle.CPUS: sum(vm.cpus for vm in (*there, *unit)) > cpus,
        Obstacle.MEMORY: sum(vm.memory_kib for vm in (*there, *unit)) > memory,
    }
    return {obstacle for obstacle, true in facts.items() if true}


def _units(lost: Iterable[Vm]) -> list[list[Vm]]:
    units: list[list[Vm]] = []
    for vm in lost:
        joined = [unit for unit in units if any(vm.together & other.together for other in unit)]
        units = [unit for unit in units if unit not in joined] + [[vm, *(other for unit in joined for other in unit)]]
    return [sorted(unit, key=lambda vm: vm.name) for unit in units]


def _told(nodes: Iterable[Capacity], held: Sequence[Placement], unit: Sequence[Vm]) -> Counter[Obstacle]:
    order = list(Obstacle)
    return Counter(min(_obstacles(node, held, unit), key=order.index) for node in nodes)


def _counts(refusals: Iterable[Refusal]) -> Counter[Obstacle]:
    found = Counter[Obstacle]()
    for each in refusals:
        found[each.obstacle] += each.nodes
    return found


@MANY
@given(cases())
def test_same_as_a_slow_planner(case: Case) -> None:
    """A planner that asks every node for everything decides the same, in the same order, for the same reasons."""
    nodes, running, lost = case
    result = plan(*case)
    given, owed, held = list(result.placements), list(result.owed), list(running)
    urgent = sorted(_units(lost), key=lambda vs: (-max(v.priority for v in vs), -sum(v.memory_kib for v in vs), vs[0].name))
    for unit in urgent:
        ranked = sorted(nodes, key=lambda node: (-_left(node, held), node.node))
        best = next((at for at, node in enumerate(ranked) if not _obstacles(node, held, unit)), None)
        if best is None:
            mine, owed = owed[: len(unit)], owed[len(unit) :]
            assert [each.vm for each in mine] == unit
            assert {each.unit for each in mine} == {tuple(vm.name for vm in unit)}
            assert all(_counts(each.refusals) == _told(nodes, held, unit) for each in mine)
            continue
        placed, given = given[: len(unit)], given[len(unit) :]
        assert [(each.vm, each.node) for each in placed] == [(vm, ranked[best].node) for vm in unit]
        told = _told(ranked[:best], held, unit)
        homes = {each.vm.name for each in held for vm in unit if vm.together & each.vm.together}
        held += placed
        for reason in (each.reason for each in placed):
            assert reason is not None
            assert reason.unit == tuple(vm.name for vm in unit)
            assert reason.left_kib == _left(ranked[best], held)
            assert _counts(reason.passed) == told
            assert reason.choice is (Choice.TOGETHER if homes else Choice.FREEST)
            assert reason.joined == min(homes, default="")
    assert not given
    assert not owed


@FEW
@given(cases())
def test_what_must_never_be(case: Case) -> None:
    """No VM lost or twice, none on a node that is no member, no capacity exceeded, no group broken."""
    nodes, running, lost = case
    result = plan(*case)
    where = {each.vm.name: each.node for each in result.placements}
    assert sorted([*where, *(each.vm.name for each in result.owed)]) == sorted(vm.name for vm in lost)
    held = [*running, *result.placements]
    for node in nodes:
        there = _there(node.node, held)
        if node.node in where.values():
            assert sum(vm.memory_kib for vm in there) <= _usable(node)[0]
            assert sum(vm.cpus for vm in there) <= _usable(node)[1]
            assert node.vm_limit is None or len(there) <= node.vm_limit
    for each in result.placements:
        node = next(node for node in nodes if node.node == each.node)
        assert each.vm.storages <= node.storages
        assert each.vm.nodes is None or node.node in each.vm.nodes
        for other in held:
            if other.vm.name != each.vm.name:
                assert other.node != each.node or not other.vm.apart & each.vm.apart
                assert other.node == each.node or not other.vm.together & each.vm.together
        assert not any(owed.vm.together & each.vm.together for owed in result.owed)


@FEW
@given(cases(), st.randoms(use_true_random=False))
def test_order_of_input_means_nothing(case: Case, dice) -> None:
    shuffled = tuple(dice.sample(part, len(part)) for part in case)
    assert plan(*shuffled) == plan(*case)


@FEW
@given(cases())
def test_again_without_more_capacity_places_nothing(case: Case) -> None:
    nodes, running, _ = case
    first = plan(*case)
    again = plan(nodes, [*running, *first.placements], [each.vm for each in first.owed])
    assert again.placements == ()
    assert [each.vm for each in again.owed] == [each.vm for each in first.owed]


@FEW
@given(cases())
def test_again_with_enough_capacity_places_all(case: Case) -> None:
    """What only lacks room or storage is placed as soon as a node comes that has both."""
    nodes, running, lost = case
    running = [replace(each, vm=replace(each.vm, together=frozenset())) for each in running]
    first = plan(nodes, running, [replace(vm, apart=frozenset(), nodes=None) for vm in lost])
    more = Capacity(NodeId(99), memory_kib=10_000, cpus=10_000, storages=frozenset("st"))
    again = plan([*nodes, more], [*running, *first.placements], [each.vm for each in first.owed])
    assert again.owed == ()
    assert {each.node for each in again.placements} <= {more.node}


@FEW
@given(cases())
def test_one_refusal_does_not_colour_the_next(case: Case) -> None:
    """Where nothing fits, every VM is refused as if it, and those it has to be with, were lost alone."""
    nodes, running, lost = case
    lost = [replace(vm, memory_kib=vm.memory_kib + 100) for vm in lost]
    by_name = {vm.name: vm for vm in lost}
    for each in plan(nodes, running, lost).owed:
        assert each in plan(nodes, running, [by_name[name] for name in each.unit]).owed


def test_the_same_obstacles_are_told_for_every_vm_of_a_size() -> None:
    """Refusals are remembered by shape, and forgotten when something is placed."""
    nodes = [Capacity(NodeId(1), 10, 1, vm_limit=1), Capacity(NodeId(2), 4, 1)]
    large = [Vm(VmName(f"a{size}"), size, priority=9) for size in (11, 12)]
    small = [Vm(VmName(f"c{size}"), size, priority=1) for size in (11, 12)]
    result = plan(nodes, [], [*large, Vm(VmName("b"), 5, priority=5), *small])
    told = {each.vm.name: _counts(each.refusals) for each in result.owed}
    assert told["a11"] == told["a12"] == {Obstacle.MEMORY: 2}
    assert told["c11"] == told["c12"] == {Obstacle.MEMORY: 1, Obstacle.LIMIT: 1}


@pytest.mark.parametrize(
    ("nodes", "running", "lost"),
    [
        ([], [], ["a", "a"]),
        ([], ["a"], ["a"]),
        ([1, 1], [], []),
    ],
    ids=["lost-twice", "lost-and-running", "node-twice"],
)
def test_what_could_start_a_vm_twice_is_refused(nodes: list[int], running: list[str], lost: list[str]) -> None:
    with pytest.raises(ValueError, match=r"twice|running"):
        plan(
            [Capacity(NodeId(node), 1, 1) for node in nodes],
            [Placement(Vm(VmName(name), 1), NodeId(1)) for name in running],
            [Vm(VmName(name), 2) for name in lost],
        )


# ---- what may start

PLACED = st.builds(lambda some, where: [Placement(vm, node) for vm, node in zip(some, where, strict=False)], vms("abcdefghijk"),
                   st.lists(st.sampled_from(NODES[:2]), min_size=11, max_size=11))  # fmt: skip


@FEW
@given(PLACED, st.integers(0, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_due(placed: list[Placement], begun: int, parallel: int, dice) -> None:
    """Lowest order only, bounded per node, most urgent first, never one that is starting, whatever the order of input."""
    starting = placed[:begun]
    found = due(placed, starting, parallel)
    assert found == due(dice.sample(placed, len(placed)), dice.sample(starting, len(starting)), parallel)
    assert not {each.vm.name for each in found} & {each.vm.name for each in starting}
    lowest = min((each.vm.start_order for each in placed), default=0)
    assert all(each.vm.start_order == lowest for each in found)
    for node in NODES:
        mine = [each for each in found if each.node == node]
        waiting = [each for each in placed[begun:] if each.node == node and each.vm.start_order == lowest]
        room = max(0, parallel - sum(each.node == node for each in starting))
        assert len(mine) == min(room, len(waiting))
        kept = [each.vm for each in waiting if each not in mine]
        assert all((-one.vm.priority, -one.vm.memory_kib) <= (-vm.priority, -vm.memory_kib) for one in mine for vm in kept)


@FEW
@given(PLACED, st.integers(1, 3))
def test_everything_starts_once_and_in_order(placed: list[Placement], parallel: int) -> None:
    left, started = list(placed), list[Placement]()
    while left:
        now = due(left, (), parallel)
        assert now, "nothing starts, and nothing ever would"
        started += now
        left = [each for each in left if each not in now]
    orders = [each.vm.start_order for each in started]
    assert orders == sorted(orders)
    assert len(started) == len(placed)
