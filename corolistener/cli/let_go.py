"""Let go of what a daemon held that has ended for good: address, locks, service. systemd calls it after each end of one."""

import argparse

from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """[--after-stop]"""
    parser.add_argument(
        "--after-stop", action="store_true", help="only if no next process will take it over: for ExecStopPost="
    )


def run(args: argparse.Namespace) -> int:
    """0 where nothing is held any more, or the next process takes it over; 1 where something could not be let go."""
    from corolistener.daemon import let_go

    return let_go.run(args.config, args.after_stop)
