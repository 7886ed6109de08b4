"""What operators ask of a junction's lights: read into orders, and worked out as the lights will. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.commands import Automatic, FixedPlan, Flash, ManualOverride, Off, Order
from common.junction import Junction, Name, Seconds
from common.junction_checks import Fault
from common.junction_times import intergreen_split_s, lanes_of
from common.override_times import OverrideError, StageTime, check_order, override_times
from common.schedule import Local, Schedule

Mode = Literal["automatic", "manual_override", "fixed", "flash", "off"]
_SETTINGS: dict[Mode, tuple[str, ...]] = {
    "automatic": (),
    "manual_override": ("cycle_s", "lane_green_s", "expires_s"),
    "fixed": ("plan", "expires_s"),
    "flash": (),
    "off": (),
}
_LEAST_EXPIRES_S = 10.0
_OVERRIDE_S = 3_600.0
_MOST_EXPIRES_S: dict[Mode, float] = {"manual_override": 86_400.0, "fixed": 604_800.0}


class ModeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is to decide what a junction's lights show.

    `manual_override` needs `cycle_s` and the greens of all lanes but those of one stage, whose green is computed;
    `fixed` needs a `plan`. Both may have `expires_s`: then automatic again, by itself.
    """

    mode: Mode
    why: Annotated[str, Meta(min_length=1, max_length=1000)]
    """For the log, and for whoever comes after."""
    cycle_s: Seconds | None = None
    lane_green_s: dict[Name, Seconds] | None = None
    plan: Name | None = None
    expires_s: Annotated[float, Meta(ge=0.0, le=604_800.0)] | None = None
    """An override's default is an hour; a plan's is never."""
    valid_s: Annotated[float, Meta(ge=10.0, le=3_600.0)] = 120.0
    """So long the order may take to reach the lights."""


class StageItem(msgspec.Struct, frozen=True):
    """A stage of the round, and the yellow and clearance after it."""

    stage: str
    lanes: list[str]
    green_s: float
    yellow_s: float
    red_clearance_s: float


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What the lights would make of an order. They judge it themselves once more when they get it."""

    accepted: bool
    reason: str
    """Why not, and what would be accepted."""
    cycle_s: float | None
    """Null: it is not settled beforehand."""
    stages: list[StageItem]
    lane_green_s: dict[str, float]
    computed_lanes: list[str]
    """Whose green was not given, but follows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An order, if the body makes one, and what is wrong with it."""

    order: Order | None
    faults: Sequence[Fault]


def read_order(body: ModeOrder, by: str) -> Asked:
    """The order in a body, whatever the junction is."""
    faults = list(_faults(body))
    if faults:
        return Asked(None, faults)
    return Asked(_order(body, by[:100]), [])


def plan_in_force(junction: Junction, local: datetime) -> int:
    """The index of the plan that the schedule names at a moment in the junction's own zone."""
    second_s = local.hour * 3600 + local.minute * 60 + local.second
    return Schedule(junction).plan_at(Local(local.isoweekday(), second_s))


def order_fault(junction: Junction, order: Order, plan: int) -> Fault | None:
    """Why a junction's lights would refuse an order, by their description alone; None: they would not."""
    result = check_order(junction, order, plan)
    if result.accepted:
        return None
    key, mark, reason = result.reason.partition(": ")
    if mark and key.split(".")[0] in ModeOrder.__struct_fields__:
        return Fault(key, None, reason)
    return Fault("plan" if isinstance(order, FixedPlan) else "lane_green_s", None, result.reason)


def preview(junction: Junction, asked: Asked, plan: int) -> Preview:
    """What would come of it; `plan` is the one in force."""
    if asked.order is None:
        return _refused("; ".join(map(str, asked.faults)))
    order = asked.order
    fault = order_fault(junction, order, plan)
    if fault is not None:
        return _refused(str(fault))
    stages = stages_of(junction, order, plan)
    given = order.lane_green_s if isinstance(order, ManualOverride) else {}
    return Preview(
        accepted=True,
        reason="",
        cycle_s=round(sum(one.green_s + one.yellow_s + one.red_clearance_s for one in stages), 3) or None,
        stages=[
            StageItem(one.stage, list(one.lanes), one.green_s, one.yellow_s, one.red_clearance_s) for one in stages
        ],
        lane_green_s=_lane_greens_s(junction, stages),
        computed_lanes=[lane for one in stages if one.is_computed for lane in one.lanes if lane not in given],
    )


