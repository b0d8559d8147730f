"""When what was asked of VMs has come to its end: what the waiting verbs look at (cli/waiting)."""

from typing import Any

from corolistener.cli import ask, vm_words
from corolistener.cli.waiting import Seen
from corolistener.client import Client

Frame = dict[str, Any]
SURE = 8
"""So many looks in a row have to see a VM given up: in between the master may be giving it to another node."""
UNBEGUN = 40
"""So many looks may see a move that has not begun, before it counts as ended again: it may be over between two of them."""


class Vm:
    """Looks at one VM; `before` is how it was before anything was asked."""

    def __init__(self, before: Frame, names: dict[int, str]) -> None:
        self.before, self.names, self.name = before, names, before["name"]
        self.given_up = 0

    def __call__(self, daemon: Client) -> Seen:
        vm = ask.find_vm(daemon, self.name)
        if vm is None:
            return Seen(f"{self.name} is not managed any more", 1)
        return self.judge(vm) or Seen(vm_words.standing(vm, self.names))

    def judge(self, vm: Frame) -> Seen | None:
        """The end, if this is it."""
        raise NotImplementedError

    def hopeless(self, vm: Frame) -> Seen | None:
        """It does not come to run: frozen, or given up in a generation that is not the old one."""
        anew = vm["generation"] > self.before["generation"]
        self.given_up = self.given_up + 1 if vm["why"] == "given-up" and anew else 0
        if vm["frozen"] or self.given_up >= SURE:
            return Seen(vm_words.standing(vm, self.names), 1)
        return None

    def runs(self, vm: Frame, status: int = 0) -> Seen:
        return Seen(f"{self.name} runs on {vm_words.called(self.names, vm['node'])}", status)


class Starting(Vm):
    """Until it runs."""

    def judge(self, vm: Frame) -> Seen | None:
        if vm["on"] and vm["to"] is None and vm["state"] == "running":
            return self.runs(vm)
        return self.hopeless(vm)


class Stopping(Vm):
    """Until there is no copy of it, and none is wanted."""

    def judge(self, vm: Frame) -> Seen | None:
        if not vm["on"] and not vm["copies"]:
            return Seen(f"{self.name} is off", 0)
        return None


class Moving(Vm):
    """Until it runs on the other node, or is to stay."""

    def __init__(self, before: Frame, names: dict[int, str], target: int) -> None:
        super().__init__(before, names)
        self.target, self.begun, self.looks, self.stuck = target, False, 0, ""

    def judge(self, vm: Frame) -> Seen | None:
        self.looks += 1
        self.stuck = next((each["stuck"] for each in vm["copies"] if each["stuck"]), self.stuck)
        if vm["to"] is not None:
            self.begun = True
            return None
        if not vm["on"]:
            return Seen(f"{self.name} was shut down meanwhile", 1)
        if vm["node"] == self.before["node"]:
            if self.begun or self.looks > UNBEGUN:
                why = self.stuck or "the master's log says why"
                return Seen(f"{self.name} was not moved from {vm_words.called(self.names, vm['node'])}: {why}", 1)
            return None
        if vm["state"] == "running":
            return self.runs(vm, 0 if vm["node"] == self.target else 1)
        return self.hopeless(vm)


class Draining:
    """Until no VM that shall run is on the node."""

    def __init__(self, node: int, names: dict[int, str], total: int) -> None:
        self.node, self.name, self.names, self.total = node, vm_words.called(names, node), names, total

    def __call__(self, daemon: Client) -> Seen:
        answer = ask.vms(daemon, node=self.node)
        carrier = next((each for each in answer["nodes"] if each["id"] == self.node), None)
        if carrier is None or not carrier["here"]:
            return Seen(f"{self.name} is not here any more", 1)
        if carrier["maintenance"] is None:
            return Seen(f"{self.name} is not in maintenance yet")
        left = [vm for vm in answer["vms"] if vm["on"]]
        if not left:
            off = len(answer["vms"])
            rest = f"; {vm_words.count(off)} that shall not run {'stays' if off == 1 else 'stay'} there" if off else ""
            return Seen(f"{self.name} is in maintenance, and nothing runs there{rest}", 0)
        line = f"{len(left)} of {vm_words.count(max(self.total, len(left)))} left on {self.name}"
        moving = [f"{vm['name']} to {vm_words.called(self.names, vm['to'])}" for vm in left if vm["to"] is not None]
        return Seen(f"{line}; on its way: {', '.join(moving)}" if moving else line + self._stuck(daemon))

    def _stuck(self, daemon: Client) -> str:
        """Why nothing moves."""
        planned = daemon.request("plan", {"drain": self.node})
        words = [f"{each['vm']} fits nowhere: {vm_words.refusals(each['refusals'])}" for each in planned["owed"]]
        words += [f"{each['vm']} is frozen" for each in planned["frozen"]]
        return "; " + "; ".join(words[:3]) if words else ""
