"""What VMs and the nodes that carry them look like to people: the words of render, put together."""

from collections.abc import Iterable, Iterator
from typing import Any

from corolistener.cli import render

Frame = dict[str, Any]
LABEL = 14


def names_of(carriers: Iterable[Frame]) -> dict[int, str]:
    """What nodes are called: their names, for want of one their ids."""
    return {each["id"]: each["name"] or str(each["id"]) for each in carriers}


def called(names: dict[int, str], node: object) -> str:
    """A node as people know it."""
    return names.get(int(str(node)), f"node {node}") if node is not None else "-"


def memory(mib: int | None) -> str:
    """`512 MiB`, `4 GiB`, `1.5 GiB`."""
    if mib is None:
        return "-"
    return f"{mib} MiB" if abs(mib) < 1024 else f"{round(mib / 1024, 1):g} GiB"


def count(vms: int) -> str:
    """`1 VM`, `2 VMs`."""
    return f"{vms} VM" if vms == 1 else f"{vms} VMs"


def state(vm: Frame) -> str:
    """One word; a VM of which there is no copy is off where it shall not run, else down."""
    if vm["state"] == "none":
        return "down" if vm["on"] else "off"
    return str(vm["state"])


def refusals(found: Iterable[Frame]) -> str:
    """Why no node takes a VM, what closes most nodes first."""
    words = []
    for each in found:
        subject = f" {each['subject']}" if each["subject"] else ""
        nodes = "1 node" if each["nodes"] == 1 else f"{each['nodes']} nodes"
        words.append(f"{render.word(render.OBSTACLE, each['obstacle'])}{subject} ({nodes})")
    return ", ".join(words) or "there is no node that may be given any"


PAUSES = {
    "user": "by its user; `corolistener vm start` ends that",
    "busy": "the hypervisor is busy with it (dump, save, snapshot or migration)",
    "starting": "the hypervisor is starting it",
    "io-error": "I/O error",
    "panicked": "its system has crashed",
    "watchdog": "its own watchdog has stopped it",
}
"""Why a VM is suspended, by the frame's word."""


def reasons(vm: Frame, names: dict[int, str]) -> Iterator[str]:
    """What is not as it should be with a VM."""
    if pause := vm.get("pause"):  # a daemon of an older version does not say it
        yield f"suspended: {PAUSES.get(pause, pause)}"
    if vm["frozen"]:
        yield f"frozen: it {vm['frozen']}"
    if vm["unmanaged"]:
        yield f"not in our care any more: {vm['unmanaged']}"
    for other in vm["others"]:
        yield f"{called(names, other['node'])} has another VM of this name, with UUID {other['uuid']}"
    if vm["owed"]:
        yield "owed: " + owed(vm)
    if vm["to"] is not None:
        to = called(names, vm["to"])
        yield f"migrates to {to}" if vm["live"] else f"is stopped here, to be started on {to}"
    for trouble in vm["troubles"]:
        end = ", given up" if trouble["given_up"] else ""
        yield f"{called(names, trouble['node'])}: {trouble['why'] or 'it does not stay running'}{end}"
    if vm["tried"]:
        yield "tried in vain on " + ", ".join(called(names, node) for node in vm["tried"])
    for copy in vm["copies"]:
        if copy["stuck"]:
            yield f"it could not be migrated: {copy['stuck']}"
        if copy["node"] not in (vm["node"], vm["to"]):
            by = "started by hand" if copy["stray"] else "left over"
            yield f"{copy['state']} on {called(names, copy['node'])} as well, {by}"
    if unkept := vm.get("unkept"):  # a daemon of an older version does not say it
        elsewhere = "elsewhere it would start from an older definition" if vm["definition"] else "not relocatable"
        yield f"{elsewhere}: its definition cannot be kept: {unkept}"
    if vm["local"]:
        yield "not relocatable: no other node reaches " + ", ".join(vm["local"])


def owed(vm: Frame) -> str:
    """Why a VM that should run does not."""
    words = render.word(render.OWED, vm["why"])
    return f"{words}: {refusals(vm['refusals'])}" if vm["why"] == "no-room" else words


def standing(vm: Frame, names: dict[int, str]) -> str:
    """How a VM is, in one line of progress."""
    told = "; ".join(reasons(vm, names))
    return f"{vm['name']} is {state(vm)} on {called(names, vm['node'])}" + (f"; {told}" if told else "")


def table(answer: Frame) -> Iterator[str]:
    """One line a VM, then what this node's hypervisor has besides."""
    names = names_of(answer["nodes"])
    rows = [("name", "node", "state", "gen", "memory", "priority", "")]
    for vm in answer["vms"]:
        node, size = called(names, vm["node"]), memory(vm["memory_mib"])
        told = "; ".join(reasons(vm, names))
        rows.append((vm["name"], node, state(vm), str(vm["generation"]), size, str(vm["priority"]), told))
    for each in answer["unmanaged"]:
        node = "here" if each["node"] is None else called(names, each["node"])
        rows.append((each["name"], node, "unmanaged", "-", "-", "-", each["why"]))
    return render.table(rows)


def facts(vm: Frame, names: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Label and text of everything known about one VM."""
    yield "name", vm["name"]
    yield "node", called(names, vm["node"]) + (f", goes to {called(names, vm['to'])}" if vm["to"] is not None else "")
    yield "state", state(vm) + ("" if vm["on"] else ", and shall not run")
    for reason in reasons(vm, names):
        yield "reason", reason
    yield "generation", str(vm["generation"])
    yield "priority", f"{vm['priority']}, start order {vm['order']}"
    yield "needs", f"{memory(vm['memory_mib'])}, {vm['cpus']} cpus, storages: {', '.join(vm['storages']) or 'none'}"
    yield "together", ", ".join(vm["together"]) or "-"
    yield "apart", ", ".join(vm["apart"]) or "-"
    yield (
        "may run on",
        "any node" if vm["nodes"] is None else ", ".join(called(names, each) for each in vm["nodes"]) or "no node",
    )
    for copy in vm["copies"]:
        yield "copy", f"{copy['state']} on {called(names, copy['node'])}, generation {copy['generation']}"
    if vm["definition"]:
        yield "definition", vm["definition"][:16]


def lines(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Facts, one a line."""
    return (f"{label + ':':{LABEL}}{text}" for label, text in pairs)


def plan(answer: Frame, names: dict[int, str], without: str) -> Iterator[str]:
    """What would become of VMs; `without`: "if n3 were lost", or the like."""
    if not answer["quorate"]:
        yield f"{without}, the nodes that are left would have no quorum, and nothing would be started; with one it would be:"
    rows = [("vm", "from", "to", "left there", "because")]
    for each in answer["placements"]:
        because = render.word(render.CHOICE, each["reason"]) + (f" {each['joined']}" if each["joined"] else "")
        where = called(names, each["from"]), called(names, each["to"])
        rows.append((each["vm"], *where, memory(each["left_mib"]), because))
    if len(rows) > 1:
        yield from render.table(rows)
    stay = [(each["vm"], called(names, each["from"]), refusals(each["refusals"])) for each in answer["owed"]]
    stay += [(each["vm"], called(names, each["from"]), f"frozen: it {each['why']}") for each in answer["frozen"]]
    if stay:
        if len(rows) > 1:
            yield ""
        yield "would not:"
        yield from render.table([("vm", "from", "why"), *stay])
    every = len(answer["placements"]) + len(stay)
    yield (
        f"{without}, {len(answer['placements'])} of {count(every)} would go to other nodes"
        if every
        else (f"{without}, nothing would happen: no VM runs there")
    )
