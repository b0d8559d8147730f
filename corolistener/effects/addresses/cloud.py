"""The effect of lane `address`: the cloud IP on its device, or not."""

import errno
from collections.abc import Callable
from ipaddress import ip_address

from pyroute2 import NetlinkError

from corolistener.core.actions import AnnounceAddress, DropAddress, HoldAddress
from corolistener.core.config import CloudAddress
from corolistener.core.events import AddressConflict, AddressGone, DeviceCame, Event, Outcome, Result
from corolistener.effects.addresses.announce import Announcer
from corolistener.effects.addresses.frames import Ip
from corolistener.effects.addresses.links import Link, Links
from corolistener.effects.addresses.watch import Watch
from corolistener.effects.addresses.wire import Speaker
from corolistener.errors import EffectError

ASK_MS = 10_000
REMEDIES = {
    errno.EPERM: "the daemon needs CAP_NET_ADMIN and CAP_NET_RAW",
    errno.ENODEV: "the device has just gone",
    errno.EACCES: "is IPv6 switched off on the device (disable_ipv6)?",
}

AddressAction = HoldAddress | AnnounceAddress | DropAddress


class Addresses:
    """Holds the cloud IP, announces it, and tells what happens to it.

    `cloud` is the address whose device is watched from the start; an action with another one takes its place. While an
    address is held, `observe` is called with AddressGone (once; then it is no longer held) and AddressConflict; held or
    not, with DeviceCame. An adopted address (see present) is held, and watched, after the next HoldAddress.
    """

    def __init__(self, cloud: CloudAddress | None, observe: Callable[[Event], None], ask_ms: int = ASK_MS) -> None:
        self._cloud, self._observe = cloud, observe
        self._links = Links(self._changed)
        self._speaker = Speaker()
        self._announcer = Announcer(self._speaker, self._device)
        self._watch = Watch(self._speaker, self._device, self._links.ours, self._conflicted, ask_ms)
        self._held: Ip | None = None
        self._last: Link | None = None

    async def open(self) -> None:
        """Open all sockets and learn what is there; raises EffectError where the kernel refuses."""
        try:
            self._speaker.open()
            self._watch.open()
            await self._links.open()
        except (OSError, NetlinkError) as error:
            raise EffectError("open", _words(error)) from error
        self._last = self._device()

    async def close(self) -> None:
        """Stop announcing and watching; the address stays where it is."""
        self._announcer.cancel()
        self._watch.close()
        self._speaker.close()
        await self._links.close()

    async def present(self, address: CloudAddress) -> bool:
        """Whether the address is on its device, with whatever prefix."""
        self._links.read()
        link = self._links.find(address.device)
        return link is not None and bool(self._links.prefixes(link, ip_address(address.ip)))

    async def perform(self, action: AddressAction) -> Outcome:
        """Carry out one action of lane `address`; raises EffectError with the kernel's words."""
        self._links.read()
        if action.address != self._cloud:
            self._cloud = action.address
            self._last = self._device()
        name = type(action).__name__
        try:
            match action:
                case HoldAddress():
                    return self._hold(self._expect(name), action.address)
                case AnnounceAddress():
                    return self._announce(self._expect(name), action.address)
                case DropAddress():
                    return self._drop(action.address)
        except OSError as error:
            raise EffectError(name, f"{action.address.ip} on {action.address.device}: {_words(error)}") from error

    def _hold(self, link: Link, address: CloudAddress) -> Outcome:
        ip = ip_address(address.ip)
        others = [prefix for prefix in self._links.prefixes(link, ip) if prefix != address.prefix]
        added = not others and self._links.add(link, ip, address.prefix)
        self._held, self._last = ip, link
        silent = self._announcer.begin(ip)
        self._watch.begin(ip)
        facts = [] if added else [("kept", "yes")]
        facts += [("prefix", str(others[0]))] if others else []
        facts += [("unannounced", silent)] if silent else []
        return Outcome(Result.DONE, facts=tuple(facts))

    def _announce(self, link: Link, address: CloudAddress) -> Outcome:
        ip = ip_address(address.ip)
        if not self._links.prefixes(link, ip):
            raise EffectError("AnnounceAddress", f"{ip} is not on {link.name}: it would lead its users astray")
        if silent := self._announcer.begin(ip):
            raise EffectError("AnnounceAddress", f"{ip} on {link.name}: {silent}")
        return Outcome(Result.DONE)

    def _drop(self, address: CloudAddress) -> Outcome:
        """Every copy of it, whatever its prefix. From here on its absence is our doing and no news."""
        ip = ip_address(address.ip)
        self._held = None
        self._announcer.cancel()
        self._watch.end()
        removed = False
        if link := self._device():
            _spare_others(link)
            for prefix in sorted({address.prefix, *self._links.prefixes(link, ip)}):
                removed |= self._links.remove(link, ip, prefix)
        return Outcome(Result.DONE, facts=() if removed else (("absent", "yes"),))

    def _device(self) -> Link | None:
        return self._links.find(self._cloud.device) if self._cloud else None

    def _expect(self, action: str) -> Link:
        link = self._device()
        if link is None:
            raise EffectError(action, f"device {self._cloud.device if self._cloud else ''} does not exist")
        return link

    def _changed(self) -> None:
        """Compare what is with what was; the way there may have been lost (see Links)."""
        now, was = self._device(), self._last
        self._last = now
        if self._held and (now is None or not self._links.prefixes(now, self._held)):
            self._held = None
            self._announcer.cancel()
            self._watch.end()
            self._observe(AddressGone())
        if now and (was is None or was.index != now.index):
            self._observe(DeviceCame())
        elif self._held and now and was != now and now.running:
            self._announcer.begin(self._held)  # the cable is back, or a bridge took the MAC of a new port

    def _conflicted(self, mac: str) -> None:
        self._observe(AddressConflict(mac))


def _spare_others(link: Link) -> None:
    """Let the node's own addresses outlive ours where ours, with its mask, became the first of their subnet.

    Without this (systemd sets it everywhere, a bare kernel does not) the kernel deletes the others of a subnet together
    with its first.
    """
    try:
        with open(f"/proc/sys/net/ipv4/conf/{link.name}/promote_secondaries", "w") as setting:
            setting.write("1")
    except OSError:
        pass  # /proc/sys is read-only in some containers; then what the administrator set applies


def _words(error: OSError | NetlinkError) -> str:
    """The kernel's words, and what to do where that is known."""
    code = error.errno if isinstance(error, OSError) else error.code
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    remedy = REMEDIES.get(code or 0, "")
    return f"{words}: {remedy}" if remedy else words
