"""A node that is asked to leave."""

from test_invariants import ME, NOW, ROW, A, acting

from corolistener.core import leaving
from corolistener.core.instance import Copy
from corolistener.core.lifecycle import Mode
from corolistener.core.notes import Note, NoteCode
from corolistener.core.reports import VmState


def test_it_empties_first_and_who_asks_twice_has_no_time() -> None:
    s = acting(ROW).state
    s.copies.vms[A.name] = Copy(A, VmState.RUNNING, generation=4)
    leaving.asked(s, NOW)
    assert (s.mode, s.emptying, s.ask_at) == (Mode.RUNNING, NOW, NOW)
    (note,) = s.out.take()
    assert isinstance(note, Note)
    assert note.code is NoteCode.EMPTYING
    leaving.asked(s, NOW)
    assert s.mode is Mode.LEAVING
    leaving.asked(s, NOW)
    assert s.mode is Mode.LEAVING
    assert s.out.take() == [], "it leaves already"
    assert s.master == ME
