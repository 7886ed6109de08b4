"""Gathers the agent's status from those who know it."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, tzinfo
from zoneinfo import ZoneInfo

import msgspec

from common import __version__
from common.clock import Stamp
from common.notify import notify
from edge_agent.cameras.view import CameraView, SourceTally
from edge_agent.clock_source import Clock
from edge_agent.config.settings import AgentConfig
from edge_agent.health import HealthReporter
from edge_agent.link.client import LightsView
from edge_agent.orders.fetcher import OrderFetcher
from edge_agent.outbox import OutboxStats
from edge_agent.outbox.writer import OutboxWriter
from edge_agent.redact import redact
from edge_agent.status.page import (
    CameraStatus,
    LightsStatus,
    LineStatus,
    OrdersStatus,
    OutboxStatus,
    Status,
    SyncStatus,
    ZoneStatus,
    as_html,
    as_json,
    as_line,
)
from edge_agent.status.server import Page
from edge_agent.sync import Syncer

OUTBOX_EVERY_S = 5.0
_LINE_EVERY_S = 10.0


def local_zone(config: AgentConfig) -> tzinfo | None:
    """The zone that days are counted in; None: the system's."""
    return ZoneInfo(config.timezone) if config.timezone else None


def today_in(zone: tzinfo | None) -> Callable[[], date]:
    """A clock that tells the date there."""
    return lambda: datetime.now().astimezone(zone).date()


class StatusBoard:
    """Knows whom to ask. Belongs to the event loop's thread."""

    def __init__(
        self,
        config: AgentConfig,
        device: str,
        clock: Clock,
        cameras: Sequence[CameraView],
        writer: OutboxWriter,
        health: HealthReporter,
        syncer: Syncer | None,
        lights: LightsView | None = None,
        orders: OrderFetcher | None = None,
    ) -> None:
        self._config, self._device, self._clock = config, device, clock
        self._cameras, self._writer, self._health, self._syncer = cameras, writer, health, syncer
        self._lights, self._orders = lights, orders
        self._zone = local_zone(config)
        self._started: Stamp = clock.stamp()
        self._outbox = OutboxStats(durable=False, trouble=None, waiting=0, uncommitted=0, size_bytes=0, dropped=0)

    async def watch_outbox(self, alive: Callable[[], None]) -> None:
        """Ask the outbox how it stands, until cancelled. Each answer, by way of its thread, is a sign of life."""
        while True:
            self._outbox = await self._writer.stats()
            alive()
            await asyncio.sleep(OUTBOX_EVERY_S)

    async def tell(self) -> None:
        """One line now and then, to systemd and to a terminal, until cancelled."""
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            line = redact(as_line(self.status()))
            notify(f"STATUS={line}")
            if sys.stderr.isatty():
                print(line, file=sys.stderr, flush=True)

    def pages(self) -> dict[str, Callable[[], Page]]:
        """What the status server serves."""
        return {
            "/": lambda: ("text/html; charset=utf-8", as_html(self.status(), self._zone).encode()),
            "/status.json": lambda: ("application/json", as_json(self.status())),
        }

    def status(self) -> Status:
        """All of it, as of now."""
        stamp, health = self._clock.stamp(), self._health.latest
        started_ms = stamp.wall_ms - (stamp.boottime_ns - self._started.boottime_ns) // 1_000_000
        return Status(
            name=self._config.name,
            junction=self._config.junction,
            version=__version__,
            device=self._device,
            now_ms=stamp.wall_ms,
            started_ms=started_ms,
            clock_synced=stamp.synced,
            clock_error_ms=self._clock.error_ms(),
            temperature_c=health.temperature_c if health else None,
            cpu_percent=health.cpu_percent if health else None,
            memory_percent=health.memory_percent if health else None,
            rss_mb=health.rss_mb if health else None,
            disk_free_mb=health.disk_free_mb if health else None,
            throttled=health.throttled if health else None,
            cameras=[_camera_status(view) for view in self._cameras if view.kind == "camera"],
            readers=[_camera_status(view) for view in self._cameras if view.kind == "reader"],
            outbox=_outbox_status(self._outbox),
            sync=self._sync_status(),
            lights=_lights_status(self._lights) if self._lights else None,
            orders=self._orders_status(),
        )

    def _orders_status(self) -> OrdersStatus | None:
        if self._lights is None:
            return None
        if self._orders is None:
            return OrdersStatus(taken=False)
        state = self._orders.state
        trouble, mend = (state.trouble.what, state.trouble.mend) if state.trouble else (None, None)
        return OrdersStatus(True, state.phase.value, trouble, mend, state.last)

    def _sync_status(self) -> SyncStatus | None:
        if self._syncer is None or self._config.collector is None:
            return None
        state = self._syncer.state
        return SyncStatus(
            collector=self._config.collector.url,
            phase=state.phase.value,
            delivered=state.delivered,
            rejected=state.rejected,
            last_success_ms=state.last_success_ms,
            trouble=state.trouble.what if state.trouble else None,
            mend=state.trouble.mend if state.trouble else None,
            retry_in_s=state.retry_in_s,
        )


def _lights_status(view: LightsView) -> LightsStatus:
    shown, age_s = view.shown, view.age_s()
    status = LightsStatus(
        view.connected, view.trouble, None if age_s is None else round(age_s, 1), records=view.n_records
    )
    if shown is None:
        return status
    return msgspec.structs.replace(
        status,
        mode=shown.mode.value,
        stage=shown.stage,
        plan=shown.plan,
        algorithm=shown.algorithm,
        aspects={name: aspect.value for name, aspect in shown.aspects.items()},
        fault=shown.fault,
        note=shown.note,
    )


def _outbox_status(stats: OutboxStats) -> OutboxStatus:
    return OutboxStatus(stats.waiting, stats.size_bytes, stats.dropped, stats.durable, stats.trouble)


def _camera_status(view: CameraView) -> CameraStatus:
    names = sorted({*view.tallies, *view.truths})
    return CameraStatus(
        name=view.name,
        state=view.state,
        detail=view.detail,
        fps=view.fps,
        latency_ms=view.latency_ms,
        dropped=view.dropped,
        restarts=view.restarts,
        size_px=view.size_px,
        lines=[_line_status(name, view.tallies.get(name, SourceTally()), view.truths.get(name)) for name in names],
        # A camera that does not measure does not know what is in its zones.
        zones=[
            ZoneStatus(one.zone, one.n, one.n_standing, one.capacity) for one in view.zones if view.state == "ok"
        ],
        kind=view.kind,
    )


def _line_status(name: str, tally: SourceTally, truth: SourceTally | None) -> LineStatus:
    speed_mps = tally.speed_mean_mps
    return LineStatus(
        name, tally.total, dict(tally.by_direction), dict(tally.by_class), truth.total if truth else None,
        None if speed_mps is None else round(speed_mps, 2),
    )  # fmt: skip
