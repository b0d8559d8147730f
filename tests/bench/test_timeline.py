"""The story of a takeover from lines and facts as daemon and witnesses write them."""

from bench import stamps, timeline
from bench.stamps import MS, Fact, Line
from bench.timeline import Moment

LOG = """\
2026-11-20T19:36:13.486216+00:00 WARNING left node=4 master=True
2026-11-20T19:36:13.487108+00:00 INFO view ring=2.17 members=2,8
2026-11-20T19:36:13.487108+00:00 INFO role role=master ring=2.17
2026-11-20T19:36:13.487108+00:00 INFO service-waits former=4 ms=5700
2026-11-20T19:36:19.186765+00:00 INFO database-taken moved="no moved = \\"hook\\""
2026-11-20T19:36:19.187233+00:00 INFO lock-taken lock=service
Traceback (most recent call last):
2026-11-20T19:36:19.308725+00:00 INFO config-committed version=2 sha=c68098ef
2026-11-20T19:36:20.000000+00:00 INFO view ring=2.21 members=2,4,8
2026-11-20T19:36:2"""
CALLBACK = 1795203373_487_108_000
IP, MAC = "172.31.223.100", "02:c0:00:00:00:2e"


def frame(wall: int, mac: str = MAC, sender: str = IP, gratuitous: bool = True) -> Fact:
    return {"kind": "arp", "gratuitous": gratuitous, "sender": sender, "mac": mac, "wall": wall}


def test_lines_of_the_log() -> None:
    lines = stamps.lines(LOG)
    assert [line.code for line in lines] == [
        "left", "view", "role", "service-waits", "database-taken", "lock-taken", "config-committed", "view",
    ]  # fmt: skip
    assert lines[1] == Line(CALLBACK, "INFO", "view", {"ring": "2.17", "members": "2,8"})
    assert lines[4].fields == {"moved": 'no moved = "hook"'}
    assert [line.code for line in stamps.lines(LOG, CALLBACK + 5800 * MS)] == ["config-committed", "view"]
    assert timeline.waits(lines) == 5700
    assert timeline.waits(lines[:3]) is None


def test_the_story_in_its_order() -> None:
    told = [moment for line in stamps.lines(LOG) if (moment := timeline.told("n2", line))]
    probe = {"kind": "quorum", "quorate": True, "ring": [2, 17], "nodes": [2, 8], "wall": CALLBACK - 1000}
    address = {"kind": "address", "what": "new", "address": IP, "prefix": 24, "device": "vmbr0", "wall": CALLBACK + 2 * MS}
    seen = [timeline.noticed("n2", fact, IP, 4) for fact in (probe, address)]
    wire = timeline.spoken([frame(CALLBACK, mac="02:c0:00:00:00:99"), frame(CALLBACK + 3 * MS)], IP, {MAC: "n2"})
    story = timeline.first_each(moment for moment in (*told, *seen, wire) if moment)
    assert [(moment.what, moment.by) for moment in story] == [
        (timeline.QUORUM, "probe"),
        ("becomes master", "log"),
        ("172.31.223.100/24 on vmbr0", "netlink"),
        ("first gratuitous ARP on the wire", "bridge"),
        ("lock file .lock.vmmgr.service", "log"),
        ("corosync.conf version 2 reloaded everywhere", "log"),
    ]
    rows = list(timeline.rows(story, CALLBACK - 2000 * MS, story[0].wall))
    assert rows[0].split()[:3] == ["2000.0", "+0.0", "n2"]
    assert rows[3].split()[:3] == ["2003.0", "+3.0", "n2"]


def test_what_is_no_part_of_it() -> None:
    ring_with_the_victim = {"kind": "quorum", "quorate": True, "ring": [2, 13], "nodes": [2, 4, 8], "wall": 1}
    another = {"kind": "address", "what": "new", "address": "10.0.0.1", "prefix": 8, "device": "lo", "wall": 1}
    gone = {"kind": "address", "what": "deleted", "address": IP, "prefix": 24, "device": "vmbr0", "wall": 1}
    assert [timeline.noticed("n2", fact, IP, 4) for fact in (ring_with_the_victim, another, gone)] == [None] * 3
    assert timeline.spoken([frame(1, sender="10.0.0.1"), frame(1, gratuitous=False)], IP, {MAC: "n2"}) is None
    assert list(timeline.rows([Moment(5 * MS, "n4", "off")], 0, None)) == ["       5.0              n4   off"]
