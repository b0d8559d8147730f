"""End a panic: VMs are decided about again."""

import argparse

from corolistener.cli import ask
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused where there is no panic."""
    answer = ask.request(args.config, "recover", {})
    later = "asked for; the panic ends as soon as a quorum with a master has that on disk"
    print("the panic is over" if answer["in_force"] else later)
    return 0
