"""Move every VM off a node, live, and give it none until `corolistener maintenance NODE off`."""

import argparse

from corolistener.cli import ask, vm_waits, vm_words, waiting
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """NODE, --dry-run, --wait"""
    parser.add_argument("node", metavar="NODE", help="id or name of a member")
    parser.add_argument("--dry-run", action="store_true", help="show where its VMs would go, and change nothing")
    waiting.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 when nothing that shall run is there any more; for --dry-run 1 where something would have to stay."""
    node, names = ask.node_id(args.config, args.node), ask.node_names(args.config)
    name = vm_words.called(names, node)
    with ask.reader(args.config) as daemon:
        if args.dry_run:
            ask.tell_panic(daemon.status())
            planned = daemon.request("plan", {"drain": node})
            print("\n".join(vm_words.plan(planned, names, f"if {name} were drained")))
            return 1 if planned["owed"] or planned["frozen"] else 0
        total = sum(vm["on"] for vm in ask.vms(daemon, node=node)["vms"])
    ask.request(args.config, "maintenance", {"node": node, "on": True, "drain": True})
    print(f"{name} is given no VMs any more, and its own move off", flush=True)
    return waiting.wait(args, vm_waits.Draining(node, names, total), f"`corolistener vm list --node {node}` tells more")
