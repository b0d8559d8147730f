"""End a panic: VMs are decided about again. Or open a ledger that waits for witnesses."""

import argparse

from corolistener.cli import ask
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """--ledger"""
    parser.add_argument(
        "--ledger",
        action="store_true",
        help="open the ledger with what the members here remember, though nodes that know more may be away",
    )


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused where there is no panic, or with --ledger where the ledger is open."""
    if args.ledger:
        answer = ask.request(args.config, "open-ledger", {})
        print("the ledger is open" if answer["in_force"] else "asked for; it opens as soon as a majority has it on disk")
        return 0
    answer = ask.request(args.config, "recover", {})
    later = "asked for; the panic ends as soon as a quorum with a master has that on disk"
    print("the panic is over" if answer["in_force"] else later)
    return 0
