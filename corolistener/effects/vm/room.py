"""What this node has for VMs: memory, cpus, and the declared storage that it reaches."""

import asyncio

from corolistener.core.capacity import Capacity
from corolistener.effects.detached import detached
from corolistener.effects.vm.lines import Lines, within
from corolistener.effects.vm.settings import VmSettings
from corolistener.effects.vm.storages import reached
from corolistener.ids import NodeId

ASK_S, PROBE_S = 15.0, 3.0


class Room:
    """`measure` says what is new. A storage whose probe hangs is not reached, and is not probed again before that has ended."""

    def __init__(self, settings: VmSettings, me: NodeId) -> None:
        self._settings, self._me = settings, me
        self._told: Capacity | None = None
        self._probes: dict[str, asyncio.Task[bool]] = {}

    def forget(self) -> None:
        """What was told does not hold any more."""
        self._told = None

    async def measure(self, lines: Lines, pools: frozenset[str]) -> Capacity | None:
        """The capacity, if it is another one than the last; `pools` are the active ones. Raises Fault, TimeoutError."""

        def ask() -> tuple[int, int]:
            with lines.line() as connection:
                info = connection.getInfo()
            return int(info[1]) * 1024, int(info[2])

        memory_kib, cpus = await within(ASK_S, ask)
        declared = self._settings.shared_storage
        found = await asyncio.gather(*(self._probe(each, pools) for each in declared))
        capacity = Capacity(
            node=self._me,
            memory_kib=memory_kib,
            cpus=cpus,
            storages=frozenset(each for each, there in zip(declared, found, strict=True) if there),
            reserved_memory_percent=self._settings.reserved_memory_percent,
            vm_limit=self._settings.max_per_node,
        )
        if capacity == self._told:
            return None
        self._told = capacity
        return capacity

    async def _probe(self, storage: str, pools: frozenset[str]) -> bool:
        probe = self._probes.get(storage)
        if probe is None:
            probe = asyncio.get_running_loop().create_task(detached(lambda: reached(storage, pools)))
            self._probes[storage] = probe
            probe.add_done_callback(lambda _: self._probes.pop(storage, None))
        done, _ = await asyncio.wait({probe}, timeout=PROBE_S)
        return bool(done) and probe.result()
