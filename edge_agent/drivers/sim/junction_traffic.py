"""Simulated traffic before the lights of a junction: vehicles that come, queue at red, and go at green.

Each lane is one file of vehicles that drive towards its stop line. A vehicle goes as fast as it wants to, as its
engine allows, and as lets it stop behind the one ahead should that one brake (a safe speed, as Gipps and Krauss
have it: no two ever touch, with steps of up to one second). At yellow those stop who still can, comfortably; the
others drive on. Behind the line the road is free, and they are out of sight soon.

How fast a standing queue leaves follows from how closely they follow, which is set so that each lane has the
saturation flow of its description. In flash, and with dark lamps, everybody stops and one goes after the other.

Pure, and plain floats in lists: some ten vehicles a lane are stepped faster so than by numpy. All times are
seconds since the beginning, all places metres from the stop line: negative before it.
"""

import math
import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from common.codes import Aspect
from common.junction import DetectorKind, Junction
from common.junction import Lane as LaneDescription

MAX_STEP_S = 1.0
"""Longer steps are cut: with these followers stay behind their leaders."""
APPROACH_M = 250.0
"""Where vehicles appear before the stop line. Does the queue reach back to here, they wait outside."""
_EXIT_M = 25.0
_GAP_M = 2.0
_STOP_BEFORE_M = 0.8
_START_M = 1.2
"""Whoever stands starts when there is so much room, a second or so after the one ahead."""
_GREEN_REACTION_S = 1.3
_ACCELERATION_MPS2 = 2.2
_BRAKING_MPS2 = 4.0
_REACTION_S = 1.0
_LEAST_HEADWAY_S = MAX_STEP_S
_CREEP_MPS = 0.05
_MOVING_MPS = 1.0
_SPEED_MPS = (11.0, 15.0)
_FREE_M = 90.0
"""With so much room nobody brakes."""
_FLASH_EVERY_S = 3.5
_DAY_S = 86_400.0

_KINDS = (("car", 4.6, 0.85), ("truck", 9.0, 0.06), ("bus", 11.5, 0.03), ("motorcycle", 2.2, 0.06))
"""Class, length in m, share."""
_KIND_SUMS = tuple(accumulate(share for _, _, share in _KINDS))


@dataclass(frozen=True, slots=True)
class Demand:
    """How many vehicles come on a lane.

    Attributes:
        vph: vehicles per hour, where the factor is 1.
        by_hour: a factor for each hour of the day, reached at its full hour and blended between; empty: always 1.
    """

    vph: float
    by_hour: Sequence[float] = ()

    def rate_per_s(self, day_s: float) -> float:
        """At a time since midnight."""
        if not self.by_hour:
            return self.vph / 3600.0
        place = day_s % _DAY_S / _DAY_S * len(self.by_hour)
        hour = int(place)
        share, after = place - hour, self.by_hour[(hour + 1) % len(self.by_hour)]
        return self.vph / 3600.0 * (self.by_hour[hour] * (1.0 - share) + after * share)


RUSH = (
    *(0.15, 0.1, 0.08, 0.08, 0.12, 0.3, 0.7, 1.2, 1.3, 0.9, 0.8, 0.8),
    *(0.9, 0.9, 0.9, 1.0, 1.2, 1.3, 1.1, 0.8, 0.6, 0.45, 0.35, 0.25),
)
"""A working day in a town: a peak in the morning, a longer one in the evening."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A vehicle's front came over the stop line, or over an advance detector.

    Attributes:
        t_s: when, interpolated within the step.
        kind: STOP_LINE or ADVANCE.
        on_red: over the stop line at red, since it could not stop at yellow. False in flash.
    """

    t_s: float
    lane: str
    cls: str
    kind: DetectorKind = DetectorKind.STOP_LINE
    on_red: bool = False


@dataclass(slots=True)
class Truth:
    """What really happened on a lane since the beginning. arrived = outside + inside + left, at any time.

    Attributes:
        arrived: came, some of which may still be outside because the queue reaches back to where they appear.
        entered: came onto the lane.
        crossed: went over the stop line.
        crossed_on_red: of them, those who could not stop.
        left: are out of sight.
        present_s: seconds that vehicles spent here, outside included, summed over all of them.
    """

    arrived: int = 0
    entered: int = 0
    crossed: int = 0
    crossed_on_red: int = 0
    left: int = 0
    present_s: float = 0.0


