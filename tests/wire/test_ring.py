"""Ring messages: every one comes back equal, versions may be mixed, and nothing that a peer sends is more than a PeerError."""

import dataclasses
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ring_messages import ANY, MESSAGES

from corolistener.core import messages as m
from corolistener.core.capacity import Vm
from corolistener.core.config import ConfigId
from corolistener.core.view import Epoch, RingId
from corolistener.errors import PeerError
from corolistener.ids import NodeId, VmName
from corolistener.wire import ring

SENDER = NodeId(7)


def test_every_message_has_a_number_and_a_strategy() -> None:
    assert set(MESSAGES) == set(get_args(m.Message))
    assert set(ring.TYPES.values()) | {m.Proposed, m.Ordered} == set(get_args(m.Message))
    assert set(ring.CHANGES.values()) == set(get_args(m.Change))
    assert ring.PROPOSED not in ring.TYPES


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_round_trip(kind: type[Any], data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    assert ring.decode(ring.encode(message), SENDER) == message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"CL")
@example(b"CL\x01")
@example(b"CL\x01\x02")
@example(b"CL\x01\x63\xc0")
@example(b"CL\x02\x02\x80")
@example(b"CL\x01\x02" + b"\x91" * 5000)
@example(b"CL\x01\x07\x93\x00\x63\xc0")
def test_arbitrary_bytes(data: bytes) -> None:
    _decoded_or_refused(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 20), st.binary(max_size=300))
def test_arbitrary_bodies(number: int, body: bytes) -> None:
    _decoded_or_refused(ring.MAGIC + bytes((ring.VERSION, number)) + body)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY, st.data())
def test_mutated_messages(message: m.Message, data: st.DataObject) -> None:
    raw = bytearray(ring.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(("change", "cut", "insert"))):
            case "change":
                raw[at] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[at:]
                if not raw:
                    break
            case "insert":
                raw[at:at] = data.draw(st.binary(max_size=4))
    _decoded_or_refused(bytes(raw))


def _decoded_or_refused(data: bytes) -> None:
    """What is decoded can be said again; everything else is the peer's fault."""
    try:
        message = ring.decode(data, SENDER)
    except PeerError as error:
        blamed = (error.node, bool(error.why))
    else:
        assert ring.decode(ring.encode(message), SENDER) == message
        hash(message)
        return
    assert blamed == (SENDER, True)


@settings(max_examples=60, deadline=None)
@given(ANY.filter(lambda message: not isinstance(message, m.Proposed | m.Ordered)))
def test_unknown_fields_of_a_newer_peer_are_ignored(message: m.Message) -> None:
    raw = ring.encode(message)
    body = msgspec.msgpack.decode(raw[4:])
    body["from_the_future"] = [1, {"a": None}]
    assert ring.decode(raw[:4] + msgspec.msgpack.encode(body), SENDER) == message


def test_fields_of_a_newer_protocol_that_an_older_peer_does_not_say_have_defaults() -> None:
    required = {f.name for f in dataclasses.fields(m.Hello) if f.default is dataclasses.MISSING}
    hello = m.Hello(RingId(4, NodeId(1)), (NodeId(1),), "b", "i", Epoch(), ConfigId(), ConfigId(), ())
    raw = ring.encode(hello)
    body = {name: value for name, value in msgspec.msgpack.decode(raw[4:]).items() if name in required}
    assert ring.decode(raw[:4] + msgspec.msgpack.encode(body), SENDER) == hello


@pytest.mark.parametrize("field", ["ring", "count"])
def test_missing_required_fields_are_refused(field: str) -> None:
    raw = ring.encode(m.Heartbeat(RingId(4, NodeId(1)), 3))
    body = msgspec.msgpack.decode(raw[4:])
    del body[field]
    with pytest.raises(PeerError, match=field):
        ring.decode(raw[:4] + msgspec.msgpack.encode(body), SENDER)


def test_what_is_refused_says_why() -> None:
    for data, why in (
        (b"hello", "not a message of ours"),
        (b"CL\x09\x02\x80", "protocol version 9"),
        (b"CL\x01\x63\x80", "type 99 is unknown"),
        (b"CL\x01\x07" + msgspec.msgpack.encode((1, 99, {})), "change type 99 is unknown"),
    ):
        with pytest.raises(PeerError, match=why):
            ring.decode(data, SENDER)


def test_reports_that_are_told_again_are_not_kept_again() -> None:
    """The journal keeps hundreds of inventories; of a hundred VMs each, they took 20 MB."""
    vms = [Vm(VmName(f"v{number}"), 1024, storages=frozenset({"s"})) for number in range(3)]
    reports = tuple(m.Report(vm, m.VmState.RUNNING) for vm in vms)
    first = ring.decode(ring.encode(m.Inventory(reports, complete=True)), SENDER)
    changed = dataclasses.replace(reports[2], generation=7)
    then = ring.decode(ring.encode(m.Inventory((*reports[:2], changed), complete=True)), SENDER)
    assert isinstance(first, m.Inventory)
    assert isinstance(then, m.Inventory)
    assert then.copies == (*reports[:2], changed)
    assert [one is other for one, other in zip(first.copies, then.copies, strict=True)] == [True, True, False]
