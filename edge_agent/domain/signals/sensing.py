"""What each lane tells, out of what all its detectors tell: crossings, presence, and whether a sensor measures.

Several detectors of a lane are fused. A crossing that two of them tell of within a moment is one vehicle; zones
count with the fullest one. A detector that is doubtful (see `detector_health`) is left out, is reported with the
reason, and comes back when it is sound again. A lane without a trusted detector says *not measured*, with what is
usual for it at this hour.

Besides, it makes what the hi-res log holds of detectors: 82 and 81 (on and off), 83 to 88 (restored, faults).
Calls are the recorder's own, since it sees the lanes as the controller does.
"""

from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field

from common.junction import CONTACTS, DetectorKind, Junction, walks
from edge_agent.domain.signals.detector_health import FAULT_CODES, DetectorHealth, HealthParams
from edge_agent.domain.signals.steps import Lane

OFF, ON = 81, 82
SAME_VEHICLE_S = 1.5
"""Two detectors at one stop line tell of one vehicle within this."""
_MEMORY_S = 30.0
_MOST_EDGES = 10_000
_LONG_RED_S = 120.0
"""A lane that is red for longer is not expected to show anything."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Something for the hi-res log, at a monotonic moment: a code and the channel or phase it is about."""

    at_s: float
    code: int
    parameter: int


@dataclass(frozen=True, slots=True)
class Report:
    """How a detector is: empty `doubt` and `why` where it is sound."""

    channel: int
    lane: str
    sensor: str
    source: str
    doubt: str
    why: str
    since_s: float


@dataclass(slots=True)
class _Lane:
    """What is known of one lane.

    Attributes:
        crossed_before: vehicles over the line by the end of the green before; a turn may have to wait for yellow.
        recent: crossings of late, and which detectors told of each.
    """

    name: str
    stop: tuple[DetectorHealth, ...]
    zones: tuple[DetectorHealth, ...]
    buttons: tuple[DetectorHealth, ...]
    n_crossed: int = 0
    last_s: float = float("-inf")
    pressed: bool = False
    is_green: bool = False
    red_from_s: float = 0.0
    crossed_before: int = 0
    recent: deque[tuple[float, set[int]]] = field(default_factory=deque)

    @property
    def all(self) -> tuple[DetectorHealth, ...]:
        return self.stop + self.zones + self.buttons


