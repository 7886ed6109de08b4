"""One of several workers, as it talks to its parent: ready, and alive for as long as work gets done."""

import asyncio
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

from collector.errors import CollectorError

BEAT_S = 1.0
READY, BEAT = b"ready", b"beat"


class ParentGone(CollectorError):
    """Whoever minds this worker is there no more: it must stop, since nobody would."""


class WorkerLink:
    """The worker's end. `number` counts from 1."""

    def __init__(self, number: int, parent: Connection, parent_pid: int) -> None:
        self.number = number
        self._parent, self._parent_pid = parent, parent_pid

    @property
    def is_first(self) -> bool:
        """Whether it does what only one worker of a machine may."""
        return self.number == 1

    def tell_ready(self) -> None:
        """Requests are served from now on."""
        self._send(READY)

    async def beat(self, makes_progress: Callable[[], bool]) -> None:
        """Runs in the event loop, and so proves that too. Raises ParentGone."""
        while True:
            if os.getppid() != self._parent_pid:
                raise ParentGone("the parent of this worker ended")
            if makes_progress():
                self._send(BEAT)
            await asyncio.sleep(BEAT_S)

    def _send(self, word: bytes) -> None:
        try:
            self._parent.send_bytes(word)
        except OSError as error:
            raise ParentGone("the parent of this worker listens no more") from error
