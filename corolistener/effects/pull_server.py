"""Answers `config pull`: a TCP server on this node's ring addresses. The protocol, and why it may be believed: wire/pull.

Anybody on the network may connect. A stranger costs a bounded number of bytes, a bounded time, and one of CLIENTS_MOST
places; when all are taken the oldest connection is closed for the new one, because an honest client needs its place for
milliseconds. Whatever a connection does ends that connection only.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.tree import encoded, parse
from corolistener.effects.detached import detached
from corolistener.effects.pull import printable, receive
from corolistener.effects.whoami import Address, resolved
from corolistener.errors import CorolistenerError, EffectError, PeerError
from corolistener.ids import NodeId
from corolistener.wire import pull as wire

CLIENTS_MOST = 16
CLIENT_S = 5.0
"""A whole exchange: as long as a client waits for it."""
TOKEN_S = 3600
TOKENS_MOST = 16
IP_FREEBIND, IPV6_FREEBIND = 15, 78
"""linux/in.h, linux/in6.h: listen on an address that its interface will have later."""


def boottime_s() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tokens:
    """Join tokens of this process: each good for one node, for an hour. The oldest makes way for one too many."""

    def __init__(self, clock_s: Callable[[], float] = boottime_s) -> None:
        self._clock_s = clock_s
        self._valid: dict[bytes, tuple[bytes, float]] = {}

    def new(self) -> str:
        """A token for the operator to carry to the new node."""
        token = wire.new_token()
        while len(self._valid) >= TOKENS_MOST:
            del self._valid[next(iter(self._valid))]
        self._valid[wire.token_id(token)] = (token, self._clock_s() + TOKEN_S)
        return wire.token_text(token)

    def find(self, token_id: bytes) -> bytes | None:
        """The token of that id while it is good."""
        token, end_s = self._valid.get(token_id, (b"", 0.0))
        if self._clock_s() < end_s:
            return token
        self._valid.pop(token_id, None)
        return None

    def spend(self, token_id: bytes) -> bool:
        """Uses it up; False if somebody else was faster."""
        return self._valid.pop(token_id, None) is not None


class Refused(Exception):
    """An honest client that gets no file: (stable code, why)."""


@dataclass(slots=True)
class Counts:
    """What the server has seen since it was made. `why` is the last failure's reason, with the address it came from."""

    answered: int = 0
    joined: int = 0
    failed: int = 0
    displaced: int = 0
    why: str = ""


class PullServer:
    """Serves the bytes that `current` returns, to whoever knows `keys[0]` or a token of `tokens`.

    `current` may wait (it is called in a thread) and may raise CorolistenerError or OSError.
    """

    def __init__(self, me: NodeId, keys: tuple[wire.Key, ...], current: Callable[[], bytes]) -> None:
        self.tokens = Tokens()
        self.counts = Counts()
        self._me, self._keys, self._current = me, keys, current
        self._servers: list[asyncio.Server] = []
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, addresses: Iterable[str], port: int = wire.PORT) -> tuple[tuple[str, int], ...]:
        """Listens on every address, also one that no interface has yet; names are resolved. Port 0: any that is free.

        Returns (address, port) as they are. Raises EffectError, and listens on none, if one cannot be had.
        """
        places: list[tuple[str, int]] = []
        try:
            for ip in sorted(await detached(lambda: _all_resolved(tuple(addresses))), key=str):
                listening = _listening(ip, port)
                self._servers.append(await asyncio.start_server(self._client, sock=listening))
                places.append((str(ip), listening.getsockname()[1]))
        except OSError as error:
            await self.close()
            raise EffectError("pull", f"cannot listen on port {port}: {error.strerror or error}") from None
        return tuple(places)

    async def close(self) -> None:
        """Ends every connection and listens no more."""
        for server in self._servers:
            server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        self._servers.clear()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last."""
        task = asyncio.current_task()
        assert task is not None
        self._displace()
        self._clients[task] = writer
        try:
            async with asyncio.timeout(CLIENT_S):
                await self._exchange(reader, writer)
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            self._failed(writer, "not finished in time")
        except (PeerError, EOFError, OSError) as error:
            self._failed(writer, str(error))
        except asyncio.CancelledError:
            self._failed(writer, "the connection was ended by us")
        finally:
            writer.transport.abort()
            self._clients.pop(task, None)

    def _displace(self) -> None:
        while len(self._clients) >= CLIENTS_MOST:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.cancel()
            self.counts.displaced += 1

    def _failed(self, writer: asyncio.StreamWriter, why: str) -> None:
        peer = writer.get_extra_info("peername") or ("?",)
        self.counts.failed += 1
        self.counts.why = f"{peer[0]}: {printable(why)}"

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = wire.greeting()
        writer.write(wire.frame(greeting))
        question = wire.read_question(await receive(reader, wire.QUESTION_MOST))
        try:
            reply: wire.Answer | wire.Refusal = await self._answer(greeting, question)
        except Refused as refused:
            code, why = refused.args
            reply = wire.Refusal(code, why[:200])
            self._failed(writer, why)
        writer.write(wire.frame(reply))
        await writer.drain()

    async def _answer(self, greeting: wire.Greeting, question: wire.Question) -> wire.Answer:
        """The answer to who may have one. Raises Refused."""
        token = self.tokens.find(question.token_id) if question.token_id else None
        if question.token_id and token is None:
            raise Refused("bad-token", "this token is not known here, was used, or is older than an hour")
        secret = token or self._keys[0].secret
        if not wire.authentic(question, secret, greeting):
            raise Refused("other-key", "the question was not made with this node's key")
        file = await detached(self._file)
        if question.cluster and question.cluster != file.cluster:
            raise Refused("other-cluster", "this node is of another cluster")
        if token is not None and not self.tokens.spend(question.token_id):
            raise Refused("bad-token", "this token was used a moment ago")
        self.counts.answered += 1
        self.counts.joined += token is not None
        return wire.answer(secret, greeting, question, file, self._keys)

    def _file(self) -> wire.File:
        try:
            text = self._current()
            facts = read_facts(parse(text))
        except (CorolistenerError, OSError) as error:
            raise Refused("no-file", f"this node cannot read its own file: {error}") from None
        return wire.File(self._me, encoded(facts.cluster_name), facts.config_version, text)


def _all_resolved(addresses: tuple[str, ...]) -> frozenset[Address]:
    """Raises OSError for a name that nobody knows."""
    found = {address: resolved(address) for address in addresses}
    unknown = [address for address, ips in found.items() if not ips]
    if unknown:
        raise OSError(0, f"the name {unknown[0]} is not known")
    return frozenset().union(*found.values())


def _listening(ip: Address, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ip.version == 4:
            listening.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        else:
            listening.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((str(ip), port))
        listening.listen(CLIENTS_MOST)
    except OSError:
        listening.close()
        raise
    return listening
