"""What the parts of a junction's description must be to each other. All faults are told at once.

What one part says wrong is told for each; what follows from several (how long somebody waits in a plan) only when
all names are right, since nothing can be worked out before.
"""

import math
import zoneinfo
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from common.junction import CONTACTS, Algorithm, DetectorKind, Junction, Movement, MovementKind, Plan
from common.junction_shape import Fault, hint, shape_faults, short
from common.junction_times import (
    ROUNDING_S,
    bounds_s,
    cycle_s,
    hard_min_s,
    intergreen_s,
    longest_reds_s,
    movements_of,
    rivals,
)
from common.nearest import nearest

__all__ = ["Fault", "faults", "read_junction", "timezone_faults"]

YELLOW_S = (3.0, 6.0)
RED_CLEARANCE_S = 6.0
PEOPLE_CLEARANCE_S = 3.0
"""No more than a sanity bound: a way across of 3.6 m."""
LEAST_GREEN_S = 1.0


def faults(junction: Junction) -> list[Fault]:
    """All that is wrong with a junction; empty: it may be driven."""
    references = [*_names(junction), *_references(junction)]
    found = [
        *references,
        *_movements(junction),
        *_conflicts(junction),
        *_lanes(junction),
        *_schedule(junction),
        *_preemptions(junction),
        *timezone_faults(junction.timezone),
    ]
    if not references:
        found += [*_stages(junction), *_plans(junction)]
    return found


def read_junction(data: bytes | str | Mapping[str, Any]) -> tuple[Junction | None, list[Fault]]:
    """A junction from JSON or from a table (of a TOML file), with all that is wrong with it.

    The junction is None where its very shape is wrong; else it is there, and may be driven only if the list is
    empty.
    """
    if isinstance(data, bytes | str):
        try:
            table = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeError) as error:
            return None, [Fault("junction", short(data), f"is no JSON: {error}")]
    else:
        table = data
    try:
        junction = msgspec.convert(table, Junction)
    except msgspec.ValidationError as error:
        return None, list(shape_faults(table, Junction, "")) or [Fault("junction", short(table), str(error))]
    return junction, faults(junction)


def _names(junction: Junction) -> Iterator[Fault]:
    """Names, phases, channels and numbers that are there twice."""
    for group in ("lanes", "movements", "stages", "plans", "preemptions"):
        yield from _twice([one.name for one in getattr(junction, group)], group, ".name")
    yield from _twice([one.phase for one in junction.movements], "movements", ".phase")
    yield from _twice([one.channel for one in junction.detectors], "detectors", ".channel")
    yield from _twice([one.number for one in junction.preemptions], "preemptions", ".number")
    for i, movement in enumerate(junction.movements):
        yield from _twice(movement.lanes, f"movements[{i}].lanes")
        yield from _twice(movement.gives_way_to, f"movements[{i}].gives_way_to")
    for i, stage in enumerate(junction.stages):
        yield from _twice(stage.movements, f"stages[{i}].movements")


def _twice(values: Sequence[object], path: str, field: str = "") -> Iterator[Fault]:
    first: dict[object, int] = {}
    for i, value in enumerate(values):
        if value in first:
            yield Fault(f"{path}[{i}]{field}", value, f"is there twice; {path}[{first[value]}] has it already")
        first.setdefault(value, i)


