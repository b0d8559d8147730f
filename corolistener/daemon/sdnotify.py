"""systemd's notify protocol: readiness, status and watchdog. Silent where nobody listens (sd_notify(3))."""

import os
import socket


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
        if asked.isdigit() and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
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
