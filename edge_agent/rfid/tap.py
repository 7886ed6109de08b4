"""Lets others hear of counts on their way into the outbox: the lights, and the fusion of a lane's two sensors."""

import logging
from collections.abc import Callable

from common.clock import Stamp
from common.records import Count, Frames, Record
from edge_agent.cameras.supervisor import RecordSink

logger = logging.getLogger(__name__)

Listener = Callable[[Count, Stamp], None]
"""Called in the event loop's thread with each count, camera's and reader's alike; must not block."""


class CountTap:
    """A sink that hands on all records to another, and counts to whoever listens. A listener's fault costs nothing
    but itself: the record is kept."""

    def __init__(self, sink: RecordSink) -> None:
        self._sink = sink
        self.listeners: list[Listener] = []

    async def put(self, record: Record, stamp: Stamp) -> None:
        """Take in a record."""
        if isinstance(record, Count):
            for listener in self.listeners:
                try:
                    listener(record, stamp)
                except Exception:
                    logger.exception("a listener to counts failed", extra={"action": "tap_failed"})
        await self._sink.put(record, stamp)

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """See `RecordSink.hold`."""
        self._sink.hold(sensor, block, stamp)
