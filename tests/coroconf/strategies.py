"""Generators of corosync.conf: any layout corosync's parser reads, sensible clusters, and spoiled files."""

import re

from hypothesis import strategies as st

BLANK = st.sampled_from([b"", b" ", b"\t", b"  ", b"\t\t", b" \t ", b"    "])
ENDING = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"])
COLON = st.sampled_from([b": ", b": ", b":", b":\t", b" : ", b":   "])
NAME = st.sampled_from(
    b"totem interface quorum device nodelist node ihttpd logging logger_subsys uidgid system resources process member"
    b" memory_used foo a.b x-y_z/0".split()
)
ODD_NAME = st.sampled_from([b"two words", b"w\xe9ird", b":", b"x:y", b".", b"\x0bvt"])
CMAP = re.compile(rb"[A-Za-z0-9._/:-]+")
KEY = st.sampled_from(
    b"version config_version cluster_name token nodeid ring0_addr ring1_addr prio replication name expected_votes"
    b" two_node provider count port0 subsys debug linknumber mcastport ttl crypto_hash poll_period watchdog_timeout"
    b" memberaddr qb_ipc_type sched_rr key.with.dots A-Z/0 foo".split()
)
SENSIBLE = st.sampled_from(
    b"0 1 2 3 -1 +7 255 256 65535 65536 4294967295 4294967296 18446744073709551616 on off yes none sha1 shm 10.9.0.1"
    b" fd00::1 QUORUM corosync_votequorum a#b } : 0x10 1_0 \xd9\xa3".split()
) | st.sampled_from([b"", b"two words", b"3 4", b"\x0b5", b"5\x0b"])
BYTES = st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\n\0{").strip(b" \t").rstrip(b"\r"))
VALUE = st.one_of(SENSIBLE, SENSIBLE, BYTES)
COMMENT = st.binary(max_size=20).map(lambda raw: b"#" + raw.translate(None, b"\n\0"))
BLANK_LINE = st.one_of(st.builds(bytes.__add__, BLANK, st.one_of(st.just(b""), COMMENT)), st.just(b"\0junk { :"))


@st.composite
def layouts(draw: st.DrawFn) -> bytes:
    """A file of well-formed lines: every blank, ending, comment and nesting corosync reads past. Values are any."""
    lines = draw(_body(0, True))
    data = b"".join(line + draw(ENDING) for line in lines)
    return data if not lines or draw(st.booleans()) else data[: -2 if data.endswith(b"\r\n") else -1]


@st.composite
def _body(draw: st.DrawFn, depth: int, plain: bool) -> list[bytes]:
    """The lines inside one section; no keys below a section whose name cmap would not take (not `plain`)."""
    lines: list[bytes] = []
    for _ in range(draw(st.integers(0, 5 if depth < 3 else 2))):
        what = draw(st.integers(0, 6))
        if what <= 1:
            lines.append(draw(BLANK_LINE))
        elif what <= 3 and depth < 4:
            name = draw(st.one_of(NAME, NAME, ODD_NAME))
            lines.append(draw(BLANK) + name + draw(BLANK) + b"{" + draw(BLANK))
            lines += draw(_body(depth + 1, plain and CMAP.fullmatch(name) is not None))
            lines.append(draw(BLANK) + b"}" + draw(BLANK))
        elif plain:
            lines.append(draw(BLANK) + draw(KEY) + draw(COLON) + draw(VALUE) + draw(BLANK))
    return lines


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A well-formed file with a few bytes put in, taken out or exchanged: often refused, sometimes not."""
    data = bytearray(draw(layouts()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        junk = draw(st.sampled_from([b"{", b"}", b":", b"\n", b"\r", b"\0", b"#", b" ", b"x" * 300, b"\xa0", b"\x0c", b""]))
        data[at : at + draw(st.integers(0, 3))] = junk
    return bytes(data)


@st.composite
def clusters(draw: st.DrawFn) -> bytes:
    """A cluster's file that makes sense: 1 to 6 nodes with distinct ids, in any indentation and line ending."""
    step, end = draw(st.sampled_from([b"\t", b"  ", b"    "])), draw(st.sampled_from([b"\n", b"\r\n"]))
    ids = draw(st.lists(st.integers(1, 65535), min_size=1, max_size=6, unique=True))
    votes = draw(st.booleans())
    lines = [b"# a cluster", b"totem {", step + b"version: 2", step + b"cluster_name: lab"]
    if draw(st.booleans()):
        lines.append(step + b"config_version: %d" % draw(st.integers(0, 10**6)))
    lines += [b"}", b"", b"quorum {", step + b"provider: corosync_votequorum"]
    lines += [step + b"expected_votes: %d" % len(ids)] if votes else []
    lines += [b"}", b"nodelist {"]
    for at, nodeid in enumerate(ids):
        lines += [step + b"node {", step * 2 + b"ring0_addr: 10.9.0.%d" % (at + 1), step * 2 + b"nodeid: %d" % nodeid]
        if draw(st.booleans()):
            lines.append(step * 2 + b"prio: %d" % draw(st.integers(0, 100)))
        lines.append(step + b"}")
    lines.append(b"}")
    return b"".join(line + end for line in lines)


TOTEM = st.sampled_from(
    """transport: knet|transport: udp|transport: udpu|transport: tcp|token: 0|token: 100|token: 125|token: 126|token: 1000
token_coefficient: 0|token_coefficient: 10|token_retransmits_before_loss_const: 2|token_retransmits_before_loss_const: 40
token_retransmit: 29|token_retransmit: 30|hold: 13|hold: 14|join: 29|join: 30|join: 150|join: 1300|consensus: 29
consensus: 100|merge: 10|downcheck: 10|max_network_delay: 10|token_warning: 100|token_warning: 101|link_mode: rr
link_mode: fast|secauth: on|secauth: off|crypto_cipher: aes256|crypto_cipher: none|crypto_hash: sha1|crypto_hash: none
ip_version: ipv4|nodeid: 7|version: 2|version: 1|token: x|keyfile: /etc/corosync/authkey""".replace("\n", "|").split("|")
)
LINK = st.sampled_from(
    """linknumber: 0|linknumber: 1|linknumber: 7|linknumber: 8|ringnumber: 1|ttl: 1|ttl: 2|mcastport: 5405|broadcast: yes
bindnetaddr: 10.9.0.0|mcastaddr: 239.1.1.1|knet_link_priority: 1|knet_link_priority: 2|knet_ping_timeout: 500
knet_transport: udp|knet_transport: tcp""".replace("\n", "|").split("|")
)
LOGGING = st.sampled_from(
    """to_syslog: yes|to_syslog: maybe|debug: trace|debug: yes|timestamp: hires|timestamp: yes|fileline: on|syslog_priority: x
syslog_priority: Err|syslog_facility: local7|syslog_facility: local8|logfile_priority: panic|blackbox: x""".replace(
        "\n", "|"
    ).split("|")
)


@st.composite
def meanings(draw: st.DrawFn) -> bytes:
    """A file of one to three nodes in which single keys are chosen well or badly; node 1 has the lab's own address."""
    lines = ["totem {", "version: 2", *draw(st.lists(TOTEM, max_size=2))]
    for link in draw(st.lists(st.lists(LINK, max_size=2), max_size=2)):
        lines += ["interface {", *link, "}"]
    lines += ["}", "nodelist {"]
    plural = draw(st.booleans())
    for at in range(1, draw(st.integers(1, 3)) + 1):
        usual = draw(st.integers(0, 9)) > 0
        lines += [
            "node {",
            f"ring0_addr: 10.9.0.{at}" if usual or at == 1 else "ring0_addr: fd00::9",
        ]
        lines += [f"ring1_addr: 10.9.1.{at}"] if plural and draw(st.integers(0, 9)) else []
        lines += [f"nodeid: {draw(st.sampled_from([at] * 20 + [1, 65535, 65536]))}"] if draw(st.integers(0, 29)) else []
        lines += [f"name: n{at}"] if draw(st.integers(0, 5)) else []
        lines += ["}"]
    lines += ["}", "logging {", *draw(st.lists(LOGGING, max_size=1)), "}"]
    return "".join(f"{line}\n" for line in lines).encode()
