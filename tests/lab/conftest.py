"""Fixtures that give tests real clusters, and what a failed one had to say."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from lab.cluster import Cluster, cannot, live, tails
from lab.waiting import unrest

MakeCluster = Callable[..., Cluster]
TOKEN_MS = 2000
BEFORE, BROKEN = pytest.StashKey[set[str]](), pytest.StashKey[set[str]]()


@pytest.fixture(scope="session")
def machine_can() -> None:
    """Skips, with the reason, where the machine cannot carry a lab."""
    if reason := cannot():
        pytest.skip(f"no lab here: {reason}")


def raise_cluster(corosync: bool, daemons: bool, **options: Any) -> Cluster:
    """A cluster that is up; with `corosync` quorate on all nodes, with `daemons` corolistener started on all.

    With `hypervisor` libvirtd answers on all nodes.
    """
    cluster = Cluster(**options).up()
    try:
        if cluster.hypervisor:
            cluster.start_hypervisors()
        if corosync:
            cluster.start_corosync()
            cluster.wait_quorate()
        if daemons:
            cluster.start_daemons()
    except BaseException:
        cluster.down()
        raise
    return cluster


@pytest.fixture
def make_cluster(machine_can: None) -> Iterator[MakeCluster]:
    """`make_cluster(corosync=True, daemons=False, **options of Cluster)`; all are taken down after the test."""
    made: list[Cluster] = []

    def make(*, corosync: bool = True, daemons: bool = False, **options: Any) -> Cluster:
        made.append(raise_cluster(corosync, daemons, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.down()


@pytest.fixture(scope="module")
def cluster3(machine_can: None) -> Iterator[Cluster]:
    """Three quorate nodes without daemons, shared by a module; who breaks it heals it."""
    cluster = raise_cluster(True, False, nodes=3, token=TOKEN_MS)
    yield cluster
    cluster.down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is marked `lab`."""
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker("lab")


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """A story that failed while a ring broke by itself is told once more, on fresh nodes, and a warning says so.

    Such a ring is a real loss: what follows it on the nodes is right and not what the story is about. It comes of a machine
    that stands still for longer than a token. A story that fails without one, or again, has failed.
    """
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.stash[BEFORE] = unrest()
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if broken := item.stash.get(BROKEN, None):
        item.warn(pytest.PytestWarning(f"told again, because a ring broke by itself: {min(broken)}"))
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Takes down what is to be known of a failure while the clusters are still up: unrest, and the tails of all logs."""
    report = yield
    if report.failed and report.when == "call":
        item.stash[BROKEN] = unrest() - item.stash[BEFORE]
    if report.failed and report.when != "teardown" and live and (text := tails()):
        report.sections.append(("lab: what corosync and corolistener wrote", text))
    return report
