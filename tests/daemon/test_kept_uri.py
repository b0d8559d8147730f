"""A node that has VMs in its ledger keeps a hypervisor, or its daemon does not start."""

from pathlib import Path
from typing import Any

import pytest

from corolistener.core.actions import Record
from corolistener.core.capacity import Vm
from corolistener.core.ledger import Placed, Rows, Version
from corolistener.daemon.kept_uri import with_uri
from corolistener.daemon.settings import Paths, Settings, Vms
from corolistener.effects.memory_file import LedgerFile
from corolistener.errors import ConfigError
from corolistener.ids import NodeId, Ticket, VmName

ME, URI = NodeId(2), "qemu:///system"


class Heard:
    """A log."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def say(self, level: int, code: str, /, **fields: object) -> None:
        self.codes.append(code)


def settings(tmp_path: Path, uri: str | None) -> Settings:
    return Settings(path="/x.toml", paths=Paths(state=str(tmp_path)), vms=Vms(uri=uri))


def remember(tmp_path: Path, node: int) -> None:
    """The ledger on this disk has a VM on a node."""
    file = LedgerFile(tmp_path)
    file.recall()
    row = Placed(Vm(VmName("web"), 1024, 1), NodeId(node))
    file.write(Record(Ticket(1), Version(4, 0, 1, "x"), Rows(placed=(row,)), True))
    file.close()


def tried(tmp_path: Path, uri: str | None) -> tuple[Settings, list[str]]:
    log: Any = Heard()
    return with_uri(settings(tmp_path, uri), ME, log), log.codes


def test_without_a_ledger_nothing_is_needed(tmp_path: Path) -> None:
    got, said = tried(tmp_path, None)
    assert (got.vms.uri, said) == (None, [])


def test_the_last_uri_is_kept_while_the_ledger_has_vms_here(tmp_path: Path) -> None:
    assert tried(tmp_path, URI)[0].vms.uri == URI
    remember(tmp_path, 2)
    got, said = tried(tmp_path, None)
    assert (got.vms.uri, said) == (URI, ["vms-uri-kept"])


def test_vms_of_others_need_no_hypervisor_here(tmp_path: Path) -> None:
    tried(tmp_path, URI)
    remember(tmp_path, 1)
    assert tried(tmp_path, None)[0].vms.uri is None


def test_without_a_known_uri_the_daemon_does_not_start(tmp_path: Path) -> None:
    remember(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"this node has VMs in the ledger \(web\)"):
        tried(tmp_path, None)
