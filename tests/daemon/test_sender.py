"""The thread that multicasts: what it cannot send is told, never lost in silence."""

import threading

from corolistener.corosync.errors import TryAgain
from corolistener.daemon.membership import _Sender


def test_an_error_of_corosync_is_told_once() -> None:
    told: list[Exception] = []
    over = threading.Event()

    def mcast(data: bytes) -> None:
        raise OSError(data.decode())

    def failed(error: Exception) -> None:
        told.append(error)
        over.set()

    sender = _Sender(mcast, failed)
    sender.start()
    sender.put(b"one")
    assert over.wait(30)
    sender.put(b"two")
    sender.stop()
    assert [str(error) for error in told] == ["one"]


def test_what_corosync_does_not_take_now_is_sent_again_in_order() -> None:
    sent: list[bytes] = []
    over = threading.Event()
    busy = [True, True]

    def mcast(data: bytes) -> None:
        if busy:
            busy.pop()
            raise TryAgain("cpg_mcast_joined", 6)
        sent.append(data)
        if data == b"two":
            over.set()

    sender = _Sender(mcast, lambda error: sent.append(repr(error).encode()))
    sender.start()
    sender.put(b"one")
    sender.put(b"two")
    assert over.wait(30)
    sender.stop()
    assert sent == [b"one", b"two"]
