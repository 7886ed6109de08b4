"""How long a question takes in the database: the time that the server's process of the pool's one connection ran.

What else runs on the machine is not in it, and neither is what the collector does with the answer; both are in
what passes by the clock. How fast the machine is just now is in both: a yardstick tells how long some work takes
that stays the same, whatever is measured beside it and whatever becomes of the collector's statements.
"""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from collector.db import Pool
from tests.bench import report

_WARM_UPS = 8
_YARDSTICK_REPEATS = 30
_MAKE_YARDSTICK = (
    "CREATE TABLE IF NOT EXISTS bench_yardstick AS"
    " SELECT n AS no, n / 8 AS of, 'row ' || md5(n::text) AS name,"
    " (SELECT jsonb_object_agg(md5((n * i)::text), i) FROM generate_series(1, 30) i) AS told"
    " FROM generate_series(0, 9999) n",
    "CREATE UNIQUE INDEX IF NOT EXISTS bench_yardstick_no ON bench_yardstick (no)",
    "CREATE INDEX IF NOT EXISTS bench_yardstick_of ON bench_yardstick (of)",
    "ANALYZE bench_yardstick",
)
_YARDSTICK = (
    "SELECT one.name, other.no, other.name, other.told"
    " FROM generate_series(0, 1188, 12) AS n"
    " CROSS JOIN LATERAL (SELECT * FROM bench_yardstick WHERE no = n OFFSET 0) one"
    " CROSS JOIN LATERAL (SELECT * FROM bench_yardstick WHERE of = one.no OFFSET 0) other"
    " ORDER BY other.name LIMIT 100"
)
"""A hundred rows are looked up, and eight wide ones for each of them; the first hundred in an order are told."""


@dataclass(frozen=True)
class Took:
    """In the database at the median, and by the clock at the quickest."""

    database_ms: float
    clock_ms: float

    def print(self, name: str, limit_ms: float | None) -> None:
        clock = f"{self.clock_ms:.3g} ms by the clock"
        if limit_ms is None:
            report.plain(name, self.database_ms, "ms", clock)
        else:
            report.limit(f"{name} ({clock})", self.database_ms, limit_ms, "ms")


async def time_all(pool: Pool, asks: Sequence[Callable[[], Awaitable[object]]]) -> Took:
    """Of some questions that are alike; the first one is to warm up. The pool must have one connection."""
    async with pool.connection() as connection:
        server = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    # What is prepared is planned anew some times first.
    for _ in range(_WARM_UPS):
        await asks[0]()
    busy_ms, took_ms = [], []
    for ask in asks[1:]:
        began_s, before_ms = time.perf_counter(), _busy_ms(server)
        await ask()
        busy_ms.append(_busy_ms(server) - before_ms)
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return Took(statistics.median(busy_ms), min(took_ms))


@asynccontextmanager
async def beside_yardstick(pool: Pool, title: str) -> AsyncIterator[None]:
    """Prints how long the yardstick takes in the pool's database, before and after what is measured there."""
    async with pool.connection() as connection:
        for statement in _MAKE_YARDSTICK:
            await connection.execute(statement)
    before = await _yardstick(pool)
    yield
    after = await _yardstick(pool)
    report.plain(f"{title}: the yardstick", before.database_ms, "ms", f"{after.database_ms:.3g} ms in the end")


async def _yardstick(pool: Pool) -> Took:
    async def ask() -> None:
        async with pool.connection() as connection:
            await (await connection.execute(_YARDSTICK)).fetchall()

    return await time_all(pool, [ask] * (_YARDSTICK_REPEATS + 1))


def _busy_ms(process: Path) -> float:
    """Time that a process has run on a processor."""
    return int(process.read_text().split()[0]) / 1e6
