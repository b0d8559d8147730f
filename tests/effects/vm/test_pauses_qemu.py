"""Why instances are suspended, on real libvirt: what is read, what is written on them, and what changes a definition."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from lab.machine import SHARED

from corolistener.core.actions import MarkVm
from corolistener.core.events import Outcome, Pause, Result
from corolistener.effects.vm import files
from corolistener.effects.vm.files import DefinitionFiles

from .stages import RUNNING, Qemu, eventually, opened


def pause(stage: Qemu, name: str) -> Pause | None:
    """What the core was told last."""
    copy = next((each for known, each in stage.told.copies.items() if known == name), None)
    return copy.pause if copy is not None and copy.state is not RUNNING else None


def test_a_users_pause_is_labelled_and_the_label_ends_with_it(qemu: Qemu) -> None:
    async def story() -> None:
        vm = qemu.vm("user")
        qemu.start_by_hand(vm)
        async with opened(qemu):
            await qemu.see(vm, RUNNING)
            qemu.suspend_by_hand(vm)
            await eventually(lambda: pause(qemu, vm.name) is Pause.CALL)
            marked = await qemu.do(MarkVm(qemu.ticket(), vm.name, 3, suspended=True))
            assert marked.result is Result.DONE
            await eventually(lambda: pause(qemu, vm.name) is Pause.USER)
        async with opened(qemu):
            assert pause(qemu, vm.name) is Pause.USER, "the next process knows it"
            qemu.start_by_hand(vm)
            await qemu.see(vm, RUNNING, 3)
            assert qemu.told.copies[vm.name].pause is Pause.USER, "the label is to be taken away"
            assert (await qemu.suspend(vm)).result is Result.DONE
            await eventually(lambda: pause(qemu, vm.name) is Pause.CALL, "our own suspension takes it away as well")

    asyncio.run(story())


def test_what_is_being_dumped_is_busy_and_not_resumed(qemu: Qemu) -> None:
    """The dump goes into a pipe that nobody reads for a while."""

    async def story() -> None:
        vm = qemu.vm("dump")
        qemu.start_by_hand(vm)
        pipe = qemu.libvirtd.node.path("/tmp/dump")
        os.mkfifo(pipe)
        async with opened(qemu):
            await qemu.see(vm, RUNNING)
            dump = threading.Thread(target=lambda: qemu.libvirtd.ask("dump", vm.name, "/tmp/dump", timeout=120))
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            dump.start()
            await eventually(lambda: pause(qemu, vm.name) is Pause.BUSY)
            refused = await qemu.resume(vm)
            assert (refused.result, "busy" in refused.why) == (Result.FAILED, True), refused
            os.set_blocking(reader, True)
            await asyncio.to_thread(drain, reader)
            await asyncio.to_thread(dump.join)
            await qemu.see(vm, RUNNING)

    asyncio.run(story())


def drain(reader: int) -> None:
    while os.read(reader, 1 << 16):
        pass
    os.close(reader)


def test_a_full_storage_is_an_io_error(qemu: Qemu) -> None:
    """The guest's next block needs room on a file system that has none: the disk is a snapshot's file there."""

    async def story() -> None:
        vm, small = qemu.vm("full"), f"{SHARED}/small"
        qemu.start_by_hand(vm)
        node = qemu.libvirtd.node
        node.run(["mkdir", "-p", small])
        node.run(["mount", "-t", "tmpfs", "-o", "size=320k", "small", small])
        try:
            async with opened(qemu):
                await qemu.see(vm, RUNNING)
                disk = f"hda,file={small}/top.qcow2"
                qemu.libvirtd.virsh("snapshot-create-as", vm.name, "top", "--disk-only", "--no-metadata", "--diskspec", disk)
                await eventually(lambda: pause(qemu, vm.name) is Pause.IO_ERROR)
                done: Outcome = await qemu.resume(vm)
                assert done.result is Result.DONE, "libvirt says that it worked"
                await eventually(lambda: pause(qemu, vm.name) is Pause.IO_ERROR, "and it did not hold")
                node.run(["mount", "-o", "remount,size=4m", small])
                assert (await qemu.resume(vm)).result is Result.DONE
                await qemu.see(vm, RUNNING)
        finally:
            qemu.end_by_hand(vm)
            node.run(["umount", "-l", small], check=False)

    asyncio.run(story())


def test_a_snapshot_of_disks_is_another_definition_though_libvirt_tells_nobody(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(qemu.libvirtd.node.path("/etc/libvirt/qemu"))
    monkeypatch.setattr(files.DefinitionFiles.__init__, "__defaults__", ((directory,),))

    async def story() -> None:
        vm = qemu.vm("snapshot")
        qemu.start_by_hand(vm)
        async with opened(qemu):
            await qemu.see(vm, RUNNING)
            before = qemu.told.copies[vm.name].vm.definition
            qemu.libvirtd.virsh("snapshot-create-as", vm.name, "top", "--disk-only", "--no-metadata")
            await eventually(lambda: qemu.told.copies[vm.name].vm.definition != before)
            assert f"{vm.name}.top".encode() in qemu.told.texts[vm.name, qemu.told.copies[vm.name].vm.definition]

    asyncio.run(story())


def test_files_of_definitions_are_noticed_when_they_are_written(tmp_path: Path) -> None:
    watch = DefinitionFiles((str(tmp_path), str(tmp_path / "missing")))
    assert watch.changed() == frozenset()
    (tmp_path / "a.xml").write_text("one")
    (tmp_path / "notes.txt").write_text("none of ours")
    assert watch.changed() == {"a"}
    assert watch.changed() == frozenset()
    (tmp_path / "a.xml").write_text("another")
    assert watch.changed() == {"a"}
    (tmp_path / "a.xml").unlink()
    assert watch.changed() == {"a"}
