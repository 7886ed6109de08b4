"""What a daemon needs around its work: signals, a watchdog fed by progress, a log without secrets."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from common.logs import LogFormat as LineFormat
from common.logs import set_up_logging
from edge_agent.config.settings import LogFormat, LogSettings
from edge_agent.redact import redact

logger = logging.getLogger(__name__)

_M_ARENA_MAX = -8
"""Of mallopt(3) in glibc."""


class Progress:
    """Which parts of the daemon make progress. Each part says so itself; silence beyond its limit is a stall.

    Args:
        monotonic_s: the clock that limits are measured by.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._limits_s: dict[str, float] = {}
        self._seen_s: dict[str, float] = {}

    def expect(self, part: str, limit_s: float) -> Callable[[], None]:
        """From now on `part` has to make progress every `limit_s`; it does so by calling what this returns."""
        self._limits_s[part] = limit_s
        self._seen_s[part] = self._monotonic_s()

        def made() -> None:
            self._seen_s[part] = self._monotonic_s()

        return made

    def forget(self, part: str) -> None:
        """Nothing more is expected of `part`."""
        self._limits_s.pop(part, None)
        self._seen_s.pop(part, None)

    def stalled(self) -> dict[str, float]:
        """The parts that stand still, and for how long, in s."""
        now_s = self._monotonic_s()
        return {
            part: now_s - self._seen_s[part]
            for part, limit_s in self._limits_s.items()
            if now_s - self._seen_s[part] > limit_s
        }

    def all_well(self) -> bool:
        """Whether every part makes progress. Says which do not."""
        stalled = self.stalled()
        for part, silent_s in stalled.items():
            logger.error("%s stands still for %.0f s", part, silent_s, extra={"action": "stalled", "part": part})
        return not stalled


def stay_small() -> None:
    """Called before the large libraries are loaded: keeps some 10 MB out of a process that runs for years."""
    # httpx loads its command line, with click and rich, wherever these happen to be installed.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    with contextlib.suppress(OSError, AttributeError):
        # Else the C library keeps a pool of memory for each of the few threads.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`. A second SIGINT ends the process at once: somebody is in a hurry."""
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        if stop.is_set() and number is signal.SIGINT:
            raise KeyboardInterrupt
        if not stop.is_set():
            logger.info("stopping (%s)", number.name, extra={"action": "stopping"})
        stop.set()

    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def set_up_agent_logging(settings: LogSettings) -> None:
    """Lines to stderr, without passwords."""
    for_people = sys.stderr.isatty() or "JOURNAL_STREAM" in os.environ
    form: LineFormat = "json"
    if settings.format is LogFormat.TEXT or (settings.format is LogFormat.AUTO and for_people):
        form = "text"
    set_up_logging(form, getattr(logging, settings.level.name), clean=redact)
    # One line per request would be the bulk of the log.
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
