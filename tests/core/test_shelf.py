"""Definitions of VMs: written before they are told, told before they count, asked for by who lacks them."""

from corolistener.core.actions import KeepDefinitions, Multicast, ReadDefinition
from corolistener.core.events import Defined, Outcome, Result, Shelved
from corolistener.core.messages import Definition, Lacking
from corolistener.core.notes import Note, NoteCode
from corolistener.core.out import Out
from corolistener.core.shelf import ASK_AGAIN_MS, ASK_MOST, TEXT_MOST, Shelf
from corolistener.ids import Instant, NodeId, VmName

ME, OWNER, THIRD, NOW = NodeId(1), NodeId(2), NodeId(3), Instant(1000)
NAME, SHA, TEXT = VmName("a"), "5ha", b"<domain/>"
KEY = (NAME, SHA)
DONE, FAILED = Outcome(Result.DONE, text=TEXT), Outcome(Result.FAILED, "no space left")


def written(shelf: Shelf, out: Out, outcome: Outcome = DONE) -> None:
    """End the one action that was asked for."""
    (action,) = out.take()
    assert isinstance(action, KeepDefinitions | ReadDefinition)
    assert shelf.finished(action.ticket, outcome, NOW, 5000, out)


def test_it_is_written_then_read_then_told_and_counts_when_it_is_delivered() -> None:
    shelf, out = Shelf(), Out()
    shelf.defined(Defined(NAME, SHA, TEXT), out)
    shelf.tell(NOW, out)
    written(shelf, out)
    shelf.tell(NOW, out)
    shelf.tell(NOW, out)
    written(shelf, out)
    (said,) = out.take()
    assert said == Multicast(Definition(NAME, SHA, TEXT))
    assert KEY not in shelf.spread
    assert shelf.delivered(said.message, True, out)  # type: ignore[union-attr, arg-type]
    assert not shelf.delivered(said.message, True, out), "no news"  # type: ignore[union-attr, arg-type]
    shelf.tell(NOW, out)
    assert out.take() == []


def test_what_could_not_be_written_is_written_again_later() -> None:
    shelf, out = Shelf(), Out()
    shelf.defined(Defined(NAME, SHA, TEXT), out)
    written(shelf, out, FAILED)
    assert [each.code for each in out.take() if isinstance(each, Note)] == [NoteCode.DEFINITION]
    assert shelf.deadline() == [Instant(NOW + 5000)]
    shelf.tell(Instant(NOW + 4999), out)
    assert out.take() == []
    shelf.tell(Instant(NOW + 5000), out)
    written(shelf, out)
    assert shelf.have == {KEY}


def test_what_cannot_be_read_is_not_there() -> None:
    shelf, out = Shelf(), Out()
    shelf.recalled(Shelved((KEY,)))
    shelf.lacking(Lacking(THIRD, (KEY,)), ME)
    shelf.tell(NOW, out)
    assert out.take() == [], "another one was asked"
    shelf.lacking(Lacking(ME, (KEY,)), ME)
    shelf.tell(NOW, out)
    written(shelf, out, FAILED)
    assert [each.code for each in out.take() if isinstance(each, Note)] == [NoteCode.DEFINITION]
    assert shelf.have == set()
    assert not shelf.finished(out.ticket(), DONE, NOW, 5000, out)


def test_a_text_that_the_ring_does_not_carry_is_told_and_left() -> None:
    shelf, out = Shelf(), Out()
    shelf.defined(Defined(NAME, SHA, b"x" * (TEXT_MOST + 1)), out)
    assert [type(each) for each in out.take()] == [Note]
    assert shelf.untold == set()


def test_who_lacks_something_asks_its_node_and_the_others_in_turn() -> None:
    shelf, out, now, asked = Shelf(), Out(), NOW, []
    wanted = {(VmName(f"v{number}"), SHA): OWNER for number in range(ASK_MOST + 1)}
    for _ in range(6):
        shelf.ask(wanted, (ME, OWNER, THIRD), ME, now, out)
        shelf.ask(wanted, (ME, OWNER, THIRD), ME, Instant(now + 1), out)
        (said,) = out.take()
        asked.append(said.message.of)  # type: ignore[union-attr]
        assert len(said.message.definitions) == ASK_MOST  # type: ignore[union-attr]
        now = Instant(now + ASK_AGAIN_MS)
    assert asked == [OWNER, OWNER, OWNER, THIRD, OWNER, OWNER]
    shelf.ask(wanted, (ME,), ME, now, out)
    shelf.ask({}, (ME, OWNER), ME, now, out)
    assert out.take() == []


def test_what_was_on_its_way_when_the_ring_was_lost_is_told_again() -> None:
    shelf, out = Shelf(have={KEY}, on_its_way={KEY}), Out()
    shelf.lost()
    shelf.tell(NOW, out)
    assert [type(each) for each in out.take()] == [ReadDefinition]


def test_many_are_written_by_one_action_and_each_by_itself_when_that_failed() -> None:
    """One of them may be what cannot be written: the others must not wait for it."""
    shelf, out = Shelf(), Out()
    texts = [Definition(VmName(f"v{number}"), SHA, TEXT) for number in range(4)]
    for each in texts:
        shelf.delivered(each, False, out)
    written(shelf, out)
    assert shelf.have == {(VmName("v0"), SHA)}
    written(shelf, out, FAILED)
    for outcome in (FAILED, DONE, DONE):
        (action, *notes) = [each for each in out.take() if not isinstance(each, Note)]
        assert isinstance(action, KeepDefinitions)
        assert not notes
        assert len(action.texts) == 1
        assert shelf.finished(action.ticket, outcome, NOW, 5000, out)
    assert shelf.have == {(VmName(f"v{number}"), SHA) for number in (0, 2, 3)}
    assert set(shelf.failed) == {(VmName("v1"), SHA)}


def test_what_rows_name_is_missed_unless_it_is_here_or_on_its_way() -> None:
    shelf, out = Shelf(have={KEY}), Out()
    shelf.delivered(Definition(VmName("b"), SHA, TEXT), False, out)
    shelf.delivered(Definition(VmName("c"), SHA, TEXT), False, out)
    shelf.named([KEY, (VmName("b"), SHA), (VmName("c"), SHA), (VmName("d"), SHA)])
    assert shelf.missing == {(VmName("d"), SHA)}
    assert shelf.deadline() == [shelf.ask_at]
    shelf.delivered(Definition(VmName("d"), SHA, TEXT), False, out)
    assert not shelf.missing


def test_what_cannot_be_kept_is_remembered_until_it_can() -> None:
    shelf, out = Shelf(), Out()
    for _ in range(2):
        shelf.defined(Defined(NAME, SHA, b"x" * (TEXT_MOST + 1)), out)
    assert list(shelf.refused) == [NAME]
    assert [each.code for each in out.take() if isinstance(each, Note)] == [NoteCode.DEFINITION], "told once by the node itself"
    shelf.defined(Defined(NAME, SHA, TEXT), out)
    assert not shelf.refused
    written(shelf, out, FAILED)
    assert shelf.refused == {NAME: "no space left"}
    out.take()
    shelf.tell(Instant(NOW + 5000), out)
    written(shelf, out)
    assert not shelf.refused
