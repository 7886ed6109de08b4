"""Traffic in SUMO around one light, and what our sensors would tell of it.

A camera tells each vehicle within `reach_m` of the stop line, a stop line detector each crossing. A share of the
vehicles is never seen by either, as without a tag or behind a truck; lanes may be blind altogether.
"""

import os
import random
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

from common.codes import Aspect
from edge_agent.domain.signals.steps import Lane
from tests.bench.signals.junction_from_net import Light

STOP_ZONE_M = 6.0
STANDS_MPS = 1.4
"""Slower than this a vehicle stands, as RESCO has it."""


@dataclass(frozen=True, slots=True)
class Sensing:
    """What is seen.

    Attributes:
        camera: whether there is one, and how far it sees.
        seen: share of the vehicles that any sensor sees.
        blind: lanes, by index, of which nothing is ever seen though their sensors say they measure.
    """

    camera: bool = True
    reach_m: float = 50.0
    seen: float = 1.0
    blind: frozenset[int] = frozenset()


class Driver(Protocol):
    """What runs the lights: once a second it says what each head shows, and which stage that belongs to."""

    def step(self, now_s: float, lanes: tuple[Lane, ...]) -> tuple[Mapping[str, Aspect], int]: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Files of a scenario."""

    net: Path
    routes: Path
    begin_s: int
    end_s: int


@dataclass(slots=True)
class Result:
    """One run. Means are over vehicles; `delay_s` counts those that never got in, as RESCO does."""

    delay_s: float = 0.0
    waiting_s: float = 0.0
    stops: float = 0.0
    queue: float = 0.0
    longest_wait_s: float = 0.0
    arrived: int = 0
    lane_wait_s: dict[str, float] = field(default_factory=dict)


class World:
    """One run of SUMO; `libsumo` is handed in, since it can be loaded once a process."""

    def __init__(self, sumo: ModuleType, light: Light, place: Place, sensing: Sensing, seed: int) -> None:
        self._sumo, self._light, self._place, self._sensing, self._seed = sumo, light, place, sensing, seed
        self._index = {lane: i for i, lane in enumerate(light.lanes)}
        self._upstream: tuple[tuple[str, float], ...] = ()
        self._seen: dict[str, bool] = {}
        self._before: dict[str, int] = {}
        self._crossed = [0] * len(light.lanes)
        self._last_s = [float("-inf")] * len(light.lanes)
        self._wait_s = dict.fromkeys(light.lanes, 0.0)
        self._standing = 0

    def run(self, driver: Driver | None, extra: tuple[str, ...] = ()) -> Result:
        """The whole hour. None: SUMO's own program runs the light."""
        with tempfile.TemporaryDirectory(prefix="stopline-") as folder:
            trips = Path(folder) / "trips.xml"
            self._sumo.start([*self._arguments(trips), *extra])
            try:
                self._lengths = [self._sumo.lane.getLength(lane) for lane in self._light.lanes]
                self._upstream = self._roads_before()
                for second in range(self._place.end_s - self._place.begin_s):
                    lanes = self._sense(float(second))
                    if driver is not None:
                        aspects, stage = driver.step(float(second), lanes)
                        state = self._light.state(dict(aspects), stage)
                        self._sumo.trafficlight.setRedYellowGreenState(self._light.tls, state)
                    self._sumo.simulationStep()
            finally:
                self._sumo.close()
            return self._result(trips)

    @property
    def crossed(self) -> tuple[int, ...]:
        """Vehicles seen over each lane's stop line."""
        return tuple(self._crossed)

    def _arguments(self, trips: Path) -> list[str]:
        return [
            "sumo",
            *("-n", str(self._place.net), "-r", str(self._place.routes)),
            *("--begin", str(self._place.begin_s), "--end", str(self._place.end_s), "--seed", str(self._seed)),
            *("--time-to-teleport", "-1", "--tripinfo-output", str(trips), "--tripinfo-output.write-unfinished"),
            *("--no-step-log", "--no-warnings", "--duration-log.disable"),
        ]

    def _roads_before(self) -> tuple[tuple[str, float], ...]:
        """Lanes whose vehicles a camera sees beyond a short lane of the light, and the length that follows."""
        lane = self._sumo.lane
        short = [i for i, m in enumerate(self._lengths) if m < self._sensing.reach_m]
        found = {}
        for name in lane.getIDList():
            for to, *_ in lane.getLinks(name) if not name.startswith(":") else ():
                for i in short:
                    if to == self._light.lanes[i]:
                        found[name] = self._lengths[i]
        return tuple(found.items())

    def _visible(self, vehicle: str) -> bool:
        if self._sensing.seen >= 1.0:
            return True
        if vehicle not in self._seen:
            rng = random.Random(f"{vehicle}/{self._seed}")
            self._seen[vehicle] = rng.random() < self._sensing.seen
        return self._seen[vehicle]

    def _sense(self, now_s: float) -> tuple[Lane, ...]:
        """What each lane tells, and on the side what the result needs."""
        vehicle, n = self._sumo.vehicle, len(self._light.lanes)
        near, moving, waits = [0] * n, [0] * n, [False] * n
        here: dict[str, int] = {}
        for i, name in enumerate(self._light.lanes):
            for v in self._sumo.lane.getLastStepVehicleIDs(name):
                speed_mps = vehicle.getSpeed(v)
                if speed_mps < 0.1:
                    self._standing += 1
                    self._wait_s[name] = max(self._wait_s[name], vehicle.getWaitingTime(v))
                if not self._visible(v) or i in self._sensing.blind:
                    continue
                here[v] = i
                distance_m = self._lengths[i] - vehicle.getLanePosition(v)
                if distance_m <= self._sensing.reach_m:
                    near[i] += 1
                    moving[i] += speed_mps >= STANDS_MPS
                    waits[i] = waits[i] or distance_m <= STOP_ZONE_M
        self._look_upstream(near, moving)
        for v, i in self._before.items():
            if v not in here:
                self._crossed[i] += 1
                self._last_s[i] = now_s
        self._before = here
        return tuple(self._lane(i, now_s, near[i], moving[i], waits[i]) for i in range(n))

    def _look_upstream(self, near: list[int], moving: list[int]) -> None:
        vehicle = self._sumo.vehicle
        for name, rest_m in self._upstream:
            length_m = self._sumo.lane.getLength(name)
            for v in self._sumo.lane.getLastStepVehicleIDs(name):
                distance_m = length_m - vehicle.getLanePosition(v) + rest_m
                if distance_m > self._sensing.reach_m or not self._visible(v):
                    continue
                for tls, link, *_ in vehicle.getNextTLS(v)[:1]:
                    i = self._index_of_link(link) if tls == self._light.tls else None
                    if i is not None and i not in self._sensing.blind:
                        near[i] += 1
                        moving[i] += vehicle.getSpeed(v) >= STANDS_MPS

    def _index_of_link(self, link: int) -> int | None:
        lanes = self._sumo.trafficlight.getControlledLinks(self._light.tls)[link]
        return self._index.get(lanes[0][0]) if lanes else None

    def _lane(self, i: int, now_s: float, near: int, moving: int, waits: bool) -> Lane:
        headway_s = now_s - self._last_s[i]
        if not self._sensing.camera:
            return Lane(n_crossed=self._crossed[i], headway_s=headway_s, is_waiting=waits)
        return Lane(self._crossed[i], headway_s, near, moving, waits)

    def _result(self, trips: Path) -> Result:
        result, n, delay_s = Result(lane_wait_s=self._wait_s), 0, 0.0
        seen = set()
        for trip in ET.parse(trips).getroot().iter("tripinfo"):
            number = {k: float(trip.get(k, "0")) for k in ("timeLoss", "departDelay", "waitingTime", "arrival")}
            n += 1
            seen.add(trip.get("id"))
            delay_s += number["timeLoss"] + number["departDelay"]
            result.waiting_s += number["waitingTime"]
            result.stops += float(trip.get("waitingCount", "0"))
            result.longest_wait_s = max(result.longest_wait_s, number["waitingTime"])
            result.arrived += number["arrival"] >= 0
        never = [
            self._place.end_s - float(e.get("depart", "0"))
            for e in ET.parse(self._place.routes).getroot().iter("trip")
            if e.get("id") not in seen and float(e.get("depart", "0")) < self._place.end_s
        ]
        result.delay_s = (delay_s + sum(never)) / max(n + len(never), 1)
        result.waiting_s, result.stops = result.waiting_s / max(n, 1), result.stops / max(n, 1)
        result.queue = self._standing / max(self._place.end_s - self._place.begin_s, 1)
        return result


def load_sumo() -> ModuleType:
    """SUMO as a library. Raises ImportError where the extra `sumo` is not installed."""
    os.environ.setdefault("SUMO_HOME", "")
    import libsumo

    module: ModuleType = libsumo
    return module
