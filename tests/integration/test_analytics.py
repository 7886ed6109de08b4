"""What the analytics answer about small random worlds, compared with what is worked out fact by fact."""

import asyncio
import itertools
import math
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from collector.analytics.daily import DailyWorker
from collector.analytics.hourly import HourlyWorker
from collector.analytics.routes import analytics_routes
from collector.db import Settings, make_pool
from edge_agent.domain.signals.log_rows import detector_rows
from edge_agent.domain.signals.measures import arrivals, phase_cycles
from tests.integration.analytics_facts import LaneFact, LightsFacts
from tests.integration.analytics_world import STAGES, World, aspects, mean, saturation_of, spread, utc
from tests.integration.reader import get, reading_client
from tests.integration.test_rollups import bucket_of, drain

WORLDS = (
    pytest.param("plain", "Europe/Berlin", date(2025, 3, 29), id="a day of 23 hours"),
    pytest.param(
        "timescaledb", "Europe/Berlin", date(2025, 10, 25), id="a day of 25 hours", marks=pytest.mark.timescaledb
    ),
    pytest.param("plain", "America/St_Johns", date(2025, 11, 1), id="25 hours, and zones of half an hour"),
    pytest.param(
        "timescaledb", "Asia/Kathmandu", date(2025, 7, 1), id="quarters of an hour", marks=pytest.mark.timescaledb
    ),
)
PARTS = 3


def keep_days(dsn: str) -> int:
    async def run() -> int:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            worker = DailyWorker(pool)
            return await worker.mend() + await worker.catch_up()

    return asyncio.run(run())


def make_hours(dsn: str, junction: UUID, start: datetime, until: datetime) -> int:
    """Makes what lacks of a time, and takes no marks."""

    async def run() -> int:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return await HourlyWorker(pool).make_between(junction, start, until)

    return asyncio.run(run())


def keep_hours(dsn: str, junction: UUID, start: datetime, until: datetime) -> int:
    """Makes anew the hours that have marks, then those of a time; how many."""

    async def run() -> int:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            worker = HourlyWorker(pool)
            return await worker.mend() + await worker.make_between(junction, start, until)

    return asyncio.run(run())


class Told:
    """A world that was stored in parts, with the rollups, the days and some of the hours made in between, and what
    is told of it.

    Args:
        mended: what came late is in the hours when they are asked for; else it has marks that nobody took yet.
    """

    def __init__(self, dsn: str, world: World, *, mended: bool) -> None:
        self.world = world
        self.facts = LightsFacts(dsn, timezone=world.zone)
        self.facts.describe(world.junction)
        self.facts.source("stop", sensor="cam-gate")
        self.id = self.facts.junction_id
        for part in range(PARTS):
            world.store(self.facts, part, PARTS)
            self.facts.commit()
            if part < PARTS - 1:
                drain(dsn)
                keep_days(dsn)
                # A whole day before there is a log, the hours in which it begins, and not the last ones.
                keep_hours(dsn, self.id, world.days[0], world.hours[31 + part])
        if mended:
            assert keep_hours(dsn, self.id, world.days[0], world.hours[33]) > 0
        self.period = {"from_": world.first.isoformat(), "to": (world.first + timedelta(days=2)).isoformat()}
        questions = ("daily", "peak-hours", "lanes", "cycles", "saturation", "arrivals", "waits", "overrides")
        with reading_client(dsn, analytics_routes) as client:
            base = f"/api/analytics/junction/{self.id}"
            self.answers = {name: get(client, f"{base}/{name}", **self.period) for name in questions}
            later = {"from_": world.hours[31].isoformat(), "to": world.hours[32].isoformat()}
            self.later = {name: get(client, f"{base}/{name}", **later) for name in ("arrivals", "saturation")}


@pytest.mark.parametrize(("edition", "zone", "first"), WORLDS)
def test_a_random_world(request: pytest.FixtureRequest, edition: str, zone: str, first: date) -> None:
    world = World(zone, first, seed=first.toordinal())
    told = Told(request.getfixturevalue(f"{edition}_dsn"), world, mended=zone != "Europe/Berlin")
    for answer in told.answers.values():
        assert (utc(answer["from"]), utc(answer["to"])) == (told.world.days[0], told.world.days[-1])
        assert answer.get("exact", True) is True
    for check in (
        _daily,
        _peaks,
        _lanes,
        _lengths,
        _stages,
        _saturation,
        _failures,
        _arrivals,
        _waits,
        _overrides,
    ):
        check(told.world, told.answers)
    _an_hour_alone_is_as_it_is_among_others(told)


