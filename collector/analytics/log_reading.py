"""Reads the event log of hours, several of them at once."""

import bisect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.analytics.log_state import LAMP_CODES, Reading, Row
from collector.analytics.period import Asked
from collector.db import Connection, load_queries

Span = tuple[datetime, datetime]
"""When an hour begins and ends."""
_AT_ONCE = 6
"""So many hours: to read one is to look for its partition, for the junction's streams and for their entries."""


class LogReader:
    """The entries of a junction's hours."""

    def __init__(self, connection: Connection, asked: Asked, reading: Reading) -> None:
        self._connection = connection
        self._parameters = asked.parameters | {
            "codes": list(LAMP_CODES),
            "on": list(reading.arrivals.keys() | reading.presence.keys()),
            "off": list(reading.presence),
        }
        self._told: list[Span] = []
        self._silent: set[datetime] = set()
        self._read: dict[datetime, list[Row]] = {}

    async def expect(self, hours: Sequence[Span]) -> None:
        """These are asked for next, in order: finds out of which of them the log tells something."""
        if not hours:
            return
        parameters: dict[str, Any] = {"low": hours[0][0], "high": hours[-1][1]}
        parameters |= {"starts": [start for start, _ in hours], "ends": [until for _, until in hours]}
        cursor = await self._execute("hours_told", parameters)
        told = {start.astimezone(UTC) for (start,) in await cursor.fetchall()}
        self._told = [one for one in hours if one[0] in told]
        self._silent = {start for start, _ in hours} - told

    def is_silent(self, start: datetime) -> bool:
        """Whether an hour that is expected is known to have no entry."""
        return start in self._silent

    async def rows(self, start: datetime, until: datetime) -> list[Row]:
        """Those of an hour, and reads those of the hours after it that are expected."""
        if start in self._silent:
            return []
        if start not in self._read:
            place = bisect.bisect_left(self._told, (start, until))
            run = [(start, until)]
            for one in self._told[place + 1 : place + _AT_ONCE]:
                if one[0] != run[-1][1]:
                    break
                run.append(one)
            cursor = await self._execute("log_rows", {"start": start, "until": run[-1][1]}, binary=True)
            rows = await cursor.fetchall()
            self._read = {first: rows[_place(rows, first) : _place(rows, end)] for first, end in run}
        return self._read.pop(start)

    async def _execute(self, name: str, parameters: dict[str, Any], *, binary: bool = False) -> Any:
        # Planned for these hours: a plan for any would look into the partitions of all.
        statement = load_queries("hourly")[name]
        return await self._connection.execute(
            statement, self._parameters | parameters, prepare=False, binary=binary
        )


def us_of(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _place(rows: Sequence[Row], moment: datetime) -> int:
    return bisect.bisect_left(rows, us_of(moment), key=lambda row: row[0])
