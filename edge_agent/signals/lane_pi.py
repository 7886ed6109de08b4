"""A lane's Pi: asks for leases, drives its head through an interlock of its own, tells what came over its lines.

Whatever the coordinator says, this interlock has the last word here: green, yellow and red follow each other with
their times, and what is lit is what was told. A fault is latched, and the head flashes, until somebody clears it
at this Pi.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from common import topics
from common.codes import Aspect
from common.commands import OrderResult
from common.junction import DetectorKind, Junction, Movement, Plan, PlanStage, Recall, Stage, StartUp
from common.junction_times import start_red_s
from common.topics import LANE_STATE, CarCounts, LaneState, Lease
from edge_agent.domain.signals.interlock import LIMITS, Interlock, Limits
from edge_agent.domain.signals.lease_head import Head
from edge_agent.domain.signals.leases import LEASE_TIMES, HeadTimes, LeaseTimes, Obeyed
from edge_agent.domain.signals.steps import Fault, FaultCode
from edge_agent.drivers.base import HeadsError, SignalHeads
from edge_agent.link.messages import Crossing, SensorState
from edge_agent.mqtt.client import Will
from edge_agent.mqtt.speaking import Speaker, answer_in, topic_of

logger = logging.getLogger(__name__)

COUNTS_EVERY_S = 5.0
COUNTS_AT_ONCE_S = 0.5
"""So soon after a crossing it is told."""
STATE_EVERY_S = 30.0
SENSOR_SILENT_S = 3.0
MOST_CLASSES = 16
"""In one message. Its broker hangs up on who says more than it takes, and the lane is lost."""

Save = Callable[[Obeyed], None]
"""Has to make it durable, and may take its time; `LanePi.saved` tells the machine that it is."""


@dataclass(slots=True)
class LaneCount:
    """What is known of one lane's stop line."""

    sensors: frozenset[tuple[str, str]]
    n: int = 0
    n_told: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    told_s: float = float("-inf")


