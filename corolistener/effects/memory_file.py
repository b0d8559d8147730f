"""The file in which a node remembers the ledger. Blocks: for one thread, which owns it.

One table of rows, by kind and key, each with a checksum; the version is a row among them and changes in the same
transaction. What `write` has written is there after a loss of power, or nothing of it is.

journal_mode WAL with synchronous FULL: a commit is one append to the log and one fsync of it, and durable with that. In
SQLite's usual mode, DELETE, the journal's removal is the commit, and FULL does not sync the directory after it, so a loss of
power soon afterwards can bring the journal back and undo what was acknowledged; only EXTRA does not, with four times as many
syncs. locking_mode EXCLUSIVE: there is one writer, no shared memory is needed, and nobody who looks with a tool holds it up.
"""

import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
import stat
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from corolistener.core.actions import Record
from corolistener.core.events import Recalled
from corolistener.core.ledger import Version
from corolistener.effects import files, marks
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId
from corolistener.wire import rows

NAME = "ledger.sqlite"
COMPANIONS = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, by what it adds to the name."""
APPLICATION = 0x434C4C44
"""`application_id`: "CLLD"."""
SCHEMA = 1
"""`user_version`; higher ones belong to programs that know more than this one."""
WAL = "PRAGMA journal_mode = WAL"
TABLE = """CREATE TABLE ledger (kind TEXT, key TEXT, row TEXT, sum INTEGER, PRIMARY KEY (kind, key)) WITHOUT ROWID"""
BESIDE = "CREATE TABLE IF NOT EXISTS beside (name TEXT PRIMARY KEY, row TEXT, sum INTEGER) WITHOUT ROWID"
"""`marks` of the file, and what was `heard` of the others' disks; older programs do not look at this table."""
LOCK_S = 2.0
"""How long a former process may take to end."""
DAMAGES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}
"""SQLITE_ERROR is what our statements meet where the table is not there any more."""
T = TypeVar("T")


class Damaged(Exception):
    """What is there is no ledger, or not a whole one."""