@dataclass(slots=True)
class _Lane:
    """One lane's vehicles, from the first to the last: parallel lists."""

    name: str
    movements: tuple[str, ...]
    demand: Demand
    headway_s: float
    advance_m: tuple[float, ...]
    next_arrival_s: float
    truth: Truth = field(default_factory=Truth)
    front_m: list[float] = field(default_factory=list)
    speed_mps: list[float] = field(default_factory=list)
    wanted_mps: list[float] = field(default_factory=list)
    length_m: list[float] = field(default_factory=list)
    cls: list[str] = field(default_factory=list)
    outside: int = 0
    n_past: int = 0
    """So many of the first ones are over the line."""
    n_free: int = 0
    """While not green: so many of the next ones may go over it nevertheless."""
    aspect: Aspect = Aspect.RED
    goes_s: float = 0.0
    """When the first driver who stands at the line has seen that it is green."""


class JunctionTraffic:
    """The vehicles before one junction."""

    def __init__(
        self, junction: Junction, demand: Mapping[str, Demand], *, seed: int = 1, midnight_s: float = 0.0
    ) -> None:
        """
        Args:
            demand: of lanes, by name; on lanes that are left out nobody comes.
            midnight_s: how long after midnight it begins.

        Raises:
            ValueError: a lane of `demand` is not the junction's.
        """
        unknown = demand.keys() - {lane.name for lane in junction.lanes}
        if unknown:
            raise ValueError(f"there is no lane {', '.join(sorted(unknown))} in junction {junction.name}")
        self._chance = random.Random(seed)
        self._midnight_s = midnight_s
        self._lanes = {
            lane.name: self._make_lane(junction, lane, demand.get(lane.name, Demand(0.0)))
            for lane in junction.lanes
        }
        self._turns = list(self._lanes.values())
        self._flash_free_s = 0.0
        self.now_s = 0.0

    def _make_lane(self, junction: Junction, lane: LaneDescription, demand: Demand) -> _Lane:
        advance = (
            detector.reach_m or 0.0
            for detector in junction.detectors
            if detector.lane == lane.name and detector.kind is DetectorKind.ADVANCE
        )
        made = _Lane(
            lane.name,
            tuple(movement.name for movement in junction.movements if lane.name in movement.lanes),
            demand,
            headway_s=_headway_s(lane.saturation_flow_vph),
            advance_m=tuple(-distance_m for distance_m in advance),
            next_arrival_s=0.0,
        )
        made.next_arrival_s = self._next_arrival_s(made, 0.0)
        return made

    @property
    def truth(self) -> Mapping[str, Truth]:
        """By lane."""
        return {name: lane.truth for name, lane in self._lanes.items()}

    def inside(self, lane: str) -> int:
        """How many are on a lane or have just left it, those who wait outside not among them."""
        return len(self._lanes[lane].front_m)

    def outside(self, lane: str) -> int:
        """How many wait for room on a lane."""
        return self._lanes[lane].outside

    def near(self, lane: str, reach_m: float) -> tuple[int, int]:
        """How many are within `reach_m` before the stop line, and how many of them move: what a camera sees."""
        own = self._lanes[lane]
        n = n_moving = 0
        for i in range(own.n_past, len(own.front_m)):
            if own.front_m[i] < -reach_m:
                break
            n += 1
            n_moving += own.speed_mps[i] > _MOVING_MPS
        return n, n_moving

    def places(self, lane: str) -> Sequence[tuple[float, float, float]]:
        """Front (m from the line), length (m) and speed (m/s) of each vehicle, the first one first."""
        own = self._lanes[lane]
        return list(zip(own.front_m, own.length_m, own.speed_mps, strict=True))

    def step(self, dt_s: float, aspects: Mapping[str, Aspect]) -> list[Passage]:
        """Go on by `dt_s` with these lights; what the detectors saw meanwhile, in order of time.

        Args:
            aspects: of movements, by name, as they are during all of the step. A movement that is left out is red.
        """
        passages: list[Passage] = []
        n_steps = max(1, math.ceil(dt_s / MAX_STEP_S - 1e-9))
        for _ in range(n_steps):
            self._step(dt_s / n_steps, aspects, passages)
        if len(passages) > 1:
            passages.sort(key=_time_of)
        return passages

    def _step(self, dt_s: float, aspects: Mapping[str, Aspect], passages: list[Passage]) -> None:
        flashing = []
        for lane in self._lanes.values():
            aspect = _aspect(lane, aspects)
            if aspect is not lane.aspect:
                _change(lane, aspect, self.now_s)
            if aspect in _EACH_IN_TURN:
                flashing.append(lane)
            if lane.front_m:
                _move(lane, dt_s, self.now_s, passages)
            if lane.next_arrival_s <= self.now_s + dt_s or lane.outside:
                self._arrive(lane, self.now_s + dt_s)
            lane.truth.present_s += (lane.outside + len(lane.front_m)) * dt_s
        self.now_s += dt_s
        if flashing and self.now_s >= self._flash_free_s:
            self._let_one_go(flashing)

    def _arrive(self, lane: _Lane, now_s: float) -> None:
        """Take in who came until `now_s`, as far as there is room."""
        while lane.next_arrival_s <= now_s:
            lane.truth.arrived += 1
            lane.outside += 1
            lane.next_arrival_s = self._next_arrival_s(lane, lane.next_arrival_s)
        wanted_mps = self._chance.uniform(*_SPEED_MPS)
        room_m, ahead_mps = math.inf, 0.0
        if lane.front_m:
            room_m = lane.front_m[-1] - lane.length_m[-1] - _GAP_M + APPROACH_M
            ahead_mps = lane.speed_mps[-1]
        if not lane.outside or room_m <= 0.0:
            return
        cls, length_m, _ = _KINDS[bisect(_KIND_SUMS, self._chance.random() * _KIND_SUMS[-1])]
        lane.outside -= 1
        lane.truth.entered += 1
        lane.front_m.append(-APPROACH_M)
        lane.speed_mps.append(
            min(wanted_mps, _safe_mps(min(room_m, _FREE_M), ahead_mps, max(_LEAST_HEADWAY_S, lane.headway_s)))
        )
        lane.wanted_mps.append(wanted_mps)
        lane.length_m.append(length_m)
        lane.cls.append(cls)

    def _next_arrival_s(self, lane: _Lane, after_s: float) -> float:
        """Poisson arrivals: exponential headways. Where nobody comes it is asked again after a while."""
        rate_per_s = lane.demand.rate_per_s(self._midnight_s + after_s)
        if rate_per_s <= 0.0:
            return math.inf if not lane.demand.by_hour or lane.demand.vph <= 0.0 else after_s + 600.0
        return after_s + self._chance.expovariate(rate_per_s)

    def _let_one_go(self, lanes: Sequence[_Lane]) -> None:
        """Flash: who stands at the line goes, one lane after the other."""
        for lane in sorted(lanes, key=self._turns.index):
            first = lane.n_past
            if lane.n_free or first >= len(lane.front_m):
                continue
            if lane.speed_mps[first] < _MOVING_MPS and lane.front_m[first] > -2 * _GAP_M:
                lane.n_free = 1
                self._turns.remove(lane)
                self._turns.append(lane)
                self._flash_free_s = self.now_s + _FLASH_EVERY_S
                return


