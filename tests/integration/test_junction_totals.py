"""What is told of a junction whose cameras fail and whose lines are drawn and taken away.

It is held against random histories that are worked out second by second.
"""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from collector.analytics.routes import analytics_routes
from collector.counting.routes import counting_routes
from common.junction import DetectorKind
from tests.integration.analytics_facts import LightsFacts
from tests.integration.analytics_world import midnight
from tests.integration.reader import get, reading_client
from tests.integration.test_analytics import keep_days
from tests.integration.test_rollups import bucket_of, drain
from tests.junctions import crossroads

DAYS = 3
WHOLE = 0.99
Span = tuple[datetime, datetime]


class Line:
    """`there` None: nobody told. `lane` None: none is described."""

    def __init__(self, sensor: str, name: str, there: list[Span] | None, lane: str | None) -> None:
        self.sensor, self.name, self.there, self.lane = sensor, name, there, lane

    @property
    def told_as(self) -> str:
        """By its own name alone where no other has the same."""
        return self.lane or (self.name if self.name == "stop 2" else f"{self.sensor}/{self.name}")


class History:
    """Cameras `cam-north`, ... of which some fail for a while, and lines that are not always there.

    Args:
        described: the lights name the stop lines of all four lanes; of the last one nobody ever told.
    """

    def __init__(self, seed: int, zone: str, first: date, *, described: bool) -> None:
        self.chance, self.zone, self.first, self.described = random.Random(seed), zone, first, described
        self.days = [midnight(first + timedelta(days=n), zone) for n in range(DAYS + 1)]
        self.seconds = int((self.days[-1] - self.days[0]).total_seconds())
        self.watched = {f"cam-{name}": self._density() for name in ("north", "east", "south")}
        self.lines = [
            Line(f"cam-{name}", "stop", self._there(), name if described else None)
            for name in ("north", "east", "south")
        ]
        if not described:
            self.lines.append(Line("cam-north", "stop 2", self._there(), None))
        self.crossings = [
            (self._moment(), self.chance.choice(("car", "bus", "person")), self.chance.choice(self.lines))
            for _ in range(400)
        ]

    def second(self, at: datetime) -> int:
        return round((at - self.days[0]).total_seconds())

    def _moment(self) -> datetime:
        return self.days[0] + timedelta(seconds=self.chance.randrange(self.seconds))

    def _density(self) -> list[tuple[datetime, datetime, float]]:
        found, at = [], self.days[0]
        while at < self.days[-1]:
            share = self.chance.choice((1.0, 1.0, 1.0, 0.5, 0.0))
            until = min(self.days[-1], at + timedelta(minutes=self.chance.choice((20, 300, 700, 1500))))
            while at < until:
                end = min(until, at + timedelta(minutes=60))
                found.append((at, end, share))
                at = end
        return found

    def _there(self) -> list[Span] | None:
        kind = self.chance.choice(("always", "none told", "drawn", "drawn", "taken away", "away for a while"))
        if kind == "none told":
            return None
        low, high = self.days[0] - timedelta(days=9), self.days[-1] + timedelta(days=9)
        first, last = sorted((self._moment(), self._moment()))
        if self.chance.random() < 0.3:
            first, last = (bucket_of(moment, 3600, self.zone) for moment in (first, last))
        spans = {
            "drawn": [(first, high)],
            "taken away": [(low, last)],
            "away for a while": [(low, first), (last, high)],
        }
        return spans.get(kind, [(low, high)])

    # As it was, second by second --------------------------------------------------------------------------------

    def is_there(self, line: Line) -> "np.ndarray[Any, Any]":
        found = np.zeros(self.seconds)
        for start, end in [(self.days[0], self.days[-1])] if line.there is None else line.there:
            found[max(0, self.second(start)) : max(0, self.second(end))] = 1.0
        return found

    def measured(self, line: Line) -> "np.ndarray[Any, Any]":
        watched = np.zeros(self.seconds)
        for start, end, share in self.watched[line.sensor]:
            watched[self.second(start) : self.second(end)] = share
        watched *= self.is_there(line)
        return watched

    def due(self, line: Line) -> "np.ndarray[Any, Any]":
        there = self.is_there(line)
        return np.ones(self.seconds) if self.described or there[-1] else there

    def store(self, facts: LightsFacts, part: int) -> None:
        """One half of it, in no order."""
        for line in self.lines:
            facts.crossings(
                [(at, cls, line.sensor) for at, cls, of in self.crossings[part::2] if of is line], line.name
            )
        for camera, blocks in self.watched.items():
            facts.watched(
                [
                    (end, (end - start).total_seconds(), share * (end - start).total_seconds(), camera)
                    for start, end, share in blocks[part::2]
                    if share
                ]
            )
        for line in self.lines:
            number = facts.source(line.name, sensor=line.sensor)
            there = None if line.there is None else [f"[{start},{end})" for start, end in line.there]
            facts.connection.execute(
                "UPDATE counting_zones SET in_force = %s::tstzmultirange WHERE no = %s",
                (None if there is None else "{" + ",".join(there) + "}", number),
            )
        facts.commit()