class LanePi:
    """One head, step by step. One thread calls all methods. `heads_took_it`: so it was in the last step.

    Args:
        junction: the whole one; the same description as the coordinator's.
        head: its name in the topics.
        movement: what it shows.
        obeys: as it was saved; None: nobody yet.
        clock: the time that `now_s` is of, to see since when the lamps show something.
        save: see `Save`.
        now_s: monotonic, as in all methods.
    """

    def __init__(
        self,
        junction: Junction,
        head: str,
        movement: str,
        heads: SignalHeads,
        speaker: Speaker,
        now_s: float,
        *,
        clock: Callable[[], float],
        save: Save,
        obeys: Obeyed | None = None,
        times: LeaseTimes = LEASE_TIMES,
        limits: Limits = LIMITS,
    ) -> None:
        self._name, self._movement = head, movement
        own = next(one for one in junction.movements if one.name == movement)
        single = alone(junction, own)
        own_times = HeadTimes(own.yellow_s, own.min_green_s, start_red_s(single))
        self._head = Head(head, str(speaker.boot), times, own_times, now_s, obeys)
        self._gate = Interlock(single, now_s, limits)
        self._heads, self._speaker, self._clock, self._save = heads, speaker, clock, save
        self._saved = obeys
        self._saving: Obeyed | None = obeys
        self._aspect, self._since_s = Aspect.RED, now_s
        self._state_s = float("-inf")
        self._counts = _counts(junction, own)
        self._measures: dict[str, tuple[bool, float]] = {}
        self.heads_took_it = True
        self._span_from_s = now_s

    @property
    def aspect(self) -> Aspect:
        """What the head was told last."""
        return self._aspect

    @property
    def fault(self) -> Fault | None:
        """Of this Pi's own; latched."""
        return self._gate.fault

    def report(self, code: FaultCode, detail: str, now_s: float) -> None:
        """Something else is wrong; flash."""
        self._gate.report(code, detail, now_s)
        self._head.fail(now_s)

    def saved(self, obeys: Obeyed) -> None:
        """Whom the head obeys is durable now."""
        self._saved = obeys

    def clear(self, now_s: float, seen: str | None = None) -> OrderResult:
        """Somebody looked: leave the latched flash. Refused while the cause persists, and where another fault than
        the one that was seen came last."""
        result = self._gate.clear(now_s, seen)
        if result.accepted:
            self._head.mend()
        return result

    def sense(self, told: Sequence[object], now_s: float) -> None:
        """What sensors at this Pi saw."""
        for one in told:
            if isinstance(one, SensorState):
                if any(one.sensor == sensor for count in self._counts.values() for sensor, _ in count.sensors):
                    self._measures[one.sensor] = (one.measures, now_s)
            elif isinstance(one, Crossing):
                for count in self._counts.values():
                    if (one.sensor, one.source) in count.sensors:
                        count.n += 1
                        if one.cls in count.by_class or len(count.by_class) < MOST_CLASSES:
                            count.by_class[one.cls] += 1

    def step(self, now_s: float) -> None:
        """Hear, decide, show, and then ask: what an ask says of the lamps is so when it is sent."""
        for message in self._speaker.hear():
            if isinstance(message, Lease):
                self._head.hear(answer_in(message), now_s)
        self._read_back(now_s)
        self._head.step(now_s)
        self._show(now_s)
        ask = self._head.ask(now_s)
        if self._head.obeys != self._saving and self._head.obeys is not None:
            self._saving = self._head.obeys
            self._save(self._saving)
        if ask is not None and self._head.obeys == self._saved:
            self._speaker.ask(ask)
        self._tell(now_s)

    def fail_safe(self) -> None:
        """Red."""
        self._heads.fail_safe()

    def _read_back(self, now_s: float) -> None:
        try:
            self._gate.read_back(self._heads.read_back(), now_s)
        except HeadsError as error:
            self._gate.report(FaultCode.DRIVER_FAILED, str(error), now_s)

    def _show(self, now_s: float) -> None:
        aspects = self._gate.allow({self._movement: self._head.aspect}, now_s)
        if self._gate.fault is not None:
            self._head.fail(now_s)
        try:
            self._heads.show(aspects, now_s)
        except HeadsError as error:
            self._heads.fail_safe()
            self.report(FaultCode.DRIVER_FAILED, str(error), now_s)
            self.heads_took_it = False
        else:
            self.heads_took_it = True
        if aspects[self._movement] is not self._aspect:
            at_s = self._clock()
            self._head.lit(now_s, at_s)
            self._gate.lit(now_s, at_s)
            self._aspect, self._since_s, self._state_s = aspects[self._movement], at_s, float("-inf")

    # --- what informs ---

    def _tell(self, now_s: float) -> None:
        epoch = self._head.obeys.epoch if self._head.obeys else 0
        if now_s - self._state_s >= STATE_EVERY_S:
            self._state_s = now_s
            since_ms = int(max(0.0, now_s - self._since_s) * 1000)
            self._speaker.say(
                self._speaker.make(
                    LaneState, epoch, lane=self._name, online=True, aspect=self._aspect, aspect_since_ms=since_ms
                )
            )
        for lane, count in self._counts.items():
            if self._measures.keys().isdisjoint(sensor for sensor, _ in count.sensors):
                continue  # another Pi's: a lane may have several
            pause_s = COUNTS_AT_ONCE_S if count.n > count.n_told else COUNTS_EVERY_S
            if now_s - count.told_s >= pause_s:
                self._tell_count(lane, count, epoch, now_s)

    def _tell_count(self, lane: str, count: LaneCount, epoch: int, now_s: float) -> None:
        span_s = now_s - max(count.told_s, self._span_from_s)
        measures = any(
            self._measures.get(sensor, (False, 0.0))[0] and now_s - self._measures[sensor][1] <= SENSOR_SILENT_S
            for sensor, _ in count.sensors
        )
        self._speaker.say(
            self._speaker.make(
                CarCounts,
                epoch,
                lane=lane,
                span_ms=int(span_s * 1000),
                n=count.n - count.n_told if measures or count.n > count.n_told else None,
                by_class=dict(count.by_class),
                n_since_boot=count.n,
            )
        )
        count.n_told, count.told_s = count.n, now_s
        count.by_class.clear()


def will_of(speaker: Speaker, head: str) -> Will:
    """What the broker says when this Pi is gone."""
    message = speaker.make(LaneState, 0, lane=head, online=False)
    return Will(topic_of(LANE_STATE, message), topics.write(message), LANE_STATE.qos, LANE_STATE.retain)


def alone(junction: Junction, movement: Movement) -> Junction:
    """The junction as this head's own interlock sees it: one movement, whose greens come when they come. For whom
    it has to clear is the coordinator's matter."""
    name = movement.name
    own = Movement(
        name=name,
        phase=movement.phase,
        lanes=movement.lanes,
        kind=movement.kind,
        min_green_s=0.0,
        max_green_s=movement.max_green_s,
        yellow_s=movement.yellow_s,
        red_clearance_s=0.0,
        recall=Recall.NONE,
    )
    return Junction(
        name=junction.name,
        lanes=junction.lanes,
        movements=(own,),
        stages=(Stage(name=name, movements=(name,)),),
        plans=(Plan(name=name, stages=(PlanStage(stage=name, green_s=movement.max_green_s),)),),
        startup=StartUp(stage=name, all_red_s=junction.startup.all_red_s),
    )


def _counts(junction: Junction, movement: Movement) -> Mapping[str, LaneCount]:
    """The lanes of this movement that have a stop line detector."""
    found: dict[str, set[tuple[str, str]]] = {}
    for one in junction.detectors:
        if one.lane in movement.lanes and one.kind is DetectorKind.STOP_LINE:
            found.setdefault(one.lane, set()).add((one.sensor, one.source))
    return {lane: LaneCount(frozenset(sensors)) for lane, sensors in found.items()}
