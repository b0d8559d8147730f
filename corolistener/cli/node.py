"""List, add, edit or remove nodes of the cluster: nodelist and expected_votes in one transaction, on every node."""

import argparse
import ipaddress
import json
from typing import Any

from corolistener.cli import ask, render
from corolistener.cli.verbs import Parser, complain
from corolistener.errors import RequestRefused

ACTIONS = ("list", "add", "edit", "remove")
PRIORITY_MOST, NODEID_MOST = 2**31 - 1, 2**32 - 1


def arguments(parser: Parser) -> None:
    """The verbs below `node`."""
    verbs = parser.add_subparsers(dest="action", metavar="|".join(ACTIONS), required=True)
    listed = verbs.add_parser("list", help="the nodes of this node's corosync.conf")
    listed.add_argument("--json", action="store_true", help="for programs; keys are stable")
    add = verbs.add_parser("add", help="a new node; prints what to do there")
    add.add_argument("--address", required=True, type=_address, help="its ring address")
    add.add_argument("--id", type=_id, help="its nodeid; the lowest free one if left out")
    _facts(add)
    edit = verbs.add_parser("edit", help="change what is given of a node")
    edit.add_argument("node", metavar="NODE", help="id or name")
    _facts(edit)
    remove = verbs.add_parser("remove", help="take a node that is not a member out of the nodelist")
    remove.add_argument("node", metavar="NODE", help="id or name")


def _facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name")
    parser.add_argument("--priority", type=_priority, metavar="N", help="the highest member is master")
    parser.add_argument("--replication", choices=("on", "off"), help="whether it has a database replica")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an IPv4 or IPv6 address, found {text!r}") from None


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, found {text!r}")
    return int(text)


def _id(text: str) -> int:
    return _whole(text, 1, NODEID_MOST)


def _priority(text: str) -> int:
    return _whole(text, 0, PRIORITY_MOST)


def run(args: argparse.Namespace) -> int:
    """The exit status of the action."""
    return dict(zip(ACTIONS, (_list, _add, _edit, _remove), strict=True))[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from corolistener.effects.confstore import Versions

    cluster, _ = Versions(ask.load(args.config).cluster.corosync_conf).load()
    if args.json:
        keys = ("id", "name", "address", "priority", "replication")
        print(json.dumps([{key: getattr(node, key) for key in keys} for node in cluster.nodes], indent=2))
        return 0
    replication = {True: "on", False: "off", None: "-"}
    rows = [("id", "name", "address", "priority", "replication")]
    for node in cluster.nodes:
        rows.append((str(node.id), node.name or "-", node.address, str(node.priority), replication[node.replication]))
    print("\n".join(render.table(rows)))
    return 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    names = ("address", "id", "name", "priority", "replication")
    return {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}


def _add(args: argparse.Namespace) -> int:
    answer = ask.request(args.config, "node-add", _given(args), render.Progress())
    print(render.done(answer))
    print(f"node {answer.get('id') or args.address} is in the nodelist. On the new machine, as root:")
    command, token = _pull(args)
    print(f"  {command}")
    print("  systemctl enable --now corosync corolistener")
    if token:
        print(f"The first command asks for this token, which works once, within an hour: {token}")
    return 0


def _pull(args: argparse.Namespace) -> tuple[str, str]:
    """The command that gives the new machine file and key, and the token that it asks for. A command line is seen by every
    user of the machine, so the token is not part of it. Without a token the key must be there already."""
    try:
        answer = ask.request(args.config, "join-token", {})
    except RequestRefused as error:
        complain(f"no token: {error}; copy the key to the new machine first")
        return "corolistener config pull --from ADDRESS-OF-A-MEMBER", ""
    source = answer.get("from") or "ADDRESS-OF-THIS-NODE"
    return f"corolistener config pull --from {source} --token -", str(answer["token"])


def _edit(args: argparse.Namespace) -> int:
    changes = _given(args)
    if not changes:
        raise RequestRefused("bad-request", "nothing to change: give --name, --priority or --replication")
    print(render.done(_change(args, "node-edit", changes)))
    return 0


def _remove(args: argparse.Namespace) -> int:
    print(render.done(_change(args, "node-remove", {})))
    return 0


def _change(args: argparse.Namespace, verb: str, changes: dict[str, Any]) -> dict[str, Any]:
    wanted = {"id": ask.node_id(args.config, args.node), **changes}
    return ask.request(args.config, verb, wanted, render.Progress())
