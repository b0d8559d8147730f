"""Every hypervisor there is, and a node with a real one."""

from collections.abc import Iterator

import pytest
from lab.cluster import Cluster, cannot
from lab.hypervisor import cannot as cannot_carry

from .stages import Pretended, Qemu, Simulated, Stage, clean


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with libvirtd; whoever breaks one heals it."""
    if reason := cannot() or cannot_carry():
        pytest.skip(f"no lab here: {reason}")
    with Cluster(nodes=2, hypervisor=True) as cluster:
        cluster.start_hypervisors()
        yield cluster


@pytest.fixture
def qemu(cluster: Cluster) -> Iterator[Qemu]:
    """Real QEMU on the first node."""
    yield from clean(Qemu(cluster.nodes[0].hypervisor))


@pytest.fixture
def pretended() -> Iterator[Pretended]:
    """libvirt's test hypervisor."""
    yield from clean(Pretended())


@pytest.fixture(params=["simulated", "pretended", "qemu"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Each in turn."""
    if request.param == "simulated":
        yield Simulated()
    else:
        yield request.getfixturevalue(request.param)
