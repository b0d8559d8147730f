"""How corosync.conf is pulled from another node before corosync runs: the frames, and why they may be believed.

One TCP connection, one question. S is the daemon asked, C the one who asks:

    S -> C   Greeting  server nonce
    C -> S   Question  client nonce, cluster, token id, mac
    S -> C   Answer    file (node, cluster, version, text), keys, mac      or   Refusal  code, why

A frame is a 4-byte length (network order) and a msgpack array whose first element names its type. Both sides know a
secret: the cluster's key (token id empty), or a join token, whose id says which. From the secret one key is derived for
each purpose, so that the secret itself, which corosync may use for its own ends, never signs anything of ours:

    question mac = HMAC-SHA256(question key; server nonce, client nonce, cluster, token id)
    answer mac   = HMAC-SHA256(answer key;   the same four, question mac, file, keys)

with every field preceded by its length. Hence:

- Without the secret nobody gets the text: the question must match the server's nonce of this connection.
- A recorded question is worthless, its server nonce never returns; a recorded answer as well, for the client's.
- An answer cannot be turned into a question or reflected: the keys differ.
- The text travels in clear: it is no secret, it is authentic. It is not even decoded before its mac was found right.
- Keys of the cluster travel only in answers to a token, enciphered by an HMAC-SHA256 keystream (its key derived from
  the token, its input both nonces and a counter) and covered by the mac. A token is used once: no keystream twice.
- A Refusal is not authentic: it explains to a person why there was no answer, and nothing is decided by it.

What a reader must take from a stranger is bounded: GREETING_MOST, QUESTION_MOST, ANSWER_MOST bytes. Every function that
reads raises PeerError and nothing else for whatever it is given. Macs are compared in constant time.
"""

import base64
import binascii
import hmac
import itertools
import secrets
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec

from corolistener.errors import PeerError, RequestRefused

PORT = 5406
"""TCP. Next to corosync's 5405, whose ports are UDP (its qnetd: TCP 5403), so that they never meet; below the range the
kernel takes client ports from; not one that pcsd, pacemaker_remote, booth, dlm, libvirt or PostgreSQL listen on."""

LENGTH_BYTES = 4
NONCE_BYTES = 32
MAC_BYTES = 32
TEXT_MOST = 512 * 1024
"""Longest corosync.conf: 128 nodes with eight links take a tenth of it."""
KEY_MOST = 4096
"""Longest key: that of corosync-keygen(8)."""
KEYS_MOST = 2
NAME_MOST = 512
GREETING_MOST = 64
QUESTION_MOST = 1024
FILE_MOST = TEXT_MOST + NAME_MOST + 64
KEYS_BYTES_MOST = KEYS_MOST * (KEY_MOST + NAME_MOST) + 64
ANSWER_MOST = FILE_MOST + KEYS_BYTES_MOST + 128
TOKEN_BYTES = 20
TOKEN_ID_BYTES = 8

