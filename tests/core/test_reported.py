"""What the ledger is to say of a VM after its node's report."""

from dataclasses import replace

from test_invariants import ROW, A

from corolistener.core.adoption import _reported
from corolistener.core.reports import Report, VmState

RUNS = Report(A, VmState.RUNNING, ROW.generation)


def test_what_its_user_started_again_is_owed_again() -> None:
    off = replace(ROW, on=False)
    assert _reported(off, ROW.node, RUNS) == ROW
    assert _reported(off, ROW.node, replace(RUNS, state=VmState.SUSPENDED)) == off


def test_a_report_without_a_definition_keeps_the_one_that_is_known() -> None:
    known = replace(ROW, vm=replace(A, definition="5ha"))
    assert _reported(known, ROW.node, RUNS) is known
    larger = replace(A, memory_kib=A.memory_kib * 2)
    assert _reported(known, ROW.node, replace(RUNS, vm=larger)).vm == replace(larger, definition="5ha")
    assert _reported(known, ROW.node, replace(RUNS, vm=replace(A, definition="new"))).vm.definition == "new"
