"""A watchdog as Linux offers it: /dev/watchdog and its ioctls (Documentation/watchdog/watchdog-api.rst), and what sysfs tells.

What is done with the device, and why not otherwise:

- WDIOC_SETTIMEOUT feeds, as opening and closing do, so a device that is taken over keeps the timeout it has.
- WDIOC_SETOPTIONS with WDIOS_ENABLECARD arms a stopped device and leaves a ticking one alone: so one that was stopped by a
  process that died before it could give it back is armed again, and nothing else is fed.
- Stopping is WDIOS_DISABLECARD, which is refused aloud, and at once whoever else holds a descriptor; then follows the magic
  close, which alone stops devices whose driver knows no options.
- A device that ticks and that nobody has handed over is left alone: opening it would feed it, over and over where a daemon
  crashes over and over.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

from corolistener.effects.watchdog import Taken
from corolistener.errors import EffectError

SYSFS = Path("/sys/class/watchdog")
FIRST = os.makedev(10, 130)
"""/dev/watchdog: the first watchdog under the name that it had when there was one only."""
INFO = struct.Struct("II32s")  # struct watchdog_info: options, firmware version, identity
NUMBER = struct.Struct("i")
# <linux/watchdog.h>, in the encoding of every architecture but alpha, mips, powerpc and sparc.
WDIOC_GETSUPPORT = 0x80285700
WDIOC_SETOPTIONS = 0x80045704
WDIOC_KEEPALIVE = 0x80045705
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707
WDIOF_SETTIMEOUT, WDIOF_MAGICCLOSE, WDIOF_KEEPALIVEPING = 0x0080, 0x0100, 0x8000
WDIOS_DISABLECARD, WDIOS_ENABLECARD = 0x0001, 0x0002
MAGIC = b"V"
UNKNOWN = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL)
"""How drivers say that they do not know an ioctl."""
REMEDIES = {
    errno.ENOENT: 'load the driver of this machine\'s watchdog, or set [fencing] watchdog = "off"',
    errno.EBUSY: "another program has it: systemd (RuntimeWatchdogSec= in system.conf) or a watchdog daemon; only one can",
    errno.ENODEV: "its driver finds no hardware any more",
    errno.ENXIO: "its driver finds no hardware",
}


class DeviceFile:
    """The watchdog behind `path`. See effects.watchdog.Device."""

    def __init__(self, path: str = "/dev/watchdog") -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, kept: int | None, timeout_ms: int) -> Taken:
        """Open it, or take over `kept`. Raises EffectError where it is not there, is busy, or is not fit."""
        try:
            if kept is not None:
                return self._adopt(kept)
            self._look()
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                return self._arm(timeout_ms)
            except (OSError, EffectError):
                with contextlib.suppress(OSError, EffectError):
                    self.stop()
                self.release()
                raise
        except OSError as error:
            raise self._refusal("take", error) from error

    def feed(self) -> None:
        """One ioctl. Raises EffectError."""
        try:
            fcntl.ioctl(self._open(), WDIOC_KEEPALIVE, NUMBER.pack(0))
        except OSError as error:
            raise self._refusal("feed", error) from error

    def stop(self) -> None:
        """Stop it, whoever else has a descriptor of it. Raises EffectError where it is not to be stopped (nowayout)."""
        try:
            self._set(WDIOS_DISABLECARD)
        except OSError as error:
            if error.errno == errno.EBUSY:
                why = f"{self._path} cannot be stopped (nowayout): the machine will be reset"
                raise EffectError("stop", why) from error
            if error.errno not in UNKNOWN:
                raise self._refusal("stop", error) from error  # else it stops when its last descriptor is closed

    def release(self) -> None:
        """The magic close."""
        descriptor, self._descriptor = self._open(), None
        with contextlib.suppress(OSError):  # the device has gone: then there is nothing to stop
            os.write(descriptor, MAGIC)
        os.close(descriptor)

    def _look(self) -> None:
        """What can be known before opening, which arms it and feeds it."""
        found = os.stat(self._path)
        if not stat.S_ISCHR(found.st_mode):
            raise EffectError("take", f"{self._path} is no device")
        if _told(found.st_rdev, "state") == "active":
            whose = f"{REMEDIES[errno.EBUSY]}; or its program has died, and the machine will be reset"
            raise EffectError("take", f"{self._path} ticks already: {whose}")

    def _adopt(self, kept: int) -> Taken:
        self._descriptor = kept
        os.set_inheritable(kept, False)
        _, identity = self._support()
        with contextlib.suppress(OSError):  # a driver that knows no options: then it ticks, as it did
            self._set(WDIOS_ENABLECARD)
        return Taken(identity, self._timeout_ms(), True, not _nowayout(kept), kept)

    def _arm(self, timeout_ms: int) -> Taken:
        descriptor = self._open()
        options, identity = self._support()
        nowayout = _nowayout(descriptor)
        if not (options & WDIOF_MAGICCLOSE or nowayout):
            raise EffectError("take", f"{identity} stops when this process ends (neither WDIOF_MAGICCLOSE nor nowayout)")
        if not options & WDIOF_KEEPALIVEPING:
            raise EffectError("take", f"{identity} cannot be fed (no WDIOF_KEEPALIVEPING)")
        if options & WDIOF_SETTIMEOUT:
            with contextlib.suppress(OSError):  # not within its bounds: what it has instead is read back
                # Whole seconds, and rather one more: what is shorter than a restart would be of no use.
                fcntl.ioctl(descriptor, WDIOC_SETTIMEOUT, NUMBER.pack(-(-timeout_ms // 1000)))
        return Taken(identity, self._timeout_ms(), False, not nowayout, descriptor)

    def _support(self) -> tuple[int, str]:
        answer = fcntl.ioctl(self._open(), WDIOC_GETSUPPORT, bytes(INFO.size))
        options, _, identity = INFO.unpack(answer)
        return options, identity.split(b"\0", 1)[0].decode("utf-8", "replace") or self._path

    def _timeout_ms(self) -> int:
        answer = fcntl.ioctl(self._open(), WDIOC_GETTIMEOUT, NUMBER.pack(0))
        seconds: int = NUMBER.unpack(answer)[0]
        return seconds * 1000

    def _set(self, option: int) -> None:
        fcntl.ioctl(self._open(), WDIOC_SETOPTIONS, NUMBER.pack(option))

    def _open(self) -> int:
        if self._descriptor is None:
            raise EffectError("watchdog", f"{self._path} is not open")
        return self._descriptor

    def _refusal(self, action: str, error: OSError) -> EffectError:
        words = f"{self._path}: {error.strerror}"
        if error.errno in UNKNOWN:
            return EffectError(action, f"{words}: it does not behave as a watchdog")
        remedy = REMEDIES.get(error.errno or 0)
        return EffectError(action, f"{words}: {remedy}" if remedy else words)


def _nowayout(descriptor: int) -> bool:
    return _told(os.fstat(descriptor).st_rdev, "nowayout") == "1"


def _told(device: int, name: str) -> str | None:
    """An attribute of a watchdog in sysfs; None where the kernel keeps none (old drivers, no CONFIG_WATCHDOG_SYSFS)."""
    known = f"/sys/dev/char/{os.major(device)}:{os.minor(device)}"
    directory = SYSFS / "watchdog0" if device == FIRST else Path(known)
    try:
        return (directory / name).read_text(encoding="ascii").strip()
    except OSError:
        return None
