"""Simulated traffic before real lights: vehicles obey what the lights show, and sensors see them.

For a demonstration, and for trying a junction's lights on a bench before a vehicle ever comes. What the sensors
see goes the ways that cameras use: to the lights over the link, and into the outbox. Nothing else knows of the
simulation; each count is also told as the truth, which it is.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

from common.clock import Stamp
from common.codes import Aspect, Direction, Via
from common.junction import Detector, DetectorKind, Junction
from common.records import Count, Frames, Occupancy, Record
from edge_agent.drivers.sim.junction_traffic import Demand, JunctionTraffic, Passage
from edge_agent.link.messages import Crossing, Presence, SensorState, Shown

STEP_S = 0.1
OLD_S = 3.0
"""What the lights showed longer ago is not known to be so now: drivers take them for dark."""
_TELL_S = 1.0
_OCCUPANCY_S = 2.0
_BLOCK_S = 10.0
_LONGEST_S = 2.0
"""A longer pause, as of a machine that slept, is left out of the simulation."""
_REACH_M = 50.0
_UNEVEN = (1.25, 0.75)
"""Lanes in turn get so much of the mean, so that there is something to decide."""


class Lights(Protocol):
    """The way to the lights; `edge_agent.link.client.LightsLink` is one."""

    def tell(self, message: Crossing | Presence | SensorState) -> bool:
        """Say what a sensor sees."""


class Sink(Protocol):
    """Where records go; `edge_agent.outbox.writer.OutboxWriter` is one."""

    def put_nowait(self, record: Record, stamp: Stamp) -> None:
        """Take in a record."""


def demand_of(junction: Junction, mean_vph: float) -> dict[str, Demand]:
    """So many vehicles an hour on each lane, on average; on some more than on others."""
    return {
        lane.name: Demand(mean_vph * share) for lane, share in zip(junction.lanes, cycle(_UNEVEN), strict=False)
    }


@dataclass(slots=True)
class _Zone:
    """How full an approach was since it was last told, and how many left it, which they do over the stop line."""

    detector: Detector
    told: tuple[int, int] | None = None
    sum_s: float = 0.0
    n_max: int = 0
    n_before: int = 0
    exits: int = 0


class SimulatedTraffic:
    """Drives the traffic and tells what its sensors see.

    Args:
        shown: what the lights show, and how many seconds ago that was heard; None: nothing was heard.
    """

    def __init__(
        self,
        junction: Junction,
        traffic: JunctionTraffic,
        lights: Lights,
        shown: Callable[[], tuple[Shown, float] | None],
        sink: Sink,
    ) -> None:
        self._traffic, self._lights, self._shown, self._sink = traffic, lights, shown, sink
        detectors = junction.detectors
        self._lines: dict[tuple[str, DetectorKind], Detector] = {
            (one.lane, one.kind): one
            for one in detectors
            if one.kind in (DetectorKind.STOP_LINE, DetectorKind.ADVANCE)
        }
        self._zones = [_Zone(one) for one in detectors if one.kind is DetectorKind.APPROACH]
        self._sensors = sorted({one.sensor for one in detectors})
        self._dark = dict.fromkeys((one.name for one in junction.movements), Aspect.DARK)
        self._since_told_s = self._since_occupancy_s = self._since_block_s = 0.0

    async def run(self, stamp: Callable[[], Stamp], stop: asyncio.Event) -> None:
        """Go on in real time until `stop` is set."""
        last_s = time.monotonic()
        while not stop.is_set():
            await asyncio.sleep(STEP_S)
            now_s = time.monotonic()
            self.step(min(now_s - last_s, _LONGEST_S), stamp())
            last_s = now_s

    def step(self, dt_s: float, now: Stamp) -> None:
        """The `dt_s` that end at `now`."""
        for passage in self._traffic.step(dt_s, self._aspects()):
            self._passed(passage, now)
        self._since_told_s += dt_s
        self._since_occupancy_s += dt_s
        self._since_block_s += dt_s
        is_due = self._since_told_s >= _TELL_S
        self._tell_zones(dt_s, now, is_due=is_due)
        if is_due:
            self._since_told_s = 0.0
            for sensor in self._sensors:
                self._lights.tell(SensorState(sensor=sensor, at_ns=now.boottime_ns, measures=True))
        if self._since_occupancy_s >= _OCCUPANCY_S:
            self._put_occupancy(now)
        if self._since_block_s >= _BLOCK_S:
            self._put_blocks(now)

    def _aspects(self) -> Mapping[str, Aspect]:
        heard = self._shown()
        if heard is None or heard[1] > OLD_S:
            return self._dark
        return heard[0].aspects

    def _passed(self, passage: Passage, now: Stamp) -> None:
        if passage.kind is DetectorKind.STOP_LINE:
            for zone in self._zones:
                zone.exits += zone.detector.lane == passage.lane
        detector = self._lines.get((passage.lane, passage.kind))
        if detector is None:
            return
        at = _earlier(now, self._traffic.now_s - passage.t_s)
        self._lights.tell(
            Crossing(
                sensor=detector.sensor,
                source=detector.source,
                at_ns=at.boottime_ns,
                cls=passage.cls,
                direction=Direction.IN,
            )
        )
        if passage.kind is DetectorKind.STOP_LINE:
            for via in (Via.CAMERA, Via.TRUTH):
                what = (detector.sensor, detector.source, via, passage.cls, Direction.IN)
                self._sink.put_nowait(Count(1, 0, 0, *what), at)

    def _tell_zones(self, dt_s: float, now: Stamp, *, is_due: bool) -> None:
        for zone in self._zones:
            one = zone.detector
            n, n_moving = self._traffic.near(one.lane, one.reach_m or _REACH_M)
            zone.sum_s += n * dt_s
            zone.n_max = max(zone.n_max, n)
            seen = (n, n - n_moving)
            if is_due or seen != zone.told:
                zone.told = seen
                self._lights.tell(
                    Presence(
                        sensor=one.sensor, zone=one.source, at_ns=now.boottime_ns, n=n, n_standing=n - n_moving
                    )
                )

    def _put_occupancy(self, now: Stamp) -> None:
        span_s, self._since_occupancy_s = self._since_occupancy_s, 0.0
        for zone in self._zones:
            n, n_standing = zone.told or (0, 0)
            head = (zone.detector.sensor, zone.detector.source, round(span_s * 1000))
            passed = (n - zone.n_before + zone.exits, zone.exits)
            told = Occupancy(1, 0, 0, *head, zone.sum_s / span_s, zone.n_max, n, *passed, n_standing=n_standing)
            self._sink.put_nowait(told, now)
            zone.sum_s, zone.n_max, zone.n_before, zone.exits = 0.0, n, n, 0

    def _put_blocks(self, now: Stamp) -> None:
        """The proof of measurement."""
        span_ms, self._since_block_s = round(self._since_block_s * 1000), 0.0
        for sensor in self._sensors:
            self._sink.put_nowait(Frames(1, 0, 0, sensor, span_ms, span_ms, round(span_ms / 100), 0), now)


def _earlier(stamp: Stamp, by_s: float) -> Stamp:
    back_ns = round(by_s * 1e9)
    return Stamp(stamp.boot_id, stamp.boottime_ns - back_ns, stamp.wall_ms - back_ns // 1_000_000, stamp.synced)
