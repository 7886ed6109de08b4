"""Health records: how the machine, the outbox, the clock and the cameras are."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from common import __version__
from common.clock import Stamp
from common.records import Health, Record
from edge_agent.cameras.view import CameraView
from edge_agent.machine import Machine, Vitals
from edge_agent.outbox import OutboxStats

_MAX_TALLY = 2**31 - 1


class HealthClock(Protocol):
    """What health needs of a clock; `edge_agent.clock_source.Clock` is one."""

    def stamp(self) -> Stamp:
        """The present moment."""

    def error_ms(self) -> int | None:
        """How far the system clock may be off; None: it is not synchronised, or nobody can tell."""


class HealthSink(Protocol):
    """Where health records go, and whose depth they tell; `edge_agent.outbox.writer.OutboxWriter` is one."""

    async def put(self, record: Record, stamp: Stamp) -> None:
        """Take in a record."""

    async def stats(self) -> OutboxStats:
        """How the outbox stands."""


def make_health(
    vitals: Vitals, outbox: OutboxStats, cameras: Sequence[CameraView], stamp: Stamp, clock_error_ms: int | None
) -> Health:
    """One record. Pure."""
    return Health(
        *(1, 0, 0),
        version=__version__,
        uptime_s=vitals.uptime_s,
        cpu_percent=vitals.cpu_percent,
        memory_percent=vitals.memory_percent,
        rss_mb=vitals.rss_mb,
        temperature_c=vitals.temperature_c,
        disk_free_mb=vitals.disk_free_mb,
        outbox_records=min(outbox.waiting, _MAX_TALLY),
        outbox_bytes=outbox.size_bytes,
        outbox_dropped=outbox.dropped,
        clock_synced=stamp.synced,
        clock_error_ms=clock_error_ms,
        sensors=[camera.health() for camera in cameras],
        throttled=vitals.throttled,
    )


class HealthReporter:
    """Writes a health record now and then, the first at once. Keeps the latest for the status page."""

    def __init__(
        self,
        machine: Machine,
        sink: HealthSink,
        clock: HealthClock,
        cameras: Sequence[CameraView],
        interval_s: float,
    ) -> None:
        self._machine, self._sink, self._clock = machine, sink, clock
        self._cameras, self._interval_s = cameras, interval_s
        self.latest: Health | None = None

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self.report()
            await asyncio.sleep(self._interval_s)

    async def report(self) -> None:
        """One record."""
        vitals = await asyncio.to_thread(self._machine.vitals)
        stamp = self._clock.stamp()
        self.latest = make_health(vitals, await self._sink.stats(), self._cameras, stamp, self._clock.error_ms())
        await self._sink.put(self.latest, stamp)
