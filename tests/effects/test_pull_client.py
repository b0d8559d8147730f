"""`config pull`: which file a node that was away takes, from whom, and that nobody can make it take another."""

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from corolistener.effects.pull import Pull, Pulled, pull
from corolistener.engine.conf import config_id
from corolistener.errors import EffectError
from corolistener.ids import NodeId
from corolistener.wire import pull as wire

from .conffiles import conf, mount_small, names
from .conftest import in_mounts_of_its_own
from .pullers import KEY, OTHER_KEY, Asking, Stranger, address, greeted, text

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
AUTHKEY = wire.Key("authkey", b"c" * 128)


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


# Which file is taken.


def test_the_highest_version_wins_and_is_installed(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        for node, version in ((2, 6), (3, 8), (4, 7), (5, 4)):
            await asking.node(node, text(version))
        result = await asking.pull()
        assert result.result is Pulled.INSTALLED
        assert (result.local, result.chosen) == (config_id(text(5)), config_id(text(8)))
        assert [(answer.node, answer.id.version) for answer in result.answers] == [(2, 6), (3, 8), (4, 7), (5, 4)]
        assert (result.failures, result.warnings, result.keys) == ((), (), ())

    asking.run(scene)
    assert asking.conf.read_bytes() == text(8)
    assert names(asking.directory) == ["corosync.conf", "corosync.conf.5", "key"]


def test_nothing_newer_changes_nothing(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        for node in (2, 3, 4, 5):
            await asking.node(node, text(5))
        result = await asking.pull()
        assert (result.result, result.warnings, len(result.answers)) == (Pulled.CURRENT, (), 4)

    asking.run(scene)
    assert names(asking.directory) == ["corosync.conf", "key"]


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        (text(4), "the file here has version 5, the newest elsewhere 4"),
        (text(5, more="# x\n"), "the file of node 2 has version 5 as well, but other content: the own is kept"),
    ],
)
def test_what_is_not_newer_is_only_warned_of(asking: Asking, other: bytes, warning: str) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, other)
        result = await asking.pull()
        assert (result.result, result.warnings) == (Pulled.CURRENT, (warning,))

    asking.run(scene)
    assert asking.conf.read_bytes() == text(5)


def test_by_force_what_is_not_newer_is_taken(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, text(4))
        assert (await asking.pull(force=True)).result is Pulled.INSTALLED

    asking.run(scene)
    assert asking.conf.read_bytes() == text(4)
    assert (asking.directory / "corosync.conf.5").read_bytes() == text(5)


def test_of_two_contents_that_of_most_nodes_is_taken(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, text(6, more="# alone\n"))
        for node in (3, 4):
            await asking.node(node, text(6))
        result = await asking.pull()
        assert result.chosen == config_id(text(6))
        assert result.warnings == ("version 6 has 2 contents in the cluster: that of node 3 is taken",)

    asking.run(scene)


def test_a_newest_file_without_this_node_is_refused_and_no_older_one_taken(asking: Asking) -> None:
    """Joining with any other version than the newest makes corosync exit: better none at all."""

    async def scene(asking: Asking) -> None:
        await asking.node(2, text(6))
        await asking.node(3, conf(7, nodes=((2, address(2), 3), (3, address(3), 2))))
        result = await asking.pull()
        assert result.result is Pulled.REFUSED
        assert "no node in it has an address of this machine: was it removed from the cluster?" in result.warnings[0]

    asking.run(scene)
    assert names(asking.directory) == ["corosync.conf", "key"]


def test_this_machine_s_node_is_found_by_its_address_even_under_another_id(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, conf(6, nodes=((2, address(2), 3), (9, address(1), 2))))
        result = await asking.pull()
        assert (result.result, result.answers[0].here) == (Pulled.INSTALLED, NodeId(9))

    asking.run(scene)


def test_a_file_that_corosync_would_refuse_is_not_installed(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, text(6).replace(b"version: 2", b"version: two", 1))
        result = await asking.pull()
        assert result.result is Pulled.REFUSED
        assert "version" in result.warnings[0]

    asking.run(scene)
    assert asking.conf.read_bytes() == text(5)


# Nobody, or nobody honest.


