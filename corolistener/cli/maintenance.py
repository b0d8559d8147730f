"""Give a node no VMs; those that it has stay, unlike with drain. Or treat it as every other again."""

import argparse

from corolistener.cli import ask, vm_words, waiting
from corolistener.cli.verbs import Parser
from corolistener.cli.waiting import Seen
from corolistener.client import Client


def arguments(parser: Parser) -> None:
    """NODE on|off"""
    parser.add_argument("node", metavar="NODE", help="id or name")
    parser.add_argument("state", metavar="on|off", choices=("on", "off"))
    waiting.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 when the ledger says so; RequestRefused for a node that is not in maintenance, and off."""
    node, names = ask.node_id(args.config, args.node), ask.node_names(args.config)
    name, on = vm_words.called(names, node), args.state == "on"
    ask.request(args.config, "maintenance", {"node": node, "on": on, "drain": False})

    def look(daemon: Client) -> Seen:
        carriers = daemon.request("vms", {"most": 0})["nodes"]
        so = any(each["id"] == node and each["maintenance"] is not None for each in carriers) == on
        done = f"{name} is in maintenance: it is given no VMs" if on else f"{name} is given VMs again"
        return Seen(done, 0) if so else Seen(f"{name}: maintenance {args.state} is on its way")

    return waiting.wait(args, look, "`corolistener status` tells more")
