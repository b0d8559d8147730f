"""My corosync.conf: one writer, belief and disk, and texts that are asked for until they are here."""

from corolistener.core.actions import Action, InstallConfig, Multicast, PrepareConfig, ReadConfig, WithdrawConfig
from corolistener.core.config import Cluster, ConfigId, Timing
from corolistener.core.events import Outcome, Result
from corolistener.core.messages import Restamp, Stored, Text, Unstored, Wanted
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.core.storing import ASK_AGAIN_MS, RESTAMP_AGAIN_MS, Storing
from corolistener.ids import Instant, NodeId, Ticket

ME, OTHER = NodeId(1), NodeId(2)
FILES = {version: Cluster(ConfigId(version, f"sha-{version}"), "vm", ()) for version in range(1, 9)}
TIMING = Timing()


class Node:
    """A Storing with version 1 on its disk."""

    def __init__(self) -> None:
        self.out = Out()
        self.storing = Storing(ME, FILES[1].id, FILES[1])

    def aim(self, version: int, now: int = 0) -> list[Action]:
        self.storing.aim(FILES[version].id, Instant(now))
        return self.ask(now)

    def ask(self, now: int, *holders: NodeId) -> list[Action]:
        self.storing.ask(holders or (OTHER,), Instant(now), self.out)
        return self.out.take()

    def text(self, version: int) -> list[Action]:
        self.storing.text(Text(FILES[version].id, b"text"), OTHER, self.out)
        return self.out.take()

    def finish(self, ticket: Ticket, outcome: Outcome, now: int = 0) -> list[Action]:
        assert self.storing.finished(ticket, outcome, Instant(now), TIMING, self.out)
        return self.out.take()


def done(version: int) -> Outcome:
    return Outcome(Result.DONE, cluster=FILES[version])


FULL = Outcome(Result.FAILED, "No space left on device")


def test_asked_for_until_it_is_here() -> None:
    node = Node()
    assert node.aim(2) == [Multicast(Wanted(FILES[2].id, OTHER))]
    assert node.ask(1) == []
    assert node.ask(ASK_AGAIN_MS, NodeId(5), NodeId(3)) == [Multicast(Wanted(FILES[2].id, NodeId(3)))]
    assert node.text(3) == [], "a text that nobody asked for"
    (install,) = node.text(2)
    assert isinstance(install, InstallConfig)
    assert node.text(2) == [], "one writing at a time"
    assert node.ask(9 * ASK_AGAIN_MS) == []
    node.finish(install.ticket, done(2))
    assert node.storing.file == FILES[2].id
    assert node.storing.tell() == Stored(FILES[2].id, 0)
    assert node.storing.tell() is None


def test_a_disk_that_does_not_take_it_is_tried_with_growing_pauses() -> None:
    node, now = Node(), 0
    pauses = []
    node.aim(2)
    for _ in range(7):
        (install,) = node.text(2)
        assert isinstance(install, InstallConfig)
        said = node.finish(install.ticket, FULL, now)
        assert Multicast(Unstored(FILES[2].id, FULL.why)) in said
        (deadline,) = node.storing.deadline()
        pauses.append(deadline - now)
        now = deadline
        assert node.ask(now) != []
    assert pauses == [2000, 4000, 8000, 16000, TIMING.retry_most_ms, TIMING.retry_most_ms, TIMING.retry_most_ms]
    assert node.storing.file == FILES[1].id


def test_nothing_is_told_of_a_file_while_the_disk_is_written() -> None:
    node = Node()
    node.storing.told = Stored(FILES[1].id)
    node.aim(2)
    (install,) = node.text(2)
    assert isinstance(install, InstallConfig)
    node.storing.withdrawn(FILES[2].id, FILES[1].id, node.out)
    (withdraw,) = node.out.take()
    assert isinstance(withdraw, WithdrawConfig)
    node.finish(install.ticket, done(2))
    assert node.storing.tell() is None, "it is about to be withdrawn"
    node.finish(withdraw.ticket, done(1))
    assert node.storing.tell() is None, "nothing has changed for the others"
    assert node.storing.file == FILES[1].id


LATE = Outcome(Result.TIMED_OUT, "no end within 30000 ms")


def test_a_writing_that_does_not_end_is_taken_back_until_it_is_known_what_is_there() -> None:
    """It may have worked all the same: what is on the disk is neither believed nor told meanwhile."""
    node = Node()
    node.aim(2)
    (install,) = node.text(2)
    assert isinstance(install, InstallConfig)
    found = node.finish(install.ticket, LATE)
    for _ in range(2):
        withdraw = found[-1]
        assert isinstance(withdraw, WithdrawConfig)
        assert (withdraw.config, withdraw.previous) == (FILES[2].id, FILES[1].id)
        assert node.storing.busy
        assert node.storing.tell() is None
        found = node.finish(withdraw.ticket, LATE)
    withdraw = found[-1]
    assert isinstance(withdraw, WithdrawConfig)
    assert node.finish(withdraw.ticket, done(1)) == []
    assert not node.storing.busy
    assert node.storing.file == FILES[1].id


