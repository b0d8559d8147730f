"""Which VMs wait is told every minute by the master, a line a reason."""

import pytest

from corolistener.core.machine import Core
from corolistener.core.notes import Note, NoteCode
from corolistener.core.vm_status import Wanted, counts_of, vms_of
from corolistener.core.waits import EVERY_MS, NAMES_MOST, remind
from corolistener.ids import Instant, NodeId, VmName
from corolistener.sim.script import Teller


def core(teller: Teller, node: int) -> Core:
    return teller.w.daemons[NodeId(node)].pump.core


def told(core: Core, at: int) -> list[Note]:
    remind(core.state, Instant(at))
    return [each for each in core.state.out.take() if isinstance(each, Note) and each.code is NoteCode.VM_WAITS]


def frozen(vms: int) -> Teller:
    """VMs that were started by hand on a second node, while the node where they belong is lost."""
    names = " ".join(f"v{number}" for number in range(1, vms + 1))
    teller = Teller()
    start = [f"vm create {names} on n3 memory=1G", "settle", f"vm start {names} on n2", "advance 5s", "kill n3", "advance 5s"]
    teller.play(["nodes 3", "vms boots=never watchdog=off", "boot", "settle", *start])
    return teller


def test_the_master_tells_every_minute_and_the_others_never() -> None:
    teller = frozen(1)
    one, two = core(teller, 1), core(teller, 2)
    now = one.state.remind_at
    assert now is not None
    assert told(one, now - 1) == []
    for _ in range(2):
        (note,) = told(one, now)
        assert dict(note.fields) == {"why": "frozen", "vms": "1", "names": "v1"}
        assert told(one, now + EVERY_MS - 1) == []
        now = Instant(now + EVERY_MS)
    assert told(two, now) == []


def test_many_vms_are_one_line() -> None:
    teller = frozen(NAMES_MOST + 2)
    one = core(teller, 1)
    assert one.state.remind_at is not None
    (note,) = told(one, one.state.remind_at)
    fields = dict(note.fields)
    assert fields["vms"] == str(NAMES_MOST + 2)
    assert fields["names"].endswith(", v6, v7 and 2 more"), "by name"


def test_a_definition_that_cannot_be_kept_is_reported_to_all() -> None:
    teller = Teller()
    start = ["vm create a on n3", "settle", "identity vm-grows n3 a", "advance 3s"]
    teller.play(["nodes 3", "vms boots=never watchdog=off", "boot", "settle", *start])
    for node in (1, 2, 3):
        ((seen,), _) = vms_of(core(teller, node).state, Wanted(frozenset({VmName("a")})))
        assert "262144 at most" in seen.unkept
        assert counts_of(core(teller, node).state)[1] == {"unkept": 1}
        assert seen.placed.vm.definition, "the older one stays"


@pytest.mark.parametrize("before", [[], ["vm create a on n2", "settle", "vm stop a", "settle"]], ids=["new", "shut-down"])
def test_a_vm_that_is_started_without_a_lease_is_told_until_it_is_resumed(before: list[str]) -> None:
    """Its node suspends it, and the ledger does not have it run: only a VM that runs is adopted."""
    teller = Teller()
    teller.play(["nodes 3", "vms boots=never watchdog=off", "boot", "settle", *before, "kill n1", "kill n3", "advance 10s"])
    starts = "vm start a on n2" if before else "vm create a on n2"
    teller.play([starts, "advance 5s", "power n1", "power n3", "settle"])
    assert [counts_of(core(teller, node).state)[1] for node in (1, 2, 3)] == [{"unplaced": 1}] * 3
    one = core(teller, 1)
    assert one.state.remind_at is not None
    (note,) = told(one, one.state.remind_at)
    assert dict(note.fields) == {"why": "unplaced", "vms": "1", "names": "a"}
    teller.play(["vm start a on n2", "settle"])
    assert counts_of(one.state)[1] == {}
    ((seen,), _) = vms_of(one.state, Wanted(frozenset({VmName("a")})))
    assert seen.state == "running"
