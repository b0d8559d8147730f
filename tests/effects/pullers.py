"""Nodes on the loopback that answer `config pull`, honestly or not, and one that asks them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from corolistener.effects.detached import detached
from corolistener.effects.pull import Pull, PullResult, pull, receive
from corolistener.effects.pull_server import PullServer
from corolistener.ids import NodeId
from corolistener.wire import pull as wire

from .conffiles import conf

KEY = wire.Key("key", b"k" * 32)
OTHER_KEY = wire.Key("key", b"x" * 32)
Stranger = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def address(node: int) -> str:
    """This machine is node 1: of the loopback's addresses an interface has only the first."""
    return f"127.0.0.{node}"


def text(version: int, nodes: int = 5, name: str = "VMmanager", more: str = "") -> bytes:
    """The cluster's file, with nodes 1 to `nodes`."""
    return conf(version, name, tuple((node, address(node), 100 - node) for node in range(1, nodes + 1)), more)


@dataclass
class Asking:
    """This machine, node 1: a directory with file and key, and the nodes it can ask."""

    directory: Path
    port: int = 0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.conf.write_bytes(text(5))
        self.key.write_bytes(KEY.secret)
        self.key.chmod(0o600)

    @property
    def conf(self) -> Path:
        return self.directory / "corosync.conf"

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def authkey(self) -> Path:
        return self.directory / "authkey"

    async def node(
        self,
        node: int,
        file: bytes | Callable[[], bytes],
        keys: tuple[wire.Key, ...] = (KEY,),
        at: tuple[str, ...] = (),
    ) -> PullServer:
        """An honest node with that file. The first decides the port of all."""
        server = PullServer(NodeId(node), keys, file if callable(file) else lambda: file)
        places = await server.start(at or (address(node),), self.port)
        self.port = places[0][1]
        self.stack.push_async_callback(server.close)
        return server

    async def stranger(self, at: str, behave: Stranger) -> None:
        """Something else that listens where a node should."""

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await behave(reader, writer)
            except (EOFError, OSError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(client, at, self.port, reuse_address=True)
        self.port = server.sockets[0].getsockname()[1]
        self.stack.callback(server.close)

    async def pull(self, source: str = "", token: str = "", force: bool = False, timeout_s: float = 20) -> PullResult:
        """What `config pull` does; it never waits for the time to pass unless a test says so."""
        paths = (self.key, self.authkey)
        wanted = Pull(self.conf, paths, self.port, source, token, force, timeout_s)
        return await detached(lambda: pull(wanted))

    def run(self, scene: Callable[["Asking"], Awaitable[None]]) -> None:
        """Plays a scene, then ends every node."""

        async def play() -> None:
            async with self.stack:
                await scene(self)

        asyncio.run(asyncio.wait_for(play(), 120))


async def connect(asking: Asking, node: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of a stranger's, which ends with the scene."""
    reader, writer = await asyncio.open_connection(address(node), asking.port)
    asking.stack.callback(writer.transport.abort)
    return reader, writer


async def greeted(reader: asyncio.StreamReader) -> wire.Greeting:
    return wire.read_greeting(await receive(reader, wire.GREETING_MOST))


async def replied(reader: asyncio.StreamReader) -> wire.Answer | wire.Refusal:
    return wire.read_reply(await receive(reader, wire.ANSWER_MOST))
