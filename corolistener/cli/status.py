"""What this node's daemon knows and does."""

import argparse
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from corolistener.cli import ask, render, vm_words
from corolistener.cli.verbs import Parser
from corolistener.errors import RequestRefused

LABEL = 14


def arguments(parser: Parser) -> None:
    """--json"""
    parser.add_argument("--json", action="store_true", help="for programs; keys are stable")


def run(args: argparse.Namespace) -> int:
    """0; without a daemon ClientError is raised."""
    with ask.reader(args.config) as daemon:
        status = daemon.status()
        with contextlib.suppress(RequestRefused):  # a daemon of an older version knows nothing of VMs
            told = daemon.request("vms", {"most": 0})
            status["vms"] = {key: told[key] for key in ("states", "owed", "nodes")}
    if args.json:
        ask.tell_panic(status)
        print(json.dumps(status, indent=2))
    else:
        print("\n".join(lines(status)))
    return 0


def lines(status: dict[str, Any]) -> Iterator[str]:
    """The status for people: a fact a line, then a line for each node."""
    if status.get("panic"):
        yield render.panic(status["panic"])
        yield ""
    for label, text in facts(status):
        yield f"{label + ':':{LABEL}}{text}"
    yield ""
    yield from nodes(status)


def facts(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text of what concerns this node; what is as it should be is said shortly."""
    node, lease = status["node"], status["lease"]
    yield "version", f"{status['version']}, running for {render.duration(status['uptime_ms'])}"
    yield "node", f"{node['id']} {node['name']} {node['address']}".replace("  ", " ")
    yield "cluster", f"{status['cluster']}, " + ("quorate" if status["quorate"] else "NOT quorate")
    if status.get("foreign"):
        yield "corosync", status["foreign"]
    if status.get("unusable"):  # a daemon of an older version has neither key
        yield "settings", f"the last good ones are used: {status['unusable']}"
    yield "ring", f"{status['ring'] or 'none'}, epoch {status['epoch'] or 'none'}"
    yield "role", _role(status)
    yield "lease", f"valid for {render.duration(lease['ms_left'])}" if lease["valid"] else "none"
    if status["mode"] != "running":
        yield "mode", render.word(render.MODE, status["mode"])
    if render.word(render.PHASE, status["phase"]):
        yield "doing", _doing(status)
    address = status["address"]
    if address is None:
        yield "cloud IP", "none is configured"
    else:
        place = f"{address['ip']}/{address['prefix']} on {address['device']}"
        yield "cloud IP", f"{place}, {render.word(render.STATE, address['state'])}"
    taken = [name for name in ("service", "relocated") if status["locks"][name]]
    yield "service", f"{status['service']['state']}, lock files: {', '.join(taken) or 'none'}"
    yield "config", _config(status)
    for each in status.get("differences", ()):  # a daemon of an older version does not say so
        yield "differs", f"{each['setting']} is {each['there']} on node {each['node']} and {each['here']} here"
    if "ledger" in status:  # a daemon of an older version has none
        yield "ledger", _ledger(status["ledger"])
    for debt in status.get("owed", ()):
        yield "owed", _owed(debt)
    if "vms" in status:
        yield from _vms(status["vms"])
    if status["bad_messages"]:
        yield "not understood", f"{status['bad_messages']} messages of other nodes"


def _role(status: dict[str, Any]) -> str:
    master = "no master" if status["master"] is None else f"the master is node {status['master']}"
    if status["role"] == "master":
        return "master" + ("" if status["acting"] else ", not acting yet")
    return f"{status['role']}, {master}" if status["role"] != "none" else master


def _doing(status: dict[str, Any]) -> str:
    waits = ", ".join(str(node) for node in status["waits_for"])
    return render.word(render.PHASE, status["phase"]) + (f" (node {waits})" if waits else "")


def _config(status: dict[str, Any]) -> str:
    config, file = status["config"], status["file"]
    text = f"version {render.version(config)} is in force"
    if file["sha256"] != config["sha256"]:
        text += f", this node's file is version {render.version(file)}"
    rewriting = render.word(render.REWRITING, config["rewriting"])
    return text + (f"; {rewriting}" if rewriting else "")


def _ledger(ledger: dict[str, Any]) -> str:
    """Where it is not stable: what is missing."""
    text = f"version {ledger['version']}, {vm_words.count(ledger['placements'])} placed"
    if ledger.get("doubt"):  # a daemon of an older version does not say so
        text += f"; this node is no witness: {ledger['doubt']}"
    if ledger.get("waits"):
        return f"{text}; not open: {ledger['waits']} (`corolistener recover --ledger` opens it with what is here)"
    if not ledger["open"]:
        return f"{text}; not open, because no quorum has agreed on it yet"
    if ledger["stored"] != ledger["version"]:
        return f"{text}; on this node's disk is version {ledger['stored']}"
    return text if ledger["stable"] else f"{text}; not yet on the disks of a majority"


def _owed(debt: dict[str, Any]) -> str:
    proof = f"proven: {render.word(render.PROOF, debt['proof'])}" if debt["proof"] else "no proof yet that it runs nothing"
    if debt.get("agent_waits_ms"):  # a daemon of an older version does not say so
        proof = f"not seen since the cluster started, its fence agent waits {render.duration(debt['agent_waits_ms'])} more"
    return f"{vm_words.count(debt['vms'])} of node {debt['node']}, which is gone; {proof}"


def _vms(vms: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How many VMs are how, why those that should run do not, and the nodes that are given none."""
    states = [f"{number} {state}" for state, number in sorted(vms["states"].items())]
    if states:
        yield "VMs", ", ".join(states)
    for why, number in sorted(vms["owed"].items()):
        yield "owed", f"{vm_words.count(number)}: {render.word(render.OWED, why)}"
    names = vm_words.names_of(vms["nodes"])
    for each in vms["nodes"]:
        if (excused := each["maintenance"]) is not None:
            how = "leaves" if excused["leaving"] else "drained" if excused["drained"] else "given no VMs"
            by = f", by {excused['by']}" if excused["by"] else ""
            yield "maintenance", f"{vm_words.called(names, each['id'])}: {how}{by}; {vm_words.count(each['vms'])} there"


def nodes(status: dict[str, Any]) -> Iterator[str]:
    """A table of the nodes; the last column says why one cannot be master."""
    rows = [("node", "name", "address", "status", "role", "priority", "config", "")]
    for node in status["nodes"]:
        why = "; ".join(render.obstacle(node, code) for code in node["why"])
        version = "-" if node["config_version"] is None else str(node["config_version"])
        names = (str(node["id"]), node["name"] or "-", node["ip"], node["status"], node["role"])
        rows.append((*names, str(node["priority"]), version, why))
    return render.table(rows)
