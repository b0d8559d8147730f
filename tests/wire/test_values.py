"""The journal's codec: every value of the core's vocabulary comes back equal, and nothing else is built."""

import copy
import dataclasses
import importlib
import json
from enum import Enum
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_messages import ANY

from corolistener.core import actions, events
from corolistener.core.state import State
from corolistener.errors import ConfigError
from corolistener.ids import NodeId
from corolistener.sim.cluster import world
from corolistener.sim.world import World
from corolistener.wire import values


def _roundtrip(value: Any) -> Any:
    return values.load_line(values.dump_line(value), "journal", 1)


def _vocabulary() -> list[type[Any]]:
    return [*get_args(events.Event), *get_args(actions.Action), events.Outcome, State]


@settings(max_examples=100, deadline=None)
@given(ANY, st.integers(1, 9))
def test_messages(message: Any, sender: int) -> None:
    for value in (message, events.Delivered(NodeId(sender), message), actions.Multicast(message)):
        assert _roundtrip(value) == value


@pytest.mark.parametrize("kind", _vocabulary(), ids=lambda kind: kind.__name__)
def test_every_type_of_the_vocabulary_is_known(kind: type[Any]) -> None:
    assert values._types()[kind.__name__] is kind


def test_names_are_unique() -> None:
    """The name of a type is all that a journal keeps of it."""
    found: dict[str, type[Any]] = {}
    for room in values._ROOMS:
        for name, value in vars(importlib.import_module(f"corolistener.core.{room}")).items():
            if isinstance(value, type) and (dataclasses.is_dataclass(value) or issubclass(value, Enum)):
                assert found.setdefault(name, value) is value


@pytest.fixture(scope="module")
def lived() -> World:
    w = world([50, 40, 30], seed=3)
    for node in w.machines:
        w.power_on(node)
    w.pass_time(3000)
    w.power_off(NodeId(1))
    w.pass_time(9000)
    return w


def test_everything_that_happened_and_was_done(lived: World) -> None:
    for daemon in lived.daemons.values():
        for entry in daemon.pump.journal.newer.entries:
            assert _roundtrip(entry.event) == entry.event
            assert _roundtrip(entry.actions) == entry.actions


def test_a_state_comes_back_and_lives_on(lived: World) -> None:
    for daemon in lived.daemons.values():
        state = daemon.pump.core.state
        again = _roundtrip(copy.deepcopy(state))
        assert again == state
        assert _types_within(again) == _types_within(state)


def _types_within(value: Any) -> Any:
    """Equality does not tell a list from a tuple inside a field that is compared as a whole; this does."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), [(f.name, _types_within(getattr(value, f.name))) for f in dataclasses.fields(value)]
    if isinstance(value, dict):
        return dict, [(_types_within(key), _types_within(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [_types_within(each) for each in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(str, value))
    return type(value)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["!", "v", "a", "ring"]), inner, max_size=3),
    max_leaves=12,
)


_names = st.sampled_from([*values._types(), "set", "dict", "bytes"])
_named = st.builds(lambda name, v: {"!": name, "v": v}, _names, _plain)


@settings(max_examples=200, deadline=None)
@given(_plain | _named)
def test_alien_lines_are_refused_or_values(data: Any) -> None:
    """Nothing but a ConfigError that names the line comes out of a line that is none."""
    try:
        values.load_line(json.dumps(data), "journal", 3)
    except ConfigError as refused:
        line = refused.line
    else:
        return
    assert line == 3


@pytest.mark.parametrize("value", [1.5, object(), {1: object()}, int])
def test_what_is_no_value_of_the_core_is_not_packed(value: Any) -> None:
    with pytest.raises(TypeError):
        values.pack(value)


def test_nothing_but_the_cores_own_types_is_built() -> None:
    for name in ("Path", "os.system", "Any", "object", "Core"):
        with pytest.raises(ConfigError):
            values.load_line(json.dumps({"!": name, "v": "x"}), "journal", 1)