def _references(junction: Junction) -> Iterator[Fault]:
    """Names that stand for something that is not there."""
    lanes = [one.name for one in junction.lanes]
    movements = [one.name for one in junction.movements]
    walks = [one.name for one in junction.movements if one.kind is MovementKind.PEDESTRIAN]
    stages = [one.name for one in junction.stages]
    plans = [one.name for one in junction.plans]
    for i, movement in enumerate(junction.movements):
        yield from _unknown(movement.lanes, lanes, "lane", f"movements[{i}].lanes")
        yield from _unknown(movement.gives_way_to, movements, "movement", f"movements[{i}].gives_way_to")
    for i, pair in enumerate(junction.conflicts):
        yield from _unknown(pair, movements, "movement", f"conflicts[{i}]")
    for i, stage in enumerate(junction.stages):
        yield from _unknown(stage.movements, movements, "movement", f"stages[{i}].movements")
    for i, plan in enumerate(junction.plans):
        for k, step in enumerate(plan.stages):
            yield from _unknown([step.stage], stages, "stage", f"plans[{i}].stages[{k}].stage", listed=False)
    for i, detector in enumerate(junction.detectors):
        is_button = detector.kind is DetectorKind.BUTTON
        places, what = (lanes + walks, "lane or movement of people") if is_button else (lanes, "lane")
        yield from _unknown([detector.lane], places, what, f"detectors[{i}].lane", listed=False)
        if detector.sensor == CONTACTS and detector.kind is DetectorKind.APPROACH:
            text = "a contact does not tell how many there are; make it stop_line, advance or button"
            yield Fault(f"detectors[{i}].kind", detector.kind, text)
    for i, entry in enumerate(junction.schedule):
        yield from _unknown([entry.plan], plans, "plan", f"schedule[{i}].plan", listed=False)
    for i, one in enumerate(junction.preemptions):
        yield from _unknown([one.stage], stages, "stage", f"preemptions[{i}].stage", listed=False)
        if one.exit_stage is not None:
            yield from _unknown([one.exit_stage], stages, "stage", f"preemptions[{i}].exit_stage", listed=False)
    yield from _unknown([junction.startup.stage], stages, "stage", "startup.stage", listed=False)


def _unknown(
    names: Sequence[str], known: Sequence[str], what: str, path: str, *, listed: bool = True
) -> Iterator[Fault]:
    for i, name in enumerate(names):
        if name not in known:
            yield Fault(f"{path}[{i}]" if listed else path, name, f"there is no such {what}; {hint(name, known)}")


def _movements(junction: Junction) -> Iterator[Fault]:
    """The times of each movement by themselves."""
    for i, movement in enumerate(junction.movements):
        path = f"movements[{i}]"
        yield from _yellow_and_red(movement, path)
        if movement.min_green_s < LEAST_GREEN_S:
            yield Fault(f"{path}.min_green_s", movement.min_green_s, f"has to be {LEAST_GREEN_S:g} s or more")
        if movement.max_green_s < movement.min_green_s:
            yield Fault(
                f"{path}.max_green_s",
                movement.max_green_s,
                f"is less than min_green_s, {movement.min_green_s:g} s; make it that or more",
            )


def _yellow_and_red(movement: Movement, path: str) -> Iterator[Fault]:
    least_s, most_s = YELLOW_S
    if movement.kind is MovementKind.PEDESTRIAN:
        if movement.yellow_s != 0.0:
            yield Fault(f"{path}.yellow_s", movement.yellow_s, "people have no yellow; make it 0")
        if movement.red_clearance_s < PEOPLE_CLEARANCE_S:
            yield Fault(
                f"{path}.red_clearance_s",
                movement.red_clearance_s,
                f"who has just begun to cross has no yellow, and needs {PEOPLE_CLEARANCE_S:g} s at least; give "
                "the time for the whole way across",
            )
        return
    if not least_s <= movement.yellow_s <= most_s:
        yield Fault(f"{path}.yellow_s", movement.yellow_s, f"a vehicle's yellow lasts {least_s:g} to {most_s:g} s")
    if movement.red_clearance_s > RED_CLEARANCE_S:
        yield Fault(
            f"{path}.red_clearance_s",
            movement.red_clearance_s,
            f"a vehicle's red clearance lasts {RED_CLEARANCE_S:g} s at most",
        )


