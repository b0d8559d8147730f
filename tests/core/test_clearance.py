"""Who may start a VM where, asked of the cores of a virtual cluster in the situations that the rule is made of."""

from corolistener.core.instance import Deed
from corolistener.core.machine import Core
from corolistener.ids import Instant, NodeId, VmName
from corolistener.sim.script import Teller

A = VmName("a")


def cluster(*commands: str) -> Teller:
    teller = Teller()
    teller.play(["nodes 3", "vms boots=never watchdog=off", "boot", "settle", *commands])
    return teller


def core(teller: Teller, node: int) -> Core:
    return teller.w.daemons[NodeId(node)].pump.core


def objection(teller: Teller, node: int, name: str = A, uuid: str = "", sharing: tuple[VmName, ...] = ()) -> str:
    return core(teller, node).objection(VmName(name), Instant(teller.w.clock(NodeId(node))), uuid, sharing)


def until(teller: Teller, so: object, most_ms: int = 60_000) -> None:
    """Let time pass by single milliseconds until something is so."""
    for _ in range(most_ms):
        if so():  # type: ignore[operator]
            return
        teller.w.pass_time(1)
    raise AssertionError("it never was so")


def test_it_may_be_started_where_it_belongs_and_nowhere_else() -> None:
    teller = cluster("vm create a on n1", "settle")
    assert objection(teller, 1) == ""
    assert objection(teller, 2) == "a belongs on node 1"
    teller.play(["vm stop a", "advance 5s"])
    assert [objection(teller, 1), objection(teller, 3)] == ["", "a belongs on node 1"]


def test_what_nobody_placed_is_not_ours_to_judge_even_without_a_quorum() -> None:
    teller = cluster("vm create a on n1", "settle", "cut n1 | n2 n3", "advance 20s")
    assert objection(teller, 1, "somebody-elses") == ""
    assert "no lease" in objection(teller, 1)


def test_a_node_that_was_without_a_lease_waits_until_it_is_admitted() -> None:
    teller = cluster("vm create a on n1", "settle", "cut n1 | n2 n3", "advance 20s", "heal")
    until(teller, lambda: core(teller, 1).state.lease.valid(Instant(teller.w.clock(NodeId(1)))))
    assert "is not admitted again yet" in objection(teller, 1)
    teller.play(["settle"])
    assert objection(teller, 1) == ""


def test_while_it_migrates_it_may_only_begin_where_it_goes() -> None:
    teller = cluster("vm create a on n1", "settle", "order n3 move a n2")
    until(teller, lambda: core(teller, 2).state.keeping.ledger.moving)
    until(teller, lambda: objection(teller, 2) == "")
    assert [objection(teller, 1), objection(teller, 3)] == ["a is on its way from node 1 to node 2"] * 2
    teller.play(["settle"])
    assert [objection(teller, 1), objection(teller, 2)] == ["a belongs on node 2", ""]


def test_one_that_is_stopped_first_begins_nowhere_until_it_has_stopped() -> None:
    teller = cluster("vm create a on n1", "settle", "order n3 move a n2 cold")
    until(teller, lambda: core(teller, 2).state.keeping.ledger.moving)
    teller.w.pass_time(200)
    assert "on its way" in objection(teller, 1)
    assert "on its way" in objection(teller, 2)


def test_frozen() -> None:
    teller = cluster("vm create a on n1", "settle", "vm start a on n2", "advance 2s")
    assert objection(teller, 1) == "a is frozen: it was started by hand on node 2"


def test_a_row_that_may_be_forgotten_again_is_none_to_rely_on() -> None:
    """But for a start that is under way: it was asked for when the row was stable, and must not fail for a later change."""
    teller = cluster("vm create a on n1", "settle", "vm stop a", "advance 5s", "order n1 start a")
    state = core(teller, 1).state

    def starting() -> bool:
        copy = state.copies.vms.get(A)
        return copy is not None and copy.ticket is not None and copy.deed is Deed.START

    until(teller, starting)
    state.keeping.changed[A] = state.keeping.version.index + 1
    assert objection(teller, 1) == ""
    until(teller, lambda: state.copies.vms[A].ticket is None)
    assert "not on the disks of a majority" in objection(teller, 1)


def test_a_node_that_has_given_it_up_leaves_it_to_the_others() -> None:
    teller = cluster("vm create a nodes=n1 on n1", "settle", "hang n1 vm-start-fails", "vm crash a on n1")
    until(teller, lambda: core(teller, 1).state.copies.vms[A].gave_up)
    assert "given a up" in objection(teller, 1)


def test_a_vm_is_its_uuid_whatever_it_is_called() -> None:
    teller = cluster("vm create a on n1", "settle")
    assert objection(teller, 1, "renamed", "uuid-of-a") == ""
    assert objection(teller, 2, "renamed", "uuid-of-a") == "a belongs on node 1"
    taken = "another VM of this name is in the cluster's care, with UUID uuid-of-a"
    assert [objection(teller, node, A, "uuid-of-another") for node in (1, 2)] == [taken] * 2


def test_a_name_is_free_when_its_vm_is_gone_everywhere() -> None:
    teller = cluster("vm create a on n1", "settle", "vm stop a", "advance 5s")
    assert "another VM of this name" in objection(teller, 2, A, "uuid-of-another"), "its definition is still on n1"
    teller.play(["identity vm-undefined n1 a", "advance 3s"])
    assert objection(teller, 2, A, "uuid-of-another") == ""


def test_nobody_writes_to_the_disk_of_a_vm_in_care() -> None:
    teller = cluster("vm create a on n1", "settle")
    assert objection(teller, 2, "rescue", "uuid-of-rescue", (A,)) == "a disk of it belongs to a, which is in the cluster's care"
    assert objection(teller, 1, A, "uuid-of-a", (A,)) == "", "its own disk"
    teller.play(["vm stop a", "advance 5s"])
    assert objection(teller, 2, "rescue", "uuid-of-rescue", (A,)) == "", "it is shut down, and may be rescued"
