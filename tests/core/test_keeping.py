"""Writing the ledger down."""

from dataclasses import replace

from test_invariants import NOW, ROW, VERSION, A, acting

from corolistener.core import keeping
from corolistener.core.actions import Record
from corolistener.core.ledger import Rows
from corolistener.core.messages import Definition

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
