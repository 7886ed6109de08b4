"""Hours of a junction's lights: those that were made and kept, and the others as they are now.

An hour has three parts: what its cycles, its zones and the event log add up to. A kept part is used unless
something has changed it since, of which a mark tells. What the log adds up to depends on what was known when the
hour began; so if an hour that has changed ends with other knowledge than was kept with it, the next one is made
anew too, and so on; beyond what one pass makes, a mark says so. Of a time whose raw rows were dropped, what was
kept is all there is.

Whoever asks waits for so many hours to be made, at most; of more, `HoursLacking` says from when to when they lack.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Flag, auto
from itertools import pairwise
from typing import Any

import msgspec

from collector.analytics.hour_parts import Lane, Length, Zone, add_lanes, add_lengths, add_zones
from collector.analytics.log import reading_of
from collector.analytics.log_reading import LogReader, us_of
from collector.analytics.log_state import REMEMBERED_US, LogHour, LogState, Reading, add_hour
from collector.analytics.period import Asked
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries
from collector.errors import CollectorError

_HOUR, _QUARTER = timedelta(hours=1), timedelta(minutes=15)
REMEMBERED = timedelta(microseconds=REMEMBERED_US)
_SILENCE = timedelta(minutes=2)
SETTLED = timedelta(minutes=30)
"""For so long an hour is over when it is kept: what comes within a quarter of an hour leaves no mark."""
MOST_MADE_OF_LOG, MOST_MADE = 72, 31 * 24
"""How many hours one who asks may have to wait for: of the event log, which has thousands of entries an hour, and
without it."""


class Part(Flag):
    """What is asked of an hour."""

    CYCLES = auto()
    ZONES = auto()
    LOG = auto()


ALL = Part.CYCLES | Part.ZONES | Part.LOG


class HoursLacking(CollectorError):
    """`n` of `total` hours are not kept, or have changed: more than can be made for one who waits.

    `unmade`: from when to when some lack `parts` that nobody has made; None: a worker makes anew what has changed.
    """

    def __init__(self, n: int, total: int, unmade: tuple[datetime, datetime] | None, parts: Part) -> None:
        super().__init__(f"{n} of {total} hours lack")
        self.n = n
        self.total = total
        self.unmade = unmade
        self.parts = parts


@dataclass
class Hour:
    """An hour there; parts that were not asked for are empty.

    Attributes:
        log: None: the lights are not described, or it is not known any more.
        state: what is known of the log at its end.
        is_new: it was made now, or a part of it was.
    """

    start: datetime
    until: datetime
    lanes: list[Lane] = field(default_factory=list)
    lengths: list[Length] = field(default_factory=list)
    zones: list[Zone] = field(default_factory=list)
    log: LogHour | None = None
    state: LogState | None = None
    described: str | None = None
    is_new: bool = False


async def read_hours(connection: Connection, asked: Asked, parts: Part) -> list[Hour]:
    """All hours of a time, which is whole hours there. Raises HoursLacking."""
    return await HourReader(connection, asked, parts, is_waiting=True).read()


async def hour_edges(connection: Connection, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Beginnings of the hours there from `start` on, and the end of the last."""
    parameters = {"from": start, "to": end, "step_s": Bucket.HOUR.step_s, "zone": zone}
    cursor = await connection.execute(load_queries("counts")["buckets"], parameters)
    return [edge.astimezone(UTC) for (edge,) in await cursor.fetchall()]


@dataclass(frozen=True)
class _Known:
    """Marks, and up to when raw rows were dropped."""

    marks: Sequence[datetime]
    dropped: Mapping[Part, datetime]

    def is_marked(self, start: datetime, until: datetime) -> bool:
        """Marks name quarters. What comes just after an hour tells whether the log was silent at its end."""
        place = bisect.bisect_left(self.marks, start)
        return place < len(self.marks) and self.marks[place] < until + _SILENCE