_EACH_IN_TURN = frozenset({Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW, Aspect.DARK})


def _headway_s(saturation_flow_vph: float) -> float:
    """How closely they follow so that a standing queue leaves at this rate. Fitted: from 1200 to 2200 veh/h the
    fourth to the twentieth of a queue then keep it within some percent."""
    return (3600.0 / saturation_flow_vph - 0.865) / 0.62


def _aspect(lane: _Lane, aspects: Mapping[str, Aspect]) -> Aspect:
    """What a lane's drivers go by. With several heads: the one that lets them go."""
    if len(lane.movements) == 1:
        return aspects.get(lane.movements[0], Aspect.RED)
    shown = [aspects.get(name, Aspect.RED) for name in lane.movements]
    return next(
        (aspect for aspect in (Aspect.GREEN, Aspect.YELLOW) if aspect in shown),
        shown[0] if shown else Aspect.GREEN,
    )


def _change(lane: _Lane, aspect: Aspect, now_s: float) -> None:
    """The lights change. Whoever cannot stop any more when green ends drives on; so do those who follow closely
    enough that they cannot either."""
    before, lane.aspect = lane.aspect, aspect
    if aspect is Aspect.GREEN:
        lane.n_free, lane.goes_s = 0, now_s + _GREEN_REACTION_S
    if before is not Aspect.YELLOW and aspect in (Aspect.YELLOW, Aspect.RED):
        lane.n_free = 0
        for i in range(lane.n_past, len(lane.front_m)):
            room_m = -lane.front_m[i] - _STOP_BEFORE_M
            if room_m > 0.0 and lane.speed_mps[i] <= _safe_mps(room_m, 0.0, _REACTION_S):
                break
            lane.n_free += 1


