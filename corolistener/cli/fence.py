"""Have a lost node switched off, try its fence agents out, or say that it runs no VM: where that is not so, VMs run twice."""

import argparse

from corolistener.cli import ask, render, waiting
from corolistener.cli.verbs import Parser, complain
from corolistener.cli.waiting import Seen
from corolistener.client import Client


def arguments(parser: Parser) -> None:
    """NODE, --confirm, --test"""
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("node", metavar="NODE", nargs="?", help="id or name of a lost node: its fence agents switch it off now")
    one.add_argument("--confirm", metavar="NODE", help="this node is off, or runs no VM: look first")
    one.add_argument("--test", metavar="NODE", help="ask this node's fence agents for its state, and do nothing to it")
    waiting.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused for a node that is here, or never was."""
    if args.confirm is not None:
        return _confirm(args, ask.node_id(args.config, args.confirm))
    if args.test is not None:
        return _test(args, ask.node_id(args.config, args.test))
    return _fence(args, ask.node_id(args.config, args.node))


def _confirm(args: argparse.Namespace, node: int) -> int:
    answer = ask.request(args.config, "fence-confirm", {"node": node})
    if answer["in_force"]:
        print(f"node {node} is taken to run nothing")
    else:
        print(f"said of node {node}; it counts as soon as a quorum with a master has it on disk")
    return 0


def _test(args: argparse.Namespace, node: int) -> int:
    """1 where one of the agents does not know."""
    agents = ask.request(args.config, "fence-test", {"node": node})["agents"]
    rows = [("agent", "", "says"), *((each["program"], "ok" if each["ok"] else "FAILED", each["says"]) for each in agents)]
    print("\n".join(render.table(rows)))
    if bad := sum(not each["ok"] for each in agents):
        complain(f"{bad} of {len(agents)} fence agents of node {node} cannot be relied on")
    return 1 if bad else 0


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
