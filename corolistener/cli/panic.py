"""Stop every decision about VMs in the whole cluster: nothing is fenced, started or moved until `corolistener recover`."""

import argparse

from corolistener.cli import ask
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """--reason"""
    parser.add_argument("--reason", metavar="TEXT", required=True, help="one line; it heads every output on every node")


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused where there is panic already."""
    answer = ask.request(args.config, "panic", {"reason": args.reason})
    later = "asked for; it begins as soon as a quorum with a master has it on disk"
    print("there is panic: `corolistener recover` ends it" if answer["in_force"] else later)
    return 0