def stages_of(junction: Junction, order: Order, plan: int) -> list[StageTime]:
    """The round that an order makes; none where it is decided as it comes."""
    if isinstance(order, ManualOverride):
        try:
            return override_times(junction, plan, order)
        except OverrideError:
            return []
    if not isinstance(order, FixedPlan):
        return []
    steps = next(one.stages for one in junction.plans if one.name == order.plan)
    found = []
    for i, step in enumerate(steps):
        going = lanes_of(junction, step.stage)
        between_s = intergreen_split_s(junction, step.stage, steps[(i + 1) % len(steps)].stage)
        lanes = tuple(lane.name for lane in junction.lanes if lane.name in going)
        found.append(StageTime(step.stage, lanes, step.green_s, False, *between_s))
    return found


def _lane_greens_s(junction: Junction, stages: Sequence[StageTime]) -> dict[str, float]:
    """Of each lane: the greens of its stages, and what lies between two that follow each other."""
    found: dict[str, float] = {}
    for lane in junction.lanes:
        mine = [i for i, one in enumerate(stages) if lane.name in one.lanes]
        green_s = sum(stages[i].green_s for i in mine)
        if len(mine) > 1:
            through = [stages[i] for i in mine if (i + 1) % len(stages) in mine]
            green_s += sum(one.yellow_s + one.red_clearance_s for one in through)
        if mine:
            found[lane.name] = round(green_s, 3)
    return found


def _faults(body: ModeOrder) -> Iterator[Fault]:
    allowed = _SETTINGS[body.mode]
    for name in ("cycle_s", "lane_green_s", "plan", "expires_s"):
        if getattr(body, name) is not None and name not in allowed:
            what = f"has {', '.join(allowed)}" if allowed else "has no settings"
            yield Fault(name, None, f"mode {body.mode} {what}; leave it out")
    if not body.why.strip():
        yield Fault("why", None, "is missing: in words, for the log and for whoever comes after")
    if body.mode == "manual_override" and body.cycle_s is None:
        yield Fault("cycle_s", None, "is missing: how long a round takes, in seconds")
    if body.mode == "fixed" and body.plan is None:
        yield Fault("plan", None, "is missing: its name in the junction's description")
    most_s = _MOST_EXPIRES_S.get(body.mode)
    if most_s and body.expires_s is not None and not _LEAST_EXPIRES_S <= body.expires_s <= most_s:
        yield Fault("expires_s", body.expires_s, f"has to be from {_LEAST_EXPIRES_S:g} to {most_s:g} s")
    for name, text in (("why", body.why), ("plan", body.plan or ""), *(("lane_green_s", n) for n in _lanes(body))):
        if "\x00" in text:
            yield Fault(name, None, "holds a NUL character; leave it out")


def _lanes(body: ModeOrder) -> Iterator[str]:
    yield from body.lane_green_s or {}


def _order(body: ModeOrder, by: str) -> Order:
    why = body.why
    match body.mode:
        case "manual_override":
            assert body.cycle_s is not None
            return ManualOverride(
                by=by,
                why=why,
                cycle_s=body.cycle_s,
                lane_green_s=dict(body.lane_green_s or {}),
                expires_s=_OVERRIDE_S if body.expires_s is None else body.expires_s,
            )
        case "fixed":
            assert body.plan is not None
            return FixedPlan(by=by, why=why, plan=body.plan, expires_s=body.expires_s)
        case "flash":
            return Flash(by=by, why=why)
        case "off":
            return Off(by=by, why=why)
        case "automatic":
            return Automatic(by=by, why=why)


def _refused(reason: str) -> Preview:
    return Preview(accepted=False, reason=reason, cycle_s=None, stages=[], lane_green_s={}, computed_lanes=[])
