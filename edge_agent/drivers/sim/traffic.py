"""Simulated traffic on straight lanes: where each vehicle is at any moment, as a pure function of a seed.

Time is cut into minutes. Each minute of each lane has its own random generator, seeded by what identifies it, so
that any moment of a street that "runs" for years is computed without the moments before it, always alike, and no
minute repeats another. Vehicles follow each other by the Intelligent Driver Model and obey a signal, where a lane
has one; each minute's traffic is spaced so that it does not run into the next one's.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_S = 60.0
"""Length of the stretches of time that are computed at once."""
_STEP_S = 0.25
_TAIL_S = 40.0
"""How long after its minute the last vehicle of a minute may still be on the lane."""
_CACHED_BLOCKS = 64
_SIGNAL_STREAM = 1_000_000
"""Tells a signal's random generator from those of lanes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of vehicle: its class name, size, and how often it comes relative to the others."""

    cls: str
    length_m: float
    width_m: float
    height_m: float
    share: float


CAR = Kind("car", 4.4, 1.8, 1.45, 10.0)
VAN = Kind("car", 5.2, 1.95, 2.1, 1.5)
BUS = Kind("bus", 11.5, 2.5, 3.0, 0.6)
TRUCK = Kind("truck", 8.5, 2.4, 3.2, 1.0)
MOTORCYCLE = Kind("motorcycle", 2.2, 0.85, 1.5, 0.6)
PERSON = Kind("person", 0.5, 0.55, 1.72, 1.0)


@dataclass(frozen=True, slots=True)
class Lane:
    """A straight lane along the y axis.

    Attributes:
        x_m: its middle, to the right of the camera.
        from_m, to_m: where vehicles appear and vanish, along y.
        speed_mps: what they would drive on a free road.
        per_minute: how many come, between a quiet and a busy minute.
        kinds: what comes.
        stop_m: where along y they wait at a red light; None: no signal.
    """

    x_m: float
    from_m: float
    to_m: float
    speed_mps: float
    per_minute: tuple[float, float]
    kinds: tuple[Kind, ...]
    stop_m: float | None = None

    @property
    def heading(self) -> float:
        """+1 if it leads towards larger y, else -1."""
        return 1.0 if self.to_m > self.from_m else -1.0


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle at one moment. `y_m` is its middle; `seed` gives it its colour and looks, for life."""

    id: int
    kind: Kind
    lane: int
    x_m: float
    y_m: float
    heading: float
    braking: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A vehicle's middle passed a place along its lane."""

    t_s: float
    vehicle: int
    cls: str
    lane: int
    heading: float


@dataclass(frozen=True, slots=True)
class _Block:
    """One minute of one lane.

    Attributes:
        paths_m: (steps, n): how far each vehicle's middle is from the lane's beginning; NaN before it comes.
    """

    start_s: float
    kinds: tuple[Kind, ...]
    sideways_m: Floats
    seeds: NDArray[np.int64]
    first_id: int
    paths_m: Floats

    def at(self, t_s: float) -> tuple[Floats, Floats]:
        """Positions (n,) and accelerations (n,) at a moment; NaN for what is not there."""
        step = (t_s - self.start_s) / _STEP_S
        i = min(max(1, int(step)), len(self.paths_m) - 2)
        before, here, after = self.paths_m[i - 1 : i + 2]
        share = step - i
        return here + share * (after - here), (after - 2 * here + before) / _STEP_S**2