class Sensing:
    """Keeps the books of one junction. All times are seconds, monotonic, and may come a little out of order.

    What names a sensor, line or zone that is no detector of the junction is ignored.
    """

    def __init__(self, junction: Junction, now_s: float, params: HealthParams | None = None) -> None:
        params = params or HealthParams()
        self._detectors = [DetectorHealth(d, params, now_s) for d in junction.detectors]
        self._by_sensor: dict[str, list[DetectorHealth]] = {}
        self._by_source: dict[tuple[str, str], list[DetectorHealth]] = {}
        for health in self._detectors:
            self._by_sensor.setdefault(health.detector.sensor, []).append(health)
            self._by_source.setdefault((health.detector.sensor, health.detector.source), []).append(health)
        names = [*(lane.name for lane in junction.lanes), *walks(junction)]
        self._lanes = [self._lane_of(name, now_s) for name in names]
        self._lane_by_name = {lane.name: lane for lane in self._lanes}
        self._lanes_of = {movement.name: movement.lanes for movement in junction.movements}
        for name in walks(junction):
            self._lanes_of[name] += (name,)
        self._edges: deque[Edge] = deque(maxlen=_MOST_EDGES)
        self._now_s = now_s

    def _lane_of(self, name: str, now_s: float) -> _Lane:
        def kinds(*wanted: DetectorKind) -> tuple[DetectorHealth, ...]:
            return tuple(h for h in self._detectors if h.detector.lane == name and h.detector.kind in wanted)

        return _Lane(
            name,
            kinds(DetectorKind.STOP_LINE),
            kinds(DetectorKind.APPROACH),
            kinds(DetectorKind.BUTTON),
            red_from_s=now_s,
        )

    def crossing(self, sensor: str, source: str, at_s: float) -> None:
        """A vehicle crossed a line, a tag passed an antenna, or a button was pressed."""
        for health in self._by_source.get((sensor, source), ()):
            health.actuated(at_s)
            self._edges.append(Edge(at_s, ON, health.detector.channel))
            self._edges.append(Edge(at_s, OFF, health.detector.channel))
            lane = self._lane_by_name.get(health.detector.lane)
            if lane is None or not health.is_trusted:
                continue
            if health.detector.kind is DetectorKind.STOP_LINE:
                self._crossed(lane, health, at_s)
            elif health.detector.kind is DetectorKind.BUTTON and not lane.is_green:
                lane.pressed = True

    def _crossed(self, lane: _Lane, health: DetectorHealth, at_s: float) -> None:
        """Counts a vehicle, unless another detector told of it already."""
        channel = health.detector.channel
        while lane.recent and at_s - lane.recent[0][0] > _MEMORY_S:
            lane.recent.popleft()
        for other_s, told in lane.recent:
            if abs(at_s - other_s) <= SAME_VEHICLE_S and channel not in told:
                told.add(channel)
                return
        lane.recent.append((at_s, {channel}))
        lane.n_crossed += 1
        lane.last_s = max(lane.last_s, at_s)
        for other in self._detectors:
            if other.detector.lane != lane.name:
                other.others_n += 1
            elif other is not health:
                other.peer_n += 1

    def presence(self, sensor: str, zone: str, at_s: float, n: int, n_standing: int) -> None:
        """How many are in a zone, and how many of them stand."""
        for health in self._by_source.get((sensor, zone), ()):
            was = health.occupancy
            rises = health.occupied(n, min(n, n_standing), at_s)
            if rises or (was > 0 and n == 0):
                self._edges.append(Edge(at_s, ON if rises else OFF, health.detector.channel))
            lane = self._lane_by_name.get(health.detector.lane)
            if lane is not None and lane.is_green and n < was and health.is_trusted:
                for line in lane.stop:
                    line.peer_n += was - n

    def contact(self, name: str, at_s: float, is_on: bool) -> None:
        """A contact of the lights' own Pi came on or went off.

        A vehicle has crossed the stop line when it leaves the loop before it; a button that is held calls as long.
        """
        for health in self._by_source.get((CONTACTS, name), ()):
            if (health.occupancy > 0) is is_on:
                continue
            health.occupied(int(is_on), int(is_on), at_s)
            self._edges.append(Edge(at_s, ON if is_on else OFF, health.detector.channel))
            lane = self._lane_by_name.get(health.detector.lane)
            if lane is None or not health.is_trusted:
                continue
            if health.detector.kind is DetectorKind.STOP_LINE and not is_on:
                self._crossed(lane, health, at_s)
            elif health.detector.kind is DetectorKind.BUTTON and is_on and not lane.is_green:
                lane.pressed = True

    def sensor(self, sensor: str, at_s: float, measures: bool, why_not: str = "") -> None:
        """Whether a sensor measures. To be told at least every `HealthParams.stale_s`."""
        for health in self._by_sensor.get(sensor, ()):
            was = health.is_trusted
            health.sensor_says(measures, at_s, why_not)
            self._note_change(health, was, at_s)

    def step(self, now_s: float, green: Set[str], hour: int | None = None) -> tuple[Lane, ...]:
        """What each lane tells now, in the order of the junction's lanes, and after them each of its `walks`.

        Args:
            green: movements that are green.
            hour: of the day at the junction, 0 to 23; None: the clock is not known.
        """
        elapsed_s, self._now_s = max(0.0, now_s - self._now_s), now_s
        has_way = {name for movement in green for name in self._lanes_of.get(movement, ())}
        for lane in self._lanes:
            self._green_changes(lane, lane.name in has_way, now_s)
        self._expect(now_s, elapsed_s, hour)
        for health in self._detectors:
            was = health.is_trusted
            health.judge(now_s)
            self._note_change(health, was, now_s)
        return tuple(self._told(lane, now_s, hour) for lane in self._lanes)

    def edges(self) -> tuple[Edge, ...]:
        """What is to be logged since the last call, oldest first."""
        found = tuple(sorted(self._edges, key=lambda edge: edge.at_s))
        self._edges.clear()
        return found

    def reports(self) -> tuple[Report, ...]:
        """All detectors that are doubtful, and lanes whose detectors disagree."""
        doubtful = [
            Report(
                h.detector.channel,
                h.detector.lane,
                h.detector.sensor,
                h.detector.source,
                h.doubt.value,
                h.why,
                h.since_s,
            )
            for h in self._detectors
            if not h.is_trusted
        ]
        return (*doubtful, *(r for lane in self._lanes for r in self._disagreements(lane)))

    def _disagreements(self, lane: _Lane) -> list[Report]:
        """Stop line detectors that tell of less than half of what the best one of their lane does."""
        most = max((h.n for h in lane.stop if h.is_trusted), default=0)
        return [
            Report(
                h.detector.channel,
                lane.name,
                h.detector.sensor,
                h.detector.source,
                "disagrees",
                f"it told of {h.n} vehicles, another detector of the lane of {most}",
                h.since_s,
            )
            for h in lane.stop
            if h.is_trusted and most >= 30 and h.n < most / 2
        ]

    def _green_changes(self, lane: _Lane, is_green: bool, now_s: float) -> None:
        if lane.is_green and not is_green:
            lane.red_from_s = now_s
            tells = any(h.is_trusted for h in lane.stop)
            for health in lane.all:
                health.green_ended(lane.n_crossed > lane.crossed_before if tells else None)
            lane.crossed_before = lane.n_crossed
        if is_green and not lane.is_green:
            lane.pressed = False
        lane.is_green = is_green

    def _expect(self, now_s: float, elapsed_s: float, hour: int | None) -> None:
        activity = self._activity(hour)
        for lane in self._lanes:
            if lane.is_green or now_s - lane.red_from_s <= _LONG_RED_S:
                for health in lane.all:
                    health.expect(hour, elapsed_s, activity)

    def _activity(self, hour: int | None) -> float:
        """Which part of what is usual comes at all, by the median detector: of how many silences are too long."""
        expected = sorted(h.expected for h in self._detectors if h.is_trusted and h.history.usual_vps(hour))
        if len(expected) < 2:
            return 1.0
        # Where most see nothing for longer than usual, the road is empty and nobody's detector is to blame.
        return min(1.0, max(0.0, 2.0 - expected[(len(expected) - 1) // 2] / 1.5))

    def _told(self, lane: _Lane, now_s: float, hour: int | None) -> Lane:
        counts = any(h.is_trusted for h in lane.stop)
        zone = max((h for h in lane.zones if h.is_trusted), key=lambda h: h.occupancy, default=None)
        waits: bool | None = None
        if zone is not None:
            waits = zone.standing > 0
        elif any(h.is_trusted and h.presence_s is not None for h in lane.stop):
            waits = any(h.is_trusted and h.standing > 0 for h in lane.stop)
        if any(h.is_trusted for h in lane.buttons):
            is_held = not lane.is_green and any(h.is_trusted and h.occupancy > 0 for h in lane.buttons)
            waits = lane.pressed or is_held or bool(waits)
        is_measured = counts or zone is not None or waits is not None
        return Lane(
            n_crossed=lane.n_crossed if counts else None,
            headway_s=max(0.0, now_s - lane.last_s) if counts else None,
            n_near=None if zone is None else zone.occupancy,
            n_moving=None if zone is None else zone.occupancy - zone.standing,
            is_waiting=waits,
            usual_vps=None if is_measured else _usual_vps(lane, hour),
        )

    def _note_change(self, health: DetectorHealth, was_trusted: bool, at_s: float) -> None:
        if health.is_trusted is not was_trusted:
            self._edges.append(Edge(at_s, FAULT_CODES[health.doubt], health.detector.channel))


def _usual_vps(lane: _Lane, hour: int | None) -> float | None:
    """By the lane's stop line detectors, from when they were sound; else by its zones."""
    for health in lane.stop + lane.zones:
        usual_vps = health.history.usual_vps(hour)
        if usual_vps is not None:
            return usual_vps
    return None
