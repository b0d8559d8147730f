"""Commands of stories that strike and end any fault there is: sim/faults."""

from corolistener.ids import NodeId
from corolistener.sim import faults
from corolistener.sim.fault import Undo
from corolistener.sim.world import World


class FaultVerbs:
    """Part of the teller of stories (sim/script)."""

    @property
    def w(self) -> World:
        raise NotImplementedError

    @property
    def undo(self) -> dict[tuple[str, str], Undo | None]:
        """What ends each fault, by its name and its node's."""
        found: dict[tuple[str, str], Undo | None] = self.__dict__.setdefault("_undo", {})
        return found

    def do_fault(self, fault: str, name: str, *words: str) -> None:
        """A fault, now; `fault-ends` ends it."""
        self.undo[fault, name] = faults.ALL_FAULTS[fault].strike(self.w, NodeId(int(name.removeprefix("n"))), words)
        self.w.changed()

    def do_copy_file(self, name: str, *others: str) -> None:
        """Somebody copies a node's corosync.conf to others."""
        first, *nodes = [self.w.machines[NodeId(int(each.removeprefix("n")))] for each in (name, *others)]
        for machine in nodes:
            machine.disk.text = first.disk.text

    def do_fault_ends(self, fault: str, name: str) -> None:
        (self.undo.pop((fault, name)) or (lambda: None))()
