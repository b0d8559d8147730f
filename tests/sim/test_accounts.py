"""Where a VM fits, as checkers count it: by hand, one obstacle at a time."""

import pytest

from corolistener.core.capacity import Vm
from corolistener.core.config import OnTakeover, Timing
from corolistener.core.ledger import Excused, Ledger, Placed, Rows
from corolistener.ids import NodeId, VmName
from corolistener.sim import accounts, cluster
from corolistener.sim.vms import STORAGE, Estate, read_options, read_vm
from corolistener.sim.world import Options, World

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)


def world_of(*words: str) -> World:
    options = Options(timing=Timing(), on_takeover=OnTakeover.SWAP)
    options.vms = read_options(words)
    return cluster.world((30, 20, 10), options, ("on",) * 3, 1)


def estate_of(*words: str) -> Estate:
    estate = world_of(*words).estate
    assert estate is not None
    return estate


def vm(name: str, *words: str) -> Vm:
    return read_vm(VmName(name), words)


def taker(estate: Estate, row: Placed, *others: Placed, ledger: Ledger | None = None) -> NodeId | None:
    """Node 3 is lost."""
    ledger = ledger or Ledger()
    ledger.take(Rows(placed=(row, *others)))
    return accounts.taker(estate, {N1, N2}, ledger, row)


def test_a_majority_is_more_than_half_of_all_machines() -> None:
    world = world_of()
    assert accounts.kept(world, world.machines)
    assert not accounts.kept(world, [min(world.machines)])


@pytest.mark.parametrize(
    ("options", "lost", "others", "where"),
    [
        (("memory=4G",), "memory=4G", (), N1),
        (("memory=4G",), "memory=5G", (), None),
        (("memory=4G",), "memory=4G", ((N1, "memory=1G"),), N2),
        (("memory=4G",), "memory=4G", ((N1, "memory=1G"), (N2, "memory=1G")), None),
        (("limit=1",), "", ((N1, "memory=1G"),), N2),
        (("limit=1",), "", ((N1, "memory=1G"), (N2, "memory=1G")), None),
        ((), "cpus=256", (), N1),
        ((), "cpus=257", (), None),
        ((), "nodes=n2,n3", (), N2),
        ((), "nodes=n3", (), None),
        ((), "apart=g", ((N1, "apart=g"),), N2),
        ((), "together=g", ((N2, "together=g"),), N2),
        ((), "together=g", ((N1, "together=g"), (N2, "together=g")), None),
        (("memory=4G",), "together=g memory=2G", ((N3, "together=g memory=2G"), (N1, "memory=1G")), N2),
        (("memory=4G",), "together=g memory=2G", ((N3, "together=g memory=3G"),), None),
        ((), "together=g apart=h", ((N3, "together=g apart=h"),), None),
    ],
)
def test_one_obstacle(
    options: tuple[str, ...], lost: str, others: tuple[tuple[NodeId, str], ...], where: NodeId | None
) -> None:
    rows = [Placed(vm(f"v{number}", *words.split()), node) for number, (node, words) in enumerate(others)]
    assert taker(estate_of(*options), Placed(vm("lost", *lost.split()), N3), *rows) == where


def test_a_node_in_maintenance_takes_none() -> None:
    ledger = Ledger()
    ledger.take(Rows(excused=(Excused(N1),)))
    assert taker(estate_of(), Placed(vm("lost"), N3), ledger=ledger) == N2


def test_storage_that_is_not_reached() -> None:
    estate = estate_of()
    estate.nodes[N1].hypervisor.storages.discard(STORAGE)
    assert taker(estate, Placed(vm("lost"), N3)) == N2


def test_a_vm_that_is_shut_down_takes_no_room() -> None:
    off = Placed(vm("off", "memory=4G"), N1, on=False)
    assert taker(estate_of("memory=4G"), Placed(vm("lost", "memory=4G"), N3), off) == N1
