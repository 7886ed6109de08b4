"""What a listener is told: counts, what the lights of a junction do, what is ordered of them, and log lines that
people should see. All times are UTC in ms since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from collector.junctions.lights import PHASE_ASPECTS
from common.codes import Aspect, Direction, Via
from common.junction import DESCRIBED_ACTION
from common.records import Count, Cycle, LaneCycle, Log, Occupancy, SignalEvent, UnixMs


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


class LiveLog(msgspec.Struct, frozen=True):
    """A line of a device's log: a warning or worse, or about the lights. `device` null: the collector's own."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID | None
    level: str
    action: str
    message: str


class LiveMode(msgspec.Struct, frozen=True):
    """An order to the lights of a junction was given, or something became of it. `order`: as the API tells it."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID | None
    order: dict[str, Any]


Live = LiveCount | LiveSignal | LiveCycle | LiveOccupancy | LiveLog | LiveMode
Light = SignalEvent | Cycle | Occupancy | Log
"""Records that tell how a junction's lights and lanes are, and what its people should see of its logs."""

_KINDS: dict[type[Live], str] = {
    LiveCount: "count",
    LiveSignal: "signal",
    LiveCycle: "cycle",
    LiveOccupancy: "occupancy",
    LiveLog: "log",
    LiveMode: "mode",
}
_LOUD = frozenset({"warning", "error", "critical", "fatal"})
_LIGHTS_ACTION = "lights_"


def kind_of(live: Live) -> str:
    """The name of such an event."""
    return _KINDS[type(live)]


def is_live_log(log: Log) -> bool:
    """Whether a log line is for those who watch: a warning or worse, or about the lights."""
    return log.level.lower() in _LOUD or log.action.startswith(_LIGHTS_ACTION) or log.action == DESCRIBED_ACTION


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """What was committed together and belongs to one junction. It is made into events only for who listens.

    Its places are those of the counts, then of the lights, then of the modes. It also travels between workers, so
    fields are only ever added, at the end, with a default.
    """

    device: UUID | None
    junction: UUID | None
    counts: Sequence[Count] = ()
    source_ids: Sequence[UUID] = ()
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
        if isinstance(record, Log):
            return self._log(record)
        return self._cycle(record) if isinstance(record, Cycle) else self._occupancy(record)

    def _count(self, c: Count, source_id: UUID) -> LiveCount:
        device = _known(self.device)
        told = (c.via, c.cls, c.direction, c.confidence, c.inferred)
        return LiveCount(c.at, c.at_error_ms, self.junction, device, c.sensor, c.source, source_id, *told)

    def _signal(self, e: SignalEvent) -> LiveSignal:
        aspect = PHASE_ASPECTS.get(e.code)
        phase = None if aspect is None else e.parameter
        head = (e.at, e.at_error_ms, self.junction, _known(self.device))
        return LiveSignal(*head, e.code, e.parameter, phase, aspect)

    def _cycle(self, c: Cycle) -> LiveCycle:
        lanes = [_live_lane(lane) for lane in c.lanes]
        head = (c.at, c.at_error_ms, self.junction, _known(self.device))
        return LiveCycle(*head, c.length_s, c.mode, c.algorithm, c.plan, lanes)

    def _occupancy(self, o: Occupancy) -> LiveOccupancy:
        head = (o.at, o.at_error_ms, self.junction, _known(self.device))
        return LiveOccupancy(*head, o.sensor, o.zone, o.n_end, o.n_standing)

    def _log(self, r: Log) -> LiveLog:
        return LiveLog(r.at, r.at_error_ms, self.junction, self.device, r.level, r.action, r.message)


def without_tags(delivery: Delivery) -> Delivery:
    """As much of it as listeners are told: no event names a tag, or what a log says beside its message."""
    counts, lights = delivery.counts, delivery.lights
    if any(count.via is Via.RFID for count in counts):
        counts = [replace(count, track=None) if count.via is Via.RFID else count for count in counts]
    return replace(delivery, counts=counts, lights=[_untagged(light) for light in lights])


def _untagged(light: Light) -> Light:
    if isinstance(light, Log):
        return replace(light, context={})
    if isinstance(light, Cycle):
        return replace(light, lanes=[replace(lane, epcs=[]) if lane.epcs else lane for lane in light.lanes])
    return light


def _known(device: UUID | None) -> UUID:
    """Records have a device."""
    assert device is not None
    return device


def _live_lane(lane: LaneCycle) -> LiveLane:
    times_s = (lane.green_s, lane.yellow_s, lane.red_s)
    return LiveLane(lane.lane, lane.vehicles, *times_s, lane.saturation)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a listener wants; by default all counts. `source` is the name or the id of a line, zone or
    reader, and chooses among counts; `lights` adds all that is no count. `seen` are the junctions that the
    listener may hear of; None: of all, and of devices without one."""

    junction: UUID | None = None
    source: str | None = None
    lights: bool = False
    seen: frozenset[UUID] | None = None

    def select(self, delivery: Delivery, start: int = 0) -> Sequence[int]:
        """The places in `delivery`, from `start` on, of the events that pass."""
        if self.junction is not None and delivery.junction != self.junction:
            return ()
        if self.seen is not None and delivery.junction not in self.seen:
            return ()
        n_counts = len(delivery.counts)
        lights = range(max(start, n_counts), len(delivery)) if self.lights else range(0)
        places = range(start, n_counts)
        if self.source is None:
            # One range where it can be one: a listener to everything holds no list of places.
            return range(start, len(delivery)) if lights else places
        chosen = [i for i in places if self.source in (delivery.counts[i].source, str(delivery.source_ids[i]))]
        return [*chosen, *lights]