class HourReader:
    """Reads hours, and makes those that were not kept, or are behind."""

    def __init__(
        self,
        connection: Connection,
        asked: Asked,
        parts: Part,
        marks: Sequence[datetime] = (),
        *,
        is_waiting: bool = False,
    ) -> None:
        """`marks`: beside those that are stored. `is_waiting`: somebody waits, and not for too many to be made."""
        self._connection = connection
        self._asked = asked
        self._reading = reading_of(asked.place.described)
        self._parts = parts if self._reading is not None else parts & ~Part.LOG
        self._queries = load_queries("hourly")
        self._marks = marks
        self._is_waiting = is_waiting
        self.ends_changed = False
        """Whether the last hour that was read ends with other knowledge than was kept with it: the next one may
        have been made with that."""

    async def read(self, *, before: bool = False) -> list[Hour]:
        """The hours; with `before` also those before them that had to be made for it."""
        known = await self._known()
        start = self._first_changed(known)
        kept = await self._kept(start - 3 * _HOUR)
        if all(moment >= self._asked.start for moment in kept):
            start = self._asked.start
        edges = await hour_edges(self._connection, self._asked.place.ref.timezone, start, self._asked.end)
        hours = [_hour(start, until, kept) for start, until in pairwise(edges)]
        if self._is_waiting:
            await self._check(hours, kept, known)
        for part, make in ((Part.CYCLES, self._make_cycles), (Part.ZONES, self._make_zones)):
            lacking = [one for one in hours if part in self._parts and not self._is_usable(one, part, kept, known)]
            if lacking:
                await make(lacking)
        if self._reading is not None and Part.LOG in self._parts:
            await self._walk(self._reading, hours, kept, known)
        if before:
            return hours
        return [self._told(one) for one in hours if one.start >= self._asked.start]

    async def _known(self) -> _Known:
        low = self._asked.start - (REMEMBERED if Part.LOG in self._parts else timedelta())
        cursor = await self._connection.execute(self._queries["marked"], self._asked.parameters | {"low": low})
        row = await cursor.fetchone()
        assert row is not None
        marks, *dropped = row
        every = sorted({*marks, *(mark for mark in self._marks if mark >= low)})
        return _Known(every, dict(zip((Part.CYCLES, Part.ZONES, Part.LOG), dropped, strict=True)))

    def _first_changed(self, known: _Known) -> datetime:
        """Where to begin: something that changed shortly before may matter."""
        start = self._asked.start
        first = next(iter(known.marks), None)
        if first is None or first >= start + _SILENCE:
            return start
        return max(first - _SILENCE, start - REMEMBERED)

    async def _kept(self, low: datetime) -> dict[datetime, Hour]:
        is_whole = Part.LOG in self._parts or not self._is_waiting
        parameters = self._asked.parameters | {"low": low, "whole": is_whole, "states": not self._is_waiting}
        cursor = await self._connection.execute(self._queries["kept"], parameters, prepare=False)
        return {start.astimezone(UTC): _decoded(start, *row) for start, *row in await cursor.fetchall()}

    def _is_usable(self, hour: Hour, part: Part, kept: Mapping[datetime, Hour], known: _Known) -> bool:
        if hour.start < known.dropped[part]:
            return True
        return hour is kept.get(hour.start) and not known.is_marked(hour.start, hour.until)

    async def _check(self, hours: Sequence[Hour], kept: Mapping[datetime, Hour], known: _Known) -> None:
        """Raises HoursLacking. What is not over yet does not count, nor what lies before all records."""
        over = [one for one in hours if one.until <= self._asked.place.as_of - SETTLED]
        usual = [part for part in (Part.CYCLES, Part.ZONES) if part in self._parts]
        lacking = [one for one in over if not all(self._is_usable(one, part, kept, known) for part in usual)]
        most = MOST_MADE
        if self._reading is not None and Part.LOG in self._parts:
            of_log = [one for one in over if self._lacks_log(one, self._reading, kept, known)]
            if len(of_log) > MOST_MADE_OF_LOG:
                lacking, most = of_log, MOST_MADE_OF_LOG
        if len(lacking) <= most:
            return
        parameters = self._asked.parameters | {"low": lacking[0].start, "high": lacking[-1].until}
        cursor = await self._connection.execute(self._queries["first_record"], parameters, prepare=False)
        row = await cursor.fetchone()
        since = row[0] if row is not None else None
        lacking = [one for one in lacking if since is not None and one.until > since]
        if len(lacking) > most:
            unmade = [
                one
                for one in lacking
                if one is not kept.get(one.start) or not known.is_marked(one.start, one.until)
            ]
            parts = ALL if most == MOST_MADE_OF_LOG else Part.CYCLES | Part.ZONES
            span = (unmade[0].start, unmade[-1].until) if unmade else None
            raise HoursLacking(len(lacking), len(over), span, parts)

    # Cycles and zones

    async def _make_cycles(self, hours: Sequence[Hour]) -> None:
        lanes = await self._by_hour(hours, "lanes", Lane)
        lengths = await self._by_hour(hours, "lengths", Length)
        for hour in hours:
            hour.lanes, hour.lengths = add_lanes(lanes[hour.start]), add_lengths(lengths[hour.start])
            hour.is_new = True

    async def _make_zones(self, hours: Sequence[Hour]) -> None:
        zones = await self._by_hour(hours, "zones", Zone)
        for hour in hours:
            hour.zones = add_zones(zones[hour.start])
            hour.is_new = True

    async def _by_hour(self, hours: Sequence[Hour], question: str, row: Any) -> dict[datetime, list[Any]]:
        """The rows of each hour, which come by quarters."""
        runs = _runs(hours)
        parameters = self._asked.parameters | {"low": runs[0][0], "high": runs[-1][1]}
        parameters |= {"starts": [start for start, _ in runs], "ends": [until for _, until in runs]}
        cursor = await self._connection.execute(self._queries[question], parameters, prepare=False, binary=True)
        by_quarter: dict[datetime, list[Any]] = {}
        for quarter, *values in await cursor.fetchall():
            by_quarter.setdefault(quarter.astimezone(UTC), []).append(row(*values))
        found: dict[datetime, list[Any]] = {}
        for hour in hours:
            of_hour = found.setdefault(hour.start, [])
            quarter = hour.start
            while quarter < hour.until:
                of_hour += by_quarter.get(quarter, ())
                quarter += _QUARTER
        return found

    # The event log

    async def _walk(
        self, reading: Reading, hours: Sequence[Hour], kept: Mapping[datetime, Hour], known: _Known
    ) -> None:
        """Hour by hour, since each goes on from what is known at the end of the one before."""
        lacking = [one for one in hours if self._lacks_log(one, reading, kept, known)]
        if lacking and self._is_waiting:
            await self._read_states(lacking[0].start, kept)
        log = LogReader(self._connection, self._asked, reading)
        await log.expect([(one.start, one.until) for one in lacking])
        state, is_changed = self._state_at(hours[0].start, reading, kept), False
        for hour in hours:
            was_kept = hour is kept.get(hour.start) and hour.described == reading.text
            if hour.start < known.dropped[Part.LOG]:
                state, is_changed = (hour.state, False) if was_kept else (None, False)
                continue
            if not is_changed and not self._lacks_log(hour, reading, kept, known):
                state = hour.state
                continue
            before = state.since(us_of(hour.start - REMEMBERED)) if state is not None else None
            if before is None:
                before = await self._state_anew(reading, hour.start)
            rows = await log.rows(hour.start, hour.until)
            old_state = hour.state
            hour.log, state = add_hour(reading, before, rows, us_of(hour.start), us_of(hour.until))
            # Where it was not kept, nobody knows what the next one was made with.
            is_changed = not was_kept or old_state != state
            hour.state, hour.described, hour.is_new = state, reading.text, True
        self.ends_changed = is_changed

    def _told(self, hour: Hour) -> Hour:
        """Without what was kept of a log that was read otherwise: it may be read so again."""
        if self._reading is not None and hour.described != self._reading.text:
            hour.log = None
        return hour

    def _lacks_log(self, hour: Hour, reading: Reading, kept: Mapping[datetime, Hour], known: _Known) -> bool:
        """Whether it must be made whatever was known before it."""
        if hour.start < known.dropped[Part.LOG]:
            return False
        was_kept = hour is kept.get(hour.start) and hour.described == reading.text
        return not was_kept or known.is_marked(hour.start, hour.until)

    async def _read_states(self, first: datetime, kept: Mapping[datetime, Hour]) -> None:
        """What was known at the ends of hours, from the one before the first that has to be made on."""
        parameters = self._asked.parameters | {"low": first - 3 * _HOUR}
        cursor = await self._connection.execute(self._queries["states"], parameters, prepare=False)
        for start, state in await cursor.fetchall():
            hour = kept.get(start.astimezone(UTC))
            if hour is not None and state is not None:
                hour.state = _STATE.decode(state)

    def _state_at(self, moment: datetime, reading: Reading, kept: Mapping[datetime, Hour]) -> LogState | None:
        """What was kept with the hour before."""
        for hour in kept.values():
            if hour.until == moment and hour.described == reading.text:
                return hour.state
        return None

    async def _state_anew(self, reading: Reading, moment: datetime) -> LogState:
        """What is known at a moment by the day before it."""
        hours = list(pairwise(moment - REMEMBERED + n * _HOUR for n in range(REMEMBERED // _HOUR + 1)))
        log = LogReader(self._connection, self._asked, reading)
        await log.expect(hours)
        state = LogState()
        for start, until in hours:
            if not log.is_silent(start):
                rows = await log.rows(start, until)
                _, state = add_hour(reading, state, rows, us_of(start), us_of(until))
        return state


def _hour(start: datetime, until: datetime, kept: Mapping[datetime, Hour]) -> Hour:
    found = kept.get(start)
    return Hour(start, until) if found is None or found.until != until else found


def _runs(hours: Sequence[Hour]) -> list[tuple[datetime, datetime]]:
    """From when to when hours lie side by side."""
    found: list[tuple[datetime, datetime]] = []
    for hour in hours:
        if found and hour.start == found[-1][1]:
            found[-1] = found[-1][0], hour.until
        else:
            found.append((hour.start, hour.until))
    return found


def _decoded(
    start: datetime,
    until: datetime,
    lanes: str,
    lengths: str,
    zones: str,
    described: str | None,
    log: str | None,
    state: str | None,
) -> Hour:
    return Hour(
        start.astimezone(UTC),
        until.astimezone(UTC),
        _LANES.decode(lanes),
        _LENGTHS.decode(lengths),
        _ZONES.decode(zones),
        None if log is None else _LOG.decode(log),
        None if state is None else _STATE.decode(state),
        described,
    )


_LANES = msgspec.json.Decoder(list[Lane])
_LENGTHS = msgspec.json.Decoder(list[Length])
_ZONES = msgspec.json.Decoder(list[Zone])
_LOG = msgspec.json.Decoder(LogHour)
_STATE = msgspec.json.Decoder(LogState)
