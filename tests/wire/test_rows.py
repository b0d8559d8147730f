"""Rows of the ledger as text: they come back equal, and nothing else comes back at all."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_messages import ROWS, VERSIONS

from corolistener.core.ledger import Known, Ledger, Rows, Version
from corolistener.ids import NodeId
from corolistener.wire import rows


@settings(max_examples=100, deadline=None)
@given(ROWS, VERSIONS, st.randoms())
def test_a_ledger_in_any_order(change: Rows, version: Version, dice: random.Random) -> None:
    ledger = Ledger()
    ledger.take(change)
    texts = [rows.encode(row) for row in (version, *rows.present(ledger.rows()))]
    assert len({text[:2] for text in texts}) == len(texts), "kind and key tell all rows apart"
    dice.shuffle(texts)
    assert rows.whole(rows.decode(*text) for text in texts) == (version, ledger.rows())


@pytest.mark.parametrize(
    ("kind", "key", "text"),
    [
        ("cookie", "", "{}"),
        ("known", "1", "{}"),
        ("known", "1", "not JSON"),
        ("known", "2", '{"node":1,"boot":"b","lease_ms":1,"grace_ms":2}'),
        ("version", "x", "{}"),
        ("proven", "1", '{"node":1,"boot":"b","kind":"hope"}'),
    ],
)
def test_what_is_no_row_is_refused(kind: str, key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        rows.decode(kind, key, text)


def test_versions_may_be_mixed() -> None:
    text = '{"node":1,"boot":"b","lease_ms":1,"grace_ms":2,"from_the_future":[{}]}'
    assert rows.decode("known", "1", text) == Known(NodeId(1), "b", 1, 2, 0)
