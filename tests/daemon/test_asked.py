"""What no message could carry is refused where it comes in, with one short line."""

from typing import Any

import pytest

from corolistener.core.messages import TEXT_MOST
from corolistener.coroconf.facts import VERSION_MAX
from corolistener.daemon.asked import LIST_MOST, check, shown
from corolistener.daemon.operators import change_of
from corolistener.daemon.vm_frames import name_in, order_of
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId

HUGE = 99999999999999999999


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def asked(verb: str, args: dict[str, Any]) -> None:
    check(verb, args)
    if verb.startswith(("config", "node")):
        change_of(verb, args)
    else:
        order_of(verb, args, [NodeId(1)])


def refused(verb: str, args: dict[str, Any]) -> str:
    with pytest.raises(RequestRefused) as found:
        asked(verb, args)
    text = str(found.value)
    assert found.value.code in ("bad-request", "unknown-node")
    assert text.isprintable()
    assert len(text) < 200
    return text


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("config-revert", {"version": HUGE}),
        ("config-revert", {"version": -1}),
        ("config-revert", {"version": VERSION_MAX + 1}),
        ("config-revert", {"version": 1.5}),
        ("config-revert", {"version": float("inf")}),
        ("config-revert", {"version": True}),
        ("config-revert", {"version": "7"}),
        ("config-revert", {}),
        ("config-push", {"text": "=a"}),
        ("config-push", {"text": 7}),
        ("config-push", {"text": "\ud800"}),
        ("config-push", {"text": "AAAA" * (TEXT_MOST // 3 + 1)}),
        ("node-add", {"address": "192.0.2.1", "id": HUGE}),
        ("node-add", {"address": "192.0.2.1", "priority": HUGE}),
        ("node-add", {"address": "192.0.2.1", "name": "n\0"}),
        ("node-add", {"address": "192.0.2.1", "name": "\ud800"}),
        ("node-add", {"address": "192.0.2.1\n", "name": "x"}),
        ("node-add", {"address": ["192.0.2.1"]}),
        ("node-add", {"address": "x" * 5000}),
        ("node-edit", {"id": 1, "name": {"a": "b"}}),
        ("node-edit", {"id": HUGE}),
        ("node-edit", {"id": 1, "priority": HUGE}),
        ("node-remove", {"id": HUGE}),
        ("vm-start", {"vm": "x" * 300}),
        ("vm-start", {"vm": "x" * 3_000_000}),
        ("vm-start", {"vm": "\ud800"}),
        ("vm-start", {"vm": "a\0b"}),
        ("vm-start", {"vm": "web", "node": HUGE}),
        ("vm-set", {"vm": "web", "priority": HUGE}),
        ("vm-set", {"vm": "web", "nodes": [1] * (LIST_MOST + 1)}),
        ("vm-set", {"vm": "web", "nodes": deep(900)}),
        ("vm-set", {"vm": "web", "together": {"a": {"b": [["c"]]}}}),
        ("maintenance", {"node": HUGE, "on": True}),
        ("fence", {"node": -1}),
        ("fence", {"node": 1, "x" * 500: 1}),
        ("fence", {"node": 1, "\ud800": 1}),
    ],
)
def test_refused_with_one_line(verb: str, args: dict[str, Any]) -> None:
    refused(verb, args)


def test_the_line_says_which_argument() -> None:
    assert refused("config-revert", {"version": HUGE}).startswith("config-revert: 'version': ")
    assert "version" in refused("config-revert", {"version": VERSION_MAX + 1})


def test_what_can_be_carried_is_let_through() -> None:
    check("config-push", {"text": "AAAA" * 1000})
    check("vm-set", {"vm": "仮想" * 30, "nodes": [1, 2], "together": ["a"], "managed": True, "order": None})
    assert name_in({"vm": "仮" * 85}) == "仮" * 85


def test_shown_is_short_and_printable() -> None:
    assert shown("\ud800\n") == "'\\ud800\\n'"
    assert len(shown("x" * 10_000)) < 80
