"""What is read in a definition and written into it, and which storage a disk lies on."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.core.wishes import Wishes
from corolistener.effects.vm.settings import Manage, VmSettings, target
from corolistener.effects.vm.sight import Rules, judge
from corolistener.effects.vm.storages import Disk, reached, storage_of
from corolistener.effects.vm.texts import canonical, content, copy_element, merged, vm_element, wished
from corolistener.ids import NodeId, VmName

ME = NodeId(2)
FRAME = "<domain type='kvm'{number}><name>web</name><uuid>u</uuid>{metadata}<memory unit='{unit}'>{memory}</memory>\
<vcpu current='1'>4</vcpu><devices>{devices}</devices></domain>"
COPY = '<c:copy xmlns:c="urn:corolistener:copy:1" generation="{}" definition="abc"/>'
VM = '<v:vm xmlns:v="urn:corolistener:vm:1" {}>{}</v:vm>'


def frame(devices: str = "", metadata: str = "", number: str = "", unit: str = "KiB", memory: str = "65536") -> str:
    metadata = f"<metadata>{metadata}</metadata>" if metadata else ""
    return FRAME.format(devices=devices, metadata=metadata, number=number, unit=unit, memory=memory)


def disk(kind: str, source: str, device: str = "disk", more: str = "") -> str:
    return f"<disk type='{kind}' device='{device}'><source {source}/><target dev='vda'/>{more}</disk>"


# -- definitions


def test_a_definition_knows_nothing_of_a_copy() -> None:
    plain = canonical(frame())
    assert canonical(frame(metadata=COPY.format(7))) == plain
    assert canonical(frame(metadata=" \n " + COPY.format(8) + "\n ")) == plain
    assert b"metadata" not in plain


def test_a_definition_is_the_same_however_it_is_laid_out() -> None:
    first = frame("<controller index='0' type='pci'/><controller type='ide' index='0'><a/></controller>", VM.format("", ""))
    second = first.replace("><", ">\n  <").replace("type='ide' index='0'", 'index="0" type="ide"')
    assert canonical(first) == canonical(second)
    turned = frame("<controller type='ide' index='0'><a/></controller><controller index='0' type='pci'/>", VM.format("", ""))
    assert canonical(first) == canonical(turned)
    assert canonical(canonical(first).decode()) == canonical(first)


def test_a_definition_keeps_what_is_not_ours() -> None:
    theirs = '<o:os xmlns:o="http://libosinfo.org/x"><o:id>a&amp;b</o:id></o:os>'
    text = canonical(frame("<graphics passwd='a &lt; b'/>", theirs + COPY.format(1))).decode()
    top = ElementTree.fromstring(text)
    assert top.findtext("metadata/{http://libosinfo.org/x}os/{http://libosinfo.org/x}id") == "a&b"
    assert "http://libosinfo.org/x" in text
    graphics = top.find("devices/graphics")
    assert graphics is not None
    assert graphics.get("passwd") == "a < b"


def test_what_matters_of_it() -> None:
    found = content(frame(number=" id='3'", metadata=COPY.format(7) + VM.format("priority='5' manage='no'", "")))
    assert (found.id, found.generation, found.definition, found.cpus, found.memory_kib) == (3, 7, "abc", 4, 65536)
    assert (found.wishes.priority, found.wishes.managed, found.uuid) == (5, False, "u")
    assert content(frame()).generation == 0
    assert content(frame(metadata=COPY.format("x"))).generation == 0
    assert content(frame(unit="MiB", memory="16")).memory_kib == 16384
    assert content(frame(unit="bytes", memory="2048")).memory_kib == 2


# -- wishes

WORDS = st.frozensets(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=8), max_size=3
)
WISHES = st.builds(
    Wishes,
    priority=st.integers(-1000, 1000),
    start_order=st.integers(-1000, 1000),
    together=WORDS,
    apart=WORDS,
    nodes=st.frozensets(st.integers(1, 1 << 29).map(NodeId), max_size=3),
    managed=st.sampled_from([None, True, False]),
)


@given(WISHES)
def test_wishes_come_back_as_they_were_written(wishes: Wishes) -> None:
    element = vm_element(wishes)
    assert wished(ElementTree.fromstring(element) if element is not None else None) == (wishes, ())


@given(WISHES, WISHES)
def test_what_is_not_wished_stays(old: Wishes, new: Wishes) -> None:
    assert merged(old, Wishes()) == old
    assert merged(old, Wishes(priority=new.priority)).priority == new.priority
    assert merged(old, Wishes(priority=new.priority)).apart == old.apart


def test_mistakes_in_wishes_are_told() -> None:
    found = content(frame(metadata=VM.format("priority='high' manage='maybe'", "<v:node>x</v:node><v:node>3</v:node>")))
    told = {"manage 'maybe' is neither yes nor no", "priority 'high' is no number", "node 'x' is no number"}
    assert set(found.mistakes) == told
    assert (found.wishes.priority, found.wishes.managed, found.wishes.nodes) == (0, None, {3})


def test_a_copy_s_element() -> None:
    assert (
        content(frame(metadata=copy_element(9, "d").replace("<copy", '<copy xmlns="urn:corolistener:copy:1"'))).generation == 9
    )


# -- storage

DECLARED = ("/srv/shared", "/srv/shared/fast", "pool:images", "rbd:vms", "iscsi")
POOLS = {"pool:images": "/var/lib/images"}


@pytest.mark.parametrize(
    ("xml", "storage"),
    [
        (disk("file", "file='/srv/shared/a.img'"), "/srv/shared"),
        (disk("file", "file='/srv/shared/fast/a.img'"), "/srv/shared/fast"),
        (disk("file", "file='/srv/shared2/a.img'"), None),
        (disk("file", "file='/srv/shared/../own/a.img'"), None),
        (disk("file", "file='/var/lib/images/a.img'"), "pool:images"),
        (disk("volume", "pool='images' volume='a'"), "pool:images"),
        (disk("volume", "pool='others' volume='a'"), None),
        (disk("network", "protocol='rbd' name='vms/a'"), "rbd:vms"),
        (disk("network", "protocol='rbd' name='other/a'"), None),
        (disk("network", "protocol='iscsi' name='iqn.2026-01.x:a/1'"), "iscsi"),
        (disk("network", "protocol='nbd' name='a'"), None),
        (disk("block", "dev='/dev/sda'"), None),
    ],
)
def test_where_a_disk_lies(xml: str, storage: str | None) -> None:
    (found,) = content(frame(xml)).disks
    assert storage_of(found, DECLARED, POOLS) == storage


def test_any_pool_of_rbd() -> None:
    assert storage_of(Disk("vda", "rbd", "other/a"), ("rbd",), {}) == "rbd"


def test_what_a_vm_can_run_without() -> None:
    assert content(frame(disk("file", "file='/iso'", "cdrom", "<readonly/>"))).disks == ()
    assert content(frame(disk("file", "file='/iso'", "cdrom"))).disks == ()
    assert content(frame("<disk type='file' device='floppy'><target dev='fda'/></disk>")).disks == ()


def test_an_image_that_another_one_is_based_on_counts() -> None:
    based = "<backingStore type='file'><source file='/own/base.img'/><backingStore/></backingStore>"
    found = content(frame(disk("file", "file='/srv/shared/a.img'", more=based))).disks
    assert [each.place for each in found] == ["/srv/shared/a.img", "/own/base.img"]


def judged(devices: str, manage: Manage, metadata: str = "") -> tuple[frozenset[NodeId] | None, frozenset[str], str]:
    found = content(frame(devices, metadata))
    rules = Rules(VmSettings("qemu:///system", manage, DECLARED), ME, POOLS)
    vm, why = judge(VmName("web"), found, found, rules, "")
    return vm.nodes, vm.storages, why


def test_whose_a_vm_is() -> None:
    shared, local = disk("file", "file='/srv/shared/a'"), disk("file", "file='/own/a'")
    assert judged(shared, Manage.SHARED) == (None, {"/srv/shared"}, "")
    assert judged("", Manage.SHARED) == (None, frozenset(), "")
    assert judged(local, Manage.SHARED)[2] == "not on shared storage: vda: /own/a"
    assert judged(shared + local, Manage.ALL) == ({ME}, {"/srv/shared"}, "")
    assert judged(local, Manage.ALL, VM.format("", "<v:node>7</v:node>"))[0] == frozenset(), "nowhere"
    for manage in Manage:
        assert judged(shared, manage, VM.format("manage='no'", ""))[2] == "its metadata says manage no"
    assert judged(shared, Manage.TAGGED)[2] == "its metadata does not say manage yes"
    assert judged(local, Manage.TAGGED, VM.format("manage='yes'", "")) == ({ME}, frozenset(), "")
    assert "device of the node" in judged("<hostdev type='pci'/>", Manage.SHARED)[2]
    assert "/own" in judged("<filesystem><source dir='/own'/></filesystem>", Manage.SHARED)[2]


def test_what_is_reached(tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("there")
    (there / "file").touch()
    assert reached(str(there), ())
    assert not reached(str(there / "file"), ())
    assert reached("pool:a", {"pool:a"})
    assert not reached("pool:b", {"pool:a"})
    assert reached("rbd:vms", ())


# -- where to


@pytest.mark.parametrize(
    ("uri", "kind", "address", "expected"),
    [
        ("", "QEMU", "10.0.0.2", ("qemu+tls://10.0.0.2/system", "tcp://10.0.0.2", False)),
        ("", "Xen", "fd00::2", ("xen+tls://[fd00::2]/", "tcp://[fd00::2]", False)),
        ("qemu+tcp://{address}/system?unsafe=1", "QEMU", "fd00::2", ("qemu+tcp://[fd00::2]/system", "tcp://[fd00::2]", True)),
        (
            "qemu+ssh://root@{address}/system?keyfile=/etc/key&unsafe=0",
            "QEMU",
            "n2",
            ("qemu+ssh://root@n2/system?keyfile=/etc/key", "tcp://n2", False),
        ),
    ],
)
def test_where_a_vm_migrates_to(uri: str, kind: str, address: str, expected: tuple[str, str, bool]) -> None:
    found = target(uri, kind, address)
    assert (found.uri, found.data, found.unsafe) == expected


def test_a_hypervisor_that_does_not_migrate() -> None:
    with pytest.raises(ValueError, match="set migrate_uri"):
        target("", "TEST", "n2")
