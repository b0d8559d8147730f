"""The Ethernet frames that speak of an address, and the kernel filters that pick out who else speaks of it. Bytes only.

An IPv4 announcement is a broadcast ARP request whose sender and target are the address itself (RFC 5227, 2.3 and 3):
every stack must look at requests, while unsolicited replies are what protections against cache poisoning drop first;
Linux takes it even within the second in which it ignores other changes of an entry. Switches learn from the source of
any frame. A request has one more merit: another holder of the address answers it, and thereby shows itself.

An IPv6 announcement is an unsolicited neighbour advertisement to all nodes, with the override flag (RFC 4861, 7.2.6).

Questions are those of duplicate address detection (RFC 5227, 2.1.1; RFC 4862, 5.4.2): they come from no address, so
that asking changes nobody's cache.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

Ip = IPv4Address | IPv6Address

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
EVERYBODY = b"\xff" * 6
NOBODY = b"\0" * 6
ARP_REQUEST = 1
ICMPV6, SOLICITATION, ADVERTISEMENT = 58, 135, 136
OVERRIDE = 1 << 29
TARGET_LINK_LAYER_ADDRESS = b"\x02\x01"
UNSPECIFIED = bytes(16)
ALL_NODES = IPv6Address("ff02::1").packed


def ethertype(ip: Ip) -> int:
    """What neighbours of this address speak: ARP, or neighbour discovery inside IPv6."""
    return ETHERTYPE_ARP if ip.version == 4 else ETHERTYPE_IPV6


def announcement(ip: Ip, mac: bytes) -> bytes:
    """The frame that says: `ip` is at `mac` (6 bytes)."""
    if isinstance(ip, IPv4Address):
        return _arp(mac, sender=ip.packed, target=ip.packed)
    body = struct.pack("!I", OVERRIDE) + ip.packed + TARGET_LINK_LAYER_ADDRESS + mac
    return _icmp(mac, ADVERTISEMENT, body, source=ip.packed, destination=ALL_NODES)


def question(ip: Ip, mac: bytes) -> bytes:
    """The frame by which the station at `mac` asks who has `ip`, without claiming it."""
    if isinstance(ip, IPv4Address):
        return _arp(mac, sender=bytes(4), target=ip.packed)
    group = IPv6Address("ff02::1:ff00:0").packed[:13] + ip.packed[13:]
    return _icmp(mac, SOLICITATION, bytes(4) + ip.packed, source=UNSPECIFIED, destination=group)


def speaker(frame: bytes) -> bytes:
    """The MAC (6 bytes) a frame accepted by `foreign` speaks for."""
    return frame[22:28] if frame[12:14] == struct.pack("!H", ETHERTYPE_ARP) else frame[6:12]


def _arp(mac: bytes, sender: bytes, target: bytes) -> bytes:
    head = struct.pack("!6s6sHHHBBH", EVERYBODY, mac, ETHERTYPE_ARP, 1, 0x0800, 6, 4, ARP_REQUEST)
    return head + mac + sender + NOBODY + target


def _icmp(mac: bytes, kind: int, body: bytes, source: bytes, destination: bytes) -> bytes:
    message = bytes((kind, 0, 0, 0)) + body
    pseudo = source + destination + struct.pack("!II", len(message), ICMPV6)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    hop_limit = 255  # anything less is ignored by receivers: it might have come through a router
    packet = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, hop_limit) + source + destination + message
    return b"\x33\x33" + destination[12:] + mac + struct.pack("!H", ETHERTYPE_IPV6) + packet


def _checksum(even: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(even) // 2}H", even))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


# -- filters: classic BPF (the kernel's Documentation/networking/filter.rst), one 8-byte instruction after the other

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP_EQUAL, RETURN = 0x15, 0x06
AUXILIARY = -0x1000 & 0xFFFFFFFF
PACKET_TYPE, INTERFACE = AUXILIARY + 4, AUXILIARY + 8
PACKET_OTHERHOST = 3

DEAF = struct.pack("=HBBI", RETURN, 0, 0, 0)
"""The filter that lets nothing through."""


def foreign(ip: Ip, interface: int) -> bytes:
    """The filter for frames that came in at `interface` (an index) and say where `ip` is.

    Frames of our own are not among them: the kernel gives a socket bound to one protocol only what comes in.
    Frames of a virtual LAN that nobody here unpacks do not count, they are another network's: by now the kernel has taken
    off their tag and calls them somebody else's.
    """
    address = struct.unpack(f"!{len(ip.packed) // 4}I", ip.packed)
    if ip.version == 4:
        tests = [(LOAD_WORD, 14, 0x00010800), (LOAD_HALF, 18, 0x0604), (LOAD_WORD, 28, address[0])]
    else:
        tests = [(LOAD_BYTE, 20, ICMPV6), (LOAD_BYTE, 54, ADVERTISEMENT)]
        tests += [(LOAD_WORD, 62 + 4 * n, word) for n, word in enumerate(address)]
    tests.insert(0, (LOAD_WORD, INTERFACE, interface))
    code = [(LOAD_WORD, 0, 0, PACKET_TYPE), (JUMP_EQUAL, 2 * len(tests) + 1, 0, PACKET_OTHERHOST)]
    for left, (load, offset, value) in zip(range(len(tests), 0, -1), tests, strict=True):
        code += [(load, 0, 0, offset), (JUMP_EQUAL, 0, 2 * left - 1, value)]
    code += [(RETURN, 0, 0, 0xFFFF), (RETURN, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
