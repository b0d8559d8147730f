"""Notes to log lines: time, level, code, key=value.

The time is that of the event that caused the note, not of the writing. Lines are written by a thread of its own: a log on
a full or hanging disk delays nothing and loses its own lines only.
"""

import contextlib
import errno
import json
import logging
import logging.handlers
import os
import queue
import re
import sys
import time
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from corolistener.core.notes import Note, NoteCode
from corolistener.effects import places, trust

MOST_WAITING = 10_000

_WARNINGS = frozenset(
    {
        NoteCode.QUORUM_LOST,
        NoteCode.SMALLER_CLAIM,
        NoteCode.RECOUNTED,
        NoteCode.FOREIGN_COROSYNC,
        NoteCode.NO_MASTER,
        NoteCode.LEASE_ENDED,
        NoteCode.RING_STALLED,
        NoteCode.PENDING,
        NoteCode.SECOND_PROCESS,
        NoteCode.ABSENT,
        NoteCode.LEFT,
        NoteCode.UNABLE,
        NoteCode.DISALLOWED,
        NoteCode.ADDRESS_LOST,
        NoteCode.ADDRESS_CONFLICT,
        NoteCode.UNSTORED,
        NoteCode.WITHDRAWN,
        NoteCode.ROLLBACK,
        NoteCode.FOREIGN_VERSION,
        NoteCode.SETTINGS_DIFFER,
        NoteCode.PEER_MESSAGE,
        NoteCode.COROSYNC_LOST,
        NoteCode.REPLICATION_OFF,
        NoteCode.LEDGER_FORCED,
        NoteCode.VM_OWED,
        NoteCode.VM_WAITS,
        NoteCode.VM_FROZEN,
        NoteCode.VM_STRAY,
        NoteCode.VM_CRASHED,
        NoteCode.VM_PAUSED,
        NoteCode.VM_GIVEN_UP,
        NoteCode.VM_NOT_MOVED,
        NoteCode.DEFINITION,
        NoteCode.OWED,
        NoteCode.SERVICE_WAITS_FOR_PROOF,
        NoteCode.FENCE_REFUSED,
        NoteCode.KILLED,
        NoteCode.SERVICE_KILLED,
    }
)
_ERRORS = frozenset(
    {
        NoteCode.EFFECT_FAILED,
        NoteCode.BROKEN,
        NoteCode.NOT_RECORDED,
        NoteCode.LEDGER_WENT_BACK,
        NoteCode.LEDGER_WAITS,
        NoteCode.VM_FAILED,
        NoteCode.STARVING,
        NoteCode.PANIC,
    }
)
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")


def level_of(code: NoteCode) -> int:
    """How loud a note is."""
    if code in _ERRORS:
        return logging.ERROR
    return logging.WARNING if code in _WARNINGS else logging.INFO


def line_of(code: str, fields: tuple[tuple[str, str], ...]) -> str:
    """`code key=value …`; a value that is not one plain word is quoted as in JSON, so a line stays one line."""
    words = [code]
    for name, value in fields:
        if value != "":
            words.append(f"{name}={value if _PLAIN.fullmatch(value) else json.dumps(value)}")
    return " ".join(words)


class _Format(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")


class Log:
    """The daemon's log: a file, reopened on demand, and standard error for the journal. `stamp` is the time of the event
    being handled, in seconds since 1970; None means now."""

    def __init__(self, path: str) -> None:
        """Open `path`; where that fails, standard error alone is used, and says so."""
        self.stamp: float | None = None
        self.path = path
        self._logger = logging.Logger("corolistener", logging.INFO)
        waiting: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
        self._logger.addHandler(_Handing(waiting))
        form = _Format("%(asctime)s %(levelname)s %(message)s")
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(form)
        handlers: list[logging.Handler] = [console]
        problem = ""
        self._file: logging.handlers.WatchedFileHandler | None = None
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = _File(path, encoding="utf-8", errors="backslashreplace")
            self._file.setFormatter(form)
            handlers.append(self._file)
        except OSError as error:
            problem = error.strerror or str(error)
        logging.raiseExceptions = False
        self._listener = logging.handlers.QueueListener(waiting, *handlers)
        self._listener.start()
        if problem:
            self.say(logging.ERROR, "log", path=path, why=problem)

    def note(self, note: Note) -> None:
        self._write(level_of(note.code), line_of(note.code.value, note.fields))

    def say(self, level: int, code: str, **fields: object) -> None:
        """A line of the shell's own, about what the core does not know of."""
        self._write(level, line_of(code, tuple((name.rstrip("_"), str(value)) for name, value in fields.items())))

    def _write(self, level: int, text: str) -> None:
        record = self._logger.makeRecord("corolistener", level, "", 0, text, (), None)
        record.created = self.stamp if self.stamp is not None else time.time()
        self._logger.handle(record)

    def reopen(self) -> None:
        """logrotate has moved the file away. Blocks: for a thread."""
        if self._file is not None:
            with self._file.lock or contextlib.nullcontext(), contextlib.suppress(OSError):
                self._file.reopenIfNeeded()

    def close(self) -> None:
        self._listener.stop()


class _File(logging.handlers.WatchedFileHandler):
    """The log file. What others have planted in its place, such as a link or a pipe, is not written to."""

    def emit(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is lost, and the thread that writes goes on: another handler has it as well."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o640)
        try:
            look = os.fstat(descriptor)
            if (why := places.judged(look, Path(self.baseFilename))) is not None and not trust.is_null(look):
                raise OSError(errno.EPERM, why)
            return TextIOWrapper(open(descriptor, "ab"), self.encoding, self.errors)
        except BaseException:
            os.close(descriptor)
            raise


class _Handing(logging.handlers.QueueHandler):
    """Hands records over unformatted; a full queue loses the line, never the daemon's time."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def handleError(self, record: logging.LogRecord) -> None:
        pass