@pytest.fixture(
    params=[(1, "Europe/Berlin", date(2025, 10, 25), True), (3, "America/St_Johns", date(2025, 3, 8), False)],
    ids=["described, a day of 25 hours", "any lines, a day of 23 hours"],
)
def told(request: pytest.FixtureRequest, plain_dsn: str) -> Iterator[tuple[History, TestClient[Litestar], str]]:
    seed, zone, first, described = request.param
    history = History(seed, zone, first, described=described)
    facts = LightsFacts(plain_dsn, timezone=zone)
    if described:
        base = crossroads()
        stop_lines = tuple(one for one in base.detectors if one.kind is DetectorKind.STOP_LINE)
        facts.describe(replace(base, detectors=stop_lines))
    junction = str(facts.junction_id)
    history.store(facts, 0)
    drain(plain_dsn)
    keep_days(plain_dsn)
    history.store(facts, 1)
    with reading_client(plain_dsn, analytics_routes, counting_routes) as client:
        yield history, client, junction


def test_all_that_is_told_of_a_junction(told: tuple[History, TestClient[Litestar], str], plain_dsn: str) -> None:
    history, client, junction = told
    for _ in ("live", "kept"):
        for bucket, step_s in (("15m", 900), ("1h", 3600), ("1d", 86400)):
            _counts(history, client, bucket, step_s)
        _days(history, client, junction)
        _hours(history, client, junction)
        _lanes(history, client, junction)
        drain(plain_dsn)
        keep_days(plain_dsn)
    with psycopg.connect(plain_dsn) as connection:
        kept = connection.execute("SELECT vehicles FROM junction_daily_stats ORDER BY day LIMIT 3").fetchall()
    assert [vehicles for (vehicles,) in kept] == [day["vehicles"] for day in _ask_days(history, client, junction)]


def _counts(history: History, client: TestClient[Litestar], bucket: str, step_s: int) -> None:
    period = {"from_": history.days[0].isoformat(), "to": history.days[-1].isoformat()}
    answer = get(client, "/api/counts", **period, bucket=bucket)
    for series in answer["sources"]:
        sensor, name = series["source"]["sensor"], series["source"]["name"]
        (line,) = [one for one in history.lines if (one.sensor, one.name) == (sensor, name)]
        measured = history.measured(line)
        counts = Counter(bucket_of(at, step_s, history.zone) for at, _, of in history.crossings if of is line)
        assert sum(bucket["n"] or 0 for bucket in series["buckets"]) == counts.total()
        for one in series["buckets"]:
            start, end = (datetime.fromisoformat(one[name]) for name in ("from", "to"))
            measured_s = measured[history.second(start) : history.second(end)].sum()
            assert one["measured_s"] == pytest.approx(measured_s, abs=0.1), (line.told_as, start)
            n = counts[start.astimezone(UTC)]
            assert one["n"] == (n if n or measured_s else None), (line.told_as, start)


def _ask_days(history: History, client: TestClient[Litestar], junction: str) -> list[dict[str, Any]]:
    period = {"from_": history.first.isoformat(), "to": (history.first + timedelta(days=DAYS - 1)).isoformat()}
    found: list[dict[str, Any]] = get(client, f"/api/analytics/junction/{junction}/daily", **period)["days"]
    return found


