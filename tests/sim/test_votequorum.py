"""The virtual votequorum does what the real one was seen to do."""

from corolistener.ids import NodeId
from corolistener.sim import votequorum as v
from corolistener.sim.votequorum import Counting, FileRead, QuorumOptions, file_read, read_quorum

NODES = [NodeId(number) for number in range(1, 6)]


def file(**words: object) -> FileRead:
    return FileRead(1, tuple((node, 1) for node in NODES), 5)._replace(**words)


def ring(read: FileRead, *numbers: int) -> dict[NodeId, Counting]:
    members = {NodeId(number): Counting.begin(NodeId(number), read) for number in numbers}
    v.joined(members, False)
    return members


def parts(members: dict[NodeId, Counting], *numbers: int, cleanly: bool = False) -> dict[NodeId, Counting]:
    part = {node: each for node, each in members.items() if node in numbers}
    v.joined(part, cleanly)
    return part


def test_too_few_expected_make_two_parts_quorate() -> None:
    read = file(expected=3)
    assert v.quorate(ring(read, 1, 2), NODES[0])
    assert v.quorate(ring(read, 3, 4, 5), NODES[2])


def test_last_man_standing_makes_two_parts_quorate_in_the_end() -> None:
    members = ring(file(last_man_standing=True), 1, 2, 3, 4, 5)
    first = parts(members, 1, 2, 3)
    assert v.stands_alone(first)
    assert v.quorate(parts(members, 1, 2), NODES[0])
    assert v.quorate(parts(members, 3, 4, 5), NODES[2])


def test_the_tie_goes_to_the_half_with_the_lowest_node() -> None:
    read = FileRead(1, tuple((node, 1) for node in NODES[:4]), 4, auto_tie_breaker=True)
    members = ring(read, 1, 2, 3, 4)
    assert v.quorate(parts(members, 1, 2), NODES[0])
    assert not v.quorate(parts(members, 3, 4), NODES[2])


def test_one_of_two() -> None:
    read = FileRead(1, ((NODES[0], 1), (NODES[1], 1)), 2, two_node=True, wait_for_all=True)
    alone = ring(read, 1)
    assert not v.quorate(alone, NODES[0]), "it has not seen the other one"
    both = ring(read, 1, 2)
    assert v.quorate(parts(both, 1), NODES[0])


def test_announcements_that_cross_leave_the_quorum_too_high() -> None:
    members = ring(FileRead(1, tuple((node, 1) for node in NODES[:3]), 6), 1, 2, 3)
    less = FileRead(2, tuple((node, 1) for node in NODES[:3]), 3)
    v.reread(members, dict.fromkeys(members, less), crossing=True)
    assert (members[NODES[0]].expected, members[NODES[0]].quorum) == (3, 4)
    v.reread(members, dict.fromkeys(members, less), crossing=False)
    assert not v.quorate(members, NODES[0]), "reading again never helps"
    assert v.told(members, 3)
    assert v.quorate(members, NODES[0])


def test_it_is_not_told_to_expect_less_than_is_there() -> None:
    assert not v.told(ring(file(), 1, 2, 3), 2)
    assert not v.told(ring(file(), 1, 2), 5)
    assert v.told(ring(file(), 1, 2), 2)


def test_options_are_words_and_lines() -> None:
    options = QuorumOptions((1, 2, 3), 9, 2, ("wait_for_all", "last_man_standing"))
    assert read_quorum(options.words()) == options
    nodes = "".join(f"node {{\nnodeid: {n}\nring0_addr: 10.0.0.{n}\nquorum_votes: {n}\n}}\n" for n in (1, 2, 3))
    text = f"totem {{\nconfig_version: 4\n}}\nquorum {{\n{options.lines()}}}\nnodelist {{\n{nodes}}}\n"
    read = file_read(text.encode(), "conf")
    assert read == FileRead(4, ((NODES[0], 1), (NODES[1], 2), (NODES[2], 3)), 9, 2, False, True, True)
