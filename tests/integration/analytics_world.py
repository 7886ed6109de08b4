"""A small world of random facts about one junction, and what each question about it must be answered: worked out
slowly and plainly, fact by fact."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from msgspec.structs import replace

from common.junction import Detector, DetectorKind, Junction
from edge_agent.domain.signals.log_rows import LogRow
from tests.integration.analytics_facts import LaneFact, LightsFacts
from tests.integration.test_rollups import bucket_of
from tests.junctions import crossroads
from tests.signal_day import with_advance

CAMERAS = ("cam-north", "cam-east")
"""Of the described lanes, those that have a camera."""
DAYS = 3
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)


@dataclass(frozen=True)
class Cycle:
    at: datetime
    plan: str | None
    algorithm: str
    length_s: float
    lanes: tuple[LaneFact, ...]


@dataclass(frozen=True)
class Order:
    ordered: datetime
    began: datetime | None
    ended: datetime | None
    user: str
    mode: str


def with_blind_zone(junction: Junction) -> Junction:
    """The same junction; on its south lane a zone is told that sees vehicles and nobody who leaves it."""
    zone = Detector(channel=250, lane="south", kind=DetectorKind.APPROACH, sensor="cam-north", source="blind")
    return replace(junction, detectors=(*junction.detectors, zone))


@dataclass
class World:
    """`days[0]` to `days[DAYS]` are midnights there."""

    zone: str
    first: date
    seed: int
    days: list[datetime] = field(default_factory=list)
    hours: list[datetime] = field(default_factory=list)
    crossings: list[tuple[datetime, str, str]] = field(default_factory=list)
    watched: dict[tuple[str, datetime], float] = field(default_factory=dict)
    """Camera and hour -> share of it."""
    cycles: list[Cycle] = field(default_factory=list)
    zones: list[tuple[datetime, float, float, int]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    log: list[LogRow] = field(default_factory=list)
    """Seconds from `log_zero` on."""
    junction: Junction = field(default_factory=lambda: with_blind_zone(with_advance(crossroads())))

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.days = [midnight(self.first + timedelta(days=n), self.zone) for n in range(DAYS + 1)]
        quarters = int((self.days[-1] - self.days[0]) / QUARTER)
        starts = {bucket_of(self.days[0] + n * QUARTER, 3600, self.zone) for n in range(quarters)}
        self.hours = sorted(starts)
        self.log_zero = self.hours[30]
        for make in (self._count, self._watch, self._cycle, self._occupy, self._order):
            make()
        self.log = random_log(self.chance)

    def store(self, facts: LightsFacts, part: int, parts: int) -> None:
        """One of the parts in which it arrives, in no order."""
        facts.crossings(self.crossings[part::parts])
        blocks = []
        for (camera, hour), share in list(self.watched.items())[part::parts]:
            length_s = (self.hour_end(hour) - hour).total_seconds()
            blocks.append((self.hour_end(hour), length_s, share * length_s, camera))
        facts.watched(blocks)
        for cycle in self.cycles[part::parts]:
            facts.cycle(cycle.at, cycle.lanes, plan=cycle.plan, algorithm=cycle.algorithm, length_s=cycle.length_s)
        for at, span_s, n_mean, exits in self.zones[part::parts]:
            facts.occupancy(at, ("cam-north", "approach"), span_s, n_mean, exits)
            facts.occupancy(at, ("cam-north", "blind"), span_s, n_mean, 0)
        for order in self.orders[part::parts]:
            facts.override(order.began, order.ended, user=order.user, mode=order.mode, ordered=order.ordered)
        facts.events(self.log_zero, self.log[part::parts])

    def hour_end(self, hour: datetime) -> datetime:
        later = [one for one in self.hours if one > hour]
        return later[0] if later else self.days[-1]

    def _moment(self) -> datetime:
        return self.days[0] + timedelta(
            seconds=self.chance.randrange(int((self.days[-1] - self.days[0]).total_seconds()))
        )

    def _count(self) -> None:
        for _ in range(200):
            cls = self.chance.choice(("car", "car", "bus", "person"))
            self.crossings.append((self._moment(), cls, self.chance.choice((*CAMERAS, "cam-gate"))))
        busy = self.chance.choice(self.hours)
        self.crossings += [(busy + timedelta(seconds=7 * n), "car", "cam-north") for n in range(60)]
        self.crossings += [(edge, "car", "cam-east") for edge in (self.days[1], self.hours[9])]

    def _watch(self) -> None:
        for camera in CAMERAS:
            for hour in self.hours:
                self.watched[camera, hour] = self.chance.choice((1.0, 1.0, 1.0, 1.0, 0.5, 0.0))

    def _cycle(self) -> None:
        for at in [self._moment() for _ in range(150)] + [self.days[1], self.hours[5]]:
            green_s, length_s = self.chance.randrange(0, 60) * 0.5, self.chance.randrange(140, 250) * 0.5
            lanes = []
            for lane in ("north", "east", "south"):
                vehicles = self.chance.choice((None, 0, self.chance.randrange(1, 20)))
                saturation = None
                if vehicles is not None and green_s > 0:
                    saturation = self.chance.choice((round(vehicles / (green_s * 0.5), 4), 0.99, 1.0))
                    saturation = 0.0 if not vehicles else saturation
                lanes.append(LaneFact(lane, green_s, 3.0, length_s - green_s - 3.0, vehicles, saturation))
            plan, algorithm = self.chance.choice(("day", "day", "night", None)), self.chance.choice(("a", "b"))
            self.cycles.append(Cycle(at, plan, algorithm, length_s, tuple(lanes)))

    def _occupy(self) -> None:
        for _ in range(60):
            exits = self.chance.choice((0, 0, 1, 2))
            self.zones.append((self._moment(), 5.0, self.chance.randrange(0, 40) * 0.25, exits))

    def _order(self) -> None:
        for _ in range(8):
            ordered = self._moment()
            began = ordered + timedelta(seconds=self.chance.randrange(0, 90))
            ended = began + timedelta(seconds=self.chance.randrange(1, 9000))
            user, mode = self.chance.choice(("alice", "bob")), self.chance.choice(("flash", "manual_override"))
            self.orders.append(Order(ordered, self.chance.choice((began, began, None)), ended, user, mode))

    # What must be answered ---------------------------------------------------------------------------------------

    def day_of(self, at: datetime) -> int:
        return max(n for n in range(DAYS) if self.days[n] <= at)

    def counted(self) -> list[tuple[datetime, str]]:
        """What crossed the described stop lines."""
        return [(at, cls) for at, cls, sensor in self.crossings if sensor in CAMERAS]

    def daily(self) -> list[dict[str, Any]]:
        found = []
        for n, (start, end) in enumerate(zip(self.days, self.days[1:], strict=False)):
            by_class = Counter(cls for at, cls in self.counted() if start <= at < end)
            cycles = [one for one in self.cycles if start <= one.at < end]
            lanes = [lane for one in cycles for lane in one.lanes if lane.saturation is not None]
            length_s = (end - start).total_seconds()
            measured_s = sum(
                share * (self.hour_end(hour) - hour).total_seconds()
                for (_, hour), share in self.watched.items()
                if start <= hour < end
            )
            found.append(
                {
                    "date": (self.first + timedelta(days=n)).isoformat(),
                    "hours": length_s / 3600,
                    "vehicles": sum(k for cls, k in by_class.items() if cls != "person"),
                    "people": by_class["person"],
                    "by_class": {cls: k for cls, k in by_class.items() if k},
                    "measured_share": measured_s / len(self.junction.lanes) / length_s,
                    "cycles": len(cycles),
                    "mean_cycle_s": mean(one.length_s for one in cycles),
                    "saturation": saturation_of(lanes),
                    "saturation_cycles": len(lanes),
                    "overrides": sum(1 for one in self.orders if one.began and start <= one.began < end),
                }
            )
        return found

    def is_measured(self, hour: datetime) -> bool:
        return all(self.watched[camera, hour] == 1.0 for camera in CAMERAS)

    def hourly(self) -> dict[datetime, int]:
        """Vehicles of each measured hour."""
        counts = Counter(bucket_of(at, 3600, self.zone) for at, cls in self.counted() if cls != "person")
        return {hour: counts[hour] for hour in self.hours if self.is_measured(hour)}

    def hours_of_week(self) -> dict[tuple[int, int], tuple[int, int, float | None, float | None]]:
        groups: dict[tuple[int, int], list[int | None]] = defaultdict(list)
        counts = self.hourly()
        for hour in self.hours:
            there = hour.astimezone(ZoneInfo(self.zone))
            groups[there.isoweekday(), there.hour].append(counts.get(hour))
        return {key: spread(values) for key, values in groups.items()}

    def peaks(self) -> list[tuple[str, datetime, int, int]]:
        """Of each day: when its peak begins, vehicles, those of the busiest quarter."""
        counts = Counter(bucket_of(at, 900, self.zone) for at, cls in self.counted() if cls != "person")
        found = []
        for n in range(DAYS):
            best: tuple[int, datetime, int] | None = None
            at = self.days[n]
            while at + 4 * QUARTER <= self.days[n + 1]:
                four = [at + k * QUARTER for k in range(4)]
                if all(self.is_measured(bucket_of(one, 3600, self.zone)) for one in four):
                    total = sum(counts[one] for one in four)
                    if total and (best is None or total > best[0]):
                        best = (total, at, max(counts[one] for one in four))
                at += QUARTER
            if best is not None:
                found.append(((self.first + timedelta(days=n)).isoformat(), best[1], best[0], best[2]))
        return found

    def lanes(self, hour: datetime | None = None) -> dict[str, list[LaneFact]]:
        """All cycles of each lane, or those that ended in an hour there."""
        found: dict[str, list[LaneFact]] = defaultdict(list)
        for cycle in self.cycles:
            if hour is None or bucket_of(cycle.at, 3600, self.zone) == hour:
                for lane in cycle.lanes:
                    found[lane.lane].append(lane)
        return found


def midnight(day: date, zone: str) -> datetime:
    """The first moment that the calendar there shows as `day`."""
    return bucket_of(datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)), 86400, zone)


def mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None


def saturation_of(lanes: Sequence[LaneFact]) -> float | None:
    """Mean weighted by green; lanes that were not measured do not count."""
    measured = [lane for lane in lanes if lane.saturation is not None]
    green_s = sum(lane.green_s for lane in measured)
    return sum((lane.saturation or 0.0) * lane.green_s for lane in measured) / green_s if green_s else None


def spread(values: Sequence[int | None]) -> tuple[int, int, float | None, float | None]:
    """How many, how many measured, their mean and 85th percentile."""
    measured = [value for value in values if value is not None]
    if not measured:
        return len(values), 0, None, None
    return len(values), len(measured), float(np.mean(measured)), float(np.percentile(measured, 85))


STAGES: Mapping[str, tuple[int, ...]] = {"ns": (2, 6), "ew": (4, 8)}


def random_log(chance: random.Random, until_s: int = 7200) -> list[LogRow]:
    """A log as the lights write it: lamps change at whole seconds, whoever comes does so at any moment."""
    rows = [LogRow(0.0, 173, 2), *(LogRow(float(beat), 155, 6) for beat in range(0, until_s, 60))]
    at, stage = 10, 0
    while at < until_s - 120:
        ends = [at + chance.randrange(5, 50) for _ in range(2)]
        for phase, end in zip(list(STAGES.values())[stage], ends, strict=True):
            lamps = ((at, 1), (end, 7), (end, 8), (end + 3, 9), (end + 3, 10), (end + 5, 11), (end + 5, 12))
            rows += [LogRow(float(moment), code, phase) for moment, code in lamps]
        at, stage = max(ends) + 5, 1 - stage
    for channel in (201, 202, 203, 204, 101, 102, 103):
        now = chance.randrange(0, 60_000)
        while now < until_s * 1000 - 60_000:
            stays = chance.randrange(100, 1000 if channel > 200 else 70_000)
            rows += [LogRow(now / 1000, 82, channel), LogRow((now + stays) / 1000, 81, channel)]
            now += stays + chance.randrange(1, 40_000)
    return sorted(rows, key=lambda row: row.at_s)


def aspects(log: Sequence[LogRow], phase: int, until_s: int) -> list[str]:
    """What a phase shows in each second, all red at first."""
    shown, now = [], "red"
    changes = {1: "green", 7: "red", 8: "yellow", 10: "red"}
    by_second = defaultdict(list)
    for row in log:
        if row.parameter == phase and row.code in changes:
            by_second[int(row.at_s)].append(changes[row.code])
    for second in range(until_s):
        for change in by_second[second]:
            now = change
        shown.append(now)
    return shown


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