def test_withdrawing_what_is_not_here_does_nothing() -> None:
    node = Node()
    node.storing.withdrawn(FILES[2].id, FILES[1].id, node.out)
    assert node.out.take() == []


def test_one_text_in_flight_serves_everybody() -> None:
    node = Node()
    node.storing.wanted(Wanted(FILES[1].id, ME), node.out)
    (read,) = node.out.take()
    assert isinstance(read, ReadConfig)
    node.storing.wanted(Wanted(FILES[1].id, ME), node.out)
    node.storing.wanted(Wanted(FILES[1].id, OTHER), node.out)
    node.storing.wanted(Wanted(FILES[2].id, ME), node.out)
    assert node.out.take() == []
    said = node.finish(read.ticket, Outcome(Result.DONE, cluster=FILES[1], text=b"text"))
    assert said == [Multicast(Text(FILES[1].id, b"text"))]
    node.storing.wanted(Wanted(FILES[1].id, ME), node.out)
    assert node.out.take() == []
    node.storing.text(Text(FILES[1].id, b"text"), ME, node.out)
    node.storing.wanted(Wanted(FILES[1].id, ME), node.out)
    assert isinstance(node.out.take()[0], ReadConfig)


def test_a_text_that_cannot_be_read_is_asked_for_again() -> None:
    node = Node()
    node.storing.wanted(Wanted(FILES[1].id, ME), node.out)
    (read,) = node.out.take()
    assert isinstance(read, ReadConfig)
    assert node.finish(read.ticket, Outcome(Result.FAILED, "somebody changed it")) == []
    node.storing.wanted(Wanted(FILES[1].id, ME), node.out)
    assert isinstance(node.out.take()[0], ReadConfig)


def test_a_file_changed_by_hand_is_believed() -> None:
    node = Node()
    assert node.storing.found(FILES[4])
    assert not node.storing.found(FILES[4])
    assert node.storing.file == FILES[4].id


def test_a_file_changed_by_hand_while_it_is_written_counts_only_if_the_writing_fails() -> None:
    for outcome, there in ((done(2), FILES[2].id), (FULL, FILES[4].id)):
        node = Node()
        node.aim(2)
        (install,) = node.text(2)
        assert isinstance(install, InstallConfig)
        assert not node.storing.found(FILES[4])
        node.finish(install.ticket, outcome)
        assert node.storing.file == there


def test_a_file_below_what_corosync_runs_with_gets_a_version_above_it() -> None:
    node = Node()
    node.storing.restamp(6, (ME,), Instant(0), node.out)
    assert node.out.take() == []
    node.storing.running = 5
    node.storing.restamp(6, (ME,), Instant(0), node.out)
    (prepare,) = node.out.take()
    assert isinstance(prepare, PrepareConfig)
    assert (prepare.base, prepare.version, prepare.change) == (FILES[1].id, 6, Restamp())
    node.storing.restamp(6, (ME,), Instant(1), node.out)
    assert node.out.take() == []
    (install,) = node.finish(prepare.ticket, Outcome(Result.DONE, cluster=FILES[6], text=b"text"))
    assert isinstance(install, InstallConfig)
    said = node.finish(install.ticket, done(6))
    assert [type(action).__name__ for action in said] == ["Note"], "nobody is asked to reload"
    node.storing.restamp(6, (ME,), Instant(2), node.out)
    assert node.out.take() == []


def test_a_restamp_that_fails_is_tried_again_later() -> None:
    node = Node()
    node.storing.running = 5
    node.storing.restamp(6, (ME,), Instant(0), node.out)
    (prepare,) = node.out.take()
    assert isinstance(prepare, PrepareConfig)
    (note,) = node.finish(prepare.ticket, FULL)
    assert getattr(note, "code", None) is NoteCode.EFFECT_FAILED
    node.storing.restamp(6, (ME,), Instant(RESTAMP_AGAIN_MS - 1), node.out)
    assert node.out.take() == []
    node.storing.restamp(6, (ME,), Instant(RESTAMP_AGAIN_MS), node.out)
    assert isinstance(node.out.take()[0], PrepareConfig)


def test_a_ticket_of_somebody_else() -> None:
    node = Node()
    assert not node.storing.finished(Ticket(77), done(1), Instant(0), TIMING, node.out)
