"""Be the daemon, in the foreground, until SIGTERM. systemd starts this."""

import argparse

from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """None of its own: everything is in the settings."""


def run(args: argparse.Namespace) -> int:
    """The daemon's exit status."""
    from corolistener.daemon import main

    return main.run(args.config)
