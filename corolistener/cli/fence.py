"""Say that a lost node is off, or runs no VM: its VMs are then started elsewhere. Where that is not so, they run twice."""

import argparse

from corolistener.cli import ask
from corolistener.cli.verbs import Parser


def arguments(parser: Parser) -> None:
    """--confirm"""
    parser.add_argument("--confirm", metavar="NODE", required=True, help="id or name of a node that is not a member")


def run(args: argparse.Namespace) -> int:
    """0; RequestRefused for a node that is here, or never was."""
    node = ask.node_id(args.config, args.confirm)
    answer = ask.request(args.config, "fence-confirm", {"node": node})
    if answer["in_force"]:
        print(f"node {node} is taken to run nothing")
    else:
        print(f"said of node {node}; it counts as soon as a quorum with a master has it on disk")
    return 0
