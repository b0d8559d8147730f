"""Real QEMU: with `migrate_tls` a VM's memory goes to another node encrypted, or not at all."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import Cluster, Node

from corolistener.core.actions import MigrateVm, Reason
from corolistener.core.events import Outcome, Result
from corolistener.ids import NodeId

from .stages import RUNNING, UNTIL, Qemu, clean, opened

MIGRATE_URI = "qemu+tcp://{address}/system?unsafe=1"
PKI = "/etc/pki/qemu"


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[Qemu, Qemu]]:
    """An effect on each of two nodes, told to encrypt."""
    one, two = (Qemu(node.hypervisor, migrate_uri=MIGRATE_URI, migrate_tls=True) for node in cluster.nodes)
    two.prefix, two.shelf = one.prefix, one.shelf
    for _ in clean(one):
        for _ in clean(two):
            yield one, two


def certify(nodes: list[Node], directory: Path) -> None:
    """An authority, and on each node a certificate for its address, for both directions."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca-cert.pem", "-subj", "/CN=lab")
    for node in nodes:
        place = node.path(PKI)
        place.mkdir(parents=True, exist_ok=True)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "request", "-subj", f"/CN={node.address}")
        (directory / "extra").write_text(f"subjectAltName=IP:{node.address}\n")
        words = ("-CA", "ca-cert.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extra", "-out", "cert")
        openssl("x509", "-req", "-in", "request", *words)
        for name in ("server", "client"):
            (place / f"{name}-cert.pem").write_bytes((directory / "cert").read_bytes())
            (place / f"{name}-key.pem").write_bytes((directory / "key").read_bytes())
        (place / "ca-cert.pem").write_bytes((directory / "ca-cert.pem").read_bytes())


async def moved(one: Qemu, two: Qemu, word: str) -> Outcome:
    vm = one.vm(word)
    assert (await one.start(vm)).result is Result.DONE
    assert (await one.resume(vm)).result is Result.DONE
    await one.see(vm, RUNNING, 1)
    action = MigrateVm(one.ticket(), vm.name, NodeId(2), two.libvirtd.node.address, UNTIL, Reason.PLACED)
    outcome = await one.do(action)
    if outcome.result is Result.DONE:
        await two.see(vm, RUNNING, 1)
    else:
        await one.see(vm, RUNNING, 1)
        assert vm.name not in two.libvirtd.states()
    return outcome


def test_memory_goes_encrypted_or_not_at_all(pair: tuple[Qemu, Qemu], cluster: Cluster, tmp_path: Path) -> None:
    async def story() -> None:
        one, two = pair
        async with opened(one), opened(two):
            outcome = await moved(one, two, "plain")
            print(outcome.why)
            assert outcome.result is Result.FAILED
            assert outcome.why.endswith("or write migrate_tls = false in [vms]")
            for node in cluster.nodes:
                node.path(PKI).mkdir(parents=True)
            outcome = await moved(one, two, "half")
            print(outcome.why)
            assert outcome.result is Result.FAILED
            assert outcome.why.endswith("or write migrate_tls = false in [vms]")
            await asyncio.to_thread(certify, cluster.nodes, tmp_path)
            outcome = await moved(one, two, "whole")
            assert outcome.result is Result.DONE, outcome.why

    asyncio.run(story())
