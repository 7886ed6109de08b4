"""The lights' records, from when they are made until the agent has them on its disk.

What it promises: a record that was `put` longer ago than `commit_interval_s` and one write of the disk survives
kill -9 and a power cut; records are handed out with gapless numbers, in order, and only once they are on the disk;
what has to be dropped when the spool is full, or the disk refuses, leaves a gap in its place that is handed out
like a record; a damaged file is moved aside, a new spool begins, and that is told.

The caller's thread is that of the lights: it never touches the disk, and never waits for the thread that does. The
two share a deque, and values that one of them writes and the other reads. The writer thread inherits the
scheduling class of the thread that makes the spool, so make it after that is set: a writer of lower rank that is
kept from the processor while it holds the interpreter would hold up the lights.

What is numbered twice would be lost at the agent, which takes a number once. So when the agent says that it has
numbers that were never handed out from this file, the file was put back to an older state: what it held then is
delivered, and what came since begins anew under a new name.
"""

import contextlib
import logging
import sqlite3
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from common.clock import Stamp
from common.codes import GapReason
from edge_agent.link.messages import Spooled
from edge_agent.link.spool_file import DROP_CLASSES, MIN_BYTES, Lost, SpoolFile, SpoolRecord, kind_of

logger = logging.getLogger(__name__)

DEFAULT_BYTES = 32 * 1024 * 1024
"""Some days of a busy junction without an agent."""
MAX_QUEUED = 4096
"""Records that wait for the writer thread. Beyond it events are dropped, and told."""
WINDOW_RECORDS = 256
"""So many are held ready to be handed out."""
_BATCH_RECORDS = 250
_RETRY_INTERVALS = 5
"""When the disk refused, it is tried again after so many commit intervals."""
_KEEP_FILES = 2

Item = tuple[SpoolRecord, Stamp]


@dataclass(frozen=True, slots=True)
class _Window:
    """Records ready to be handed out: all that follow number `after`, up to the last of them."""

    after: int
    rows: tuple[Spooled, ...] = ()

    @property
    def end(self) -> int:
        return self.rows[-1].no if self.rows else self.after

    def start(self, no: int) -> int:
        """Index of the first that follows `no`."""
        return bisect_right(self.rows, no, key=lambda row: row.no)


@dataclass(slots=True)
class _Session:
    """The numbers of one name of one open file. A new one takes its place when the file is opened or renamed, and
    what is written into the old one then is of no account."""

    name: str
    base: int
    opened_at: int
    """The newest number when the file was opened."""
    # The writer thread's:
    durable: int
    window: _Window
    # The caller's:
    taken: int
    cursor: int
    handed_out: int = 0
    put_back: bool = False


@dataclass(frozen=True, slots=True)
class _Overflow:
    """What memory had no room for: of each kind since the start, and when the last spell began and ended."""

    tally: dict[str, int]
    first: Stamp
    last: Stamp


