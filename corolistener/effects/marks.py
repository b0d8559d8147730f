"""What tells the ledger's file from a copy of it: a file that was restored or cloned must not pass for the one written last.

| attack | told by |
|---|---|
| a backup is unpacked, or the file is copied | inode and its generation, which no copy keeps |
| the content is copied into the file that is there | the counter beside the directory knows a newer version |
| the disk is copied to another machine | machine-id, and the machine's own UUID |
| the whole disk goes back (snapshot of a virtual machine) | none of these: other nodes remember (core/witness) |

The counter is the newest version written, in a file of its own beside the state directory. It is written after each commit and
not synced: a loss of power may leave an older one, which says nothing, and never a newer one than the ledger's.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from corolistener.core.ledger import Version

GET_GENERATION = 0x80087601
"""FS_IOC_GETVERSION: the generation of an inode, which changes whenever its number is used anew."""
MACHINE = (Path("/etc/machine-id"), Path("/sys/class/dmi/id/product_uuid"))


class Marks(NamedTuple):
    """`file`: inode and generation; `machine`: whose it is, as a hash; `serial`: a number that this ledger got when it was
    made. '' where something cannot be known."""

    file: str = ""
    machine: str = ""
    serial: str = ""


def marks_of(path: Path, serial: str) -> Marks:
    """The marks that the file at `path` has now. Raises OSError.

    Not while this process has the file locked: the system drops all its locks when any descriptor of the file is closed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        generation = ""
        with contextlib.suppress(OSError):  # not every file system has one
            found = fcntl.ioctl(descriptor, GET_GENERATION, bytes(struct.calcsize("l")))
            generation = f".{struct.unpack('l', found)[0] & 0xFFFFFFFF}"
        return Marks(f"{os.fstat(descriptor).st_ino}{generation}", machine(), serial)
    finally:
        os.close(descriptor)


def machine() -> str:
    """This machine, as a hash: its id is nobody's business. '' where it has none."""
    known = []
    for path in MACHINE:
        with contextlib.suppress(OSError, UnicodeError):
            known.append(path.read_text(encoding="ascii").strip())
    return hashlib.sha256(f"corolistener {known}".encode()).hexdigest()[:32] if known else ""


def encode(marks: Marks) -> str:
    return json.dumps(marks)


def decode(text: str) -> Marks:
    """The inverse. Raises ValueError, TypeError."""
    return Marks(*map(str, json.loads(text)))


def difference(was: Marks, now: Marks) -> str:
    """Why the file is not the one that was written last, or ''."""
    if was.machine and now.machine and was.machine != now.machine:
        return "it was written on another machine"
    if was.file != now.file:
        return "it is a copy: the file was restored or moved here"
    return ""


class Counter:
    """The newest version written, and the serial of the ledger that it was written to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, version: Version, serial: str) -> None:
        """Kept by the kernel, not synced. Nothing waits for it and nothing fails with it: without it there is one mark less."""
        body = msgspec.json.encode((serial, version))
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                line = b"%08x %s\n" % (zlib.crc32(body), body)
                os.pwrite(descriptor, line, 0)
                os.ftruncate(descriptor, len(line))
            finally:
                os.close(descriptor)

    def read(self) -> tuple[str, Version]:
        """('', Version()) where there is none, or none that is whole."""
        with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid != os.geteuid():
                    raise OSError(errno.EPERM, "somebody else's")
                total, _, body = os.read(descriptor, 4096).partition(b" ")
            finally:
                os.close(descriptor)
            if int(total, 16) == zlib.crc32(body.rstrip(b"\n")):
                found: tuple[str, Version] = msgspec.json.decode(body, type=tuple[str, Version])
                return found
        return "", Version()

    def contradicts(self, version: Version, serial: str) -> str:
        """Why a ledger with this version is not what was written last, or ''."""
        known, newest = self.read()
        if known and serial and known != serial:
            return "it is another ledger than the one that this node has written"
        return f"this node had written version {newest}, and the file has version {version}" if newest > version else ""
