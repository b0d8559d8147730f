"""What is written in a VM's definition, and what we write there: an administrator's wishes, and the generation of a copy.

Wishes are part of the definition and go where the VM goes. The generation is written on a living copy alone: it says what
its memory is worth, and a copy that somebody starts by hand has none.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from corolistener.core.wishes import Wishes
from corolistener.effects.vm.storages import Disk
from corolistener.ids import NodeId

COPY, COPY_KEY = "urn:corolistener:copy:1", "corocopy"
"""Namespace of `<corocopy:copy generation="7" definition="…" suspended="user" ending="asked"/>`. `suspended` is there only
while its user has it suspended, `ending` since we asked its system to shut down. A copy that is just arriving from another node
is not defined yet, and has the definition's name from here."""
VM, VM_KEY = "urn:corolistener:vm:1", "corovm"
"""Namespace of `<corovm:vm manage="yes" priority="5" start-order="2">`, in which may be any number of `<corovm:together>GROUP`,
`<corovm:apart>GROUP` and `<corovm:node>ID`; everything may be left out."""
NUMBER = re.compile("[0-9]{1,18}")
CONTROLLER = re.compile("<controller .*?</controller>")
KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "k": 1, "kib": 1, "kb": 1000 / 1024, "m": 1024, "mib": 1024, "mb": 1e6 / 1024}
KIB |= {"g": 1024**2, "gib": 1024**2, "gb": 1e9 / 1024, "t": 1024**3, "tib": 1024**3, "tb": 1e12 / 1024}


@dataclass(frozen=True, slots=True)
class Content:
    """What matters to us in a domain's XML. `bound`: what else than a disk keeps the VM on its node, "" where nothing does.

    `suspended`: the copy bears the label of a pause by its user; `ending`: that of a shutdown that we asked for.
    `id`: libvirt's number of the copy, -1 where there is none. `mistakes`: what cannot be understood in our own metadata.
    """

    uuid: str
    id: int = -1
    memory_kib: int = 0
    cpus: int = 1
    disks: tuple[Disk, ...] = ()
    bound: str = ""
    generation: int = 0
    definition: str = ""
    suspended: bool = False
    ending: bool = False
    wishes: Wishes = field(default_factory=Wishes)
    mistakes: tuple[str, ...] = ()


def content(xml: str) -> Content:
    """Read a domain's XML. ElementTree.ParseError where it is none."""
    top = ElementTree.fromstring(xml)
    metadata = top.find("metadata")
    wishes, mistakes = wished(metadata.find(f"{{{VM}}}vm") if metadata is not None else None)
    memory, mark = top.find("memory"), Element("copy")
    if metadata is not None:
        mark = next(metadata.iterfind(f"{{{COPY}}}copy"), mark)
    return Content(
        uuid=top.findtext("uuid", ""),
        id=int(top.get("id", "-1")),
        memory_kib=0 if memory is None else round(float(memory.text or 0) * KIB.get(memory.get("unit", "KiB").lower(), 1)),
        cpus=int(top.findtext("vcpu", "1")),
        disks=tuple(_disks(top)),
        bound=_bound(top),
        generation=int(mark.get("generation", "")) if NUMBER.fullmatch(mark.get("generation", "")) else 0,
        definition=mark.get("definition", ""),
        suspended=mark.get("suspended") == "user",
        ending=mark.get("ending") == "asked",
        wishes=wishes,
        mistakes=mistakes,
    )


def _disks(top: Element) -> Iterator[Disk]:
    """Every disk that a VM may write to or cannot run without; an image that another one is based on counts like it."""
    for disk in top.iterfind("devices/disk"):
        target = disk.find("target")
        name = target.get("dev", "") if target is not None else ""
        if disk.get("device") in ("cdrom", "floppy") and disk.find("readonly") is not None:
            continue
        if disk.get("device") == "cdrom":  # always read-only, though libvirt of some hypervisors does not write it
            continue
        layer: Element | None = disk
        while layer is not None:
            source = layer.find("source")
            if source is not None:
                yield _disk(name, layer.get("type", "file"), source)
            layer = layer.find("backingStore")


def _disk(target: str, kind: str, source: Element) -> Disk:
    match kind:
        case "network":
            return Disk(target, source.get("protocol", kind), source.get("name", ""))
        case "volume":
            return Disk(target, kind, source.get("pool", ""))
        case _:
            return Disk(
                target, kind, next((source.get(key, "") for key in ("file", "dev", "dir", "path") if source.get(key)), "")
            )