def _daily(world: World, answers: dict[str, Any]) -> None:
    for found, expected in zip(answers["daily"]["days"], world.daily(), strict=True):
        assert {name: found[name] for name in expected} == {
            name: pytest.approx(value) if isinstance(value, float) else value for name, value in expected.items()
        }
    edges = [(utc(day["from"]), utc(day["to"])) for day in answers["daily"]["days"]]
    assert edges == list(itertools.pairwise(world.days))


def _peaks(world: World, answers: dict[str, Any]) -> None:
    answer = answers["peak-hours"]
    assert answer["proven"] is True
    found = {
        (one["weekday"], one["hour"]): (one["n_hours"], one["n_measured"], one["mean"], one["p85"])
        for one in answer["hours_of_week"]
    }
    expected = world.hours_of_week()
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == tuple(v if v is None else pytest.approx(v) for v in values), key
    by_hour = {one["hour"]: one for one in answer["hours_of_day"]}
    counts = world.hourly()
    for hour, one in by_hour.items():
        same = [start for start in world.hours if wall_hour(world, start) == hour]
        values = spread([counts.get(start) for start in same])
        assert (one["n_hours"], one["n_measured"]) == values[:2]
        assert (one["mean"], one["p85"]) == tuple(v if v is None else pytest.approx(v) for v in values[2:])
    peaks = [
        (one["date"], utc(one["from"]), one["vehicles"], one["busiest_quarter"]) for one in answer["peak_of_days"]
    ]
    assert peaks == world.peaks()
    for one in answer["peak_of_days"]:
        assert one["factor"] == pytest.approx(one["vehicles"] / 4 / one["busiest_quarter"])
    best = max((one["vehicles"] for one in answer["peak_of_days"]), default=None)
    assert (answer["peak"]["vehicles"] if answer["peak"] else None) == best


def wall_hour(world: World, start: datetime) -> int:
    hour: int = start.astimezone(ZoneInfo(world.zone)).hour
    return hour


def _lanes(world: World, answers: dict[str, Any]) -> None:
    assert answers["lanes"]["basis"] == "cycles"
    rates: dict[str, float | None] = {}
    for one in answers["lanes"]["lanes"]:
        lanes = world.lanes()[one["lane"]]
        measured = [lane for lane in lanes if lane.vehicles is not None]
        length_s = sum(_length_s(lane) for lane in measured)
        vehicles = sum(lane.vehicles or 0 for lane in measured)
        rates[one["lane"]] = vehicles * 3600 / length_s
        assert one["vehicles"] == vehicles
        assert one["measured_s"] == pytest.approx(length_s)
        assert one["measured_share"] == pytest.approx(length_s / sum(_length_s(lane) for lane in lanes))
        assert one["green_s"] == pytest.approx(sum(lane.green_s for lane in lanes))
        assert one["vehicles_per_green_s"] == pytest.approx(vehicles / sum(lane.green_s for lane in measured))
        assert one["approach"] == one["lane"]
    total = sum(rate or 0.0 for rate in rates.values())
    for one in answers["lanes"]["lanes"]:
        assert one["vehicles_per_h"] == pytest.approx(rates[one["lane"]])
        assert one["share"] == pytest.approx((rates[one["lane"]] or 0.0) / total)


def _length_s(lane: LaneFact) -> float:
    return lane.green_s + lane.yellow_s + lane.red_s


def _lengths(world: World, answers: dict[str, Any]) -> None:
    answer = answers["cycles"]
    lengths = [cycle.length_s for cycle in world.cycles]
    told = (answer["mean_s"], answer["p15_s"], answer["p50_s"], answer["p85_s"])
    assert told == pytest.approx((np.mean(lengths), *np.percentile(lengths, (15, 50, 85))))
    assert (answer["cycles"], answer["cycles_s"]) == (len(lengths), pytest.approx(sum(lengths)))
    period_s = (world.days[-1] - world.days[0]).total_seconds()
    assert answer["cycles_share"] == pytest.approx(sum(lengths) / period_s)
    groups = defaultdict(list)
    for cycle in world.cycles:
        groups[cycle.plan, cycle.algorithm].append(cycle.length_s)
    found = {(one["plan"], one["algorithm"]): (one["cycles"], one["mean_s"]) for one in answer["groups"]}
    assert found == {key: (len(some), pytest.approx(mean(some))) for key, some in groups.items()}
    for one in answer["lanes"]:
        lanes = world.lanes()[one["lane"]]
        total_s = sum(_length_s(lane) for lane in lanes)
        assert one["green_share"] == pytest.approx(sum(lane.green_s for lane in lanes) / total_s)
        assert one["green_share"] + one["yellow_share"] + one["red_share"] == pytest.approx(1.0)


