"""Definitions on the disk: a node with many VMs brings them there and to the others, never more at once than a lane takes."""

import hashlib

from corolistener.core.actions import Action, KeepDefinitions, Multicast, ReadDefinition
from corolistener.core.events import Defined, Outcome, Result
from corolistener.core.messages import Definition
from corolistener.core.out import Out
from corolistener.core.shelf import WORK_MOST, Shelf
from corolistener.engine.lanes import MOST
from corolistener.ids import Instant, VmName

NOW, RETRY_MS = Instant(1000), 30_000


def text(number: int) -> tuple[VmName, str, bytes]:
    words = f"<domain>{number}</domain>".encode()
    return VmName(f"v{number}"), hashlib.sha256(words).hexdigest(), words


def test_many_at_once_do_not_fill_the_lane_and_all_are_told() -> None:
    """With 100 VMs at its start a daemon once asked for 100 writes: 36 failed, and one text was never told to anybody."""
    shelf, out = Shelf(), Out()
    for number in range(100):
        shelf.defined(Defined(*text(number)), out)
    waiting, told = list[Action](), set[VmName]()
    for _ in range(1000):
        shelf.tell(NOW, out)
        waiting += out.take()
        assert sum(not isinstance(each, Multicast) for each in waiting) <= 2 * WORK_MOST < MOST
        if not waiting:
            break
        match waiting.pop(0):
            case KeepDefinitions(ticket=ticket):
                assert shelf.finished(ticket, Outcome(Result.DONE), NOW, RETRY_MS, out)
            case ReadDefinition(ticket=ticket, name=name):
                number = int(name.removeprefix("v"))
                assert shelf.finished(ticket, Outcome(Result.DONE, text=text(number)[2]), NOW, RETRY_MS, out)
            case Multicast(message=Definition() as message):
                told.add(message.name)
                shelf.delivered(message, True, out)
    assert not waiting
    assert len(shelf.have) == len(told) == 100
    assert not shelf.untold
    assert not shelf.unwritten
