"""Have a lost node switched off, try its fence agents out, or say that it runs no VM: where that is not so, VMs run twice."""

import argparse

from corolistener.cli import ask, render, waiting
from corolistener.cli.verbs import Parser
from corolistener.cli.waiting import Seen
from corolistener.client import Client
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId


def arguments(parser: Parser) -> None:
    """NODE, --confirm, --test"""
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("node", metavar="NODE", nargs="?", help="id or name of a lost node: its fence agents switch it off now")
    one.add_argument("--confirm", metavar="NODE", help="this node is off, or runs no VM: look first")
    one.add_argument("--test", metavar="NODE", help="ask this node's fence agents for its state, and do nothing to it")
    waiting.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused for a node that is here, or never was. With --test 1 where an agent cannot say."""
    if args.confirm is not None:
        return _confirm(args, ask.node_id(args.config, args.confirm))
    if args.test is not None:
        return _test(args.config, args.test)
    return _fence(args, ask.node_id(args.config, args.node))


def _confirm(args: argparse.Namespace, node: int) -> int:
    answer = ask.request(args.config, "fence-confirm", {"node": node})
    if answer["in_force"]:
        print(f"node {node} is taken to run nothing")
    else:
        print(f"said of node {node}; it counts as soon as a quorum with a master has it on disk")
        if answer.get("wait_ms"):
            print(
                f"the node was seen a moment ago: that alone takes {render.duration(answer['wait_ms'])} from when it was said"
            )
    return 0


def _test(config: str | None, node: str) -> int:
    """From here and now, not through the daemon: what is tested is programs and settings, before they are needed."""
    import asyncio

    from corolistener.daemon.links import linked
    from corolistener.effects.confstore import Versions
    from corolistener.effects.fence import FenceAgents

    settings = ask.load(config)
    cluster, _ = Versions(settings.cluster.corosync_conf).load()
    found = [entry.id for entry in cluster.nodes if node in (str(entry.id), entry.name)]
    if len(found) != 1:
        raise RequestRefused("no-such-node", f"{len(found) or 'no'} nodes of the nodelist are {node!r}")
    names = {entry.id: entry.name for entry in cluster.nodes}
    asked = asyncio.run(FenceAgents(settings.agents, names, NodeId(0), linked, lambda code, fields: None).test(found[0]))
    for each in asked:
        print(f"{each.program}: node {found[0]} is {each.words}" if each.ok else each.words)
    return int(not all(each.ok for each in asked))


def _fence(args: argparse.Namespace, node: int) -> int:
    ask.request(args.config, "fence", {"node": node})
    print(f"the fence agents of node {node} are being tried", flush=True)

    def look(daemon: Client) -> Seen:
        status = daemon.status()
        proof = next((each["proof"] for each in status["proven"] if each["node"] == node), None)
        if proof is not None:
            return Seen(f"node {node} runs nothing: {render.word(render.PROOF, proof)}", 0)
        if any(each["id"] == node and each["member"] for each in status["nodes"]):
            return Seen(f"node {node} is back", 1)
        return Seen(f"node {node} is not proven to be off yet")

    return waiting.wait(args, look, "`corolistener status` and the master's log tell more")
