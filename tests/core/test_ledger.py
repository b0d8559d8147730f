"""The ledger: rows, sums of rows, and what must not be changed how."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.core.capacity import Vm
from corolistener.core.config import ProofKind
from corolistener.core.ledger import NOBODY, Known, Ledger, Panic, Placed, Proven, Rows, Version, unlawful
from corolistener.ids import NodeId, VmName

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)
A, B = Vm(VmName("a"), 1), Vm(VmName("b"), 2)

names = st.sampled_from([A, B, Vm(VmName("c"), 3)])
nodes = st.sampled_from([N1, N2, N3])
placed = st.builds(Placed, names, nodes, st.integers(1, 4), on=st.booleans())
known = st.builds(Known, nodes, st.sampled_from(["x", "y"]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
proven = st.builds(Proven, nodes, st.sampled_from(["x", "y"]), st.sampled_from(ProofKind))


@st.composite
def changes(draw: st.DrawFn) -> Rows:
    """A change in which no row is both written and taken away, as the master makes them."""
    written = draw(st.lists(placed, max_size=3, unique_by=lambda each: each.vm.name))
    proofs = draw(st.lists(proven, max_size=3, unique_by=lambda each: each.node))
    left = {"a", "b", "c"} - {each.vm.name for each in written}
    unproven = {N1, N2, N3} - {each.node for each in proofs}
    return Rows(
        placed=tuple(written),
        known=tuple(draw(st.lists(known, max_size=2, unique_by=lambda each: each.node))),
        proven=tuple(proofs),
        forgotten=tuple(VmName(name) for name in sorted(left) if draw(st.booleans())),
        voided=tuple(node for node in sorted(unproven) if draw(st.booleans())),
        panic=draw(st.sampled_from([None, Panic("why")])),
        calm=draw(st.booleans()),
    )


@given(st.lists(changes(), max_size=5), st.lists(changes(), max_size=4))
def test_a_sum_of_changes_does_what_they_do_one_after_the_other(before: list[Rows], later: list[Rows]) -> None:
    one, other = Ledger(), Ledger()
    for rows in before:
        one.take(rows)
        other.take(rows)
    for rows in later:
        one.take(rows)
    other.take(Rows.together(later))
    assert one == other


@given(st.lists(changes(), max_size=5))
def test_all_rows_make_the_same_ledger(before: list[Rows]) -> None:
    ledger, copy = Ledger(), Ledger()
    for rows in before:
        ledger.take(rows)
    copy.take(ledger.rows())
    assert copy == ledger


def test_versions_are_ordered_by_ring_then_chapter_then_index() -> None:
    assert Version(8, 0, 7) < Version(8, 1, 0) < Version(12, 0, 0) < Version(12, 0, 1)
    assert Version(8, 0, 1, "x") != Version(8, 0, 1, "y")


def test_a_proof_is_about_the_newest_incarnation_only() -> None:
    ledger = Ledger()
    ledger.take(Rows(known=(Known(N1, "old", 1, 1),), proven=(Proven(N1, "old", ProofKind.AGENT),)))
    assert ledger.proven(N1) is not None
    ledger.take(Rows(known=(Known(N1, "new", 1, 1),)))
    assert ledger.proven(N1) is None


def test_holders_while_migrating() -> None:
    ledger = Ledger()
    ledger.take(Rows(placed=(Placed(A, N1, to=N2), Placed(B, N3))))
    assert ledger.holders() == (N1, N2, N3)
    assert [each.vm for each in ledger.on(N2)] == [A]


def with_a_on_n1(proof: bool = False, to: NodeId = NOBODY, frozen: str = "") -> Ledger:
    ledger = Ledger()
    ledger.take(Rows(placed=(Placed(A, N1, 3, to, frozen=frozen),), known=(Known(N1, "boot", 1, 1), Known(N2, "boot", 1, 1))))
    if proof:
        ledger.take(Rows(proven=(Proven(N1, "boot", ProofKind.OPERATOR),)))
    return ledger


@pytest.mark.parametrize(
    ("ledger", "rows", "why"),
    [
        (with_a_on_n1(), Rows(placed=(Placed(A, N2, 4),)), "without a proof"),
        (with_a_on_n1(proof=True), Rows(placed=(Placed(A, N2, 4),)), ""),
        (with_a_on_n1(proof=True), Rows(placed=(Placed(A, N2, 3),)), "in generation 3"),
        (with_a_on_n1(), Rows(placed=(Placed(A, N1, 2),)), "back to generation 2"),
        (with_a_on_n1(), Rows(placed=(Placed(A, N2, 4),), proven=(Proven(N1, "boot", ProofKind.AGENT),)), ""),
        (with_a_on_n1(), Rows(placed=(Placed(A, N2, 4),), proven=(Proven(N1, "older", ProofKind.AGENT),)), "without a proof"),
        (with_a_on_n1(proof=True), Rows(placed=(Placed(A, N2, 4),), voided=(N1,)), "without a proof"),
        (with_a_on_n1(proof=True, to=N2), Rows(placed=(Placed(A, N3, 4),)), "moved from node 2 without"),
        (with_a_on_n1(to=N2), Rows(placed=(Placed(A, N2, 3),)), "moved from node 1 without"),
        (with_a_on_n1(frozen="twice"), Rows(placed=(Placed(A, N2, 4),)), "frozen"),
        (with_a_on_n1(proof=True, frozen="twice"), Rows(placed=(Placed(A, N2, 4),)), ""),  # its node is lost: an operator may
        (with_a_on_n1(), Rows(placed=(Placed(A, N1, 3, on=False), Placed(B, N2))), ""),
    ],
)
def test_what_must_not_be_changed(ledger: Ledger, rows: Rows, why: str) -> None:
    found = unlawful(ledger, rows)
    assert why in found if why else not found


def test_a_nodes_own_word_that_it_has_no_copy() -> None:
    moved = Rows(placed=(Placed(A, N2, 3),))
    assert unlawful(with_a_on_n1(to=N2), moved, lambda row, node: node == N2)
    assert not unlawful(with_a_on_n1(to=N2), moved, lambda row, node: node == N1)
