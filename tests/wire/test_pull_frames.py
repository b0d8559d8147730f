"""config pull's frames: what an honest exchange gives, what a liar gets, and that bytes raise nothing but PeerError."""

import contextlib
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corolistener.errors import PeerError, RequestRefused
from corolistener.wire import pull

SECRET = bytes(range(32))
FILE = pull.File(7, b"VMmanager", 12, b"totem {\n}\n")
KEYS = (pull.Key("authkey", b"\0" * 128), pull.Key("key", b"k" * 32))
READERS = (pull.read_greeting, pull.read_question, pull.read_reply)


@dataclass
class Exchange:
    """One honest exchange up to the answer, kept as the two sides see it."""

    secret: bytes
    greeting: pull.Greeting
    question: pull.Question
    answer: pull.Answer

    def verified(self) -> tuple[pull.File, tuple[pull.Key, ...]]:
        return pull.verified(self.answer, self.secret, self.greeting, self.question)


def exchange(secret: bytes = SECRET, token_id: bytes = b"", keys: tuple[pull.Key, ...] = KEYS) -> Exchange:
    greeting = pull.greeting()
    question = pull.question(secret, greeting, b"VMmanager", token_id)
    return Exchange(secret, greeting, question, pull.answer(secret, greeting, question, FILE, keys))


def body(message: pull.Frame) -> bytes:
    return pull.frame(message)[pull.LENGTH_BYTES :]


def test_what_is_framed_is_read_back() -> None:
    done = exchange()
    refusal = pull.Refusal("other-key", "this node has another key")
    assert pull.read_greeting(body(done.greeting)) == done.greeting
    assert pull.read_question(body(done.question)) == done.question
    assert pull.read_reply(body(done.answer)) == done.answer
    assert pull.read_reply(body(refusal)) == refusal


def test_the_length_in_front_is_that_of_the_body() -> None:
    framed = pull.frame(exchange().answer)
    head, rest = framed[: pull.LENGTH_BYTES], framed[pull.LENGTH_BYTES :]
    assert pull.length(head, pull.ANSWER_MOST) == len(rest)


