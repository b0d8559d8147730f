"""`config pull --from`: a node that is new, and clusters that are not ours."""

import asyncio
import os
from pathlib import Path

import pytest

from corolistener.effects.pull import Pull, Pulled, pull
from corolistener.effects.pull_server import PullServer
from corolistener.errors import ConfigError, RequestRefused
from corolistener.ids import NodeId
from corolistener.wire import pull as wire

from .conffiles import conf, names
from .pullers import KEY, Asking, address, text

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
AUTHKEY = wire.Key("authkey", b"c" * 128)


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


def test_without_file_and_source_it_is_said_what_to_do(asking: Asking) -> None:
    asking.conf.unlink()
    with pytest.raises(ConfigError, match="No such file or directory; `config pull --from ADDRESS` asks a member"):
        pull(Pull(asking.conf, [asking.key]))


def test_without_key_it_is_said_what_to_do(asking: Asking) -> None:
    asking.key.unlink()
    with pytest.raises(ConfigError, match="config keygen"):
        pull(Pull(asking.conf, [asking.key]))


@pytest.mark.parametrize("broken", [None, b"totem {\n"])
def test_with_the_key_copied_by_hand_one_address_is_enough(asking: Asking, broken: bytes | None) -> None:
    async def scene(asking: Asking) -> None:
        asking.conf.unlink() if broken is None else asking.conf.write_bytes(broken)
        await asking.node(2, text(6))
        result = await asking.pull(source=address(2))
        assert (result.result, result.local) == (Pulled.INSTALLED, None)

    asking.run(scene)
    assert asking.conf.read_bytes() == text(6)


def test_another_cluster_s_file_is_not_taken(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, text(6, name="other"))
        result = await asking.pull(source=address(2))
        assert result.failures == ((address(2), "refused: this node is of another cluster"),)
        assert (await asking.pull(source=address(2), force=True)).result is Pulled.INSTALLED

    asking.run(scene)
    assert (asking.directory / "corosync.conf.5").read_bytes() == text(5)


def test_a_token_brings_file_and_keys(asking: Asking) -> None:
    """The distribution's own corosync.conf was here before, and no key."""

    async def scene(asking: Asking) -> None:
        asking.key.unlink()
        asking.conf.write_bytes(conf(0, name="debian", nodes=((1, address(1), 0),)))
        server = await asking.node(2, text(6), (KEY, AUTHKEY))
        result = await asking.pull(source=address(2), token=server.tokens.new())
        assert (result.result, result.keys) == (Pulled.INSTALLED, (asking.key, asking.authkey))
        assert (server.counts.answered, server.counts.joined) == (1, 1)
        assert (await asking.pull()).result is Pulled.CURRENT

    asking.run(scene)
    assert asking.conf.read_bytes() == text(6)
    assert asking.key.read_bytes() == KEY.secret
    assert asking.authkey.read_bytes() == AUTHKEY.secret
    assert b"debian" in (asking.directory / "corosync.conf.0").read_bytes()


def test_a_token_works_once(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        server = await asking.node(2, text(6), (KEY, AUTHKEY))
        token = server.tokens.new()
        assert (await asking.pull(source=address(2), token=token)).result is Pulled.INSTALLED
        again = await asking.pull(source=address(2), token=token)
        assert again.result is Pulled.UNANSWERED
        assert again.failures == ((address(2), "refused: this token is not known here, was used, or is older than an hour"),)

    asking.run(scene)


def test_of_two_that_use_a_token_at_once_one_gets_in(asking: Asking, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"n{number}").mkdir()
    others = [Asking(tmp_path / f"n{number}") for number in range(6)]

    async def scene(asking: Asking) -> None:
        server = await asking.node(2, text(6))
        token = server.tokens.new()
        for other in others:
            other.port = asking.port
            other.key.unlink()
        results = await asyncio.gather(*(other.pull(source=address(2), token=token) for other in others))
        assert sorted(result.result.value for result in results) == ["installed", *["unanswered"] * 5]
        assert server.counts.joined == 1

    asking.run(scene)
    assert sum(other.key.exists() for other in others) == 1


def test_a_token_of_another_node_or_of_nobody_is_refused(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        await asking.node(2, text(6))
        other = PullServer(NodeId(3), (KEY,), lambda: text(6))
        for token in (other.tokens.new(), wire.token_text(wire.new_token())):
            result = await asking.pull(source=address(2), token=token)
            assert "this token is not known here" in result.failures[0][1]
        with pytest.raises(RequestRefused):
            await asking.pull(source=address(2), token="hello")

    asking.run(scene)


def test_a_node_that_is_not_in_the_file_gets_neither_file_nor_keys(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        asking.key.unlink()
        server = await asking.node(2, conf(6, nodes=((2, address(2), 3), (3, address(3), 2))))
        result = await asking.pull(source=address(2), token=server.tokens.new())
        assert (result.result, result.keys) == (Pulled.REFUSED, ())

    asking.run(scene)
    assert names(asking.directory) == ["corosync.conf"]


def test_a_token_again_repairs_a_join_that_broke_off(asking: Asking) -> None:
    """The file was installed, the keys were not: a second token brings them."""

    async def scene(asking: Asking) -> None:
        asking.key.unlink()
        asking.conf.write_bytes(text(6))
        server = await asking.node(2, text(6))
        result = await asking.pull(source=address(2), token=server.tokens.new())
        assert (result.result, result.keys) == (Pulled.CURRENT, (asking.key,))

    asking.run(scene)
    assert asking.key.read_bytes() == KEY.secret