def writable(xml: bytes) -> tuple[str, ...]:
    """The places of the disks that a VM writes to and shares with no other VM on purpose, as libvirt's hook reads them.

    An image that others are based on (backing store) is not among them: many VMs read it. b"" has none.
    """
    top, found = ElementTree.fromstring(xml) if xml else Element("domain"), set()
    for disk in top.iterfind("devices/disk"):
        source = disk.find("source")
        alone = disk.find("readonly") is None and disk.find("shareable") is None
        if source is None or disk.get("device") == "cdrom" or not alone:
            continue
        network = disk.get("type") == "network"
        place = f"{source.get('protocol')}:{source.get('name')}" if network else source.get("file") or source.get("dev")
        if place:
            found.add(place)
    return tuple(sorted(found))


def _bound(top: Element) -> str:
    for filesystem in top.iterfind("devices/filesystem/source"):
        return f"filesystem {' '.join(filesystem.attrib.values())}"
    for device in top.iterfind("devices/hostdev"):
        if device.get("type") not in ("scsi_host", "net"):
            return f"a device of the node ({device.get('type')})"
    return ""


def wished(vm: Element | None) -> tuple[Wishes, tuple[str, ...]]:
    """The wishes in our element, everything said: what is not written has its default; and what cannot be understood."""
    mistakes: list[str] = []
    if vm is None:
        return Wishes(0, 0, frozenset(), frozenset(), frozenset(), None), ()

    def number(text: str, what: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,9}", text.strip()):
            return int(text)
        mistakes.append(f"{what} {text!r} is no number")
        return 0

    def group(tag: str) -> frozenset[str]:
        return frozenset(each.text.strip() for each in vm.iterfind(f"{{*}}{tag}") if each.text and each.text.strip())

    manage = vm.get("manage", "")
    if manage not in ("", "yes", "no"):
        mistakes.append(f"manage {manage!r} is neither yes nor no")
    nodes = (number(each.text or "", "node") for each in vm.iterfind("{*}node"))
    wishes = Wishes(
        priority=number(vm.get("priority", "0"), "priority"),
        start_order=number(vm.get("start-order", "0"), "start-order"),
        together=group("together"),
        apart=group("apart"),
        nodes=frozenset(NodeId(each) for each in nodes if each > 0),
        managed={"yes": True, "no": False}.get(manage),
    )
    return wishes, tuple(mistakes)


def merged(old: Wishes, new: Wishes) -> Wishes:
    """What `new` says, and what `old` says where it is silent."""
    said = {name: value for name in Wishes.__slots__ if (value := getattr(new, name)) is not None}
    return replace(old, **said)


def vm_element(wishes: Wishes) -> str | None:
    """Our element of the definition; None where it would say nothing."""
    top = Element("vm")
    if wishes.managed is not None:
        top.set("manage", "yes" if wishes.managed else "no")
    for key, number in (("priority", wishes.priority), ("start-order", wishes.start_order)):
        if number:
            top.set(key, str(number))
    for tag, words in (("together", wishes.together), ("apart", wishes.apart), ("node", wishes.nodes)):
        for word in sorted(words or ()):
            SubElement(top, tag).text = str(word)
    return ElementTree.tostring(top, "unicode") if top.attrib or len(top) else None


def copy_element(generation: int, definition: str, suspended: bool = False, ending: bool = False) -> str:
    """Our element of a copy."""
    more = (' suspended="user"' if suspended else "") + (' ending="asked"' if ending else "")
    return f'<copy generation="{generation}" definition="{definition}"{more}/>'


def canonical(xml: str) -> bytes:
    """The definition as every node writes it, whatever its libvirt puts first: the same VM has the same bytes everywhere.

    Nothing that belongs to a copy is in it. It has secrets (console passwords), so that the VM is the same elsewhere.
    """
    text = ElementTree.canonicalize(xml, strip_text=True, exclude_tags=[f"{{{COPY}}}copy"])
    # After a migration libvirt writes controllers in another order; which is which is said by their type and index.
    controllers = iter(sorted(CONTROLLER.findall(text)))
    text = CONTROLLER.sub(lambda _: next(controllers), text)
    return text.replace("<metadata></metadata>", "").encode()


def digest(text: bytes) -> str:
    """What names a definition."""
    return hashlib.sha256(text).hexdigest()
