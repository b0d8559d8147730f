"""systemd's notify protocol: readiness, status, watchdog, and its store of descriptors, which outlives the process.

Silent where nobody listens. See sd_notify(3), sd_listen_fds(3), sd_pid_notify_with_fds(3).
"""

import array
import os
import select
import socket
from collections.abc import Collection

FIRST = 3
"""systemd passes descriptors from this one on."""
ANSWER_S = 5.0
"""How long systemd may take to have read what was sent before: it does nothing but this, or it is ill."""
DIGITS_MOST = 20


class Notifier:
    """Datagrams to NOTIFY_SOCKET. `watchdog_s` is how often to feed at least, None where systemd does not watch."""

    def __init__(self) -> None:
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self.watchdog_s: float | None = None
        self._status = ""
        if not path:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._address = "\0" + path[1:] if path[0] == "@" else path
        asked = os.environ.get("WATCHDOG_USEC", "")
        if _is_number(asked) and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.watchdog_s = int(asked) / 1_000_000 / 3

    def _say(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            pass  # a full or vanished socket is systemd's trouble; the next datagram may pass

    def ready(self) -> None:
        self._say(f"READY=1\nMAINPID={os.getpid()}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`, sent when it changes."""
        if text != self._status:
            self._status = text
            self._say(f"STATUS={text}")

    def feed(self) -> None:
        self._say("WATCHDOG=1")

    def reloading(self) -> None:
        self._say("RELOADING=1")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    # The store of descriptors: these wait for systemd, so not from the loop.

    def keep(self, name: str, descriptor: int) -> bool:
        """Ask systemd to keep a descriptor, and hand it to the next process of the unit under this name.

        True when systemd has read that. It says nowhere whether it did so: the unit needs FileDescriptorStoreMax=. FDPOLL=0,
        so that it does not drop one for what it may signal.
        """
        return self._insist(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", (descriptor,))

    def forget(self, name: str) -> bool:
        """Ask systemd to close what it keeps under this name; True when it has read that."""
        return self._insist(f"FDSTOREREMOVE=1\nFDNAME={name}", ())

    def _insist(self, text: str, descriptors: tuple[int, ...]) -> bool:
        """Send, and wait until it was read: systemd drops the pipe that comes with BARRIER=1 when it gets to it."""
        if self._socket is None:
            return False
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.settimeout(ANSWER_S)  # a queue that is full is waited for: this must not be lost
                _send(sending, self._address, text, descriptors)
                _send(sending, self._address, "BARRIER=1", (writing,))
        except OSError:
            os.close(reading)
            return False
        finally:
            os.close(writing)
        ended = select.poll()
        ended.register(reading, 0)  # POLLHUP comes unasked: no writing end is left
        read = bool(ended.poll(ANSWER_S * 1000))
        os.close(reading)
        return read


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MOST


def _send(sending: socket.socket, address: str, text: str, descriptors: tuple[int, ...]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sending.sendmsg([text.encode()], rights, 0, address)


def take_kept(names: Collection[str]) -> dict[str, int]:
    """The descriptors of these names that systemd kept for this process: to be called once, before any program is started.

    All others that it passed are closed, as are doubles. No program inherits any, nor hears of them: a hook that held a
    watchdog's descriptor would outlive its disarming.
    """
    found: dict[str, int] = {}
    listed, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    labels = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not _is_number(listed):
        return found
    for index in range(int(listed)):
        descriptor, name = FIRST + index, labels[index] if index < len(labels) else ""
        try:
            os.set_inheritable(descriptor, False)
            if name in names and name not in found:
                found[name] = descriptor
            else:
                os.close(descriptor)
        except OSError:
            continue  # announced and not there
    return found
