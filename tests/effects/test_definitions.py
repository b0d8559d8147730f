"""Definitions of VMs on a real disk: whole, under their own name, for root's eyes alone."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from corolistener.core.actions import KeepDefinitions, ReadDefinition
from corolistener.core.events import Outcome, Result, Shelved
from corolistener.core.messages import Definition
from corolistener.effects.definitions import KEPT, Definitions, checksum
from corolistener.errors import EffectError
from corolistener.ids import Ticket, VmName

from .conffiles import mount_small
from .conftest import in_mounts_of_its_own, root

WEB = VmName("web")
T = Ticket(1)


def keep(shelf: Definitions, text: bytes, name: VmName = WEB, definition: str = "") -> Outcome:
    return asyncio.run(shelf.perform(KeepDefinitions(T, (Definition(name, definition or checksum(text), text),))))


def read(shelf: Definitions, definition: str, name: VmName = WEB) -> bytes:
    return asyncio.run(shelf.perform(ReadDefinition(T, name, definition))).text


def test_what_was_kept_is_there_for_the_next_process(tmp_path: Path) -> None:
    shelf = Definitions(tmp_path / "state" / "definitions")
    assert asyncio.run(shelf.recall()) == Shelved()
    texts = [b"<domain/>", b"<domain type='kvm'/>"]
    names = [WEB, VmName("../etc/passwd"), VmName("."), VmName("größe 1")]
    assert {keep(shelf, text, name).result for text in texts for name in names} == {Result.DONE}
    again = Definitions(tmp_path / "state" / "definitions")
    assert set(asyncio.run(again.recall()).definitions) == {(name, checksum(text)) for text in texts for name in names}
    assert [read(again, checksum(text), name) for text in texts for name in names] == [t for t in texts for _ in names]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_only_root_reads_it(tmp_path: Path) -> None:
    keep(Definitions(tmp_path / "definitions"), b"<domain/>")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "definitions").rglob("*")} == {0}


def test_a_text_under_anothers_name_is_refused(tmp_path: Path) -> None:
    shelf = Definitions(tmp_path / "definitions")
    with pytest.raises(EffectError, match="not what it was called"):
        keep(shelf, b"<domain/>", definition=checksum(b"other"))
    assert asyncio.run(shelf.recall()) == Shelved()


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    shelf = Definitions(tmp_path / "definitions")
    with pytest.raises(EffectError, match="No such file"):
        read(shelf, checksum(b""))
    keep(shelf, b"<domain/>")
    next((tmp_path / "definitions").rglob("*.xml")).write_bytes(b"<domain>")
    with pytest.raises(EffectError, match="damaged"):
        read(shelf, checksum(b"<domain/>"))
    keep(shelf, b"<domain/>")
    assert read(shelf, checksum(b"<domain/>")) == b"<domain/>"


def test_old_ones_go_and_the_newest_stay(tmp_path: Path) -> None:
    shelf = Definitions(tmp_path / "definitions")
    texts = [f"<domain id='{number}'/>".encode() for number in range(KEPT + 5)]
    for text in texts:
        keep(shelf, text)
    assert {definition for _, definition in asyncio.run(shelf.recall()).definitions} >= {checksum(t) for t in texts[-KEPT:]}
    assert len(asyncio.run(shelf.recall()).definitions) == KEPT
    assert read(shelf, checksum(texts[-1])) == texts[-1]


@root
def test_a_full_disk_is_a_failed_effect_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()

    def full() -> None:
        mount_small(disk, 64 * 1024)
        shelf = Definitions(disk / "definitions")
        keep(shelf, b"<domain/>")
        with contextlib.suppress(OSError), open(disk / "fill", "ab", buffering=0) as fill:
            for _ in range(100):
                fill.write(bytes(4096))
        with pytest.raises(EffectError, match="No space left"):
            keep(shelf, b"<domain>" + b"x" * 20_000 + b"</domain>")
        assert asyncio.run(shelf.recall()) == Shelved(((WEB, checksum(b"<domain/>")),))
        assert not list(disk.rglob("*.new"))

    in_mounts_of_its_own(full)


def test_a_link_in_place_of_a_definition_is_not_followed(tmp_path: Path) -> None:
    """What it names may be of another directory, or a secret of the machine; its checksum fits nevertheless."""
    text = b"<domain/>"
    path = tmp_path / "vm-web" / f"{checksum(text)}.xml"
    path.parent.mkdir()
    (tmp_path / "elsewhere").write_bytes(text)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EffectError, match="symbolic links"):
        Definitions(tmp_path).text(VmName("web"), checksum(text))


def test_a_name_that_is_too_long_for_a_file_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    """A character of a name may need nine bytes in the name of a file, which may have 255."""
    names = [VmName("仮想機械" * 9), VmName("仮想機械" * 9 + "二"), VmName("x" * 255), VmName("~" * 255), VmName("仮" * 85)]
    shelf = Definitions(tmp_path / "definitions")
    for name in names:
        assert keep(shelf, name.encode(), name).result is Result.DONE
    again = Definitions(tmp_path / "definitions")
    assert set(asyncio.run(again.recall()).definitions) == {(name, checksum(name.encode())) for name in names}
    assert [read(again, checksum(name.encode()), name) for name in names] == [name.encode() for name in names]
