"""Cycle records: what each lane got and gave, from one beginning of the plan's first green to the next.

A cycle begins when the first stage of the plan in force becomes green (the start-up stage, where the controller
names no plan), and ends when it does so again. Where the order is free that may take long, or never come: a stage
without a call is skipped, and at night a green may rest for hours. So a cycle also ends, wherever the lights are
then, when the plan could have served all its stages at their maximum; and whenever mode or plan change, since a
record speaks of one of each. What follows such an end is the next cycle. Flash, darkness and start-up are in no
cycle: nobody had a green, and what was counted then is in the counts.

Every moment from the first green after start-up until flash is in exactly one cycle, and so is every vehicle that
the lanes' own counts told of in that time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.codes import Aspect, SignalMode
from common.junction import Junction, Plan
from common.junction_times import bounds_s, cycle_s
from common.records import Cycle, LaneCycle
from edge_agent.domain.signals.steps import Decision, Interval, Lane

LONGEST_CYCLE_S = 600.0
"""No record covers more, whatever the plan says."""

_CYCLING = (Interval.GREEN, Interval.YELLOW, Interval.RED_CLEARANCE)
_UNSTEADY = frozenset({Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW, Aspect.DARK})
_MS = 3


@dataclass(frozen=True, slots=True)
class TagPassage:
    """A tagged vehicle passed on a lane."""

    lane: str
    epc: str


def longest_cycle_s(junction: Junction, plan: Plan) -> float:
    """How long a round of `plan` takes with the largest greens that it allows."""
    room_s = sum(max(0.0, bounds_s(junction, one)[1] - one.green_s) for one in plan.stages)
    return cycle_s(junction, plan) + room_s


class CycleStart:
    """Tells in which step a cycle begins: the first stage of the plan becomes green, having been left.

    A plan may bring its first stage several times in its order; then each such number of times is a cycle.
    """

    def __init__(self, junction: Junction) -> None:
        self._first = {plan.name: plan.stages[0].stage for plan in junction.plans}
        self._times = {
            plan.name: [one.stage for one in plan.stages].count(self._first[plan.name]) for plan in junction.plans
        }
        self._else = junction.startup.stage
        self._green: str | None = None
        self._plan: str | None = None
        self._n = 0

    def step(self, decision: Decision) -> bool:
        """Whether a cycle begins with this step."""
        before, self._green = self._green, decision.stage if decision.interval is Interval.GREEN else None
        if decision.plan != self._plan:
            self._plan, self._n = decision.plan, 0
        plan = decision.plan or ""
        if self._green is None or self._green == before or self._green != self._first.get(plan, self._else):
            return False
        self._n += 1
        return (self._n - 1) % self._times.get(plan, 1) == 0


@dataclass(slots=True)
class _Tally:
    """One lane in the cycle that runs."""

    green_s: float = 0.0
    yellow_s: float = 0.0
    n_at_start: int | None = None
    is_measured: bool = True
    epcs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Running:
    """The cycle that runs."""

    began_s: float
    mode: SignalMode
    plan: str | None
    decided_s: dict[str, float]
    """Which algorithm decided, and for how long."""
    lanes: list[_Tally]


class CycleMaker:
    """Makes cycle records out of steps. One for a junction, as long as its lights run."""

    def __init__(self, junction: Junction) -> None:
        self._name = junction.name
        self._lanes = junction.lanes
        self._heads = [
            tuple(m.name for m in junction.movements if lane.name in m.lanes) for lane in junction.lanes
        ]
        self._index = {lane.name: number for number, lane in enumerate(junction.lanes)}
        self._longest_s = {
            plan.name: min(longest_cycle_s(junction, plan), LONGEST_CYCLE_S) for plan in junction.plans
        }
        self._start = CycleStart(junction)
        self._running: _Running | None = None
        self._last_s, self._algorithm = 0.0, ""
        self._shown: dict[str, Aspect] = {}
        self._aspects: list[Aspect] = [Aspect.RED] * len(junction.lanes)
        self._is_steady = False

    def step(
        self,
        now_s: float,
        decision: Decision,
        shown: Mapping[str, Aspect],
        lanes: Sequence[Lane],
        passages: Sequence[TagPassage] = (),
    ) -> Cycle | None:
        """The cycle that ended with this step, at `now_s`; its `seq` and `at` are filled in when it is sent.

        Args:
            shown: what is shown from `now_s` on.
            lanes: in the junction's order.
            passages: since the last step. One on an unknown lane, or while no cycle runs, is in no cycle.
        """
        begins = self._start.step(decision)
        aspects = self._aspects
        self._show(shown)
        runs = self._is_steady and decision.interval in _CYCLING
        running, ended = self._running, None
        if running is not None:
            self._add(running, now_s - self._last_s, aspects, lanes, passages)
            if begins or not runs or self._is_over(running, now_s, decision):
                ended = self._record(running, now_s, lanes)
                self._running = None
        if self._running is None and runs and (running is not None or Aspect.GREEN in shown.values()):
            self._running = _begin(now_s, decision, lanes)
        self._last_s, self._algorithm = now_s, decision.algorithm
        return ended

    def _add(
        self,
        running: _Running,
        span_s: float,
        aspects: Sequence[Aspect],
        lanes: Sequence[Lane],
        passages: Sequence[TagPassage],
    ) -> None:
        """The time since the last step, under what was shown in it, and who passed."""
        for tally, aspect, lane in zip(running.lanes, aspects, lanes, strict=True):
            if aspect is Aspect.GREEN:
                tally.green_s += span_s
            elif aspect is Aspect.YELLOW:
                tally.yellow_s += span_s
            if lane.n_crossed is None:
                tally.is_measured = False
        running.decided_s[self._algorithm] = running.decided_s.get(self._algorithm, 0.0) + span_s
        for passage in passages:
            number = self._index.get(passage.lane)
            if number is not None:
                running.lanes[number].epcs.append(passage.epc)

    def _is_over(self, running: _Running, now_s: float, decision: Decision) -> bool:
        return (
            decision.mode is not running.mode
            or decision.plan != running.plan
            or now_s - running.began_s >= self._longest_s.get(running.plan or "", LONGEST_CYCLE_S)
        )

    def _show(self, shown: Mapping[str, Aspect]) -> None:
        if shown != self._shown:
            self._shown = dict(shown)
            self._aspects = [_aspect(heads, shown) for heads in self._heads]
            self._is_steady = _UNSTEADY.isdisjoint(shown.values())

    def _record(self, running: _Running, now_s: float, lanes: Sequence[Lane]) -> Cycle:
        length_s = round(now_s - running.began_s, _MS)
        algorithm = max(running.decided_s, key=lambda name: running.decided_s[name])
        return Cycle(
            seq=1,
            at=0,
            at_error_ms=0,
            junction=self._name,
            length_s=length_s,
            mode=running.mode.value,
            algorithm=algorithm or "none",
            lanes=[
                _lane_cycle(lane.name, lane.saturation_flow_vph, tally, known, length_s)
                for lane, tally, known in zip(self._lanes, running.lanes, lanes, strict=True)
            ],
            plan=running.plan,
        )


def _begin(now_s: float, decision: Decision, lanes: Sequence[Lane]) -> _Running:
    tallies = [_Tally(n_at_start=lane.n_crossed, is_measured=lane.n_crossed is not None) for lane in lanes]
    return _Running(now_s, decision.mode, decision.plan, {}, tallies)


def _aspect(heads: Sequence[str], shown: Mapping[str, Aspect]) -> Aspect:
    """What a lane may do, which hangs on all its heads: a lane for two ways may go when either is green."""
    aspects = {shown.get(name, Aspect.RED) for name in heads}
    return next((one for one in (Aspect.GREEN, Aspect.YELLOW) if one in aspects), Aspect.RED)


def _lane_cycle(name: str, saturation_flow_vph: float, tally: _Tally, now: Lane, length_s: float) -> LaneCycle:
    """Green, yellow and red add up to the length exactly, so red takes what rounding leaves.

    Saturation is crossings over what the lane's saturation flow would have sent in that green. Stop line counts
    cannot tell of more than was served, so it stays near 1 however long the queue. None without counts or green.
    """
    green_s, yellow_s = min(round(tally.green_s, _MS), length_s), round(tally.yellow_s, _MS)
    yellow_s = min(yellow_s, round(length_s - green_s, _MS))
    vehicles = None
    if tally.is_measured and tally.n_at_start is not None and now.n_crossed is not None:
        difference = now.n_crossed - tally.n_at_start
        vehicles = difference if difference >= 0 else None
    capacity = green_s * saturation_flow_vph / 3600.0
    return LaneCycle(
        lane=name,
        vehicles=vehicles,
        green_s=green_s,
        yellow_s=yellow_s,
        red_s=round(length_s - green_s - yellow_s, _MS),
        saturation=round(vehicles / capacity, 4) if vehicles is not None and capacity > 0 else None,
        epcs=tally.epcs,
    )