def _stages(world: World, answers: dict[str, Any]) -> None:
    """Second by second: who is green; else who was, and whether somebody has yellow."""
    answer = answers["cycles"]
    last_s = int(world.log[-1].at_s)
    shown = {phase: aspects(world.log, phase, last_s) for stage in STAGES.values() for phase in stage}
    owner = ""
    times: dict[tuple[str, str], float] = defaultdict(float)
    for second in range(last_s):
        now = {phase: shown[phase][second] for phase in shown}
        green = {phase for phase, aspect in now.items() if aspect == "green"}
        owner = next((name for name, phases in STAGES.items() if green and green <= set(phases)), owner)
        kind = "green" if green else "yellow" if "yellow" in now.values() else "lost"
        times[owner, kind] += 1.0
    total_s = world.log[-1].at_s
    times[owner, "lost"] += total_s - last_s
    assert answer["log_s"] == pytest.approx(total_s)
    assert [one["stage"] for one in answer["stages"]] == list(STAGES)
    for one in answer["stages"]:
        for kind in ("green", "yellow", "lost"):
            assert one[f"{kind}_share"] == pytest.approx(times[one["stage"], kind] / total_s), (one, kind)
    for kind in ("green", "yellow", "lost"):
        expected = sum(s for (_, its_kind), s in times.items() if its_kind == kind) / total_s
        assert answer[f"{kind}_share"] == pytest.approx(expected)


def _saturation(world: World, answers: dict[str, Any]) -> None:
    for one in answers["saturation"]["lanes"]:
        _is_as_saturated(one, world.lanes()[one["lane"]])
    hours = answers["saturation"]["lane_hours"]
    for one in hours:
        _is_as_saturated(one, world.lanes(utc(one["from"]))[one["lane"]])
        assert utc(one["to"]) == world.hour_end(utc(one["from"]))
    assert sum(one["n_cycles"] for one in hours) == sum(len(cycle.lanes) for cycle in world.cycles)


def _is_as_saturated(found: dict[str, Any], lanes: list[LaneFact]) -> None:
    measured = [lane.saturation for lane in lanes if lane.saturation is not None]
    expected = saturation_of(lanes)
    assert found["n_cycles"] == len(lanes)
    assert found["n_measured"] == len(measured)
    assert found["n_saturated"] == sum(1 for saturation in measured if saturation >= 1.0)
    assert found["saturation"] == (None if expected is None else pytest.approx(expected, rel=1e-6))


