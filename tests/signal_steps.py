"""Steps of a junction that runs a plan's own times, for what is logged of them: lamps and reasons are known."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from common.codes import Aspect, SignalMode
from common.junction import Junction, Movement, MovementKind
from edge_agent.domain.signals.steps import Decision, Interval, Termination

G, Y, R = Aspect.GREEN, Aspect.YELLOW, Aspect.RED


@dataclass(frozen=True)
class Step:
    """What a step of the control gives to those who log it."""

    now_s: float
    decision: Decision
    shown: Mapping[str, Aspect] = field(default_factory=dict)


def decision(
    shown: Mapping[str, Aspect],
    interval: Interval = Interval.GREEN,
    *,
    mode: SignalMode = SignalMode.AUTOMATIC,
    stage: str | None = None,
    next_stage: str | None = None,
    plan: str | None = "day",
    algorithm: str = "fixed",
    ended: Mapping[str, Termination] | None = None,
    coordination: int | None = None,
    zero_s: float | None = None,
    preemption: int | None = None,
) -> Decision:
    """A decision that wants what is shown."""
    return Decision(
        shown,
        mode,
        interval,
        stage,
        next_stage,
        plan,
        algorithm,
        ended or {},
        coordination=coordination,
        zero_s=zero_s,
        preemption=preemption,
    )


def run_plan(
    junction: Junction,
    until_s: float,
    *,
    dt_s: float = 1.0,
    why: Callable[[str, float], Termination] = lambda stage, now_s: Termination.FORCE_OFF,
) -> Iterator[Step]:
    """The first plan of `junction` by its own greens, from 0 s on, a step every `dt_s`.

    Its times must be multiples of `dt_s`. `why` tells of a stage and a moment why its green ends then.
    """
    plan = junction.plans[0]
    members = {one.name: set(one.movements) for one in junction.stages}
    tick, at = 0, 0
    while tick * dt_s < until_s:
        entry, following = plan.stages[at], plan.stages[(at + 1) % len(plan.stages)]
        going = members[entry.stage] - members[following.stage]
        leaving = [one for one in junction.movements if one.name in going]
        green_s = entry.green_s
        length_s = green_s + max((one.yellow_s + one.red_clearance_s for one in leaving), default=0.0)
        for k in range(round(length_s / dt_s)):
            since_s, now_s = k * dt_s, tick * dt_s
            shown = {
                one.name: _shown(one, members[entry.stage], leaving, since_s, green_s)
                for one in junction.movements
            }
            interval = (
                Interval.GREEN
                if since_s < green_s
                else Interval.YELLOW
                if Y in shown.values()
                else Interval.RED_CLEARANCE
            )
            ended = {one.name: why(entry.stage, now_s) for one in leaving} if since_s == green_s else {}
            yield Step(
                now_s,
                decision(
                    shown, interval, stage=entry.stage, next_stage=following.stage, plan=plan.name, ended=ended
                ),
                shown,
            )
            tick += 1
            if tick * dt_s >= until_s:
                return
        at = (at + 1) % len(plan.stages)


def _shown(one: Movement, members: set[str], leaving: list[Movement], since_s: float, green_s: float) -> Aspect:
    if one.name not in members:
        return R
    if since_s < green_s or one not in leaving:
        return G
    return Y if one.kind is MovementKind.VEHICLE and since_s < green_s + one.yellow_s else R