@pytest.mark.parametrize("head", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\x41", b"\xff\xff\xff\xff", b"GET "])
def test_a_length_that_is_none_or_too_long_is_refused_before_anything_is_read(head: bytes) -> None:
    with pytest.raises(PeerError):
        pull.length(head, pull.GREETING_MOST)


def test_the_cluster_s_key_proves_question_and_answer() -> None:
    done = exchange()
    assert pull.authentic(done.question, SECRET, done.greeting)
    assert done.verified() == (FILE, ())


def test_keys_are_not_sent_to_who_has_one() -> None:
    assert exchange().answer.keys == b""


def test_a_token_brings_the_keys_and_not_in_clear() -> None:
    token = pull.new_token()
    done = exchange(token, pull.token_id(token))
    assert done.verified() == (FILE, KEYS)
    for key in KEYS:
        assert key.secret[:16] not in pull.frame(done.answer)


def test_the_same_keys_look_different_in_every_exchange() -> None:
    token = pull.new_token()
    assert len({exchange(token, pull.token_id(token)).answer.keys for _ in range(20)}) == 20


def test_the_longest_of_everything_fits_into_the_limits() -> None:
    token = pull.new_token()
    greeting = pull.greeting()
    name = b"n" * pull.NAME_MOST
    question = pull.question(token, greeting, name, pull.token_id(token))
    file = pull.File(2**32 - 1, name, 2**64 - 1, b"x" * pull.TEXT_MOST)
    keys = tuple(pull.Key("k" * pull.NAME_MOST, b"s" * pull.KEY_MOST) for _ in range(pull.KEYS_MOST))
    answer = pull.answer(token, greeting, question, file, keys)
    assert len(body(greeting)) <= pull.GREETING_MOST
    assert len(body(question)) <= pull.QUESTION_MOST
    assert len(body(answer)) <= pull.ANSWER_MOST
    assert pull.verified(pull.read_reply(body(answer)), token, greeting, question) == (file, keys)  # type: ignore[arg-type]


def test_another_secret_proves_nothing() -> None:
    done = exchange()
    assert not pull.authentic(done.question, b"x" * 32, done.greeting)
    with pytest.raises(PeerError, match="not made with our key"):
        pull.verified(done.answer, b"x" * 32, done.greeting, done.question)


def test_a_recorded_question_does_not_answer_another_greeting() -> None:
    assert not pull.authentic(exchange().question, SECRET, pull.greeting())


def test_a_recorded_answer_does_not_answer_another_question() -> None:
    old, new = exchange(), exchange()
    with pytest.raises(PeerError):
        pull.verified(old.answer, SECRET, new.greeting, new.question)
    again = pull.question(SECRET, old.greeting, b"VMmanager")
    with pytest.raises(PeerError):
        pull.verified(old.answer, SECRET, old.greeting, again)


def test_a_question_to_a_token_is_not_one_to_the_key() -> None:
    done = exchange()
    named = msgspec.structs.replace(done.question, token_id=pull.token_id(SECRET))
    assert not pull.authentic(named, SECRET, done.greeting)


def test_a_question_s_mac_is_no_answer_s_mac() -> None:
    """A server without the key cannot answer with what the client itself sent."""
    done = exchange()
    reflected = msgspec.structs.replace(done.answer, mac=done.question.mac)
    with pytest.raises(PeerError):
        pull.verified(reflected, SECRET, done.greeting, done.question)


def test_moving_bytes_between_fields_is_noticed() -> None:
    """Every field is authenticated with its length, so that file and keys cannot lend each other bytes."""
    token = pull.new_token()
    done = exchange(token, pull.token_id(token))
    moved = pull.Answer(done.answer.file + done.answer.keys[:1], done.answer.keys[1:], done.answer.mac)
    with pytest.raises(PeerError, match="not made with our key"):
        pull.verified(moved, token, done.greeting, done.question)


@given(st.data())
def test_no_changed_byte_of_an_answer_changes_what_is_believed(data: st.DataObject) -> None:
    done = exchange(SECRET, b"12345678")
    raw = bytearray(body(done.answer))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert believed(bytes(raw), done) in (None, (FILE, KEYS))


def believed(raw: bytes, done: Exchange) -> object:
    """What the asker takes from these bytes in place of the honest answer: None where it refuses them."""
    try:
        changed = pull.read_reply(raw)
        assert isinstance(changed, pull.Answer)
        return pull.verified(changed, SECRET, done.greeting, done.question)
    except PeerError:
        return None


def mutations() -> st.SearchStrategy[bytes]:
    """Honest frames cut, extended and overwritten, beside plain noise."""
    done = exchange(SECRET, b"12345678")
    honest = [body(message) for message in (done.greeting, done.question, done.answer, pull.Refusal("c", "w"))]
    cut = st.builds(lambda raw, size: raw[:size], st.sampled_from(honest), st.integers(0, 300))
    longer = st.builds(lambda raw, more: raw + more, st.sampled_from(honest), st.binary(max_size=40))
    over = st.builds(
        lambda raw, at, more: raw[:at] + more + raw[at + len(more) :],
        st.sampled_from(honest),
        st.integers(0, 200),
        st.binary(min_size=1, max_size=8),
    )
    deep = st.integers(1, 5000).map(lambda depth: b"\x91" * depth)
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=12,
    )
    return st.one_of(st.binary(max_size=300), cut, longer, over, deep, values.map(msgspec.msgpack.encode))


@settings(max_examples=400)
@given(mutations())
def test_no_bytes_raise_anything_but_peer_error(raw: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(PeerError):
            read(raw)


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_authentic_nonsense_is_a_peer_error_too(file: bytes, keys: bytes) -> None:
    """Even somebody with our key cannot make the reader raise anything else."""
    done = exchange(SECRET, b"12345678")
    mac = pull._answer_mac(SECRET, done.greeting, done.question, file, keys)
    with contextlib.suppress(PeerError):
        pull.verified(pull.Answer(file, keys, mac), SECRET, done.greeting, done.question)


@given(st.binary(min_size=pull.TOKEN_BYTES, max_size=pull.TOKEN_BYTES))
def test_a_token_survives_being_copied_by_people(token: bytes) -> None:
    text = pull.token_text(token)
    assert len(text) == 32
    assert text == text.lower()
    assert pull.token_of(f" {text[:8]}-{text[8:16].upper()} {text[16:]}\n") == token


@pytest.mark.parametrize("text", ["", "x", "a" * 31, "a" * 33, "1" * 32, "ä" * 32, "=" * 32, "a" * 40, "\0" * 32])
def test_what_is_no_token_is_refused_as_the_operator_s_mistake(text: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        pull.token_of(text)
    assert refused.value.code == "bad-token"


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_request_refused(text: str) -> None:
    with contextlib.suppress(RequestRefused):
        pull.token_of(text)


def test_a_token_s_name_does_not_tell_the_token() -> None:
    token = pull.new_token()
    assert len(pull.token_id(token)) == pull.TOKEN_ID_BYTES
    assert pull.token_id(token) not in token
    assert pull.token_id(pull.new_token()) != pull.token_id(token)