def _failures(world: World, answers: dict[str, Any]) -> None:
    """By the lights' own definition."""
    cycles = phase_cycles(world.log, detector_rows(world.junction, "7"))
    groups = defaultdict(list)
    for cycle in cycles:
        groups[cycle.phase, int(cycle.at_s // 3600)].append(cycle)
    found = answers["saturation"]["split_failure_hours"]
    assert len(found) == len(groups) > 0
    for one in found:
        hour = int((utc(one["from"]) - world.log_zero).total_seconds() // 3600)
        some = groups[one["phase"], hour]
        assert one["n_cycles"] == len(some)
        assert one["n_failures"] == sum(cycle.is_split_failure for cycle in some)
        assert one["green_occupancy"] == pytest.approx(mean(cycle.green_occupancy for cycle in some))
        assert one["red_occupancy"] == pytest.approx(mean(cycle.red_occupancy for cycle in some))
    for one in answers["saturation"]["split_failures"]:
        its_own = [cycle for cycle in cycles if cycle.phase == one["phase"]]
        assert (one["n_cycles"], one["n_failures"]) == (len(its_own), sum(c.is_split_failure for c in its_own))
    assert sum(cycle.is_split_failure for cycle in cycles) > 0


def _arrivals(world: World, answers: dict[str, Any]) -> None:
    expected = arrivals(world.log, detector_rows(world.junction, "7"), 3600.0)
    last_s = world.log[-1].at_s
    hours = answers["arrivals"]["hours"]
    assert {one["phase"] for one in hours} == {2, 4, 6, 8}
    for one in hours:
        hour = int((utc(one["from"]) - world.log_zero).total_seconds() // 3600)
        came = expected[hour, one["phase"]]
        assert (one["n"], one["n_on_green"]) == (came.n, came.n_on_green)
        assert one["share"] == pytest.approx(came.share)
        log_s = min(last_s, (hour + 1) * 3600) - hour * 3600
        assert one["log_s"] == pytest.approx(log_s)
        shown = aspects(world.log, one["phase"], int(last_s))[hour * 3600 : (hour + 1) * 3600]
        assert one["green_share"] == pytest.approx(shown.count("green") / log_s)
        assert one["platoon_ratio"] == pytest.approx(one["share"] / one["green_share"])
    for one in answers["arrivals"]["phases"]:
        n = sum(came.n for (_, phase), came in expected.items() if phase == one["phase"])
        assert (one["n"], one["detector"]) == (n, "advance")


def _waits(world: World, answers: dict[str, Any]) -> None:
    lanes = {one["lane"]: one for one in answers["waits"]["lanes"]}
    exits = sum(exits for _, _, _, exits in world.zones)
    vehicle_s = sum(span_s * n_mean for _, span_s, n_mean, _ in world.zones)
    north = lanes["north"]
    assert (north["method"], north["n"], north["measured_s"]) == ("little", exits, 300.0)
    assert north["wait_s"] == pytest.approx(vehicle_s / exits)
    assert (lanes["west"]["method"], lanes["west"]["wait_s"], lanes["west"]["n"]) == (None, None, None)
    for lane in ("east", "south"):
        total_s, total_n = 0.0, 0
        for one in answers["waits"]["hours"]:
            if one["lane"] != lane:
                continue
            some = [x for x in world.lanes(utc(one["from"]))[lane] if x.saturation is not None]
            n = sum(fact.vehicles or 0 for fact in some)
            wait_s = _webster_s(some) if n else None
            assert (one["method"], one["n"]) == ("webster", n if some else None)
            assert one["wait_s"] == (None if wait_s is None else pytest.approx(wait_s, rel=1e-6))
            total_s, total_n = total_s + (wait_s or 0.0) * n, total_n + n
        assert lanes[lane]["wait_s"] == pytest.approx(total_s / total_n, rel=1e-6)


def _webster_s(lanes: list[LaneFact]) -> float:
    """Webster's uniform delay, and the HCM's for overflow in an hour, as the books have them."""
    cycle_s, green_s = mean(_length_s(lane) for lane in lanes), mean(lane.green_s for lane in lanes)
    x = saturation_of(lanes)
    assert cycle_s
    assert green_s
    assert x is not None
    flow_vph = sum(lane.vehicles or 0 for lane in lanes) / sum(_length_s(lane) for lane in lanes) * 3600
    uniform_s = 0.5 * cycle_s * (1 - green_s / cycle_s) ** 2 / (1 - min(1.0, x) * green_s / cycle_s)
    capacity_vph = flow_vph / x
    return uniform_s + 900 * ((x - 1) + math.sqrt((x - 1) ** 2 + 4 * x / capacity_vph))


def _overrides(world: World, answers: dict[str, Any]) -> None:
    answer = answers["overrides"]
    inside = [o for o in world.orders if world.days[0] <= (o.began or o.ordered) < world.days[-1]]
    taken = [order for order in inside if order.began]
    assert answer["total"]["n"] == len(taken)
    assert answer["total"]["n_refused"] == len(inside) - len(taken)
    held_s = sum((o.ended - o.began).total_seconds() for o in taken if o.began and o.ended)
    assert answer["total"]["total_s"] == pytest.approx(held_s)
    for one in answer["users"]:
        its_own = [order for order in taken if order.user == one["user"]]
        assert one["n"] == sum(one["by_mode"].values()) == len(its_own)
    for one in answer["days"]:
        day = date.fromisoformat(one["date"]) - world.first
        began = [order.began for order in taken if order.began and order.user == one["user"]]
        assert one["n"] == sum(1 for at in began if world.day_of(at) == day.days)
    by_hour = {one["hour"]: one["n"] for one in answer["hours"] if one["n"]}
    expected: dict[int, int] = defaultdict(int)
    for order in taken:
        assert order.began
        expected[wall_hour(world, order.began)] += 1
    assert by_hour == expected


def _an_hour_alone_is_as_it_is_among_others(told: Told) -> None:
    """What was shown and who stood before the hour began is known from before."""
    world, start = told.world, told.world.hours[31]
    for name, part in (("arrivals", "hours"), ("saturation", "split_failure_hours"), ("saturation", "lane_hours")):
        whole = [one for one in told.answers[name][part] if utc(one["from"]) == start]
        alone = told.later[name][part]
        assert alone == [_approximately(one) for one in whole]
    assert bucket_of(start, 3600, world.zone) == start


def _approximately(item: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(v) if isinstance(v, float) else v for name, v in item.items()}
