"""`GET /api/analytics/...`."""

from litestar.handlers import HTTPRouteHandler

from collector.analytics.routes_counts import count_routes
from collector.analytics.routes_lights import lights_routes
from collector.analytics.routes_people import people_routes
from collector.db import Pool


def analytics_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""
    return [*count_routes(pool), *lights_routes(pool), *people_routes(pool)]
