"""How fast junctions are told among 10,000 with 40,000 lanes and 80,000 devices: one, and pages of a list.

The bars are 2 ms in the database for one, and 10 ms for a page, however it is filtered and sorted, also for a user
who may see a hundred. One in fifty sources has a minute that waits to be rolled up; in the end, all have.

python -m tests.bench.bench_junction_lists
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from collector.db import VIEWER, Pool, Settings, make_pool
from collector.junctions.details import read_details
from collector.junctions.queries import Freshness, Listing, Sort, read_junctions
from tests.bench.city import ALL_WAIT, City, execute, running_city, time_of
from tests.bench.database_time import beside_yardstick
from tests.servers.postgres import ServerUnavailable

LOOKUP_MS, LIST_MS = 2.0, 10.0
_PAGES: tuple[tuple[str, Listing, int], ...] = (
    ("by name, 20", Listing(), 20),
    ("by name, 100", Listing(), 100),
    ("name contains 47, 100", Listing(q="47"), 100),
    ("name contains what none does, 100", Listing(q="nowhere"), 100),
    ("without lights, 100", Listing(has_lights=False), 100),
    ("live, 100", Listing(states=[Freshness.LIVE]), 100),
    ("late (few), 100", Listing(states=[Freshness.LATE]), 100),
    ("silent, 100", Listing(states=[Freshness.SILENT]), 100),
    ("never heard (none), 100", Listing(states=[Freshness.NEVER]), 100),
    ("silent, and 47 in the name, 100", Listing(q="47", states=[Freshness.SILENT]), 100),
    ("by last received, 100", Listing(sort=Sort.RECEIVED_AT), 100),
    ("by last received, down, 100", Listing(sort=Sort.RECEIVED_AT_DOWN), 100),
    ("by counts today, 100", Listing(sort=Sort.COUNTS_TODAY), 100),
    ("by counts today, down, 20", Listing(sort=Sort.COUNTS_TODAY_DOWN), 20),
    ("by counts today, down, 100", Listing(sort=Sort.COUNTS_TODAY_DOWN), 100),
    ("live, by counts today, 100", Listing(states=[Freshness.LIVE], sort=Sort.COUNTS_TODAY), 100),
)


def main() -> None:
    for edition in ("plain", "timescaledb"):
        try:
            with running_city(edition) as city:
                asyncio.run(measure(edition, city))
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)


async def measure(edition: str, city: City) -> None:
    """Prints all figures of an edition."""
    async with make_pool(Settings(city.dsn, min_size=1, max_size=1)) as pool, beside_yardstick(pool, edition):
        for viewer, user in (("", None), (", of 100", city.user)):
            VIEWER.set(user)
            await time_of(
                pool,
                f"{edition}{viewer}: a junction whole",
                LOOKUP_MS,
                lambda: read_details(pool, city.junction, None),
            )
            for name, listing, n in _PAGES:
                await time_of(pool, f"{edition}{viewer}: {name}", LIST_MS, _page(pool, listing, n))
        VIEWER.set(None)
        execute(city, ALL_WAIT)
        for name, listing, n in _PAGES:
            if listing.sort.endswith("counts_today"):
                await time_of(pool, f"{edition}, all wait: {name}", LIST_MS, _page(pool, listing, n))


def _page(pool: Pool, listing: Listing, n: int) -> Callable[[], Awaitable[object]]:
    return lambda: read_junctions(pool, listing, limit=n)


if __name__ == "__main__":
    main()