Name = Annotated[bytes, msgspec.Meta(max_length=NAME_MOST)]
Mac = Annotated[bytes, msgspec.Meta(min_length=MAC_BYTES, max_length=MAC_BYTES)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class Greeting(msgspec.Struct, frozen=True, array_like=True, tag="corolistener pull 1"):
    """The server's first word. The tag is the protocol's name and version: a client of another one stops here."""

    nonce: Nonce


class Question(msgspec.Struct, frozen=True, array_like=True, tag="question"):
    """Please send corosync.conf. `cluster` is the name in the asker's own file, empty if there is none; `token_id` is
    empty for the cluster's key."""

    nonce: Nonce
    cluster: Name
    token_id: Annotated[bytes, msgspec.Meta(max_length=TOKEN_ID_BYTES)]
    mac: Mac


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """The file, encoded, and the keys, enciphered (empty without a token). Nothing is believed before `verified`."""

    file: Annotated[bytes, msgspec.Meta(max_length=FILE_MOST)]
    keys: Annotated[bytes, msgspec.Meta(max_length=KEYS_BYTES_MOST)]
    mac: Mac


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refusal"):
    """No file for you. `code` is stable; `why` is for a person and may be a liar's."""

    code: Annotated[str, msgspec.Meta(max_length=32)]
    why: Annotated[str, msgspec.Meta(max_length=200)]


class File(msgspec.Struct, frozen=True, array_like=True):
    """corosync.conf of `node`, with the cluster_name and config_version that the text says."""

    node: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    cluster: Name
    version: Annotated[int, msgspec.Meta(ge=0)]
    text: Annotated[bytes, msgspec.Meta(max_length=TEXT_MOST)]


class Key(msgspec.Struct, frozen=True, array_like=True):
    """One shared key: the name of its file (`authkey`, `key`) and its bytes."""

    name: Annotated[str, msgspec.Meta(max_length=NAME_MOST)]
    secret: Annotated[bytes, msgspec.Meta(min_length=1, max_length=KEY_MOST)]


Frame = Greeting | Question | Answer | Refusal

T = TypeVar("T")

_greeting = msgspec.msgpack.Decoder(Greeting)
_question = msgspec.msgpack.Decoder(Question)
_reply: msgspec.msgpack.Decoder[Answer | Refusal] = msgspec.msgpack.Decoder(Answer | Refusal)
_file = msgspec.msgpack.Decoder(File)
_keys = msgspec.msgpack.Decoder(Annotated[tuple[Key, ...], msgspec.Meta(max_length=KEYS_MOST)])


def frame(message: Frame) -> bytes:
    """The bytes on the wire, length included."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def length(head: bytes, most: int) -> int:
    """How many bytes follow the length. Raises PeerError above `most`."""
    size = int.from_bytes(head, "big")
    if len(head) != LENGTH_BYTES or not 0 < size <= most:
        raise PeerError(0, f"not a frame of config pull: {size} bytes announced, at most {most} expected")
    return size


def read_greeting(body: bytes) -> Greeting:
    """The server's first frame. Raises PeerError."""
    return _decoded(_greeting, body)


def read_question(body: bytes) -> Question:
    """The client's frame, not yet believed: see `authentic`. Raises PeerError."""
    return _decoded(_question, body)


def read_reply(body: bytes) -> Answer | Refusal:
    """The server's second frame, not yet believed: see `verified`. Raises PeerError."""
    return _decoded(_reply, body)


def greeting() -> Greeting:
    """A first frame with a nonce that was never used."""
    return Greeting(secrets.token_bytes(NONCE_BYTES))


def question(secret: bytes, greeting: Greeting, cluster: bytes, token_id: bytes = b"") -> Question:
    """Asks for the file, with a nonce that was never used."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return Question(nonce, cluster, token_id, _question_mac(secret, greeting, nonce, cluster, token_id))


def authentic(question: Question, secret: bytes, greeting: Greeting) -> bool:
    """Whether the asker knows the secret and answers this greeting."""
    mac = _question_mac(secret, greeting, question.nonce, question.cluster, question.token_id)
    return hmac.compare_digest(mac, question.mac)


def answer(secret: bytes, greeting: Greeting, question: Question, file: File, keys: tuple[Key, ...] = ()) -> Answer:
    """The file, and, where the question came with a token, the keys."""
    body = msgspec.msgpack.encode(file)
    wrapped = _crossed(secret, greeting, question, msgspec.msgpack.encode(keys)) if question.token_id else b""
    return Answer(body, wrapped, _answer_mac(secret, greeting, question, body, wrapped))


def verified(answer: Answer, secret: bytes, greeting: Greeting, question: Question) -> tuple[File, tuple[Key, ...]]:
    """The file, and the keys that came along (none without a token).

    Raises PeerError unless it was made by someone who knows the secret, as the answer to this question.
    """
    mac = _answer_mac(secret, greeting, question, answer.file, answer.keys)
    if not hmac.compare_digest(mac, answer.mac):
        raise PeerError(0, "the answer was not made with our key")
    file = _decoded(_file, answer.file)
    if not question.token_id:
        return file, ()
    return file, _decoded(_keys, _crossed(secret, greeting, question, answer.keys))


def new_token() -> bytes:
    """A join token that was never used: 160 random bits."""
    return secrets.token_bytes(TOKEN_BYTES)


def token_id(token: bytes) -> bytes:
    """What may be said in clear to tell which token is meant; says nothing about the token."""
    return _subkey(token, "token id")[:TOKEN_ID_BYTES]


def token_text(token: bytes) -> str:
    """The token as people copy it: 32 lower-case letters and digits."""
    return base64.b32encode(token).decode().lower()


def token_of(text: str) -> bytes:
    """The token that was copied; blanks, dashes and capitals do not matter. Raises RequestRefused (bad-token)."""
    bare = "".join(text.split()).replace("-", "").upper()
    try:
        token = base64.b32decode(bare)
    except (binascii.Error, ValueError):
        token = b""
    if len(token) != TOKEN_BYTES:
        raise RequestRefused("bad-token", "this is no join token: `corolistener node add` prints one of 32 characters")
    return token


def _decoded(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise PeerError(0, f"not a frame of config pull: {error}") from None


def _subkey(secret: bytes, purpose: str) -> bytes:
    """A key for one purpose; from it neither the secret nor another purpose's key can be found."""
    return hmac.digest(secret, b"corolistener pull 1 " + purpose.encode(), "sha256")


def _mac(key: bytes, *parts: bytes) -> bytes:
    """Over every part with its length in front, so that no two lists of parts look the same."""
    state = hmac.new(key, digestmod="sha256")
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def _question_mac(secret: bytes, greeting: Greeting, nonce: bytes, cluster: bytes, token_id: bytes) -> bytes:
    return _mac(_subkey(secret, "question"), greeting.nonce, nonce, cluster, token_id)


def _answer_mac(secret: bytes, greeting: Greeting, question: Question, file: bytes, keys: bytes) -> bytes:
    asked = (greeting.nonce, question.nonce, question.cluster, question.token_id, question.mac)
    return _mac(_subkey(secret, "answer"), *asked, file, keys)


def _crossed(token: bytes, greeting: Greeting, question: Question, plain: bytes) -> bytes:
    """Enciphers, and deciphers: the bytes crossed with this exchange's keystream."""
    stream = itertools.chain.from_iterable(_blocks(_subkey(token, "keys"), greeting.nonce + question.nonce))
    return bytes(byte ^ mask for byte, mask in zip(plain, stream, strict=False))


def _blocks(key: bytes, nonces: bytes) -> Iterator[bytes]:
    for count in itertools.count():
        yield hmac.digest(key, nonces + count.to_bytes(8, "big"), "sha256")
