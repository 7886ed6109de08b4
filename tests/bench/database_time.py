"""How long a question takes in the database: the time that the server's process of the pool's one connection ran.

What else runs on the machine is not in it, and neither is what the collector does with the answer; both are in
what passes by the clock.
"""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.db import Pool
from tests.bench import report

_WARM_UPS = 8


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


def _busy_ms(process: Path) -> float:
    """Time that a process has run on a processor."""
    return int(process.read_text().split()[0]) / 1e6