def _days(history: History, client: TestClient[Litestar], junction: str) -> None:
    for n, day in enumerate(_ask_days(history, client, junction)):
        start, end = history.days[n : n + 2]
        span = slice(history.second(start), history.second(end))
        vehicles = sum(1 for at, cls, _ in history.crossings if start <= at < end and cls != "person")
        people = sum(1 for at, cls, _ in history.crossings if start <= at < end and cls == "person")
        measured_s = [history.measured(line)[span].sum() for line in history.lines]
        is_told = bool(vehicles or people or sum(measured_s))
        assert (day["vehicles"], day["people"]) == ((vehicles, people) if is_told else (None, None))
        its_due_s = [history.due(line)[span].sum() for line in history.lines]
        # The lane of which nobody has told is due all day, too.
        due_s = sum(its_due_s) + history.described * (end - start).total_seconds()
        assert day["measured_share"] == pytest.approx(sum(measured_s) / due_s if due_s else 0.0, abs=1e-4)
        unmeasured = [
            line.told_as
            for line, its_own, its_due in zip(history.lines, measured_s, its_due_s, strict=True)
            if its_due and not its_own
        ]
        assert sorted(day["unmeasured"]) == sorted(unmeasured + ["west"] * history.described)


def _hours(history: History, client: TestClient[Litestar], junction: str) -> None:
    """Of an hour in which a line was drawn or taken away while its camera failed, it may be told that it was not
    measured where it was; never the other way round."""
    period = {"from_": history.days[0].isoformat(), "to": history.days[-1].isoformat()}
    answer = get(client, f"/api/analytics/junction/{junction}/peak-hours", **period)
    found = {(one["weekday"], one["hour"]): one for one in answer["hours_of_week"]}
    starts = sorted(
        {
            bucket_of(history.days[0] + n * timedelta(minutes=15), 3600, history.zone)
            for n in range(history.seconds // 900)
        }
    )
    sure: Counter[tuple[int, int]] = Counter()
    may: Counter[tuple[int, int]] = Counter()
    counts: Counter[tuple[int, int]] = Counter()
    for start, end in zip(starts, [*starts[1:], history.days[-1]], strict=True):
        there = start.astimezone(ZoneInfo(history.zone))
        key = (there.isoweekday(), there.hour)
        span = slice(history.second(start), history.second(end))
        due = [line for line in history.lines if history.due(line)[span].any()]
        good = [history.measured(line)[span].sum() >= WHOLE * history.due(line)[span].sum() for line in due]
        is_cut = any(0 < history.is_there(line)[span].mean() < 1 for line in history.lines)
        if due and all(good):
            may[key] += 1
            sure[key] += not is_cut
            counts[key] += sum(1 for at, cls, _ in history.crossings if start <= at < end and cls != "person")
    for key, one in found.items():
        assert sure[key] <= one["n_measured"] <= may[key], key
        if one["n_measured"] == may[key] and may[key]:
            assert one["mean"] == pytest.approx(counts[key] / may[key])
    shares = {(one["sensor"], one["source"]): one["measured_share"] for one in answer["lines"]}
    for line in history.lines:
        due_s = history.due(line).sum() or history.seconds
        assert shares.pop((line.sensor, line.name)) == pytest.approx(
            history.measured(line).sum() / due_s, abs=1e-4
        )
    assert list(shares.values()) == [0.0] * history.described


def _lanes(history: History, client: TestClient[Litestar], junction: str) -> None:
    period = {"from_": history.days[0].isoformat(), "to": history.days[-1].isoformat()}
    lanes = get(client, f"/api/analytics/junction/{junction}/lanes", **period)["lanes"]
    assert len(lanes) == len(history.lines) + history.described
    for line in history.lines:
        (one,) = [one for one in lanes if one["lane"] == line.told_as]
        measured_s = history.measured(line).sum()
        n = sum(1 for _, cls, of in history.crossings if of is line and cls != "person")
        assert one["measured_s"] == pytest.approx(measured_s, abs=1.0)
        assert one["vehicles"] == (n if n or measured_s else None)
        assert one["approach"] == line.lane