class Traffic:
    """The traffic of some lanes. The same seed gives the same vehicles at the same times, for ever."""

    def __init__(self, lanes: Sequence[Lane], seed: int) -> None:
        self._lanes = tuple(lanes)
        self._seed = seed
        self._blocks: OrderedDict[tuple[int, int], _Block] = OrderedDict()

    def vehicles(self, t_s: float) -> list[Vehicle]:
        """All vehicles on the lanes at `t_s` >= 0."""
        found: list[Vehicle] = []
        for number, lane in enumerate(self._lanes):
            for block in self._blocks_at(number, t_s, t_s):
                found.extend(_on_lane(lane, number, block, t_s))
        return found

    def passages(self, y_m: float, from_s: float, to_s: float) -> list[Passage]:
        """Every vehicle whose middle passes `y_m` at a time in [from_s, to_s), in order of time."""
        found: list[Passage] = []
        for number, lane in enumerate(self._lanes):
            for block in self._blocks_at(number, from_s, to_s):
                found.extend(_passing(lane, number, block, y_m))
        return sorted((p for p in found if from_s <= p.t_s < to_s), key=lambda p: (p.t_s, p.vehicle))

    def _blocks_at(self, lane: int, from_s: float, to_s: float) -> Iterator[_Block]:
        first = max(0, int((from_s - _TAIL_S) // BLOCK_S))
        for minute in range(first, int(to_s // BLOCK_S) + 1):
            yield self._block(lane, minute)

    def _block(self, lane: int, minute: int) -> _Block:
        key = (lane, minute)
        if key not in self._blocks:
            self._blocks[key] = _make_block(self._lanes[lane], lane, minute, self._seed)
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return self._blocks[key]


def _make_block(lane: Lane, number: int, minute: int, seed: int) -> _Block:
    rng = np.random.default_rng([seed, number, minute])
    arrivals, kinds = _arrivals(lane, rng)
    speeds = lane.speed_mps * np.clip(rng.normal(1.0, 0.06, len(kinds)), 0.85, 1.15)
    lengths = np.asarray([kind.length_m for kind in kinds])
    red = _red_light(lane, minute, seed)
    return _Block(
        start_s=minute * BLOCK_S,
        kinds=kinds,
        sideways_m=rng.normal(0, 0.12, len(kinds)).clip(-0.25, 0.25),
        seeds=rng.integers(0, 2**31, len(kinds)),
        first_id=(minute * 16 + number) * 64,
        paths_m=_drive(lane, arrivals, speeds, lengths, red),
    )


def _arrivals(lane: Lane, rng: np.random.Generator) -> tuple[Floats, tuple[Kind, ...]]:
    """When vehicles come within the minute, and what they are. After a long one the next keeps its distance."""
    shares = np.asarray([kind.share for kind in lane.kinds])
    mean_gap_s = BLOCK_S / rng.uniform(*lane.per_minute)
    times: list[float] = []
    kinds: list[Kind] = []
    t_s = 2.0 + rng.exponential(mean_gap_s / 2)
    while t_s < BLOCK_S - 4.0:
        kind = lane.kinds[int(rng.choice(len(lane.kinds), p=shares / shares.sum()))]
        times.append(t_s)
        kinds.append(kind)
        least_s = _headway_s(kind.length_m)
        t_s += least_s + rng.exponential(max(0.5, mean_gap_s - least_s))
    return np.asarray(times), tuple(kinds)


def _headway_s(leader_length_m: float) -> float:
    return 1.9 + leader_length_m / 8.0


def _red_light(lane: Lane, minute: int, seed: int) -> tuple[float, float] | None:
    """From when to when within the minute the lane's signal is red: not every minute; lanes of one stop alike."""
    if lane.stop_m is None:
        return None
    rng = np.random.default_rng([seed, _SIGNAL_STREAM + round(lane.stop_m), minute])
    if rng.random() > 0.6:
        return None
    start_s = rng.uniform(8.0, 16.0)
    return start_s, start_s + rng.uniform(12.0, 20.0)


def _drive(
    lane: Lane, arrivals: Floats, speeds: Floats, lengths: Floats, red: tuple[float, float] | None
) -> Floats:
    """Paths of the vehicles' middles, (steps, n), by the Intelligent Driver Model."""
    n = len(arrivals)
    steps = round((BLOCK_S + _TAIL_S) / _STEP_S) + 2
    paths = np.full((steps, n), np.nan)
    front, speed = np.zeros(n), speeds.copy()
    stop_at = abs((lane.stop_m or 0.0) - lane.from_m)
    road_m = abs(lane.to_m - lane.from_m)
    for step in range(steps):
        t_s = step * _STEP_S
        there = arrivals <= t_s
        gap, closing = _to_leader(front, speed, lengths, there)
        if red is not None and red[0] <= t_s < red[1]:
            gap, closing = _to_stop_line(front, speed, stop_at, gap, closing)
        headway = 1.4 + np.append(0.0, lengths[:-1]) / 10.0
        wanted = 2.0 + speed * headway + speed * closing / (2 * np.sqrt(1.8 * 2.5))
        pull = 1.8 * (1 - (speed / speeds) ** 4 - (np.maximum(wanted, 0) / np.maximum(gap, 0.1)) ** 2)
        speed = np.where(there, np.clip(speed + np.clip(pull, -7, 1.8) * _STEP_S, 0, None), speed)
        front = np.where(there, front + speed * _STEP_S, front)
        paths[step, there] = (front - lengths / 2)[there]
        if t_s > BLOCK_S and np.all(front - lengths > road_m):
            return paths[: step + 2]
    return paths


def _to_leader(front: Floats, speed: Floats, lengths: Floats, there: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Gap to the vehicle ahead, and how fast it closes. The first one has a free road."""
    gap, closing = np.full(len(front), 1e6), np.zeros(len(front))
    gap[1:] = np.where(there[:-1], front[:-1] - lengths[:-1] - front[1:], 1e6)
    closing[1:] = np.where(there[:-1], speed[1:] - speed[:-1], 0.0)
    return gap, closing


def _to_stop_line(
    front: Floats, speed: Floats, stop_at: float, gap: Floats, closing: Floats
) -> tuple[Floats, Floats]:
    """A red light is a standing obstacle, save for those who could not stop before it any more."""
    room = stop_at - front
    stops = (room > speed**2 / (2 * 4.0)) & (room < gap)
    return np.where(stops, room, gap), np.where(stops, speed, closing)


def _on_lane(lane: Lane, number: int, block: _Block, t_s: float) -> Iterator[Vehicle]:
    if not block.kinds:
        return
    positions, pulls = block.at(t_s)
    length_m = abs(lane.to_m - lane.from_m)
    for i in np.flatnonzero((positions >= 0) & (positions <= length_m)):
        yield Vehicle(
            id=block.first_id + int(i),
            kind=block.kinds[i],
            lane=number,
            x_m=lane.x_m + float(block.sideways_m[i]),
            y_m=lane.from_m + lane.heading * float(positions[i]),
            heading=lane.heading,
            braking=bool(pulls[i] < -0.7),
            seed=int(block.seeds[i]),
        )


def _passing(lane: Lane, number: int, block: _Block, y_m: float) -> Iterator[Passage]:
    place_m = (y_m - lane.from_m) * lane.heading
    for i, kind in enumerate(block.kinds):
        path = block.paths_m[:, i]
        (steps,) = np.nonzero((path[:-1] < place_m) & (path[1:] >= place_m))
        if len(steps):
            step = int(steps[0])
            share = (place_m - path[step]) / (path[step + 1] - path[step])
            t_s = block.start_s + (step + float(share)) * _STEP_S
            yield Passage(t_s, block.first_id + i, kind.cls, number, lane.heading)