def _conflicts(junction: Junction) -> Iterator[Fault]:
    """Pairs of movements, and what must not be one."""
    seen: dict[frozenset[str], int] = {}
    for i, pair in enumerate(junction.conflicts):
        key = frozenset(pair)
        if len(key) == 1:
            yield Fault(f"conflicts[{i}]", pair, "a movement cannot conflict with itself; leave it out")
        elif key in seen:
            yield Fault(f"conflicts[{i}]", pair, f"is there twice; conflicts[{seen[key]}] has it already")
        seen.setdefault(key, i)
    lanes = {movement.name: frozenset(movement.lanes) for movement in junction.movements}
    for i, (a, b) in enumerate(junction.conflicts):
        shared = lanes.get(a, frozenset()) & lanes.get(b, frozenset())
        if a != b and shared:
            yield Fault(
                f"conflicts[{i}]",
                (a, b),
                f"both go from lane {min(shared)}, so they cannot conflict; leave it out, or part the lanes",
            )
    for i, movement in enumerate(junction.movements):
        for k, other in enumerate(movement.gives_way_to):
            path = f"movements[{i}].gives_way_to[{k}]"
            if other == movement.name:
                yield Fault(path, other, "a movement cannot give way to itself; leave it out")
            elif frozenset((movement.name, other)) in seen:
                yield Fault(
                    path,
                    other,
                    "they conflict, so they are never green together and none gives way; keep one of the two",
                )


def _lanes(junction: Junction) -> Iterator[Fault]:
    served = {
        lane for movement in junction.movements if movement.kind is MovementKind.VEHICLE for lane in movement.lanes
    }
    for i, lane in enumerate(junction.lanes):
        if lane.name not in served:
            yield Fault(
                f"lanes[{i}].name", lane.name, "no vehicle movement has this lane; name it in a movement's lanes"
            )


def _stages(junction: Junction) -> Iterator[Fault]:
    conflicts = rivals(junction)
    for i, stage in enumerate(junction.stages):
        if not stage.movements:
            yield Fault(f"stages[{i}].movements", stage.movements, "names no movement; a stage has at least one")
        for k, name in enumerate(stage.movements):
            for other in stage.movements[:k]:
                if other in conflicts[name]:
                    yield Fault(
                        f"stages[{i}].movements[{k}]",
                        name,
                        f"conflicts with {other}, and both would be green; put them into different stages",
                    )
        movements = movements_of(junction, stage.name)
        least_s = hard_min_s(movements)
        for movement in movements:
            if movement.max_green_s < least_s:
                yield Fault(
                    f"stages[{i}].movements",
                    stage.movements,
                    f"{movement.name} may be green for {movement.max_green_s:g} s at most, and another needs "
                    f"{least_s:g} s; mend one of the two",
                )


def _plans(junction: Junction) -> Iterator[Fault]:
    for i, plan in enumerate(junction.plans):
        path = f"plans[{i}]"
        if not plan.stages:
            yield Fault(f"{path}.stages", plan.stages, "names no stage; a plan has at least one")
            continue
        times = list(_plan_times(junction, plan, path))
        yield from times
        has = {name for step in plan.stages for name in _stage(junction, step.stage)}
        for movement in junction.movements:
            if movement.name not in has:
                yield Fault(
                    f"{path}.stages",
                    tuple(step.stage for step in plan.stages),
                    f"movement {movement.name} is in none of these stages and would never be green; add a stage "
                    "that has it",
                )
        if not times:
            yield from _plan_reds(junction, plan, path)


def _stage(junction: Junction, name: str) -> tuple[str, ...]:
    return next(stage.movements for stage in junction.stages if stage.name == name)


def _plan_times(junction: Junction, plan: Plan, path: str) -> Iterator[Fault]:
    for k, step in enumerate(plan.stages):
        movements = movements_of(junction, step.stage)
        hard_s = hard_min_s(movements)
        top_s = min((movement.max_green_s for movement in movements), default=math.inf)
        least_s, most_s = bounds_s(junction, step)
        where = f"{path}.stages[{k}]"
        if least_s < hard_s:
            yield Fault(
                f"{where}.min_green_s", least_s, f"the movements of {step.stage} need {hard_s:g} s; make it that"
            )
        if most_s > top_s:
            yield Fault(
                f"{where}.max_green_s", most_s, f"the movements of {step.stage} allow {top_s:g} s; make it that"
            )
        if least_s > most_s:
            yield Fault(
                f"{where}.min_green_s", least_s, f"is more than the most, {most_s:g} s; mend one of the two"
            )
        elif not least_s <= step.green_s <= most_s:
            yield Fault(f"{where}.green_s", step.green_s, f"has to be from {least_s:g} to {most_s:g} s")
    if plan.actuated_coordination:
        yield from _actuated(plan, path)
    if plan.offset_s is not None and plan.offset_s >= (whole_s := cycle_s(junction, plan)):
        yield Fault(
            f"{path}.offset_s",
            plan.offset_s,
            f"the cycle (greens, yellows, clearances) is {whole_s:g} s; an offset is less than that",
        )


