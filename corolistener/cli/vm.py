"""See and order VMs: where each is and why not, start, stop, move, and what is wanted of one."""

import argparse
import json
import re
from typing import Any

from corolistener.cli import ask, vm_waits, vm_words, waiting
from corolistener.cli.verbs import Parser
from corolistener.errors import RequestRefused

ACTIONS = ("list", "show", "start", "stop", "migrate", "relocate", "set", "forget")
GROUP = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
WISHES = ("priority", "order", "together", "apart", "nodes", "manage")


def arguments(parser: Parser) -> None:
    """The verbs below `vm`."""
    verbs = parser.add_subparsers(dest="action", metavar="|".join(ACTIONS), required=True)
    listed = verbs.add_parser("list", help="every VM: where, how, and what is not as it should be")
    listed.add_argument("--json", action="store_true", help="for programs; keys are stable")
    listed.add_argument("--node", metavar="NODE", help="only those that are on this node, or go to it")
    show = _named(verbs, "show", "all that is known of one")
    show.add_argument("--json", action="store_true", help="for programs; keys are stable")
    start = _named(verbs, "start", "it is to run")
    start.add_argument("--on", metavar="NODE", help="on this node; else where it was")
    waiting.arguments(start)
    stop = _named(verbs, "stop", "it is shut down, and stays so")
    stop.add_argument("--force", action="store_true", help="its own system is not asked")
    waiting.arguments(stop)
    for action, text in (("migrate", "it goes to another node without being stopped"), ("relocate", "it is stopped here and")):
        move = _named(verbs, action, text if action == "migrate" else f"{text} started on another node")
        move.add_argument("--to", metavar="NODE", help="to this node; else to the one with the most memory left")
        waiting.arguments(move)
    _wishes(_named(verbs, "set", "change what is wanted of it"))
    _named(verbs, "forget", "the cluster knows it no more; its name is free")


def _named(verbs: Any, action: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(action, help=text)
    parser.add_argument("name", metavar="NAME")
    return parser


def _wishes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--priority", type=_rank, metavar="N", help="higher ones are placed first")
    parser.add_argument("--order", type=_rank, metavar="N", help="lower ones are started first")
    parser.add_argument("--together", type=_groups, metavar="GROUP,...", help="groups it shares a node with; '' for none")
    parser.add_argument("--apart", type=_groups, metavar="GROUP,...", help="groups it shares no node with; '' for none")
    parser.add_argument("--nodes", metavar="NODE,...|any", help="where it may run")
    parser.add_argument("--manage", choices=("yes", "no"), help="whether it is cared for at all")


def _rank(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def _groups(text: str) -> list[str]:
    groups = [each for each in text.split(",") if each]
    if strange := next((each for each in groups if not GROUP.fullmatch(each)), None):
        raise argparse.ArgumentTypeError(f"a group is named with letters, digits and .:_- , found {strange!r}")
    return groups


def run(args: argparse.Namespace) -> int:
    """The exit status of the action."""
    actions = (_list, _show, _start, _stop, _move, _move, _set, _forget)
    return dict(zip(ACTIONS, actions, strict=True))[args.action](args)


def _list(args: argparse.Namespace) -> int:
    which = {"node": ask.node_id(args.config, args.node)} if args.node is not None else {}
    with ask.reader(args.config) as daemon:
        ask.tell_panic(daemon.status())
        answer = ask.vms(daemon, **which)
    if which:
        answer["unmanaged"] = []
    if args.json:
        print(json.dumps({key: answer[key] for key in ("vms", "nodes", "unmanaged")}, indent=2))
    else:
        print("\n".join(vm_words.table(answer)))
    return 0


def _show(args: argparse.Namespace) -> int:
    found, names = _found(args)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(vm_words.lines(vm_words.facts(found, names))))
    return 0


def _found(args: argparse.Namespace) -> tuple[dict[str, Any], dict[int, str]]:
    """The VM that is meant, and what nodes are called. Raises RequestRefused."""
    found = ask.vm(args.config, args.name)
    return found, ask.node_names(args.config)


def _order(args: argparse.Namespace, verb: str, **wanted: Any) -> int:
    """Have it carried out; the node that it is about, 0 for none. Raises RequestRefused."""
    return int(ask.request(args.config, verb, {"vm": args.name, **wanted})["node"] or 0)


def _hint(args: argparse.Namespace) -> str:
    return f"`corolistener vm show {args.name}` tells more"


def _start(args: argparse.Namespace) -> int:
    before, names = _found(args)
    node = {"node": ask.node_id(args.config, args.on)} if args.on is not None else {}
    where = _order(args, "vm-start", **node)
    print(f"{args.name} is to run on {vm_words.called(names, where)}", flush=True)
    return waiting.wait(args, vm_waits.Starting(before, names), _hint(args))


def _stop(args: argparse.Namespace) -> int:
    before, names = _found(args)
    _order(args, "vm-stop", force=args.force)
    print(f"{args.name} is to stop", flush=True)
    return waiting.wait(args, vm_waits.Stopping(before, names), _hint(args))


def _move(args: argparse.Namespace) -> int:
    before, names = _found(args)
    to = {"to": ask.node_id(args.config, args.to)} if args.to is not None else {}
    target = _order(args, "vm-move", live=args.action == "migrate", **to)
    print(f"{args.name} goes from {vm_words.called(names, before['node'])} to {vm_words.called(names, target)}", flush=True)
    return waiting.wait(args, vm_waits.Moving(before, names, target), _hint(args))


def _set(args: argparse.Namespace) -> int:
    wanted = {key: getattr(args, key) for key in WISHES if getattr(args, key) is not None}
    if not wanted:
        raise RequestRefused("bad-request", f"nothing to change: give --{', --'.join(WISHES[:-1])} or --{WISHES[-1]}")
    if "manage" in wanted:
        wanted["managed"] = wanted.pop("manage") == "yes"
    if "nodes" in wanted:
        nodes = [each for each in args.nodes.split(",") if each]
        wanted["nodes"] = [] if args.nodes == "any" else ask.node_ids(args.config, nodes)
        if not wanted["nodes"] and args.nodes != "any":
            raise RequestRefused("bad-request", "--nodes: expected nodes, or any")
    if wanted.get("managed") is not True:
        ask.vm(args.config, args.name)
    _order(args, "vm-set", **wanted)
    print(f"{args.name} is changed")
    return 0


def _forget(args: argparse.Namespace) -> int:
    _order(args, "vm-forget")
    print(f"{args.name} is forgotten: the cluster does not start it any more, and its name is free")
    return 0
