"""`GET /health` and `GET /metrics`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import psycopg
from litestar import Response, get
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from collector.db import Pool
from collector.ops.metrics import CONTENT_TYPE, Metrics
from common import __version__

_STORE_TIMEOUT_S = 3.0
STUCK_S = 60.0
"""A batch that waits longer means that the writers do no work."""


class Health(msgspec.Struct, frozen=True):
    """How the collector is. `status` is `ok` while it can take in batches."""

    status: Literal["ok", "failing"]
    version: str
    store: Literal["ok", "unreachable", "refuses"]
    """The database; `refuses`: it answers, but stores nothing, as when its disk is full. The log has why."""
    queued_batches: int
    oldest_batch_wait_s: float
    rollup_lag_s: float | None
    """For how long the oldest change has been waiting for its rollups; None: not known."""
    listeners: int


@dataclass(frozen=True)
class Signs:
    """Where the signs of health are read."""

    queued_batches: Callable[[], int]
    oldest_batch_wait_s: Callable[[], float]
    is_refused: Callable[[], bool]
    rollup_lag_s: Callable[[], Awaitable[float | None]]
    listeners: Callable[[], int]


async def take_health(pool: Pool, signs: Signs) -> Health:
    """Asks the database, and waits a few seconds at most."""
    rollup_lag_s: float | None = None
    store: Literal["ok", "unreachable", "refuses"] = "refuses" if signs.is_refused() else "ok"
    try:
        async with asyncio.timeout(_STORE_TIMEOUT_S):
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")
            rollup_lag_s = await signs.rollup_lag_s()
    except (psycopg.Error, TimeoutError):
        store = "unreachable"
    oldest_s = signs.oldest_batch_wait_s()
    is_fine = store == "ok" and oldest_s < STUCK_S
    return Health(
        status="ok" if is_fine else "failing",
        version=__version__,
        store=store,
        queued_batches=signs.queued_batches(),
        oldest_batch_wait_s=round(oldest_s, 3),
        rollup_lag_s=None if rollup_lag_s is None else round(rollup_lag_s, 3),
        listeners=signs.listeners(),
    )


def health_route(pool: Pool, signs: Signs) -> HTTPRouteHandler:
    """The handler of `/health`, open to all."""

    @get(
        "/health",
        operation_id="health",
        summary="Whether the collector can take in batches",
        tags=["operations"],
        responses={
            200: ResponseSpec(Health, description="It can.", generate_examples=False),
            503: ResponseSpec(Health, description="It cannot.", generate_examples=False),
        },
    )
    async def health() -> Response[bytes]:
        """For load balancers, systemd and people.

        503 while the database cannot be used or stores nothing, or the writers hang.
        """
        found = await take_health(pool, signs)
        status = 200 if found.status == "ok" else 503
        return Response(msgspec.json.encode(found), status_code=status, media_type=MediaType.JSON)

    return health


def metrics_route(metrics: Metrics) -> HTTPRouteHandler:
    """The handler of `/metrics`."""

    @get(
        "/metrics",
        operation_id="metrics",
        summary="Figures for Prometheus",
        tags=["operations"],
        media_type="text/plain",
    )
    async def render() -> Response[bytes]:
        """Counters and gauges in Prometheus' text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return render
