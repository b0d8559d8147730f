"""Tell the daemon that its next end is no farewell: address, service and locks stay for the next process."""

import argparse

from corolistener.cli import ask
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    """0, after saying how long the next process may take."""
    answer = ask.request(args.config, "prepare-restart", {})
    print(f"prepared: the next process has {answer['restart_ms']} ms to come up; everything stays as it is until then")
    return 0
