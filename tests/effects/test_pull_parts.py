"""What `config pull` stands on: which node this machine is, and threads that hold up nobody."""

import asyncio
import ipaddress
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from corolistener.coroconf.facts import NodeFacts, read_facts
from corolistener.coroconf.tree import parse
from corolistener.effects.detached import detached
from corolistener.effects.whoami import node_here, own_addresses, resolved
from corolistener.ids import NodeId

from .conffiles import conf
from .conftest import Station


def nodes(*addresses: str) -> tuple[NodeFacts, ...]:
    """A nodelist of these, ids from 1."""
    return read_facts(parse(conf(5, nodes=tuple((n, ip, 0) for n, ip in enumerate(addresses, 1))))).nodes


def test_every_address_of_every_interface_is_ours(station: Callable[[], Station]) -> None:
    there = station()
    there.ip(
        "link add wire0 type veth peer name wire1",
        "addr add 10.7.0.1/24 dev wire0",
        "addr add 10.7.0.2/24 dev wire0",
        "addr add 10.8.0.1/32 dev wire1",
        "addr add fd00:7::1/64 dev wire0 nodad",
    )
    wanted = {"127.0.0.1", "::1", "10.7.0.1", "10.7.0.2", "10.8.0.1", "fd00:7::1"}
    assert {str(address) for address in there.call(own_addresses)} == wanted
    assert there.call(lambda: node_here(nodes("10.7.0.9", "10.7.0.2"))) == NodeId(2)
    assert there.call(lambda: node_here(nodes("10.7.0.9", "10.7.0.8"))) is None
    assert there.call(lambda: node_here(nodes("fd00:7:0::9", "fd00:7:0:0::0001"))) == NodeId(2)


def test_a_node_is_found_by_any_of_its_links() -> None:
    text = conf(5, nodes=((1, "10.7.0.1", 0),)).replace(b"\t\tnodeid: 1", b"\t\tring1_addr: 10.8.0.1\n\t\tnodeid: 1")
    facts = read_facts(parse(text))
    assert node_here(facts.nodes, frozenset((ipaddress.ip_address("10.8.0.1"),))) == NodeId(1)


def test_names_are_resolved_and_nonsense_is_nobody() -> None:
    assert ipaddress.ip_address("127.0.0.1") in resolved("localhost")
    assert node_here(nodes("localhost")) == NodeId(1)
    assert resolved("fe80::1%eth0") == {ipaddress.ip_address("fe80::1")}
    for name in ("n" * 64, "", "a..b", "\udcff"):
        assert not resolved(name)


def test_what_a_thread_raises_is_raised_where_it_is_awaited() -> None:
    def broken() -> None:
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        asyncio.run(detached(broken))


def test_many_that_hang_hold_up_nobody() -> None:
    let_go = threading.Event()

    async def scene() -> str:
        hanging = [asyncio.create_task(detached(let_go.wait)) for _ in range(100)]
        result = await detached(lambda: "done")
        for task in hanging:
            task.cancel()
        return result

    try:
        assert asyncio.run(asyncio.wait_for(scene(), 30)) == "done"
    finally:
        let_go.set()


def test_a_program_ends_though_its_thread_does_not() -> None:
    program = (
        "import asyncio, threading\n"
        "from corolistener.effects.detached import detached\n"
        "async def scene():\n"
        "    async with asyncio.timeout(0.05):\n"
        "        await detached(threading.Event().wait)\n"
        "try:\n"
        "    asyncio.run(scene())\n"
        "except TimeoutError:\n"
        "    print('left')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("left\n", "", 0)
