"""What a nodelist of thousands costs: work that grows as the file does, counted in executed lines, not in time."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.rewrite import NodeSpec, with_node_added, with_priorities, with_version
from corolistener.coroconf.successor import validate_successor
from corolistener.coroconf.tree import parse
from corolistener.coroconf.validate import new_errors, problems

FEW, MANY = 40, 160


def conf(nodes: int, version: int = 1) -> bytes:
    """Nodes with a name, a priority, votes and two links."""
    entry = "node {{\nnodeid: {0}\nname: n{0}\nring0_addr: 10.0.0.{0}\nring1_addr: 10.1.0.{0}\nprio: {0}\nquorum_votes: 1\n}}\n"
    entries = "".join(entry.format(node) for node in range(1, nodes + 1))
    head = (
        f"totem {{\nversion: 2\ncluster_name: x\nconfig_version: {version}\n}}\nquorum {{\nprovider: corosync_votequorum\n}}\n"
    )
    return f"{head}nodelist {{\n{entries}}}\n".encode()


def repeated(keys: int, version: int = 1) -> bytes:
    """One key, again and again, and ports of a daemon of old."""
    ports = "".join(f"port{number}: 1\n" for number in range(keys))
    again = f"ihttpd {{\ncount: {keys}\n{ports}}}\ntotem {{\n" + "token: 1000\n" * keys + "}\n"
    return conf(2, version) + again.encode()


def work(call: Callable[[], Any]) -> int:
    """How many lines of Python are executed; one of a comprehension for each of its turns."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("make", [conf, repeated])
@pytest.mark.parametrize(
    "call",
    [
        lambda make, size: problems(parse(make(size))),
        lambda make, size: read_facts(parse(make(size))),
        lambda make, size: new_errors(parse(make(size)), parse(make(size, 2))),
        lambda make, size: validate_successor(make(size), make(size, 2), 1),
        lambda make, size: with_priorities(
            make(size), {node: node % 7 for node in range(1, size + 1)} if make is conf else {1: 7}
        ),
        lambda make, size: with_node_added(make(size), NodeSpec(60_000, ("10.2.0.1", "10.2.0.2"), "new")),
        lambda make, size: with_version(make(size), 3),
    ],
    ids=["problems", "facts", "new-errors", "successor", "priorities", "node-added", "version"],
)
def test_the_work_grows_as_the_file_does(make: Callable[..., bytes], call: Callable[[Callable[..., bytes], int], Any]) -> None:
    few, many = (work(lambda size=size: call(make, size)) for size in (FEW, MANY))
    assert few > 1000
    assert many / few < 1.2 * MANY / FEW, f"{few} lines for {FEW}, {many} for {MANY}"


def test_priorities_of_many_nodes_are_those_of_one_after_the_other() -> None:
    text = conf(9).replace(b"prio: 4\n", b"").replace(b"prio: 9\nquorum_votes: 1\n}\n}\n", b"prio: 9\n}\n}")
    wanted = {1: 10, 4: 11, 5: 5, 9: 12}
    one_by_one = text
    for node, prio in wanted.items():
        one_by_one = with_priorities(one_by_one, {node: prio})
    assert with_priorities(text, wanted) == one_by_one
    assert {node.nodeid: node.prio for node in read_facts(parse(one_by_one)).nodes if node.nodeid in wanted} == wanted
