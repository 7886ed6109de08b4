"""Who took a junction's lights by hand."""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from psycopg.rows import dict_row

from collector.analytics.answers_people import (
    OverridesAnswer,
    OverridesOfDay,
    OverridesOfHour,
    OverridesOfUser,
    OverrideTally,
)
from collector.analytics.period import Asked
from collector.db import Connection, load_queries

_Row = dict[str, Any]


async def read_overrides(connection: Connection, asked: Asked) -> OverridesAnswer:
    """Of the whole period, of each user, of each user and day, and of each hour of the day."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(load_queries("analytics_people")["overrides"], asked.parameters)
        rows = await cursor.fetchall()
    users, days, hours = ("user_id", "user"), ("date", "user_id", "user"), ("hour",)
    return OverridesAnswer(
        **asked.head,
        total=OverrideTally(**_tally(rows)),
        users=[OverridesOfUser(**one) for one in _grouped(rows, users)],
        days=[OverridesOfDay(**one) for one in _grouped(rows, days)],
        hours=sorted((OverridesOfHour(**one) for one in _grouped(rows, hours)), key=lambda one: one.hour),
    )


def _grouped(rows: Iterable[_Row], names: tuple[str, ...]) -> list[_Row]:
    groups: dict[Hashable, list[_Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return [{name: some[0][name] for name in names} | _tally(some) for some in groups.values()]


def _tally(rows: Iterable[_Row]) -> _Row:
    by_mode: Counter[str] = Counter()
    n_refused, total_s = 0, 0.0
    for row in rows:
        by_mode[row["mode"]] += row["n"]
        n_refused += row["n_refused"]
        total_s += row["total_s"]
    taken = {mode: n for mode, n in sorted(by_mode.items()) if n}
    return {"n": sum(taken.values()), "n_refused": n_refused, "total_s": total_s, "by_mode": taken}
