"""A pause has a reason, and what does not help is not repeated at once: safety.md, rule 11.

The checker counts by itself: what the hypervisors were asked, and what users did. It asks no core.
"""

from collections import defaultdict
from typing import TYPE_CHECKING

from corolistener.core.actions import ResumeVm, StartVm
from corolistener.core.events import Pause
from corolistener.ids import NodeId, VmName
from corolistener.sim.executions import NEWS_MS
from corolistener.sim.hypervisor import name_of

if TYPE_CHECKING:
    from corolistener.sim.vms import Estate
    from corolistener.sim.world import World

WINDOW_MS, RESUMES_MOST = 20_000, 9
"""A back-off that begins with 250 ms and doubles allows seven; two more for leases that are lost meanwhile."""
BUSY_MS = NEWS_MS[2] + 200


class Pauses:
    """What is asked of VMs that are paused."""

    def __init__(self, world: "World", estate: "Estate") -> None:
        self.world, self.estate = world, estate
        self.resumes: dict[tuple[NodeId, VmName, object], list[int]] = defaultdict(list)
        self.instance: dict[tuple[NodeId, VmName], object] = {}

    def broken(self, node: NodeId, action: StartVm | ResumeVm) -> str | None:
        """Why this must not be asked, if it must not."""
        if not isinstance(action, ResumeVm):
            return None
        name, now = name_of(action), self.world.heap.now
        hypervisor, daemon = self.estate.nodes[node].hypervisor, self.world.daemons[node]
        copy, what = hypervisor.copies.get(name), f"ResumeVm({name}) on node {node}"
        if copy is None:
            return None
        told = max(copy.since, hypervisor.life_at, self.world.checker.back.get(node, 0)) + BUSY_MS
        if not copy.running and copy.pause is Pause.BUSY and now > told:
            return f"{what}, which its hypervisor has been busy with for {now - copy.since} ms"
        rest = self.estate.users.paused.get(name)
        known = rest is not None and rest.sure and (rest.daemon is daemon or copy.labelled)
        if rest is not None and known and rest.instance is copy and not copy.running:
            return f"{what}, which its user has suspended"
        return self._too_often(node, name, daemon, now)

    def _too_often(self, node: NodeId, name: VmName, daemon: object, now: int) -> str | None:
        """It was resumed, and paused by a trouble of its own again, too many times in a row. Where it crashed and was started
        again, that counts anew."""
        times = self.resumes[node, name, daemon]
        instance = self.estate.nodes[node].hypervisor.copies.get(name)
        if self.instance.get((node, name)) is not instance:
            self.instance[node, name] = instance
            times.clear()
        failed = [at for at, each in self.estate.nodes[node].hypervisor.stumbles if each == name]
        times[:] = [at for at in times if at > now - WINDOW_MS] + [now]
        in_vain = [at for at in failed if at > now - WINDOW_MS]
        if min(len(times), len(in_vain)) > RESUMES_MOST:
            return f"ResumeVm({name}) on node {node}: the {len(times)}th within {WINDOW_MS // 1000} s, and none of them held"
        return None