def test_nobody_there_is_no_error(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, text(6))
        await server.close()
        result = await asking.pull()
        assert (result.result, result.local) == (Pulled.UNANSWERED, config_id(text(5)))
        assert [place for place, _ in result.failures] == [address(node) for node in (2, 3, 4, 5)]
        assert {why for _, why in result.failures} == {"Connection refused"}

    asking.run(scene)
    assert asking.conf.read_bytes() == text(5)


def test_a_cluster_of_one_has_nobody_to_ask(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        asking.conf.write_bytes(text(5, nodes=1))
        result = await asking.pull()
        assert (result.result, result.failures) == (Pulled.CURRENT, ())

    asking.run(scene)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


def saying(*words: bytes) -> Stranger:
    """Sends each, waiting for something from the other side in between."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for word in words:
            writer.write(word)
            await reader.read(1)
        await reader.read()

    return behave


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As long an answer as is allowed, and on and on."""
    writer.write(wire.frame(wire.greeting()) + wire.ANSWER_MOST.to_bytes(4, "big"))
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def trickling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then: never silent, never done."""
    writer.write(wire.frame(wire.greeting()) + wire.ANSWER_MOST.to_bytes(4, "big"))
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def liar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Follows the protocol, without the key."""
    greeting = wire.greeting()
    writer.write(wire.frame(greeting))
    size = wire.length(await reader.readexactly(4), wire.QUESTION_MOST)
    question = wire.read_question(await reader.readexactly(size))
    file = wire.File(2, b"VMmanager", 99, text(99))
    writer.write(wire.frame(wire.answer(OTHER_KEY.secret, greeting, question, file)))
    await reader.read()


def with_key(file: wire.File) -> Stranger:
    """Has the key, and sends that."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = wire.greeting()
        writer.write(wire.frame(greeting))
        size = wire.length(await reader.readexactly(4), wire.QUESTION_MOST)
        question = wire.read_question(await reader.readexactly(size))
        writer.write(wire.frame(wire.answer(KEY.secret, greeting, question, file)))
        await reader.read()

    return behave


REFUSAL = wire.frame(wire.Refusal("x", "go\naway \x1b[31m"))


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (closing, "the connection was closed"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not a frame of config pull: 1213486160 bytes announced"),
        (saying(b"\0\0\0\x02\xc0\xc0"), "not a frame of config pull"),
        (saying(wire.frame(wire.greeting()), b"\xff\xff\xff\xff"), "not a frame of config pull"),
        (saying(wire.frame(wire.greeting()), wire.frame(wire.greeting())), "not a frame of config pull"),
        (saying(wire.frame(wire.greeting()), REFUSAL), "refused: go?away ?[31m"),
        (endless, "not a frame of config pull"),
        (liar, "the answer was not made with our key"),
        (with_key(wire.File(2, b"VMmanager", 99, text(7))), "the file is not the one that the answer says"),
        (with_key(wire.File(2, b"other", 7, text(7, name="other"))), "a node of another cluster, 'other'"),
        (with_key(wire.File(2, b"VMmanager", 7, b"totem {\n")), "the file of 127.0.0.2:1: this section is never closed"),
    ],
)
def test_a_stranger_is_not_believed_and_an_honest_node_is(asking: Asking, behave: Stranger, why: str) -> None:
    async def scene(asking: Asking) -> None:
        asking.conf.write_bytes(text(5, nodes=3))
        await asking.node(3, text(6))
        await asking.stranger(address(2), behave)
        result = await asking.pull()
        assert (result.result, result.chosen) == (Pulled.INSTALLED, config_id(text(6)))
        assert [place for place, _ in result.failures] == [address(2)]
        assert result.failures[0][1].startswith(why)

    asking.run(scene)


@pytest.mark.parametrize("behave", [silent, trickling, saying(wire.frame(wire.greeting())[:10])])
def test_who_does_not_finish_in_time_is_left_behind(asking: Asking, behave: Stranger) -> None:
    async def scene(asking: Asking) -> None:
        asking.conf.write_bytes(text(5, nodes=3))
        await asking.node(3, text(6))
        await asking.stranger(address(2), behave)
        result = await asking.pull(timeout_s=1)
        assert result.failures == ((address(2), "no answer in time"),)
        assert result.result is Pulled.INSTALLED

    asking.run(scene)


def test_a_recorded_answer_is_not_believed(asking: Asking) -> None:
    """What a node once said, word for word, including its nonce: the question is a new one."""

    async def scene(asking: Asking) -> None:
        asking.conf.write_bytes(text(5, nodes=2))
        server = await asking.node(2, text(9))
        reader, writer = await asyncio.open_connection(address(2), asking.port)
        greeting = await greeted(reader)
        writer.write(wire.frame(wire.question(KEY.secret, greeting, b"VMmanager")))
        recorded = await reader.read()
        assert b"cluster_name" in recorded
        writer.close()
        await server.close()
        await asking.stranger(address(2), saying(wire.frame(greeting), recorded))
        result = await asking.pull()
        assert result.failures == ((address(2), "the answer was not made with our key"),)

    asking.run(scene)
    assert asking.conf.read_bytes() == text(5, nodes=2)


def test_a_node_with_another_key_refuses_and_says_so(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        asking.conf.write_bytes(text(5, nodes=2))
        server = await asking.node(2, text(9), (OTHER_KEY,))
        result = await asking.pull()
        assert result.failures == ((address(2), "refused: the question was not made with this node's key"),)
        assert server.counts.answered == 0

    asking.run(scene)


def test_an_address_is_asked_while_another_of_the_same_node_is_silent(asking: Asking) -> None:
    """One link down costs nothing: the node's answer came over the other."""

    async def scene(asking: Asking) -> None:
        first, second = address(2), "127.0.1.2"
        both = text(5, nodes=2).replace(b"ring0_addr: 127.0.0.2\n", b"ring0_addr: 127.0.0.2\n\t\tring1_addr: 127.0.1.2\n")
        asking.conf.write_bytes(both)
        await asking.node(2, text(6), at=(second,))
        await asking.stranger(first, silent)
        result = await asking.pull(timeout_s=100)
        assert (result.result, result.failures) == (Pulled.INSTALLED, ())
        assert result.answers[0].address == second

    asking.run(scene)


def test_a_name_that_nobody_knows_is_a_failure_of_that_node(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        name = "n" * 64  # longer than a name's part may be: no resolver is asked
        asking.conf.write_bytes(text(5, nodes=3).replace(b"127.0.0.2", name.encode()))
        await asking.node(3, text(6))
        result = await asking.pull()
        assert (result.result, result.failures) == (Pulled.INSTALLED, ((name, "the name is not known"),))

    asking.run(scene)


def test_a_resolver_that_hangs_holds_up_nobody(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the answer nor the end of the program."""
    hanging, let_go, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "n2.example":
            hanging.set()
            let_go.wait(60)
        return real("127.0.0.2" if host == "n2.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asking.conf.write_bytes(text(5, nodes=2).replace(b"127.0.0.2", b"n2.example"))
    try:
        result = pull(Pull(asking.conf, [asking.key], timeout_s=0.3))
        assert hanging.is_set()
    finally:
        let_go.set()
    assert (result.result, result.failures) == (Pulled.UNANSWERED, (("n2.example", "no answer in time"),))


@needs_root
def test_a_full_disk_is_the_world_s_and_the_file_stays(tmp_path: Path) -> None:
    def full() -> None:
        mount_small(tmp_path, 16 << 10)

        async def scene(asking: Asking) -> None:
            await asking.node(2, text(6, more="# long\n" * 3000))
            with pytest.raises(EffectError, match="No space left on device"):
                await asking.pull()

        asking = Asking(tmp_path)
        asking.run(scene)
        assert asking.conf.read_bytes() == text(5)

    in_mounts_of_its_own(full)


def test_the_answers_of_a_hundred_nodes_are_one_decision(asking: Asking) -> None:
    nodes = 100

    async def scene(asking: Asking) -> None:
        asking.conf.write_bytes(text(5, nodes=nodes))
        for node in range(2, nodes + 1):
            await asking.node(node, text(5 + node % 7, nodes=nodes))
        result = await asking.pull(timeout_s=100)
        assert result.chosen == config_id(text(11, nodes=nodes))
        assert (len(result.answers), result.failures) == (nodes - 1, ())

    asking.run(scene)


def test_what_is_asked_says_nothing_of_the_key(asking: Asking) -> None:
    """Everything the client ever sends, to whoever listens."""
    heard = bytearray()

    async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.frame(wire.greeting()))
        heard.extend(await reader.read(4096))

    async def scene(asking: Asking) -> None:
        await asking.stranger(address(2), listening)
        await asking.pull(source=address(2))

    asking.run(scene)
    assert b"VMmanager" in heard
    assert KEY.secret[:8] not in heard
