"""A log that never holds up who logs: a thread writes the lines; what it cannot keep up with is dropped, and told.

Standard error is a pipe or the journal's socket, and blocks when nobody reads: a journal that waits for a slow
disk would keep a green lit, with nobody to end it.
"""

import logging
import signal
from collections import deque
from threading import Event, Thread

MAX_LINES = 1000
CLOSE_S = 5.0
"""So long the last lines are waited for at the end."""


class LogAside(logging.Handler):
    """Hands every record to another handler, from a thread of its own.

    Args:
        writer: formats and writes.
    """

    def __init__(self, writer: logging.Handler) -> None:
        super().__init__()
        self._writer = writer
        self._waiting: deque[logging.LogRecord] = deque()
        self._n_lost = 0
        self._wake, self._idle = Event(), Event()
        self._idle.set()
        # It inherits what is blocked: a signal that finds a thread which lets it through ends the process.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        Thread(target=self._write_on, name="log", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def emit(self, record: logging.LogRecord) -> None:
        """Returns at once."""
        if len(self._waiting) >= MAX_LINES:
            self._n_lost += 1
            return
        # What it tells may change before it is written.
        record.msg, record.args = record.getMessage(), None
        self._idle.clear()
        self._waiting.append(record)
        self._wake.set()

    def flush(self) -> None:
        """Wait for the last lines, but not for long."""
        self.drained()

    def drained(self) -> bool:
        """Wait for the last lines, but not for long; whether they are written. Where not, the interpreter would
        hang at its end, since it waits for who writes."""
        self._wake.set()
        return self._idle.wait(CLOSE_S)

    def _write_on(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._writer.handle(self._waiting.popleft())
                self._tell_lost()
            self._idle.set()

    def _tell_lost(self) -> None:
        if lost := self._n_lost:
            self._n_lost -= lost
            text = f"{lost} lines were lost: the log could not be written for a while"
            self._writer.handle(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))
