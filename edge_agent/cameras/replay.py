"""Plays a source that has an end as if it were a camera: in its own time, and again and again.

Who reads too slowly misses pictures, as with a camera.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from edge_agent.domain.frames import Frame
from edge_agent.domain.measuring import STALL_S
from edge_agent.drivers.base import FrameSource, SourceEnded, SourceStalled

logger = logging.getLogger(__name__)

PAUSE_S = STALL_S + 0.5
"""Between two rounds nothing is measured: what was in the picture is not to be tracked into the next one."""
_LATE_S = 0.2
_MAX_SKIPPED = 30
"""After so many late pictures in a row one is given all the same: decoding alone is too slow for this machine."""


class Replay:
    """A live source made of one that is not. Times of frames are those of `monotonic_s`."""

    live = True

    def __init__(
        self,
        source: FrameSource,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._monotonic_s, self._sleep = monotonic_s, sleep
        self._start_s: float | None = None
        """When this round's time 0 was, or will be; None: at its first frame."""
        self._next: Frame | None = None
        self._index_base = 0
        self._last_index = -1

    def open(self) -> None:
        self._source.open()
        self._start_s = self._next = None
        self._index_base, self._last_index = 0, -1

    def read(self, timeout_s: float) -> Frame:
        for _ in range(_MAX_SKIPPED):
            frame, due_s = self._upcoming()
            if due_s >= self._monotonic_s() - _LATE_S:
                break
            self._next = None
        else:
            self._start_s = None
            frame, due_s = self._upcoming()
        wait_s = due_s - self._monotonic_s()
        if wait_s > timeout_s:
            self._sleep(timeout_s)
            raise SourceStalled(f"the next picture is due in {wait_s - timeout_s:.3g} s")
        self._sleep(max(0.0, wait_s))
        self._next = None
        self._last_index = self._index_base + frame.index
        return replace(frame, t_s=due_s, index=self._last_index)

    def close(self) -> None:
        self._source.close()

    def _upcoming(self) -> tuple[Frame, float]:
        """The next picture and when it is due."""
        if self._next is None:
            try:
                self._next = self._source.read(timeout_s=1.0)
            except SourceEnded:
                self._next = self._rewind()
        if self._start_s is None:
            self._start_s = self._monotonic_s() - self._next.t_s
        return self._next, self._start_s + self._next.t_s

    def _rewind(self) -> Frame:
        logger.info("the source is over and begins again", extra={"action": "replay_again"})
        self._source.close()
        self._source.open()
        first = self._source.read(timeout_s=1.0)
        self._index_base = self._last_index + 1 - first.index
        self._start_s = self._monotonic_s() + PAUSE_S - first.t_s
        return first
