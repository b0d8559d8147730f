"""Say that a lost node is off, or runs no VM: its VMs are then started elsewhere. Where that is not so, they run twice.
With --test ask the fence agents for a node's power, and change nothing."""

import argparse

from corolistener.cli import ask
from corolistener.cli.verbs import Parser
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId


def arguments(parser: Parser) -> None:
    """--confirm, --test"""
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--confirm", metavar="NODE", help="id or name of a node that is not a member")
    wanted.add_argument("--test", metavar="NODE", help="id or name of a node that this one could fence")


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused for a node that is here, or never was. With --test 1 where an agent cannot say."""
    if args.test is not None:
        return _test(args.config, args.test)
    node = ask.node_id(args.config, args.confirm)
    answer = ask.request(args.config, "fence-confirm", {"node": node})
    if answer["in_force"]:
        print(f"node {node} is taken to run nothing")
    else:
        print(f"said of node {node}; it counts as soon as a quorum with a master has it on disk")
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
