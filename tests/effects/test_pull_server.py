"""The server of `config pull`: strangers get nothing, cost little, and are in nobody's way."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corolistener.effects import pull_server
from corolistener.effects.pull import Pulled
from corolistener.effects.pull_server import CLIENTS_MOST, TOKEN_S, TOKENS_MOST, PullServer, Tokens
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId
from corolistener.wire import pull as wire

from .conftest import Station, eventually
from .pullers import KEY, OTHER_KEY, Asking, address, connect, greeted, replied, text

SECRET_LINE = b"# known to members only\n"
FILE = text(6, nodes=2, more=SECRET_LINE.decode())


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    place = Asking(tmp_path)
    place.conf.write_bytes(text(5, nodes=2))
    return place


async def assert_serving(asking: Asking) -> None:
    """An honest client is answered."""
    asking.conf.write_bytes(text(5, nodes=2))
    assert (await asking.pull()).result is Pulled.INSTALLED


# Who gets the file.


async def refused_code(asking: Asking, secret: bytes, token_id: bytes = b"") -> str:
    """What a client is told that asks with this secret; it never sees a byte of the file."""
    reader, writer = await connect(asking, 2)
    writer.write(wire.frame(wire.question(secret, await greeted(reader), b"", token_id)))
    return await code_of_refusal(reader)


async def code_of_refusal(reader: asyncio.StreamReader) -> str:
    reply = await replied(reader)
    assert isinstance(reply, wire.Refusal)
    assert await reader.read() == b""
    return reply.code


def test_whoever_has_another_key_gets_nothing(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        for secret in (OTHER_KEY.secret, KEY.secret[:-1], b"", KEY.secret + b"k"):
            assert await refused_code(asking, secret) == "other-key"
        assert (server.counts.answered, server.counts.failed) == (0, 4)
        assert server.counts.why == "127.0.0.1: the question was not made with this node's key"

    asking.run(scene)


def test_a_recorded_question_gets_nothing(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        reader, writer = await connect(asking, 2)
        question = wire.question(KEY.secret, await greeted(reader), b"VMmanager")
        writer.write(wire.frame(question))
        assert isinstance(await replied(reader), wire.Answer)
        reader, writer = await connect(asking, 2)
        await greeted(reader)
        writer.write(wire.frame(question))
        assert await code_of_refusal(reader) == "other-key"
        assert server.counts.answered == 1

    asking.run(scene)


def test_no_two_connections_have_the_same_nonce(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, FILE)
        nonces = set()
        for _ in range(20):
            reader, writer = await connect(asking, 2)
            nonces.add((await greeted(reader)).nonce)
            writer.close()
        assert len(nonces) == 20

    asking.run(scene)


def test_an_unknown_token_is_refused_even_with_the_right_key(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, FILE)
        for token_id in (b"12345678", wire.token_id(KEY.secret)):
            assert await refused_code(asking, KEY.secret, token_id) == "bad-token"

    asking.run(scene)


def test_a_wrong_guess_does_not_use_a_token_up(asking: Asking) -> None:
    """Its id travels in clear: whoever heard it must not be able to void it."""

    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        token = server.tokens.new()
        heard = wire.token_id(wire.token_of(token))
        assert await refused_code(asking, OTHER_KEY.secret, heard) == "other-key"
        assert (await asking.pull(source=address(2), token=token)).result is Pulled.INSTALLED

    asking.run(scene)


@pytest.mark.parametrize("error", [ConfigError("corosync.conf", 0, "gone"), OSError(5, "Input/output error")])
def test_a_node_that_cannot_read_its_file_says_so_and_keeps_the_token(asking: Asking, error: Exception) -> None:
    broken = [True]

    def current() -> bytes:
        if broken[0]:
            raise error
        return FILE

    async def scene(asking: Asking) -> None:
        server = await asking.node(2, current)
        token = server.tokens.new()
        result = await asking.pull(source=address(2), token=token)
        assert result.failures[0][1].startswith("refused: this node cannot read its own file: ")
        broken[0] = False
        assert (await asking.pull(source=address(2), token=token)).result is Pulled.INSTALLED

    asking.run(scene)


def test_a_file_that_is_none_is_not_sent(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, b"totem {\n")
        assert (await asking.pull()).failures[0][1].startswith("refused: this node cannot read its own file: ")

    asking.run(scene)


def test_the_file_of_the_moment_is_sent(asking: Asking) -> None:
    files = [text(6, nodes=2), text(7, nodes=2)]

    async def scene(asking: Asking) -> None:
        await asking.node(2, lambda: files.pop(0))
        assert [(await asking.pull()).answers[0].id.version for _ in range(2)] == [6, 7]

    asking.run(scene)


def test_the_longest_file_there_may_be_is_sent_whole(asking: Asking) -> None:
    longest = text(6, nodes=2)
    lines = (wire.TEXT_MOST - len(longest)) // 100
    longest += (b"#" * 99 + b"\n") * lines

    async def scene(asking: Asking) -> None:
        await asking.node(2, longest)
        assert (await asking.pull()).result is Pulled.INSTALLED

    asking.run(scene)
    assert asking.conf.read_bytes() == longest


# Strangers in the way.


def test_more_idle_connections_than_places_keep_nobody_out(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        idle = [await connect(asking, 2) for _ in range(3 * CLIENTS_MOST)]
        for reader, _ in idle:
            await greeted(reader)
        await assert_serving(asking)
        assert server.counts.displaced == 2 * CLIENTS_MOST + 1
        gone = [reader for reader, _ in idle if reader.at_eof() or reader.exception()]
        assert gone == [reader for reader, _ in idle[: len(gone)]]
        await eventually(lambda: sum(reader.at_eof() or bool(reader.exception()) for reader, _ in idle) > len(idle) // 2)

    asking.run(scene)


def test_a_connection_that_says_nothing_is_closed(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_server, "CLIENT_S", 0.05)

    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        reader, _ = await connect(asking, 2)
        await greeted(reader)
        assert await reader.read() == b""
        assert server.counts.why == "127.0.0.1: not finished in time"

    asking.run(scene)


def test_a_client_that_does_not_read_is_closed(station: Callable[[], Station], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not fit into the sockets' buffers, which are small in this namespace."""
    monkeypatch.setattr(pull_server, "CLIENT_S", 0.3)
    there = station()
    for buffer in ("tcp_wmem", "tcp_rmem"):
        there.set(f"ipv4/{buffer}", "4096 4096 4096")

    async def scene() -> None:
        server = PullServer(NodeId(2), (KEY,), lambda: FILE + b"# x\n" * 120_000)
        ((_, port),) = await server.start([address(2)], 0)
        client, loop = socket.socket(), asyncio.get_running_loop()
        client.setblocking(False)
        with client:
            await loop.sock_connect(client, (address(2), port))
            greeting = wire.read_greeting((await loop.sock_recv(client, 4096))[wire.LENGTH_BYTES :])
            await loop.sock_sendall(client, wire.frame(wire.question(KEY.secret, greeting, b"")))
            await eventually(lambda: server.counts.failed == 1)
        assert server.counts.why == "127.0.0.1: not finished in time"
        await server.close()

    there.run(scene())


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff" + b"x" * 100_000,
        (wire.QUESTION_MOST + 1).to_bytes(4, "big") + b"x" * (wire.QUESTION_MOST + 1),
        b"\0\0\0\0",
        b"\0\0\0\x05hello",
        b"\0\0\x04\0" + b"\x91" * 1024,
        pytest.param(wire.frame(wire.greeting()), id="greeting"),  # its nonce is another one in every process
    ],
)
def test_nonsense_ends_that_connection_only(asking: Asking, words: bytes) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        bystander = await connect(asking, 2)
        greeting = await greeted(bystander[0])
        reader, writer = await connect(asking, 2)
        await greeted(reader)
        writer.write(words)
        if not words[4:]:
            writer.write_eof()
        await eventually(lambda: server.counts.failed == 1)
        bystander[1].write(wire.frame(wire.question(KEY.secret, greeting, b"")))
        assert isinstance(await replied(bystander[0]), wire.Answer)
        await assert_serving(asking)

    asking.run(scene)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=10, max_size=30))
