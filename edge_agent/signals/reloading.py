"""Reads the configuration again while the lights run, and tells what of it needs a new start."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from common.junction import Junction, conflict_pairs
from edge_agent.config.faults import ConfigError
from edge_agent.signals.config import SignalsConfig

logger = logging.getLogger(__name__)

Load = Callable[[], SignalsConfig]
"""Reads the configuration; raises ConfigError."""


class Reloading:
    """Reads in a thread: on a small Pi that takes longer than a step may be late."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loaded: SimpleQueue[SignalsConfig | Exception] = SimpleQueue()
        self._is_wanted = False
        self._reads: Thread | None = None

    def begin(self) -> None:
        """Returns at once; `take` has it some time later."""
        self._is_wanted = True

    def take(self) -> SignalsConfig | Exception | None:
        """What was read since the last call, or why it could not be; None: nothing was."""
        if self._is_wanted and (self._reads is None or not self._reads.is_alive()):
            # One at a time: many would hold up the lights, and an older file could come last.
            self._is_wanted = False
            self._reads = Thread(target=self._read, name="reload", daemon=True)
            self._reads.start()
        try:
            return self._loaded.get_nowait()
        except Empty:
            return None

    def _read(self) -> None:
        try:
            self._loaded.put(self._load())
        except ConfigError as error:
            self._loaded.put(error)
        except Exception as error:
            logger.exception("the configuration could not be read", extra={"action": "config_unreadable"})
            self._loaded.put(error)


def in_words(error: Exception) -> str:
    """Why a configuration is refused."""
    return str(error) if isinstance(error, ConfigError) else f"it cannot be read: {type(error).__name__}: {error}"


def needs_restart(new: SignalsConfig, old: SignalsConfig) -> bool:
    """Whether anything but plans and times of the same junction differs. Lanes' Pis have read their own, and
    leases are held by times and conflicts: there only plans may."""
    if new.heads.driver == "lanes" and (
        new.described.movements != old.described.movements
        or conflict_pairs(new.described) != conflict_pairs(old.described)
        or new.described.startup != old.described.startup
    ):
        return True
    if msgspec.structs.replace(new, junction=old.junction) != old:
        return True
    return _names(new.described) != _names(old.described)


def _names(junction: Junction) -> tuple[object, ...]:
    return junction.name, tuple(one.name for one in junction.movements)