class LedgerFile:
    """The ledger in `directory`/ledger.sqlite, open from the first call to `close`, and again after every failure.

    `aside` are files that were put aside because they were damaged, and why, since it was last cleared. `place` is where the
    file really is, if this is a copy of it to be read.
    """

    def __init__(self, directory: Path, place: Path | None = None) -> None:
        self.directory, self.path = directory, directory / NAME
        self._marked = place or self.path
        self._counter = marks.Counter(self._marked.parent.with_name(f"{self._marked.parent.name}.mark"))
        self._serial = ""
        self._marks = marks.Marks()
        self.aside: list[tuple[Path, str]] = []
        self._db: sqlite3.Connection | None = None
        self._place = (0, 0)
        self._version = Version()

    def recall(self) -> Recalled:
        """What the file remembers; nothing where there is none, or where it was damaged and has been put aside.

        A node that has forgotten takes the ledger over from the others. That is safe as long as a majority without this
        node still has what was stable; it is one failure, as the loss of a disk is.

        Raises ConfigError for a newer schema, and EffectError where there may be something that cannot be read: another
        process has the file, the disk does not answer. To start with nothing then would be to forget on purpose.
        """
        try:
            return self._guarded("recall", self._recall)
        except EffectError:
            if self._absent():
                return Recalled()  # the directory cannot be written; each write will say so
            raise

    def _recall(self) -> Recalled:
        if os.path.exists(self.path) and not os.access(self.directory, os.W_OK):
            return self._recall_from_copy()
        db = self._opened()
        self._version, content = rows.whole(_content(db))
        found, heard = _beside(db)
        self._serial = found.serial
        doubt = ""
        if self._version != Version():
            doubt = marks.difference(found, self._marks) if found.file else ""
            doubt = doubt or self._counter.contradicts(self._version, found.serial)
        return Recalled(self._version, content, heard, doubt)

    def _recall_from_copy(self) -> Recalled:
        """SQLite reads no file with a log where it may not write. To close any descriptor of a file drops all locks on it."""
        self.close()
        with tempfile.TemporaryDirectory() as scratch:
            for companion in COMPANIONS:
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{self.path}{companion}", f"{scratch}/{NAME}{companion}")
            copy = LedgerFile(Path(scratch), self.path)
            recalled = copy.recall()
            copy.close()
        if copy.aside:
            raise EffectError("recall", f"{self.path}: {copy.aside[0][1]}, and it cannot be put aside")
        self._version, self._serial = recalled.version, copy._serial
        return recalled

    def _absent(self) -> bool:
        """There certainly is no file."""
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            pass
        return False

    def write(self, action: Record) -> None:
        """Put a change, or all of it, on the disk. Raises EffectError with the system's words; then the file is as it was.

        A change alone is refused where the file does not have what came before it.
        """
        try:
            self._guarded("Record", lambda: self._write(action))
        except ConfigError as error:
            raise EffectError("Record", str(error)) from None

    def _write(self, action: Record) -> None:
        db = self._opened()
        self._keep_foreign(db, action)
        db.execute("BEGIN IMMEDIATE")
        found = _version(db)
        if not action.whole and found != self._version:
            raise EffectError("Record", f"{self.path} has version {found}, not {self._version}: all must be written")
        if action.whole:
            db.execute("DELETE FROM ledger")
        db.executemany("DELETE FROM ledger WHERE kind = ? AND key = ?", rows.absent(action.rows))
        changed = [rows.encode(row) for row in (*rows.present(action.rows), action.version)]
        db.executemany("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?)", [(*row, _sum(*row)) for row in changed])
        self._write_beside(db, action)
        db.execute("COMMIT")
        if not self._in_place():
            raise EffectError("Record", f"{self.path} was moved or removed while it was in use")
        self._version = action.version
        self._counter.write(action.version, self._serial)

    def _keep_foreign(self, db: sqlite3.Connection, action: Record) -> None:
        """The ledger of another cluster is about to be replaced: a copy of it stays beside, because somebody may miss it."""
        found = db.execute("SELECT key, row FROM ledger WHERE kind = 'owner'").fetchone() if action.whole else None
        owner = rows.decode("owner", *found) if found is not None else None
        if isinstance(owner, rows.Owner) and owner.owned and owner.cluster != action.rows.cluster:
            copy = self._free("other-cluster")
            db.execute("VACUUM INTO ?", (str(copy),))
            self.aside.append((copy, "it belongs to another cluster"))

    def _free(self, what: str) -> Path:
        """A name beside the file that nothing has."""
        return next(path for n in range(1, 1 << 30) if not os.path.lexists(path := Path(f"{self.path}.{what}-{n}")))

    def _write_beside(self, db: sqlite3.Connection, action: Record) -> None:
        """What was heard of others; and the marks, where all is written, or an older program wrote none: a file that is doubted
        stays so until the whole ledger was taken from the others."""
        db.execute(BESIDE)
        if action.whole or not _beside(db)[0].file:
            self._serial = self._serial or secrets.token_hex(8)
            _put_beside(db, "marks", marks.encode(self._marks._replace(serial=self._serial)))
        _put_beside(db, "heard", msgspec.json.encode(action.heard).decode())

    def close(self) -> None:
        """Let go of the file; also twice."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _guarded(self, action: str, work: Callable[[], T]) -> T:
        """Failures of the world are EffectErrors. After any failure the file is opened anew: it may be mended by then."""
        try:
            return work()
        except (sqlite3.Error, OSError, EffectError, ConfigError) as error:
            self.close()
            if isinstance(error, EffectError | ConfigError):
                raise
            why = files.words(error, self.path) if isinstance(error, OSError) else f"{self.path}: {error}"
            raise EffectError(action, why) from error

    def _opened(self) -> sqlite3.Connection:
        """The file, sound and ours; what is neither is put aside first. Raises OSError, sqlite3.Error, EffectError."""
        if self._db is None:
            try:
                self._db = self._open()
            except (Damaged, UnicodeError, sqlite3.DatabaseError) as error:
                self.close()
                if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                    raise
                self._put_aside(str(error))
                self._db = self._open()
        return self._db

    def _open(self) -> sqlite3.Connection:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self.directory, os.W_OK):
            raise OSError(errno.EROFS, "cannot be written", str(self.directory))
        if not os.path.lexists(self.path):
            self._create()
        self._place = self._ours()
        self._marks = marks.marks_of(self._marked, "")  # before SQLite locks it: to close any descriptor drops all locks
        db = self._connected()
        schema, application = _number(db, "user_version"), _number(db, "application_id")
        if application != APPLICATION or schema < 1:
            raise Damaged("it is another program's, or cut short")
        if schema > SCHEMA:
            why = f"a newer corolistener wrote it (schema {schema}, this one knows {SCHEMA}): use that one"
            raise ConfigError(str(self.path), 0, why)
        db.execute(WAL).fetchall()
        _examine(db)
        return db

    def _create(self) -> None:
        """An empty ledger, lasting; or nothing, so that a file without a ledger is always one that was cut short."""
        with files.opened(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL):
            pass
        try:
            made = f"PRAGMA user_version = {SCHEMA}; PRAGMA application_id = {APPLICATION}; {TABLE}"
            self._connected().executescript(f"{WAL}; BEGIN; {made}; COMMIT")
            files.sync_directory(self.directory)
            files.sync_directory(self.directory.parent)
            self.close()
        except BaseException:
            self.close()
            for companion in COMPANIONS:
                with contextlib.suppress(OSError):
                    os.unlink(f"{self.path}{companion}")
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = db = sqlite3.connect(self.path, timeout=LOCK_S, isolation_level=None, check_same_thread=False)
            db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")  # damage is for the checksum to find
            for pragma in ("locking_mode = EXCLUSIVE", "synchronous = FULL"):
                db.execute(f"PRAGMA {pragma}").fetchall()
        return self._db

    def _ours(self) -> tuple[int, int]:
        """Device and inode of the file. Raises Damaged unless it is a regular one, and ours; nobody else is to read it."""
        look = os.lstat(self.path)
        if not stat.S_ISREG(look.st_mode) or look.st_uid != os.geteuid():
            raise Damaged("it is not a regular file of ours")
        if stat.S_IMODE(look.st_mode) != 0o600:
            os.chmod(self.path, 0o600)
        return look.st_dev, look.st_ino

    def _in_place(self) -> bool:
        """The names are still those of the files that were written: nobody has moved them away, where no start finds them."""
        try:
            look = os.lstat(self.path)
            os.lstat(f"{self.path}-wal")
        except FileNotFoundError:
            return False
        return (look.st_dev, look.st_ino) == self._place

    def _put_aside(self, why: str) -> None:
        """Rename what is there: somebody may want to see it."""
        there = self._free("damaged")
        for companion in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}{companion}", f"{there}{companion}")
        files.sync_directory(self.directory)
        self.aside.append((there, why))


def _examine(db: sqlite3.Connection) -> None:
    """Raises Damaged where anything in the file is not as it was written."""
    told = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if told != "ok":
        raise Damaged(str(told).splitlines()[0])
    _content(db)
    _beside(db)


def _content(db: sqlite3.Connection) -> list[rows.Row]:
    """Every row. Raises Damaged where one is not as it was written."""
    found = []
    for kind, key, text, total in db.execute("SELECT kind, key, row, sum FROM ledger"):
        try:
            if _sum(kind, key, text) != total:
                raise ValueError(f"the row {kind} {key!r} has another checksum")
            found.append(rows.decode(kind, key, text))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged(str(error)) from error
    if found and not any(isinstance(row, Version) for row in found):
        raise Damaged("it has no version")
    return found


def _beside(db: sqlite3.Connection) -> tuple[marks.Marks, tuple[tuple[NodeId, Version], ...]]:
    """The marks of the file as it was written, and what was heard. Raises Damaged. An older program has written neither."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'beside'").fetchall():
        return marks.Marks(), ()
    found = {}
    for name, text, total in db.execute("SELECT name, row, sum FROM beside"):
        if _sum("beside", name, text) != total:
            raise Damaged(f"the row beside {name!r} has another checksum")
        found[name] = text
    try:
        heard = msgspec.json.decode(found.get("heard", "[]"), type=tuple[tuple[NodeId, Version], ...])
        return marks.decode(found["marks"]) if "marks" in found else marks.Marks(), heard
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged(str(error)) from error


def _put_beside(db: sqlite3.Connection, name: str, text: str) -> None:
    db.execute("INSERT OR REPLACE INTO beside VALUES (?, ?, ?)", (name, text, _sum("beside", name, text)))


def _version(db: sqlite3.Connection) -> Version:
    found = db.execute("SELECT kind, key, row FROM ledger WHERE kind = 'version'").fetchone()
    version = rows.decode(*found) if found is not None else Version()
    assert isinstance(version, Version)
    return version


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGES


def _sum(kind: str, key: str, text: str) -> int:
    return zlib.crc32(f"{kind}\0{key}\0{text}".encode())


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
