"""What must outlive the daemon: a latched fault, and the order to flash or be dark. A power cut clears neither.

The step loop never waits for the disk: a thread writes, and only the newest counts. A file that cannot be read is
in doubt, and doubt flashes.
"""

import contextlib
import fcntl
import logging
import os
from pathlib import Path
from threading import Condition, Thread

import msgspec

from common.commands import Flash, Off
from edge_agent.domain.signals.steps import FaultCode
from edge_agent.safe_file import write_safely

logger = logging.getLogger(__name__)

RETRY_S = 5.0
"""The disk refused: so long until it is tried again."""
STATE_NAME, LOCK_NAME, LAST_GOOD_NAME = "state.json", "lock", "last-good.json"


class KeptFault(msgspec.Struct, frozen=True):
    """A fault that nobody has cleared."""

    code: FaultCode
    detail: str


class Kept(msgspec.Struct, frozen=True):
    """All of it."""

    fault: KeptFault | None = None
    order: Flash | Off | None = None


NOTHING = Kept()


class DaemonRuns(Exception):
    """Another process drives these heads."""


class HeadsLock:
    """Held by whoever drives the heads; the kernel frees it when the process ends, however that happens."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / LOCK_NAME
        self._handle: int | None = None

    def take(self) -> None:
        """Make the folder if need be, and be the only one.

        Raises:
            DaemonRuns: somebody else is.
            OSError: the folder cannot be written.
        """
        handle = self._open()
        if os.geteuid() == 0:
            # Who tests lamps with sudo before the first start must not lock the daemon's own user out.
            folder = self._path.parent.stat()
            with contextlib.suppress(OSError):
                os.fchown(handle, folder.st_uid, folder.st_gid)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise DaemonRuns(
                f"the lights' daemon runs on {self._path.parent}; stop it first: systemctl stop stopline-signals"
            ) from error
        self._handle = handle

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError:
            # A disk that became read-only is no reason for lights to stop; who was here before left the file.
            with contextlib.suppress(OSError):
                return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            raise

    def release(self) -> None:
        """Let others. May be called twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class Memory:
    """The file of what is kept. `load` once, then `keep` at any time, then `close`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / STATE_NAME
        self._known = NOTHING
        self._waits: Kept | None = None
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._write_on, name="memory", daemon=True)
        self._started = False
        self._fails = False

    def load(self) -> Kept:
        """What was kept last; nothing where nothing ever was."""
        try:
            self._known = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            self._known = NOTHING
        except (OSError, ValueError, RecursionError) as error:
            # A damaged disk gives any bytes at all; those that are no text are a ValueError too.
            detail = f"{self._path} cannot be read ({error}), so that nobody knows whether a fault was cleared"
            logger.critical("%s", detail, exc_info=True, extra={"action": "state_unreadable"})
            self._known = Kept(KeptFault(FaultCode.EXCEPTION, detail))
        return self._known

    @property
    def kept(self) -> Kept:
        """As it is to be."""
        return self._known

    def keep(self, kept: Kept) -> None:
        """From now on this. Returns at once."""
        if kept == self._known:
            return
        self._known = kept
        with self._changed:
            if not self._started:
                self._thread.start()
                self._started = True
            self._waits = kept
            self._changed.notify()

    def close(self, timeout_s: float = 2.0) -> None:
        """Wait for the disk, but not for long."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._started:
            self._thread.join(timeout_s)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waits is not None or self._closing)
                kept, self._waits = self._waits, None
            if kept is None:
                return
            try:
                write_safely(self._path, msgspec.json.encode(kept))
            except OSError as error:
                if not self._fails:
                    logger.log(
                        logging.ERROR,
                        "%s cannot be written (%s): a restart would not know of the fault or order; tried again",
                        *(self._path, error),
                        extra={"action": "state_unwritable"},
                    )
                self._fails = True
                with self._changed:
                    if self._closing:
                        return
                    if self._waits is None:
                        self._waits = kept
                        self._changed.wait(RETRY_S)
            else:
                self._fails = False
