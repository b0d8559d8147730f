"""What dispatch() promises about good and bad news, with calls of our own in the place of C's."""

import pytest

from corolistener.corosync._cmap import ffi
from corolistener.corosync.errors import OK, BadHandle, Busy, CsError, InvalidParam, LibraryUnavailable, NameTooLong, TryAgain
from corolistener.corosync.handle import MOST_AT_ONCE, Handle, Library, c_string, encoded, text

NUMBER, DESCRIPTOR, NONBLOCKING = 77, 5, 4


class Fake:
    """A library whose dispatch follows a script: a status ends it, anything else is copied, an exception is raised."""

    def __init__(self, *script, fd_status=OK):
        self.script, self.fd_status, self.finalized = list(script), fd_status, []
        self.library = Library(ffi, self.fd_get, self.dispatch, self.finalize, NONBLOCKING)
        self.dispatch.__func__.__name__ = "fake_dispatch"

    def fd_get(self, handle, fd):
        fd[0] = DESCRIPTOR
        return self.fd_status

    def finalize(self, handle):
        self.finalized.append(handle)
        return LibraryUnavailable.status

    def dispatch(self, handle, flag):
        assert (handle, flag) == (NUMBER, NONBLOCKING)
        if not self.script:
            return TryAgain.status
        step = self.script.pop(0)
        if isinstance(step, type):
            return step.status
        self.callback(handle, step)
        return OK

    def callback(self, handle, step):
        """As cffi does it: the traceback's frame is the callback's own."""
        try:
            self.copy(handle, step)
        except BaseException as failure:  # noqa: BLE001
            self.library.failed(type(failure), failure, failure.__traceback__.tb_next)

    def copy(self, handle, step):
        if isinstance(step, BaseException):
            raise step
        self.library.inboxes[handle].values.append(step)


def opened(*script):
    return Handle(Fake(*script).library, NUMBER)


def test_nothing_there():
    assert opened()._dispatch() == []


def test_values_in_order():
    handle = opened("a", "b", "c")
    assert handle._dispatch() == ["a", "b", "c"]
    assert handle._dispatch() == []


def test_bad_news_waits_behind_good():
    handle = opened("a", LibraryUnavailable, LibraryUnavailable)
    assert handle._dispatch() == ["a"]
    with pytest.raises(LibraryUnavailable, match="fake_dispatch"):
        handle._dispatch()


def test_bad_news_alone_is_raised_at_once():
    with pytest.raises(Busy):
        opened(Busy)._dispatch()


def test_a_flood_is_cut_into_portions():
    handle = opened(*range(2 * MOST_AT_ONCE + 1))
    assert [len(handle._dispatch()) for _ in range(4)] == [MOST_AT_ONCE, MOST_AT_ONCE, 1, 0]


@pytest.mark.parametrize("failure", [LookupError("copy"), MemoryError(), KeyboardInterrupt()])
def test_what_a_callback_raises_is_raised_once_and_loses_no_other_value(failure):
    handle = opened("a", failure, "b")
    with pytest.raises(type(failure)) as raised:
        handle._dispatch()
    assert raised.value is failure
    assert handle._dispatch() == ["a", "b"]


def test_close_is_final_and_silent():
    fake = Fake("a")
    handle = Handle(fake.library, NUMBER)
    assert handle.fileno() == DESCRIPTOR
    handle.close()
    handle.close()
    assert fake.finalized == [NUMBER]
    assert fake.library.inboxes == {}
    for call in (handle.fileno, handle._dispatch, lambda: handle._call(fake.fd_get, None)):
        with pytest.raises(BadHandle):
            call()


def test_a_handle_that_cannot_be_watched_is_given_back():
    fake = Fake(fd_status=CsError.status or 12)
    with pytest.raises(CsError):
        Handle(fake.library, NUMBER)
    assert fake.finalized == [NUMBER]
    assert fake.library.inboxes == {}


def test_a_context_closes_also_after_an_error():
    fake = Fake()
    with pytest.raises(LookupError), Handle(fake.library, NUMBER):
        raise LookupError
    assert fake.finalized == [NUMBER]


def test_two_handles_do_not_mix():
    fake = Fake()
    one, two = Handle(fake.library, NUMBER), Handle(fake.library, NUMBER + 1)
    fake.library.inboxes[NUMBER + 1].values.append("two's")
    assert one._dispatch() == []
    assert two._inbox.values == ["two's"]


@pytest.mark.parametrize("raw", [b"", b"plain", "größe".encode(), b"caf\xe9", bytes(range(256))])
def test_text_keeps_every_byte(raw):
    assert encoded(text(raw)) == encoded(raw) == raw


def test_c_strings_are_measured_in_bytes():
    assert c_string("call", "é" * 2, 4) == "éé".encode()
    with pytest.raises(NameTooLong, match="call"):
        c_string("call", "é" * 2, 3)
    with pytest.raises(InvalidParam, match="call"):
        c_string("call", "a\0b", 100)
