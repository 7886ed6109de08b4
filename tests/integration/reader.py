"""An application that only answers readers, on a database of the test's own."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.testing import TestClient

from collector.db import Pool, Settings, make_pool
from collector.errors import ApiProblem
from collector.ops import problems


@contextmanager
def reading_client(
    dsn: str, *routes: Callable[[Pool], Sequence[HTTPRouteHandler]]
) -> Iterator[TestClient[Litestar]]:
    """A client of `routes` on the database."""
    pool = make_pool(Settings(dsn, min_size=1, max_size=2))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with pool:
            yield

    app = Litestar(
        route_handlers=[handler for make in routes for handler in make(pool)],
        lifespan=[lifespan],
        exception_handlers={
            ApiProblem: problems.on_problem,
            HTTPException: problems.on_http_exception,
            psycopg.OperationalError: problems.on_store_error,
        },
        logging_config=None,
    )
    with TestClient(app) as client:
        yield client


def get(client: TestClient[Litestar], path: str, **params: Any) -> Any:
    """The answer, which must be a success."""
    response = client.get(path, params={name.rstrip("_"): value for name, value in params.items()})
    assert response.status_code == 200, response.text
    return response.json()
