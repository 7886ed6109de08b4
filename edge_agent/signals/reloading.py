"""Reads the configuration again while the lights run, and tells what of it needs a new start."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from common.junction import Junction
from edge_agent.config.faults import ConfigError
from edge_agent.signals.config import SignalsConfig

logger = logging.getLogger(__name__)

Load = Callable[[], SignalsConfig]
"""Reads the configuration; raises ConfigError."""


class Reloading:
    """Reads in a thread: on a small Pi that takes longer than a step may be late."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loaded: SimpleQueue[SignalsConfig | ConfigError] = SimpleQueue()

    def begin(self) -> None:
        """Returns at once; `take` has it some time later."""
        Thread(target=self._read, name="reload", daemon=True).start()

    def take(self) -> SignalsConfig | ConfigError | None:
        """What was read since the last call; None: nothing."""
        try:
            return self._loaded.get_nowait()
        except Empty:
            return None

    def _read(self) -> None:
        try:
            self._loaded.put(self._load())
        except ConfigError as error:
            self._loaded.put(error)
        except Exception:
            logger.exception("the configuration could not be read; the lights go on", extra={"action": "refused"})


def needs_restart(new: SignalsConfig, old: SignalsConfig) -> bool:
    """Whether anything but plans and times of the same junction differs."""
    if msgspec.structs.replace(new, junction=old.junction) != old:
        return True
    return _names(new.described) != _names(old.described)


def _names(junction: Junction) -> tuple[object, ...]:
    return junction.name, tuple(one.name for one in junction.movements)