def _safe_mps(room_m: float, ahead_mps: float, headway_s: float) -> float:
    """The speed from which one stops in time behind something that brakes from `ahead_mps`."""
    if room_m <= 0.0:
        return 0.0
    delay_mps = _BRAKING_MPS2 * headway_s
    return math.sqrt(delay_mps * delay_mps + ahead_mps * ahead_mps + 2.0 * _BRAKING_MPS2 * room_m) - delay_mps


def _move(lane: _Lane, dt_s: float, now_s: float, passages: list[Passage]) -> None:
    """Drive all vehicles of a lane on by one step: each by where the one ahead was before it.

    The hot loop: it is one function, and written out, since calls would take half of its time.
    """
    fronts, speeds, lengths = lane.front_m, lane.speed_mps, lane.length_m
    # Within a step nobody reacts, which makes headways longer.
    delay_mps = _BRAKING_MPS2 * max(_LEAST_HEADWAY_S, lane.headway_s - 0.32 * dt_s)
    delay2 = delay_mps * delay_mps
    gain_mps = _ACCELERATION_MPS2 * dt_s
    stops = lane.n_past + lane.n_free
    if lane.aspect is Aspect.GREEN and (now_s >= lane.goes_s or stops >= len(speeds) or speeds[stops]):
        stops = -1
    tail_m, ahead_mps = math.inf, 0.0
    for i, (front_m, speed_mps, wanted_mps) in enumerate(zip(fronts, speeds, lane.wanted_mps, strict=True)):
        room_m = tail_m - front_m
        tail_m = front_m - lengths[i] - _GAP_M
        if speed_mps == 0.0 and room_m < _START_M:
            continue
        speed = speed_mps + gain_mps
        if speed > wanted_mps:
            speed = wanted_mps
        if room_m < _FREE_M:
            if room_m <= 0.0:
                speed = 0.0
            else:
                safe_mps = math.sqrt(delay2 + ahead_mps * ahead_mps + 2.0 * _BRAKING_MPS2 * room_m) - delay_mps
                if safe_mps < speed:
                    speed = safe_mps
        if i == stops:
            speed = min(speed, _safe_mps(-front_m - _STOP_BEFORE_M, 0.0, _REACTION_S))
        if speed < _CREEP_MPS and speed < speed_mps:
            speed = 0.0
        ahead_mps = speed_mps
        speeds[i] = speed
        fronts[i] = to_m = front_m + speed * dt_s
        if to_m >= 0.0 and i == lane.n_past:
            _cross(lane, now_s - front_m / speed, passages)
        for place_m in lane.advance_m:
            if front_m < place_m <= to_m:
                at_s = now_s + (place_m - front_m) / speed
                passages.append(Passage(at_s, lane.name, lane.cls[i], DetectorKind.ADVANCE))
    while fronts and fronts[0] > _EXIT_M:
        for values in (fronts, speeds, lengths, lane.wanted_mps, lane.cls):
            del values[0]
        lane.n_past -= 1
        lane.truth.left += 1


def _cross(lane: _Lane, at_s: float, passages: list[Passage]) -> None:
    """The next vehicle goes over the stop line."""
    on_red = lane.aspect is Aspect.RED
    lane.truth.crossed += 1
    lane.truth.crossed_on_red += on_red
    passages.append(Passage(at_s, lane.name, lane.cls[lane.n_past], on_red=on_red))
    lane.n_past += 1
    lane.n_free = max(0, lane.n_free - 1)


def _time_of(passage: Passage) -> float:
    return passage.t_s