def _actuated(plan: Plan, path: str) -> Iterator[Fault]:
    what = "true"
    if plan.offset_s is None:
        yield Fault(f"{path}.actuated_coordination", what, "is for a coordinated plan; give it an offset_s")
    if plan.algorithm not in (Algorithm.ADAPTIVE, Algorithm.ACTUATED):
        yield Fault(
            f"{path}.actuated_coordination",
            what,
            f"greens do not end early by {plan.algorithm}; make algorithm adaptive or actuated",
        )
    if len(plan.stages) < 2:
        yield Fault(f"{path}.actuated_coordination", what, "has no other stage that could leave anything")


def _plan_reds(junction: Junction, plan: Plan, path: str) -> Iterator[Fault]:
    """Whether everybody can be served in time: at the plan's own greens, and at the least ones in any order."""
    names = [step.stage for step in plan.stages]
    greens_s = longest_reds_s(junction, names, [step.green_s for step in plan.stages])
    reached_s = least_reach_s(junction, plan)
    for i, movement in enumerate(junction.movements):
        rounding_s = ROUNDING_S * len(names)
        own_s = greens_s.get(movement.name, 0.0) + rounding_s
        worst_s = reached_s.get(movement.name, 0.0) + rounding_s
        if (most_s := max(own_s, worst_s)) > movement.max_red_s:
            why = "at its own greens" if own_s >= worst_s else "at its least greens, in the worst order"
            yield Fault(
                f"movements[{i}].max_red_s",
                movement.max_red_s,
                f"{path} ({plan.name}) can keep {movement.name} red for {most_s:g} s {why}; make it that or more, "
                "or shorten the plan's greens",
            )


def least_reach_s(junction: Junction, plan: Plan) -> dict[str, float]:
    """How long it may take until each movement is green, if every stage is served once, for its least green, in
    whatever order."""
    least_s = {step.stage: bounds_s(junction, step)[0] for step in plan.stages}
    into_s = {
        stage: max((intergreen_s(junction, other, stage) for other in least_s if other != stage), default=0.0)
        for stage in least_s
    }
    found: dict[str, float] = {}
    for movement in junction.movements:
        own = {stage for stage in least_s if movement.name in _stage(junction, stage)}
        others_s = sum(least_s[stage] + into_s[stage] for stage in least_s if stage not in own)
        found[movement.name] = others_s + max((into_s[stage] for stage in own), default=0.0)
    return found


def _schedule(junction: Junction) -> Iterator[Fault]:
    seen: dict[tuple[int, str], int] = {}
    for i, entry in enumerate(junction.schedule):
        if not entry.days:
            yield Fault(f"schedule[{i}].days", entry.days, "names no day; 1 is Monday, 7 is Sunday")
        for day, n in Counter(entry.days).items():
            if n > 1:
                yield Fault(f"schedule[{i}].days", entry.days, f"names day {day} twice; once is enough")
            if (day, entry.start) in seen:
                yield Fault(
                    f"schedule[{i}].start",
                    entry.start,
                    f"schedule[{seen[day, entry.start]}] begins then too, on day {day}; keep one of the two",
                )
            seen.setdefault((day, entry.start), i)


def _preemptions(junction: Junction) -> Iterator[Fault]:
    for i, one in enumerate(junction.preemptions):
        if one.max_presence_s < one.min_dwell_s:
            yield Fault(
                f"preemptions[{i}].max_presence_s",
                one.max_presence_s,
                f"is less than min_dwell_s, {one.min_dwell_s:g} s; make it more",
            )


def timezone_faults(timezone: str) -> Iterator[Fault]:
    """What is wrong with the name of a time zone."""
    try:
        zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest(timezone, sorted(zoneinfo.available_timezones()))
        example = f"did you mean {near}?" if near else "name it as Europe/Berlin or UTC"
        yield Fault("timezone", timezone, f"there is no such time zone here; {example}")
