"""Writing the ledger down."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from test_invariants import NOW, ROW, VERSION, A, acting

from corolistener.core import keeping
from corolistener.core.actions import Record
from corolistener.core.ledger import Rows
from corolistener.core.messages import Definition
from corolistener.ids import NodeId

TEXT = Definition(A.name, "5ha", b"<domain/>")


def test_a_row_is_written_after_the_text_that_it_names() -> None:
    """A majority that has the row has the text, too: else the VM could be owed by nodes that cannot start it."""
    s = acting().state
    s.keeping.stored, s.keeping.version = VERSION, replace(VERSION, index=VERSION.index + 1)
    row = replace(ROW, vm=replace(A, definition=TEXT.definition))
    s.keeping.take(Rows(placed=(row,)))
    s.shelf.unwritten[A.name, TEXT.definition] = TEXT
    keeping._write(s, NOW)
    assert s.out.take() == []
    assert s.keeping.behind
    s.shelf.unwritten.clear()
    keeping._write(s, NOW)
    (record,) = s.out.take()
    assert isinstance(record, Record)
    assert record.rows.placed == (row,)
    assert not s.keeping.behind
    keeping._write(s, NOW)
    assert s.out.take() == [], "one after the other"


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.booleans()), max_size=12), st.integers(1, 5))
def test_stable_is_what_a_majority_has_on_disk(said: list[tuple[int, int, bool]], expected: int) -> None:
    """As far as the one with the least of the majority with the most; what is said of another chapter does not count."""
    s = acting().state
    s.keeping.open, s.keeping.version, s.keeping.reached = True, replace(VERSION, opener="us"), -1
    s.keeping.acks.clear()
    s.quorum.expected, s.quorum.device = expected, 0
    s.quorum.votes = {NodeId(node): 1 for node in range(1, 6)}
    furthest = -1
    for node, index, ours in said:
        keeping.heartbeat_delivered(s, NodeId(node), replace(VERSION, index=index, opener="us" if ours else "another"))
        here = sorted((ack.index for ack in s.keeping.acks.values() if ack.opener == "us"), reverse=True)
        furthest = max([furthest, *here[expected // 2 : expected // 2 + 1]])
        assert keeping.stable(s) == furthest
