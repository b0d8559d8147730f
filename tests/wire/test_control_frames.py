"""Control frames: what is one, what is none, and in how many pieces it may come."""

import contextlib
import json
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.wire import control
from corolistener.wire.control import ADMIN, CLIENT, LENGTH, MOST, VERBS, Decoder, FrameError, encode, request_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
FRAMES = st.lists(st.dictionaries(st.text(), JSON, max_size=5), max_size=6)


@given(FRAMES, st.lists(st.integers(1, 50)))
def test_frames_arrive_whole_however_the_bytes_are_cut(frames: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"".join(encode(frame) for frame in frames)
    decoder, got = Decoder(), []
    for size in [*cuts, len(data)]:
        got += list(decoder.feed(data[:size]))
        data = data[size:]
    assert got == frames


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_frame_error(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert all(isinstance(frame, dict) for frame in Decoder().feed(data))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "a list instead of an object"),
        (b'"x"', "a str instead of an object"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_object_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        list(Decoder().feed(struct.pack(">I", len(body)) + body))


def test_a_length_over_the_limit_is_refused_before_the_bytes_come() -> None:
    with pytest.raises(FrameError, match="1048577 bytes is announced"):
        list(Decoder().feed(struct.pack(">I", MOST + 1)))


def test_a_frame_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    frame = {"text": "x" * (MOST - len('{"text":""}'))}
    assert list(Decoder().feed(encode(frame))) == [frame]
    with pytest.raises(FrameError):
        encode({"text": frame["text"] + "x"})


def test_good_frames_before_a_bad_one_are_not_lost() -> None:
    stream = Decoder().feed(encode({"id": 1}) + struct.pack(">I", 1) + b"}")
    assert next(stream) == {"id": 1}
    with pytest.raises(FrameError):
        next(stream)


def test_the_length_is_four_bytes_big_endian() -> None:
    data = encode({"id": 1, "verb": "status"})
    assert data[:4] == struct.pack(">I", len(data) - 4)
    assert json.loads(data[4:]) == {"id": 1, "verb": "status"}


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"id": 1},
        {"verb": "status"},
        {"id": True, "verb": "status"},
        {"id": -1, "verb": "status"},
        {"id": 2**53, "verb": "status"},
        {"id": 1.0, "verb": "status"},
        {"id": float("inf"), "verb": "status"},
        {"id": 1, "verb": 2},
        {"id": 1, "verb": "status", "args": []},
        {"id": 1, "verb": "status", "args": None},
    ],
)
def test_what_is_no_request_is_refused(frame: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        request_of(frame)


@pytest.mark.parametrize("digits", ["9" * 31, "9" * 4299, "9" * 5000, "-" + "9" * 5000, "9" * 60_000])
def test_a_number_of_any_length_is_read_as_none_that_a_verb_takes(digits: str) -> None:
    body = f'{{"id":1,"verb":"config-revert","args":{{"version":{digits}}}}}'.encode()
    (frame,) = Decoder().feed(LENGTH.pack(len(body)) + body)
    assert request_of(frame) == (1, "config-revert", {"version": float("inf")})


def test_frames_after_one_that_cannot_be_read_are_read() -> None:
    decoder = Decoder()
    with pytest.raises(FrameError) as found:
        list(decoder.feed(LENGTH.pack(2) + b"{]" + encode({"id": 2})))
    assert not found.value.ends
    assert list(decoder.feed(b"")) == [{"id": 2}]


def test_a_request_may_leave_out_its_arguments() -> None:
    assert request_of({"id": 7, "verb": "status"}) == (7, "status", {})


def test_what_only_looks_is_for_everybody() -> None:
    assert [verb for verb, name in VERBS.items() if name == CLIENT] == ["status", "vms", "plan", "may-start"]
    assert set(VERBS.values()) == {CLIENT, ADMIN}


def test_every_verb_is_described() -> None:
    assert [verb for verb in VERBS if f"\n    {verb} " not in (control.__doc__ or "")] == []


def test_the_codec_costs_json_and_struct() -> None:
    script = "import json, struct, sys; before = set(sys.modules); import corolistener.wire.control\n"
    script += "print(sorted(set(sys.modules) - before))"
    new = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    expected = ["__future__", "corolistener", "corolistener.errors", "corolistener.wire", "corolistener.wire.control"]
    assert eval(new) == expected
