"""`serve --workers N`: a parent that serves nobody, and N processes that do, on one listening socket.

The parent holds what there is only one of: the port, the embedded PostgreSQL, and the word to systemd. A worker
that ends, or whose work stands still, is replaced; the others go on taking connections meanwhile. Where too many
end in a short time, something is wrong that a new process does not mend: all stop, and systemd starts the daemon.

Workers are forked before any of them has a thread, a connection or an event loop. One more process minds the
embedded PostgreSQL, whose recovery may take longer than systemd waits for a sign of life.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from collector.embedded import EmbeddedPostgres
from collector.errors import UnavailableError
from collector.ops.worker import READY, WorkerLink
from common.notify import notify, watchdog_interval_s

_log = logging.getLogger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 1.0
_STARTS_WITHIN_S = 120.0
STANDS_STILL_S = 60.0
_MOST_ENDS = 5
_ENDS_WITHIN_S = 60.0
_STOP_S = 60.0
"""Longer than a worker may take for its last batches and its listeners."""

Work = Callable[[WorkerLink], int]


@dataclass(slots=True)
class _Child:
    """A process and what was heard of it. `link` None: it says nothing."""

    number: int
    process: ForkProcess
    link: Connection | None
    heard_s: float
    is_ready: bool = False

    def hear(self, now_s: float) -> None:
        with contextlib.suppress(EOFError, OSError):
            while self.link is not None and self.link.poll():
                self.is_ready = self.link.recv_bytes() == READY or self.is_ready
                self.heard_s = now_s

    def stands_still(self, now_s: float) -> bool:
        if self.link is None:
            return False
        return now_s - self.heard_s > (STANDS_STILL_S if self.is_ready else _STARTS_WITHIN_S)


class Workers:
    """Runs `work` in `n` processes, and minds them. Used by one thread, with no other beside it."""

    def __init__(self, n: int, work: Work, embedded: EmbeddedPostgres | None = None) -> None:
        self._n, self._work, self._embedded = n, work, embedded
        self._fork = multiprocessing.get_context("fork")
        self._children: list[_Child] = []
        self._ends_s: list[float] = []
        self._is_stopping = False
        self._was_ready = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT: 0. 1: the workers cannot go on."""
        with _woken_by(self._stop) as wake:
            try:
                numbers = range(0 if self._embedded else 1, self._n + 1)
                self._children = [self._start(number) for number in numbers]
                return self._mind(wake)
            finally:
                notify("STOPPING=1")
                self._end_all()

    def _stop(self) -> None:
        self._is_stopping = True

    def _mind(self, wake: socket.socket) -> int:
        watchdog_s = watchdog_interval_s() or _LOOK_S
        while not self._is_stopping:
            links = [child.link for child in self._children if child.link is not None]
            wait([wake, *links, *(child.process.sentinel for child in self._children)], min(_LOOK_S, watchdog_s))
            notify("WATCHDOG=1")
            now_s = time.monotonic()
            for child in self._children:
                child.hear(now_s)
            self._note_ready()
            if not self._is_stopping and not self._replace_ended(now_s):
                return 1
        return 0

    def _note_ready(self) -> None:
        if not self._was_ready and all(child.is_ready for child in self._children if child.link is not None):
            self._was_ready = True
            notify("READY=1")
            _log.info("Ready", extra={"action": "ready", "workers": self._n})

    def _replace_ended(self, now_s: float) -> bool:
        """False: too many ended, or one did before all had begun."""
        for child in list(self._children):
            if child.stands_still(now_s):
                _log.error("Worker %d stands still; it is killed", child.number, extra={"action": "worker_stuck"})
                child.process.kill()
                child.process.join()
            if child.process.exitcode is None:
                continue
            self._ends_s = [at_s for at_s in self._ends_s if now_s - at_s < _ENDS_WITHIN_S] + [now_s]
            if not self._was_ready or len(self._ends_s) > _MOST_ENDS:
                _log.critical("Worker %d ended, and all stop", child.number, extra={"action": "workers_failed"})
                return False
            told = {"action": "worker_replaced", "worker": child.number, "exit": child.process.exitcode}
            _log.error("Worker %d ended (%d); another takes its place", child.number, told["exit"], extra=told)
            _close(child)
            self._children[self._children.index(child)] = self._start(child.number)
        return True

    def _start(self, number: int) -> _Child:
        """Number 0 minds the embedded PostgreSQL."""
        if number == 0:
            process = self._fork.Process(target=self._mind_embedded, name="postgres-minder")
            _start_unheard(process)
            return _Child(number, process, None, time.monotonic())
        ours, theirs = self._fork.Pipe(duplex=False)
        process = self._fork.Process(
            target=self._be_worker, args=(number, theirs, os.getpid()), name=f"worker-{number}"
        )
        _start_unheard(process)
        theirs.close()
        return _Child(number, process, ours, time.monotonic())

    def _be_worker(self, number: int, link: Connection, parent_pid: int) -> None:
        _forget_parents_signals()
        # Only the parent talks to systemd, which would not believe anybody else.
        os.environ.pop("NOTIFY_SOCKET", None)
        os._exit(self._work(WorkerLink(number, link, parent_pid)))

    def _mind_embedded(self) -> None:
        assert self._embedded is not None
        _forget_parents_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        parent_pid = os.getppid()
        while os.getppid() == parent_pid:
            try:
                self._embedded.ensure_running()
            except UnavailableError as error:
                _log.error("The database stays away: %s", error, extra={"action": "postgres_gone"})
            time.sleep(_LOOK_S)
        os._exit(0)

    def _end_all(self) -> None:
        """In order, those that serve first: they need the database to the last."""
        serving = [child for child in self._children if child.link is not None]
        for group in (serving, [child for child in self._children if child.link is None]):
            for child in group:
                child.process.terminate()
            _await_end(group)
        for child in self._children:
            _close(child)


def _await_end(children: Sequence[_Child]) -> None:
    until_s = time.monotonic() + _STOP_S
    for child in children:
        child.process.join(max(0.0, until_s - time.monotonic()))
        if child.process.exitcode is None:
            _log.error("Worker %d does not stop; it is killed", child.number, extra={"action": "worker_killed"})
            child.process.kill()
            child.process.join()


def _close(child: _Child) -> None:
    if child.link is not None:
        child.link.close()
    child.process.close()


def _start_unheard(process: ForkProcess) -> None:
    """A signal that comes before the child has its own handlers waits: the parent's would swallow it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


def _forget_parents_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


@contextlib.contextmanager
def _woken_by(stop: Callable[[], None]) -> Iterator[socket.socket]:
    """Has signals call `stop`; what is given becomes readable then."""
    readable, written = socket.socketpair()
    with readable, written:
        written.setblocking(False)
        before = signal.set_wakeup_fd(written.fileno())
        for number in _STOPPING:
            signal.signal(number, lambda *_: stop())
        try:
            yield readable
        finally:
            signal.set_wakeup_fd(before)
            # What is still open has yet to be closed, so a second signal does not end it.
            for number in _STOPPING:
                signal.signal(number, lambda *_: None)