def test_any_bytes_of_any_number_of_strangers_change_nothing(noise: list[bytes]) -> None:
    async def scene() -> None:
        server = PullServer(NodeId(2), (KEY,), lambda: FILE)
        ((_, port),) = await server.start([address(2)], 0)
        for words in noise:
            reader, writer = await asyncio.open_connection(address(2), port)
            writer.write(words)
            writer.write_eof()
            assert b"VMmanager" not in await read_all(reader)
            writer.close()
        assert server.counts.answered == 0
        reader, writer = await asyncio.open_connection(address(2), port)
        writer.write(wire.frame(wire.question(KEY.secret, await greeted(reader), b"")))
        assert isinstance(await replied(reader), wire.Answer)
        writer.close()
        await server.close()

    asyncio.run(asyncio.wait_for(scene(), 60))


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Until the end, however it comes."""
    found = b""
    try:
        while more := await reader.read(65536):
            found += more
    except ConnectionResetError:
        pass
    return found


def test_close_ends_what_is_open_and_frees_the_port(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, FILE)
        reader, _ = await connect(asking, 2)
        await greeted(reader)
        await server.close()
        assert await read_all(reader) == b""
        with pytest.raises(OSError):
            await asyncio.open_connection(address(2), asking.port)
        await asking.node(2, FILE)
        await assert_serving(asking)

    asking.run(scene)


# Where it listens.


def test_a_port_in_use_is_said_and_nothing_is_left_listening(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(3, FILE)
        server = PullServer(NodeId(2), (KEY,), lambda: FILE)
        with pytest.raises(EffectError, match=f"pull: cannot listen on port {asking.port}: Address already in use"):
            await server.start([address(2), address(3)], asking.port)
        with pytest.raises(OSError):
            await asyncio.open_connection(address(2), asking.port)

    asking.run(scene)


def test_a_name_that_nobody_knows_is_said(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = PullServer(NodeId(2), (KEY,), lambda: FILE)
        with pytest.raises(EffectError, match=r"the name n{64} is not known"):
            await server.start(["n" * 64, address(2)], 0)

    asking.run(scene)


def test_only_the_addresses_given_are_listened_on(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, FILE)
        for other in (1, 3):
            with pytest.raises(OSError):
                await asyncio.open_connection(address(other), asking.port)

    asking.run(scene)


def test_an_address_that_comes_later_is_served(station: Callable[[], Station]) -> None:
    """IPv4 and IPv6, on the default port: the daemon may start before the network is there."""
    there = station()

    async def scene() -> None:
        server = PullServer(NodeId(2), (KEY,), lambda: FILE)
        places = await server.start(["10.7.0.2", "fd00:7::2"])
        assert sorted(places) == [("10.7.0.2", wire.PORT), ("fd00:7::2", wire.PORT)]
        await asyncio.to_thread(there.ip, "addr add 10.7.0.2/32 dev lo", "addr add fd00:7::2/128 dev lo nodad")
        for ip, port in places:
            reader, writer = await asyncio.open_connection(ip, port)
            writer.write(wire.frame(wire.question(KEY.secret, await greeted(reader), b"")))
            assert isinstance(await replied(reader), wire.Answer)
            writer.close()
        await server.close()

    there.run(scene())


# Tokens.


def test_a_token_lives_an_hour_and_is_used_once() -> None:
    now = [1000.0]
    tokens = Tokens(lambda: now[0])
    one, two = wire.token_of(tokens.new()), wire.token_of(tokens.new())
    now[0] += TOKEN_S - 1
    assert tokens.find(wire.token_id(one)) == one
    assert tokens.spend(wire.token_id(one))
    assert not tokens.spend(wire.token_id(one))
    assert tokens.find(wire.token_id(one)) is None
    assert tokens.find(wire.token_id(two)) == two
    now[0] += 1
    assert tokens.find(wire.token_id(two)) is None
    assert not tokens.spend(wire.token_id(two))


def test_the_oldest_token_makes_way() -> None:
    tokens = Tokens()
    made = [wire.token_of(tokens.new()) for _ in range(TOKENS_MOST + 1)]
    assert tokens.find(wire.token_id(made[0])) is None
    assert all(tokens.find(wire.token_id(token)) == token for token in made[1:])