class Spool:
    """See the module's text. One thread calls `put`, `after`, `taken` and `close`; none blocks, save the last."""

    def __init__(self, path: Path, max_bytes: int = DEFAULT_BYTES, *, commit_interval_s: float = 1.0) -> None:
        """Begin. The file is opened in the background, and `put` works at once.

        Args:
            path: of the file; made if it is not there. Its folder must exist.
            max_bytes: most that the file and its log may take up.

        Raises:
            ValueError: `max_bytes` is too small to be kept.
        """
        if max_bytes < MIN_BYTES:
            raise ValueError(f"max_bytes is {max_bytes}; it must be at least {MIN_BYTES}")
        self._path, self._max_bytes, self._interval_s = path, max_bytes, commit_interval_s
        # The caller's:
        self._queue: deque[Item] = deque()
        self._overflow: _Overflow | None = None
        self._closing = False
        # The writer thread's:
        self._session: _Session | None = None
        self._trouble: str | None = None
        self._told_trouble = False
        self._n_dropped = 0
        self._file: SpoolFile | None = None
        self._pending: list[Item] = []
        self._batch_records = _BATCH_RECORDS
        self._overflow_told: _Overflow | None = None
        self._corrupt: Lost | None = None
        self._wake = Event()
        self._thread = Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    # The caller's side

    @property
    def name(self) -> str | None:
        """What numbers count within; None: the file is not open yet."""
        session = self._session
        return session.name if session else None

    @property
    def trouble(self) -> str | None:
        """Why nothing is written at present, for people; None: all is well."""
        if not self._closing and not self._thread.is_alive():
            return "the thread that writes the lights' records has died; see the log, and restart the daemon"
        return self._trouble

    @property
    def n_dropped(self) -> int:
        """Records dropped since this was made."""
        return self._n_dropped

    @property
    def n_waiting(self) -> int:
        """Numbers that the agent has not taken, and records that have none yet."""
        session = self._session
        return len(self._queue) + len(self._pending) + (session.durable - session.taken if session else 0)

    @property
    def taken_to(self) -> int:
        """The agent has everything up to this number."""
        session = self._session
        return session.taken if session else 0

    def put(self, record: SpoolRecord, stamp: Stamp) -> None:
        """Take in a record that happened at `stamp`. Its seq and times are placeholders.

        Returns at once. When the disk is so far behind that memory is full, an event is dropped, and told.
        """
        if len(self._queue) >= MAX_QUEUED and not self._make_room(record, stamp):
            return
        self._queue.append((record, stamp))
        if len(self._queue) == 1:
            self._wake.set()

    def after(self, no: int, limit: int) -> list[Spooled]:
        """Up to `limit` records that follow number `no`, oldest first: those of them that are on the disk and at
        hand. Fewer, or none, may come although there are more; ask again."""
        session = self._session
        if session is None or session.put_back:
            return []
        session.cursor = no = max(no, session.taken)
        window, found = session.window, list[Spooled]()
        if window.after <= no:
            start = window.start(no)
            found = list(window.rows[start : start + limit])
        if len(found) < limit and (window.after > no or window.end < session.durable):
            self._wake.set()
        if found:
            session.handed_out = max(session.handed_out, found[-1].no)
        return found

    def taken(self, up_to: int) -> None:
        """The agent has everything of `name` up to this number on its disk; it may be forgotten here."""
        session = self._session
        if session is None or session.put_back:
            return
        if up_to > max(session.handed_out, session.opened_at):
            session.put_back = True
        elif up_to > session.taken:
            session.taken = up_to
        else:
            return
        self._wake.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and end. Blocks for as long as the disk takes, but not longer than `timeout_s`. May be
        called twice."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _make_room(self, record: SpoolRecord, stamp: Stamp) -> bool:
        """Memory is full: an event goes, the oldest in the queue or else this record itself. True: not itself."""
        gone: Item = (record, stamp)
        if kind_of(record) != "signal_event":
            gone = next((item for item in tuple(self._queue) if kind_of(item[0]) == "signal_event"), gone)
        if gone[0] is not record:
            try:
                self._queue.remove(gone)
            except (ValueError, IndexError):
                # The writer was faster, and there is room now.
                return True
        over, told, kind = self._overflow, self._overflow_told, kind_of(gone[0])
        tally = dict(over.tally) if over else {}
        tally[kind] = tally.get(kind, 0) + 1
        self._overflow = _Overflow(tally, gone[1] if over is None or over is told else over.first, gone[1])
        return gone[0] is not record

    # The writer thread

    def _work(self) -> None:
        due_s: float | None = 0.0
        while not self._closing:
            self._wake.wait(None if due_s is None else max(0.0, due_s - monotonic()))
            self._wake.clear()
            if due_s is not None and monotonic() >= due_s:
                due_s = None if self._turn() else monotonic() + self._interval_s * _RETRY_INTERVALS
            if due_s is None and self._has_work():
                due_s = monotonic() + self._interval_s
            self._refill()
        self._turn()
        if self._file is not None:
            self._file.close()

    def _has_work(self) -> bool:
        file, session = self._file, self._session
        return bool(
            self._queue
            or self._pending
            or self._overflow is not self._overflow_told
            or file is None
            or session is None
            or session.put_back
            or session.taken + session.base > file.taken
        )

    def _turn(self) -> bool:
        """Open the file if need be, and write all that waits; False: the disk refuses, try again later."""
        try:
            file, session = self._opened()
            if session.put_back:
                session = self._begin_anew(file, session)
            while self._write_some(file, session):
                pass
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            return False
        if self._told_trouble:
            logger.warning("the lights' records are written again", extra={"action": "spool_writable"})
        self._trouble, self._told_trouble = None, False
        return True

    def _failed(self, error: OSError | sqlite3.Error) -> None:
        self._trouble = f"{self._path} cannot be written ({error}); records wait in memory"
        if not self._told_trouble:
            self._told_trouble = True
            logger.error("the lights' records: %s", self._trouble, extra={"action": "spool_disk_error"})
        if self._file is not None and _is_corrupt(error):
            # When it is opened again, it is moved aside.
            self._file.close()
            self._file = None

    def _opened(self) -> tuple[SpoolFile, _Session]:
        if self._file is not None and self._session is not None:
            return self._file, self._session
        try:
            file = SpoolFile(self._path, self._max_bytes)
        except sqlite3.Error as error:
            if not _is_corrupt(error):
                raise
            file = self._start_over(error)
        self._file = file
        return file, self._begin_session(file, file.last - file.base)

    def _start_over(self, error: sqlite3.Error) -> SpoolFile:
        kept = _move_aside(self._path)
        detail = f"their spool was damaged ({error}) and is kept as {kept.name}; what it held is missing"
        # The error says it all; a traceback would add nothing.
        logger.log(logging.ERROR, "the lights' records: %s", detail, extra={"action": "spool_corrupt"})
        self._corrupt = Lost(GapReason.OUTBOX_CORRUPT, 0, {}, detail)
        return SpoolFile(self._path, self._max_bytes)

    def _begin_session(self, file: SpoolFile, opened_at: int) -> _Session:
        taken = file.taken - file.base
        session = _Session(
            *(file.name, file.base, opened_at),
            durable=file.last - file.base,
            window=_Window(taken),
            taken=taken,
            cursor=taken,
        )
        self._session = session
        return session

    def _begin_anew(self, file: SpoolFile, session: _Session) -> _Session:
        logger.error(
            "the agent has more of the lights' records than were ever handed out: %s was put back to an older "
            "state; what is newer begins anew",
            self._path,
            extra={"action": "spool_put_back"},
        )
        file.begin_anew(session.opened_at + session.base)
        return self._begin_session(file, 0)

    def _write_some(self, file: SpoolFile, session: _Session) -> bool:
        """One transaction of bounded size, and then room is made; False: nothing waited."""
        while self._queue and len(self._pending) < self._batch_records:
            self._pending.append(self._queue.popleft())
        taken, over = session.taken + session.base, self._overflow
        if not self._pending and taken <= file.taken and over is self._overflow_told:
            return False
        batch, corrupt = self._pending[: self._batch_records], self._corrupt
        lost = self._lost_before(over)
        try:
            file.commit([*lost, *batch], taken)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL or len(batch) <= 1:
                raise
            # Perhaps not the disk is full, but the spool: fewer at a time, and room first.
            self._batch_records = len(batch) // 2
            if file.is_well_filled():
                self._shrink(file, session)
            return True
        del self._pending[: len(batch)]
        self._batch_records = _BATCH_RECORDS
        self._n_dropped += sum(sum(one.dropped.values()) for one, _ in lost if isinstance(one, Lost))
        self._overflow_told = over
        self._corrupt = None if batch else corrupt
        session.durable = file.last - file.base
        if file.is_full():
            self._shrink(file, session)
        return True

    def _lost_before(self, over: _Overflow | None) -> list[tuple[SpoolRecord | Lost, Stamp]]:
        """What must be told as missing, dated by what was made next."""
        items: list[tuple[SpoolRecord | Lost, Stamp]] = []
        if self._corrupt is not None and self._pending:
            items.append((self._corrupt, self._pending[0][1]))
        if over is not None and over is not self._overflow_told:
            told = self._overflow_told.tally if self._overflow_told else {}
            dropped = {kind: n - told.get(kind, 0) for kind, n in over.tally.items() if n > told.get(kind, 0)}
            reason = GapReason.DISK_ERROR if self._told_trouble else GapReason.OUTBOX_FULL
            duration_ms = max(0, over.last.boottime_ns - over.first.boottime_ns) // 1_000_000
            items.append((Lost(reason, duration_ms, dropped), over.last))
        return items

    def _shrink(self, file: SpoolFile, session: _Session) -> None:
        """Drop events before cycles, oldest first, save what may be handed out at this moment."""
        keep = max(session.handed_out, session.window.end) + session.base
        n_before = self._n_dropped
        for kind in DROP_CLASSES:
            while file.is_well_filled() and (n := file.drop_some(kind, keep)):
                self._n_dropped += n
        if n := self._n_dropped - n_before:
            extra = {"action": "spool_full"}
            logger.warning(
                "the spool is full: %d of the lights' records were dropped; is the agent running?", n, extra=extra
            )

    def _refill(self) -> None:
        """Read ahead, where the caller is near the end of what is at hand."""
        file, session = self._file, self._session
        if file is None or session is None or session.put_back:
            return
        window, cursor = session.window, max(session.cursor, session.taken)
        n_left = len(window.rows) - window.start(cursor)
        if window.after <= cursor and (n_left >= WINDOW_RECORDS // 2 or window.end >= session.durable):
            return
        try:
            rows = file.read(cursor + session.base, WINDOW_RECORDS)
        except sqlite3.Error as error:
            self._failed(error)
            return
        session.window = _Window(cursor, tuple(rows))


def _is_corrupt(error: Exception) -> bool:
    """Whether an error says that the file is damaged, rather than that the disk is full or busy."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return type(error) is sqlite3.DatabaseError
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA)


def _move_aside(path: Path) -> Path:
    """The damaged file and its log get another name; the newest few are kept for a look at them."""
    numbers = [int(p.suffix[8:]) for p in path.parent.glob(path.name + ".damaged*") if p.suffix[8:].isdigit()]
    kept = path.with_name(f"{path.name}.damaged{max(numbers, default=0) + 1}")
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    for number in sorted(numbers)[: -(_KEEP_FILES - 1)]:
        for suffix in ("", "-wal"):
            path.with_name(f"{path.name}.damaged{number}{suffix}").unlink(missing_ok=True)
    return kept
