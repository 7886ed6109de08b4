"""What a listener is told: counts, and what the lights of a junction do. All times are UTC in ms since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from collector.junctions.lights import PHASE_ASPECTS
from common.codes import Aspect, Direction, Via
from common.records import Count, Cycle, LaneCycle, Occupancy, SignalEvent, UnixMs


class LiveCount(msgspec.Struct, frozen=True):
    """One count, with all names that a listener needs to show it. `at` is UTC in ms since 1970."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID
    sensor: str
    source: str
    source_id: UUID
    via: Via
    cls: str
    direction: Direction
    confidence: float | None
    inferred: bool


class LiveSignal(msgspec.Struct, frozen=True):
    """The lights changed: `phase` shows `aspect` from `at` on.

    Both null: something changed for the whole junction, such as who decides, or flash. Then the junction's signals
    are to be read anew.
    """

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID
    code: int
    """In the standard (Indiana) enumerations."""
    parameter: int
    phase: int | None
    aspect: Aspect | None


class LiveLane(msgspec.Struct, frozen=True):
    """What one lane got and gave in a cycle. `vehicles` null: not measured."""

    lane: str
    vehicles: int | None
    green_s: float
    yellow_s: float
    red_s: float
    saturation: float | None


class LiveCycle(msgspec.Struct, frozen=True):
    """A signal cycle of `length_s` ended at `at`."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID
    length_s: float
    mode: str
    algorithm: str
    plan: str | None
    lanes: list[LiveLane]


class LiveOccupancy(msgspec.Struct, frozen=True):
    """How many are in a zone at `at`; `n_standing` of them stand, where that is told."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID
    sensor: str
    zone: str
    n: int
    n_standing: int | None


class LiveMode(msgspec.Struct, frozen=True):
    """An order to the lights of a junction was given, or something became of it. `order` is as the API tells it."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID | None
    order: dict[str, Any]


Live = LiveCount | LiveSignal | LiveCycle | LiveOccupancy | LiveMode
Light = SignalEvent | Cycle | Occupancy
"""Records that tell how a junction's lights and lanes are."""

_KINDS: dict[type[Live], str] = {
    LiveCount: "count",
    LiveSignal: "signal",
    LiveCycle: "cycle",
    LiveOccupancy: "occupancy",
    LiveMode: "mode",
}


def kind_of(live: Live) -> str:
    """The name of such an event."""
    return _KINDS[type(live)]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records of one device that were committed together. They are made into events only for who listens.

    Its places are those of the counts, then of the lights, then of the modes.
    """

    device: UUID
    junction: UUID | None
    counts: Sequence[Count]
    source_ids: Sequence[UUID]
    """The sources of `counts`, one by one."""
    lights: Sequence[Light] = ()
    modes: Sequence[LiveMode] = ()

    def __len__(self) -> int:
        return len(self.counts) + len(self.lights) + len(self.modes)

    def live(self, place: int) -> Live:
        """The event at `place`."""
        n_counts = len(self.counts)
        if place < n_counts:
            return self._count(self.counts[place], self.source_ids[place])
        if place >= n_counts + len(self.lights):
            return self.modes[place - n_counts - len(self.lights)]
        record = self.lights[place - n_counts]
        if isinstance(record, SignalEvent):
            return self._signal(record)
        return self._cycle(record) if isinstance(record, Cycle) else self._occupancy(record)

    def _count(self, c: Count, source_id: UUID) -> LiveCount:
        return LiveCount(
            c.at,
            c.at_error_ms,
            self.junction,
            self.device,
            c.sensor,
            c.source,
            source_id,
            c.via,
            c.cls,
            c.direction,
            c.confidence,
            c.inferred,
        )

    def _signal(self, e: SignalEvent) -> LiveSignal:
        aspect = PHASE_ASPECTS.get(e.code)
        phase = None if aspect is None else e.parameter
        head = (e.at, e.at_error_ms, self.junction, self.device)
        return LiveSignal(*head, e.code, e.parameter, phase, aspect)

    def _cycle(self, c: Cycle) -> LiveCycle:
        lanes = [_live_lane(lane) for lane in c.lanes]
        head = (c.at, c.at_error_ms, self.junction, self.device)
        return LiveCycle(*head, c.length_s, c.mode, c.algorithm, c.plan, lanes)

    def _occupancy(self, o: Occupancy) -> LiveOccupancy:
        head = (o.at, o.at_error_ms, self.junction, self.device)
        return LiveOccupancy(*head, o.sensor, o.zone, o.n_end, o.n_standing)


def _live_lane(lane: LaneCycle) -> LiveLane:
    times_s = (lane.green_s, lane.yellow_s, lane.red_s)
    return LiveLane(lane.lane, lane.vehicles, *times_s, lane.saturation)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a listener wants; by default all counts. `source` is the name or the id of a line, zone or
    reader, and chooses among counts; `lights` adds what the lights do."""

    junction: UUID | None = None
    source: str | None = None
    lights: bool = False

    def select(self, delivery: Delivery, start: int = 0) -> Sequence[int]:
        """The places in `delivery`, from `start` on, of the events that pass."""
        if self.junction is not None and delivery.junction != self.junction:
            return ()
        n_counts = len(delivery.counts)
        lights = range(max(start, n_counts), len(delivery)) if self.lights else range(0)
        places = range(start, n_counts)
        if self.source is None:
            # One range where it can be one: a listener to everything holds no list of places.
            return range(start, len(delivery)) if lights else places
        chosen = [i for i in places if self.source in (delivery.counts[i].source, str(delivery.source_ids[i]))]
        return [*chosen, *lights]
