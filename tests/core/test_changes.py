"""Changes of corosync.conf: why each is made, and an offer that a disk does not give back."""

import pytest
from test_invariants import FILE, NOW, acting

from corolistener.core import changes
from corolistener.core.actions import WithdrawConfig
from corolistener.core.changes import WITHDRAW_TRIES
from corolistener.core.config import Cluster, ConfigId
from corolistener.core.messages import AddNode, Change, EditNode, PushText, RemoveNode, Restamp, RevertTo, SetPriorities
from corolistener.core.rewrite import Cause
from corolistener.core.state import Void
from corolistener.ids import Instant, NodeId

OFFER = ConfigId(FILE.version + 1, "offered")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (PushText(b"totem {\n}\n"), Cause.PUSHED),
        (RevertTo(3), Cause.REVERTED),
        (AddNode("192.0.2.7"), Cause.NODE_ADDED),
        (EditNode(NodeId(2), priority=7), Cause.NODE_EDITED),
        (RemoveNode(NodeId(2)), Cause.NODE_REMOVED),
        (SetPriorities(((NodeId(2), 7),)), Cause.TAKEOVER),
        (Restamp(), Cause.DIVERGED),
    ],
)
def test_the_cause_of_a_change(change: Change, cause: Cause) -> None:
    assert changes.cause_of(change) is cause


def test_a_disk_that_did_not_give_an_offer_back_is_asked_again_and_in_the_end_keeps_it() -> None:
    s = acting().state
    s.storing.file, s.storing.cluster = OFFER, Cluster(OFFER, "VMmanager", ())
    s.void = Void(OFFER, FILE, NOW)
    asked, now = 0, NOW
    while s.void is not None and asked < 20:
        changes._withdraw_again(s, now)
        asked += sum(isinstance(action, WithdrawConfig) for action in s.out.take())
        s.storing.withdraw = None  # it failed
        now = s.void.until if s.void is not None else now
    assert asked == WITHDRAW_TRIES - 1
    changes._withdraw_again(s, Instant(now + 1))
    assert s.out.take() == []
