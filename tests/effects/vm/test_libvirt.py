"""What libvirt knows of a VM and we make of it: definitions, wishes, whose a VM is, and what the node has."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from corolistener.core.actions import EditVm, MarkVm, Reason, ShutDownVm, StartVm, StopVm, SuspendVm
from corolistener.core.events import CopyChanged, Defined, Result
from corolistener.core.wishes import Wishes
from corolistener.effects.vm.hypervisor import Hypervisor
from corolistener.effects.vm.settings import Manage, VmSettings
from corolistener.ids import NodeId, VmName

from .stages import ME, RUNNING, SUSPENDED, UNTIL, Libvirt, Pretended, Qemu, clean, eventually, opened


@pytest.fixture(params=["pretended", "qemu"])
def stage(request: pytest.FixtureRequest) -> Libvirt:
    found: Libvirt = request.getfixturevalue(request.param)
    return found


def newest(stage: Libvirt, name: VmName) -> str:
    copy = stage.told.copies.get(name)
    return copy.vm.definition if copy is not None else ""


def test_a_definition_is_told_before_the_copy_that_has_it(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.see(vm, SUSPENDED, 1)
            definition = newest(stage, vm.name)
            text = stage.told.texts[vm.name, definition]
            assert hashlib.sha256(text).hexdigest() == definition
            assert b"generation" not in text, "that belongs to the copy"
            copies = [index for index, each in enumerate(stage.told.events) if isinstance(each, CopyChanged) and each.copy]
            texts = [index for index, each in enumerate(stage.told.events) if isinstance(each, Defined)]
            assert texts[0] < copies[0]
            told = stage.told.copies[vm.name].vm
            assert (told.memory_kib, told.cpus, told.storages) == (16384, 1, frozenset(stage.settings.shared_storage))

    asyncio.run(story())


def test_the_same_definition_is_the_same_everywhere(stage: Libvirt) -> None:
    """What one node told is defined on another one, and that one tells the same."""

    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.see(vm, SUSPENDED, 1)
            definition = newest(stage, vm.name)
            stage.shelf[vm.name, definition] = stage.told.texts[vm.name, definition]
            await stage.stop(vm, Reason.MOVED)
            await stage.see(vm, None)
            assert vm.name not in [each.name() for each in stage.hand.listAllDomains()], "it is defined where it lives"
            await stage.start(stage.told_vm(vm, definition), 2)
            await stage.see(vm, SUSPENDED, 2)
            assert newest(stage, vm.name) == definition

    asyncio.run(story())


def test_a_changed_definition_is_told(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.see(vm, SUSPENDED, 1)
            before = newest(stage, vm.name)
            stage.hand.defineXML(stage.text(vm.name).replace("<vcpu>", "<description>new</description><vcpu>"))
            await eventually(lambda: newest(stage, vm.name) not in ("", before))
            assert b"<description>new</description>" in stage.told.texts[vm.name, newest(stage, vm.name)]
            await stage.see(vm, SUSPENDED, 1)

    asyncio.run(story())


def test_a_definition_that_is_not_here(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            stage.shelf[vm.name, vm.definition] = b"<domain>this is no domain</domain>"
            broken = await stage.start(vm)
            assert broken.result is Result.FAILED
            assert broken.why
            assert "\n" not in broken.why
            del stage.shelf[vm.name, vm.definition]
            missing = await stage.start(vm)
            assert missing.result is Result.FAILED
            assert "definition" in missing.why
            assert "cannot be read here" in missing.why
            await stage.see(vm, None)

    asyncio.run(story())


def test_wishes_are_written_and_leave_the_generation_alone(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm, 7)
            await stage.see(vm, SUSPENDED, 7)
            wishes = Wishes(5, 2, frozenset({"shop"}), frozenset({"db", "a <b> & c"}), frozenset({NodeId(1), NodeId(3)}))
            assert (await stage.do(EditVm(stage.ticket(), vm.name, wishes))).result is Result.DONE
            await eventually(lambda: stage.told.copies[vm.name].vm.priority == 5)
            told = stage.told.copies[vm.name].vm
            assert (told.start_order, told.together, told.apart) == (2, wishes.together, wishes.apart)
            assert told.nodes == wishes.nodes
            await stage.see(vm, SUSPENDED, 7)
            await stage.mark(vm, 8)
            assert (
                await stage.do(EditVm(stage.ticket(), vm.name, Wishes(priority=0, nodes=frozenset())))
            ).result is Result.DONE
            await eventually(lambda: stage.told.copies[vm.name].vm.nodes is None)
            told = stage.told.copies[vm.name].vm
            assert (told.priority, told.start_order, told.apart) == (0, 2, wishes.apart), "what was not said stays"
            await stage.see(vm, SUSPENDED, 8)

    asyncio.run(story())


def test_a_vm_that_is_given_up_to_its_user(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.resume(vm)
            await stage.see(vm, RUNNING, 1)
            await stage.do(EditVm(stage.ticket(), vm.name, Wishes(managed=False)))
            await eventually(lambda: stage.told.copies[vm.name].let_go, "reported as let go")
            assert (vm.name, "its metadata says manage no") in stage.effect_.unmanaged()
            assert stage.told.copies[vm.name].unmanaged == "its metadata says manage no"
            await stage.see(vm, RUNNING, 1)
            await stage.suspend(vm)  # until the ledger says so, the core may have to
            await stage.see(vm, SUSPENDED, 1)
            await stage.do(EditVm(stage.ticket(), vm.name, Wishes(managed=True)))
            await eventually(lambda: not stage.told.copies[vm.name].unmanaged, "reported as managed again")

    asyncio.run(story())


def test_another_vm_of_the_same_name_is_left_alone(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            await stage.start(vm)
            await stage.resume(vm)
            await stage.see(vm, RUNNING, 1)
            other = "11111111-2222-3333-4444-555555555555"
            assert (await stage.do(SuspendVm(stage.ticket(), vm.name, Reason.STRAY, other))).facts == (("absent", "yes"),)
            assert (await stage.do(StopVm(stage.ticket(), vm.name, Reason.MOVED, other))).facts == (("absent", "yes"),)
            for action in (
                ShutDownVm(stage.ticket(), vm.name, Reason.LEAVING, other),
                MarkVm(stage.ticket(), vm.name, 9, other),
                StartVm(stage.ticket(), replace(vm, uuid=other), 2, UNTIL, Reason.PLACED),
            ):
                outcome = await stage.do(action)
                assert outcome.result is Result.FAILED
                assert "another VM of this name" in outcome.why
            assert stage.domain(vm).state()[0] == 1, "it runs on"
            assert stage.told.copies[vm.name].vm.uuid == stage.domain(vm).UUIDString()

    asyncio.run(story())


def test_a_vm_on_a_disk_of_this_node(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            local = stage.text(vm.name).replace(stage.settings.shared_storage[0], "/var/lib/elsewhere")
            stage.hand.defineXML(local)
            await eventually(lambda: dict(stage.effect_.unmanaged()).get(vm.name))
            why = dict(stage.effect_.unmanaged())[vm.name]
            assert f"/var/lib/elsewhere/{vm.name}.img" in why
            assert vm.name not in stage.told.copies
            if isinstance(stage, Pretended):  # QEMU would have to find the disk
                stage.start_by_hand(vm)
                await eventually(lambda: vm.name in stage.told.copies)
                assert stage.told.copies[vm.name].unmanaged == why, "what runs is reported, whatever the settings say"

    asyncio.run(story())


def test_autostart_is_turned_off(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            vm = stage.vm("web")
            stage.hand.defineXML(stage.text(vm.name)).setAutostart(1)
            stage.start_by_hand(vm)
            await eventually(lambda: not stage.domain(vm).autostart())
            assert ("vm-autostart-off", {"vm": vm.name}) in stage.told.notes

    asyncio.run(story())


def test_what_the_node_has(stage: Libvirt) -> None:
    async def story() -> None:
        async with opened(stage):
            await eventually(lambda: stage.told.capacities)
            capacity = stage.told.capacities[0]
            assert capacity is not None
            info = stage.hand.getInfo()
            assert (capacity.node, capacity.memory_kib, capacity.cpus) == (ME, info[1] * 1024, info[2])
            assert capacity.storages == frozenset(), "these directories are another mount namespace's"

    asyncio.run(story())


def test_storages_that_are_reached(tmp_path_factory: pytest.TempPathFactory) -> None:
    there = str(tmp_path_factory.mktemp("there"))
    declared = (there, there + "/not", "pool:default-pool", "pool:nowhere", "rbd:vms", "iscsi")
    stages: Iterator[Pretended] = clean(Pretended(shared_storage=declared, max_per_node=3, reserved_memory_percent=7))  # type: ignore[assignment]

    async def story(stage: Pretended) -> None:
        async with opened(stage):
            await eventually(lambda: stage.told.capacities)
            capacity = stage.told.capacities[0]
            assert capacity is not None
            assert capacity.storages == {there, "pool:default-pool", "rbd:vms", "iscsi"}
            assert (capacity.vm_limit, capacity.reserved_memory_percent) == (3, 7)
            pool = stage.hand.storagePoolLookupByName("default-pool")
            pool.destroy()
            try:
                await eventually(lambda: len(stage.told.capacities) > 1, "libvirt tells of pools")
                assert stage.told.capacities[-1].storages == {there, "rbd:vms", "iscsi"}
            finally:
                pool.create(0)

    for stage in stages:
        asyncio.run(story(stage))


@pytest.mark.parametrize("manage", [Manage.TAGGED, Manage.ALL])
def test_a_local_disk_binds_a_vm_to_its_node(manage: Manage) -> None:
    async def story(stage: Pretended) -> None:
        async with opened(stage):
            vm = stage.vm("web")
            tag = '<metadata><v:vm xmlns:v="urn:corolistener:vm:1" manage="yes"/></metadata>'
            local = stage.text(vm.name).replace("/srv/shared", "/srv/own").replace("<memory", tag + "<memory", 1)
            stage.hand.defineXML(local).create()
            await stage.see(vm, RUNNING, 0)
            assert stage.told.copies[vm.name].vm.nodes == {ME}
            assert stage.told.copies[vm.name].vm.storages == frozenset()
            test = VmName("test")  # libvirt's test hypervisor brings it along, without disks
            await eventually(lambda: test in stage.told.copies, "what runs is reported, whatever the settings say")
            assert bool(stage.told.copies[test].unmanaged) is (manage is Manage.TAGGED)

    for stage in clean(Pretended(manage=manage)):
        asyncio.run(story(stage))  # type: ignore[arg-type]


def test_nobody_answers() -> None:
    """open() returns, actions fail with words, and there is one note however often it is tried."""

    async def story() -> None:
        stage = Pretended()
        away = VmSettings("qemu:///system?socket=/nowhere/libvirt-sock")
        stage.effect = Hypervisor(away, ME, stage.told.observe, stage.told.note, stage.definition)
        await stage.effect.open()
        await eventually(lambda: stage.told.notes)
        outcome = await stage.suspend(stage.vm("web"))
        assert outcome.result is Result.FAILED
        assert "/nowhere/libvirt-sock" in outcome.why
        await asyncio.sleep(1)
        assert [code for code, _ in stage.told.notes] == ["hypervisor-away"]
        assert stage.told.events == []
        await stage.close()
        stage.clean()

    asyncio.run(story())


def test_secrets_are_in_the_definition_and_nowhere_else(qemu: Qemu) -> None:
    async def story() -> None:
        async with opened(qemu):
            vm = qemu.vm("web")
            console = "<graphics type='vnc' port='-1' autoport='yes' passwd='s3cret'/></devices>"
            text = qemu.text(vm.name).replace("</devices>", console)
            qemu.shelf[vm.name, vm.definition] = text.encode()
            await qemu.start(vm)
            await qemu.see(vm, SUSPENDED, 1)
            assert b"s3cret" in qemu.told.texts[vm.name, newest(qemu, vm.name)]
            assert "s3cret" not in repr(qemu.told.notes)

    asyncio.run(story())


def test_a_definition_of_the_same_vm_is_replaced_and_kept(pretended: Pretended) -> None:
    async def story() -> None:
        async with opened(pretended):
            vm = pretended.vm("web")
            await pretended.start(vm)
            await pretended.see(vm, SUSPENDED, 1)
            known = pretended.told.copies[vm.name].vm
            await pretended.stop(vm)
            text = pretended.told.texts[vm.name, known.definition].decode()
            pretended.domain(vm).undefine()
            old = pretended.hand.defineXML(text.replace(f"<name>{vm.name}</name>", f"<name>{vm.name}-old</name>"))
            assert (await pretended.start(known, generation=2)).result is Result.DONE
            assert pretended.domain(vm).UUIDString() == known.uuid
            assert pretended.kept == [VmName(f"{vm.name}-old")]
            assert old is not None

    asyncio.run(story())
