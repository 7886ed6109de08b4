"""The collector's root: which parts there are, in what order they start, and that they stop in reverse."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from litestar import Litestar, Router
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme
from litestar.types import ASGIApp

from collector.analytics.daily import DailyWorker
from collector.analytics.hourly import HourlyWorker
from collector.analytics.routes import analytics_routes
from collector.bridge.worker import Bridge
from collector.config import CollectorConfig
from collector.console.plotly import plotly_routes
from collector.console.routes import Console
from collector.counting.rollups import RollupWorker
from collector.counting.routes import counting_routes
from collector.db import Settings, load_queries, make_pool
from collector.embedded import Database
from collector.errors import ApiProblem, StoreError, UnavailableError
from collector.export.routes import export_routes
from collector.fleet.device_routes import device_routes
from collector.fleet.reject_routes import reject_routes
from collector.fleet.routes import fleet_routes
from collector.identity.access import ACCESS_COOKIE, CSRF_HEADER, Access
from collector.identity.admin_routes import admin_routes
from collector.identity.api_tokens import ApiTokens
from collector.identity.audit import AuditLog
from collector.identity.device_keys import DeviceKeys
from collector.identity.device_tokens import DeviceTokens
from collector.identity.grants import Grants
from collector.identity.passwords import Passwords
from collector.identity.routes import Identity, identity_routes
from collector.identity.sessions import Sessions
from collector.identity.users import Role, Users
from collector.ingest.description import wire_schemas
from collector.ingest.link import SharedLink
from collector.ingest.queue import Limits
from collector.ingest.routes import Ingest, ingest_routes
from collector.ingest.writer import IngestWriter
from collector.journeys.routes import journey_routes
from collector.junctions.editing import Editing
from collector.junctions.editing_routes import editing_routes
from collector.junctions.lights_routes import lights_routes
from collector.junctions.map_routes import map_routes
from collector.junctions.mode_routes import mode_routes
from collector.junctions.ordering import Ordering
from collector.junctions.routes import junction_routes
from collector.logs.routes import log_routes
from collector.ops import problems
from collector.ops.bodies import JsonRequest
from collector.ops.health import STUCK_S, Signs, health_route, metrics_route
from collector.ops.limits import STORE, ForgettingStore, Readers, limit_requests
from collector.ops.metrics import Metrics
from collector.ops.openapi import DescribedLate, describe_bodies, describe_problems
from collector.ops.parameters import check_query
from collector.ops.requests import RequestObserver
from collector.ops.worker import WorkerLink
from collector.realtime.hub import Hub, Publisher
from collector.realtime.junction_words import JunctionReader
from collector.realtime.relay import Relay
from collector.realtime.routes import junction_live_route, live_routes, live_sockets
from collector.realtime.streams import HEARTBEAT_S
from collector.realtime.transport import Live
from collector.remote.desk import Desk
from collector.remote.orders import Orders
from collector.remote.routes import remote_routes
from collector.store.maintenance import MaintenanceWorker
from common import __version__
from common.notify import feed_watchdog, notify

_log = logging.getLogger(__name__)

_DRAIN_S = 20.0
"""How long batches that wait may take to be stored when the collector stops."""
_EMBEDDED_CHECK_S = 1.0
_SETTLED_AFTER_S = 60.0
"""Maintenance can wait until a start is over."""
_RELAY_PATIENCE_S = 3.0
"""How long the first listeners wait for a server of live events that is away."""
_QUESTION_TIMEOUT_S = 5.0
"""How long a device waits for the database to know its key, or where its stream stands."""


class Collector:
    """All parts of one collector. `app` serves; what runs beside it lives as long as the application does.

    `reading_open`: whoever reaches it may read without a user. `secure_cookies`: those of sessions need TLS.
    `worker`: this is one of several, and its parent is told how it is, instead of systemd.
    `on_death` is called if one of the parts ends by itself: then the daemon must stop, and systemd starts it anew.
    """

    def __init__(
        self,
        config: CollectorConfig,
        database: Database,
        *,
        reading_open: bool,
        on_death: Callable[[], None],
        limits: Limits | None = None,
        passwords: Passwords | None = None,
        secure_cookies: bool = True,
        worker: WorkerLink | None = None,
    ) -> None:
        self._on_death = on_death
        self._worker = worker
        self._embedded = database.embedded
        self._stopping = False
        self.metrics = Metrics(worker.number if worker else None)
        self.hub = Hub(max_subscribers=config.live.max_listeners)
        self._relay = Relay(config.live.redis, self.hub) if config.live.redis else None
        self.publisher: Publisher = self._relay or self.hub
        """Where what was committed is told; `hub` is where it is heard."""
        self._marks_written = asyncio.Event()
        self._pool = make_pool(_pool_settings(config, database.dsn))
        queries = load_queries("ingest")
        connect = self._pool.connect
        self._questions = SharedLink(connect, _QUESTION_TIMEOUT_S)
        self.writer = IngestWriter(
            connect, self._questions, queries, self.publisher, self.metrics, self._marks_written, limits=limits
        )
        self._tokens = DeviceTokens(DeviceKeys(self._questions, queries).load)
        self._ingest = Ingest(self._tokens, self.writer, self.metrics)
        remote = load_queries("remote")
        self.desk = Desk(connect, remote, self.publisher.publish)
        self.orders = Orders(remote, self.desk, self.publisher.publish)
        passwords = passwords or Passwords()
        sessions, grants = Sessions(self._pool, passwords), Grants(self._pool)
        self._bridge = None
        if config.mqtt.host is not None and (worker is None or worker.is_first):
            self._bridge = Bridge(config.mqtt, self._pool, connect, self.writer, self.metrics)
        self._readers = Readers()
        self._identity = Identity(
            Users(self._pool, passwords),
            sessions,
            ApiTokens(self._pool),
            grants,
            AuditLog(self._pool),
            Access(sessions, grants, self._readers.note),
            open_registration=config.open_registration,
            secure_cookies=secure_cookies,
        )
        self._started_unix_s = time.time()
        self._rollup_queries = load_queries("rollups")
        self._rollups = RollupWorker(self._pool, self._marks_written)
        self._daily = DailyWorker(self._pool)
        self._hourly = HourlyWorker(self._pool)
        self._maintenance = MaintenanceWorker(database.dsn, config.retention, first_after_s=_SETTLED_AFTER_S)
        self._watch_gauges()
        self.app: ASGIApp = RequestObserver(self._make_app(config, reading_open), self.metrics)

    def _make_app(self, config: CollectorConfig, reading_open: bool) -> Litestar:
        live = Live(self.hub, None if reading_open else self._identity.access, HEARTBEAT_S)
        junction_reader, console = JunctionReader(self._pool, self.hub), Console()
        reading = Router(
            "/",
            guards=[] if reading_open else [self._identity.access.requires(Role.VIEWER)],
            route_handlers=[
                *counting_routes(self._pool),
                *map_routes(self._pool),
                *junction_routes(self._pool, self._identity.access),
                *lights_routes(self._pool),
                *editing_routes(Editing(self._pool), self._identity.access),
                *mode_routes(Ordering(self._pool, self.orders), self._identity.access),
                *analytics_routes(self._pool),
                *fleet_routes(self._pool),
                *device_routes(self._pool, self._identity.access),
                *reject_routes(self._pool, self._identity.access),
                *live_routes(live),
                junction_live_route(live, junction_reader),
                *export_routes(self._pool, live.access),
                *journey_routes(self._pool, self._identity.access, config.smallest_group),
                *log_routes(self._pool, self._identity.access, self.publisher.publish),
                metrics_route(self.metrics),
            ],
        )
        return Litestar(
            route_handlers=[
                *ingest_routes(self._ingest),
                *remote_routes(self._tokens, self.desk),
                health_route(self._pool, self._signs()),
                *console.routes(),
                *plotly_routes(),
                *live_sockets(live, junction_reader),
                *identity_routes(self._identity),
                *admin_routes(self._identity),
                reading,
            ],
            lifespan=[self._lifespan],
            middleware=[limit_requests(limit, self._readers).middleware]
            if (limit := config.requests_per_minute)
            else [],
            request_class=JsonRequest,
            before_request=check_query,
            stores={STORE: ForgettingStore()},
            exception_handlers={
                ApiProblem: problems.on_problem,
                NotFoundException: console.on_not_found,
                HTTPException: problems.on_http_exception,
                StoreError: problems.on_store_error,
                psycopg.OperationalError: problems.on_store_error,
                psycopg.DataError: problems.on_value_error,
                Exception: problems.on_unexpected,
            },
            openapi_config=_openapi(),
            logging_config=None,
        )

    def _signs(self) -> Signs:
        return Signs(
            queued_batches=lambda: self.writer.n_queued,
            oldest_batch_wait_s=self.writer.oldest_wait_s,
            is_refused=lambda: self.writer.is_refused,
            rollup_lag_s=self._rollup_lag_s,
            listeners=lambda: self.hub.n_subscribers,
        )

    async def _rollup_lag_s(self) -> float | None:
        """For how long the oldest mark may have been waiting: since the last pass, if any mark waits."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(self._rollup_queries["pending_marks"], {"bound": 1})
            row = await cursor.fetchone()
        if row is None or not row[0]:
            return 0.0
        return time.time() - max(self._rollups.stats.last_success_unix_s, self._started_unix_s)

    def _watch_gauges(self) -> None:
        watch = self.metrics.watch
        watch("stopline_ingest_queued_batches", "Batches waiting or being stored.", lambda: self.writer.n_queued)
        watch("stopline_ingest_oldest_wait_seconds", "Longest wait of a batch.", self.writer.oldest_wait_s)
        watch("stopline_devices_waiting", "Devices that wait for orders.", lambda: self.desk.n_waiting)
        watch("stopline_live_listeners", "Listeners of live counts.", lambda: self.hub.n_subscribers)
        watch("stopline_live_dropped", "Listeners dropped for reading slowly.", lambda: self.hub.n_dropped)
        watch("stopline_live_resets", "Times that all listeners had to read the store.", lambda: self.hub.n_resets)
        watch("stopline_live_paused", "1: live events do not come through.", lambda: float(self.hub.is_paused))

    def _makes_progress(self) -> bool:
        return self.writer.oldest_wait_s() < STUCK_S

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncIterator[None]:
        """Opened in this order, closed in reverse; requests are served in between."""
        watched = self._worker.beat if self._worker else feed_watchdog
        beside: tuple[Coroutine[Any, Any, None], ...] = (
            self.writer.run(),
            self._rollups.run(),
            self.desk.run(),
            self._daily.run(),
            self._hourly.run(),
            self._maintenance.run(),
            watched(self._makes_progress),
            self._mind_embedded(),
            *([self._bridge.run()] if self._bridge is not None else []),
        )
        if self._relay is not None:
            beside += (self._relay.run(),)
        async with self._pool, self._beside(*beside):
            if self._relay is not None and not await self._relay.until_it_follows(_RELAY_PATIENCE_S):
                _log.warning("Live events wait for their server", extra={"action": "relay_waits"})
            self._tell_ready()
            try:
                yield
            finally:
                notify("STOPPING=1")
                self._stopping = True
                await self.writer.drain(_DRAIN_S)
                await self._questions.close()

    def _tell_ready(self) -> None:
        if self._worker is not None:
            self._worker.tell_ready()
            return
        notify("READY=1")
        _log.info("Ready", extra={"action": "ready", "version": __version__})

    async def _mind_embedded(self) -> None:
        """Bring the embedded PostgreSQL back should it die; meanwhile batches are answered 503."""
        while self._embedded is not None:
            await asyncio.sleep(_EMBEDDED_CHECK_S)
            try:
                await asyncio.to_thread(self._embedded.ensure_running)
            except UnavailableError as error:
                _log.error("The database stays away: %s", error, extra={"action": "postgres_gone"})

    @asynccontextmanager
    async def _beside(self, *parts: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Run `parts` for as long as the body runs. If one fails, all end, and the daemon stops."""
        running = asyncio.create_task(_run_all(parts))
        running.add_done_callback(self._note_end)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _note_end(self, running: "asyncio.Task[None]") -> None:
        if running.cancelled() or self._stopping:
            return
        _log.critical("A part of the collector ended; it stops", exc_info=running.exception())
        self._on_death()


async def _run_all(parts: tuple[Coroutine[Any, Any, None], ...]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for part in parts:
            tasks.create_task(part)


def _pool_settings(config: CollectorConfig, dsn: str) -> Settings:
    return Settings(
        dsn,
        min_size=config.pool.min_size,
        max_size=config.pool.max_size,
        statement_timeout_s=config.pool.statement_timeout_s,
        prepare_statements=config.pool.prepare_statements,
    )


def _complete(description: OpenAPI) -> None:
    # Litestar describes what handlers declare; a batch's body is read by hand.
    description.components.schemas = {**(description.components.schemas or {}), **wire_schemas()}
    describe_problems(description)
    describe_bodies(description)


def _openapi() -> OpenAPIConfig:
    return DescribedLate(
        complete=_complete,
        title="Stopline collector",
        version=__version__,
        description="Takes in what the devices of a fleet count, exactly once, and gives it out again.",
        path="/schema",
        render_plugins=[JsonRenderPlugin()],
        components=Components(
            security_schemes={
                "deviceToken": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="Short-lived, signed with the device's own Ed25519 key.",
                ),
                "userToken": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="An access token of 15 minutes from `login`, or an API token `stl_...`.",
                ),
                "userCookie": SecurityScheme(
                    type="apiKey",
                    security_scheme_in="cookie",
                    name=ACCESS_COOKIE,
                    description=f"What browsers get from `login`; changes need the header {CSRF_HEADER} besides.",
                ),
            }
        ),
    )
