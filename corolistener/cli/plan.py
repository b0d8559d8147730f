"""Show where the VMs of nodes would go if these were lost now, by the function that decides it; nothing is changed."""

import argparse
import json

from corolistener.cli import ask, vm_words
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """--lose"""
    parser.add_argument("--lose", metavar="NODE,...", required=True, help="ids or names of nodes")
    parser.add_argument("--json", action="store_true", help="for programs; keys are stable")


def run(args: argparse.Namespace) -> int:
    """0 where every VM would run again, 1 where one would not."""
    lost = ask.node_ids(args.config, [each for each in args.lose.split(",") if each])
    names = ask.node_names(args.config)
    with ask.reader(args.config) as daemon:
        ask.tell_panic(daemon.status())
        planned = daemon.request("plan", {"lose": lost})
    if args.json:
        print(json.dumps(planned, indent=2))
    else:
        which = " and ".join(vm_words.called(names, node) for node in lost)
        print("\n".join(vm_words.plan(planned, names, f"if {which} were lost")))
    return 1 if planned["owed"] or planned["frozen"] or not planned["quorate"] else 0
