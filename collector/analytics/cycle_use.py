"""What became of the cycles' time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from collector.analytics.answers_lights import CycleGroup, CycleUseAnswer, LaneUse, StageUse
from collector.analytics.hour_parts import Lane, Length, add_lengths
from collector.analytics.hours import Hour, Part, read_hours
from collector.analytics.lane_hours import all_lanes
from collector.analytics.lanes import approaches
from collector.analytics.period import Asked
from collector.db import Connection
from common.junction import Junction

_NOBODY = ""
"""The stage of what no described stage holds."""
_CENTILES = (0.15, 0.5, 0.85)


async def read_cycle_use(connection: Connection, asked: Asked) -> CycleUseAnswer:
    """From cycles, and from the event log where the period is short enough."""
    hours = await read_hours(connection, asked, Part.CYCLES if asked.is_long_for_log else Part.CYCLES | Part.LOG)
    lengths = add_lengths(one for hour in hours for one in hour.lengths)
    n, total_s = sum(one.n for one in lengths), sum(one.length_s * one.n for one in lengths)
    p15_s, p50_s, p85_s = centiles(lengths) if n else (None, None, None)
    period_s = (min(asked.end, asked.place.as_of) - asked.start).total_seconds()
    return CycleUseAnswer(
        **asked.head,
        cycles=n,
        cycles_s=total_s,
        cycles_share=min(1.0, total_s / period_s) if period_s > 0 else 0.0,
        mean_s=total_s / n if n else None,
        p15_s=p15_s,
        p50_s=p50_s,
        p85_s=p85_s,
        groups=_groups(lengths),
        lanes=_lanes(all_lanes(hours), approaches(asked.place.described)),
        **_of_log(asked, hours),
    )


def centiles(lengths: Sequence[Length]) -> list[float]:
    """The 15th, 50th and 85th: between two lengths, as far as the place lies between theirs."""
    ordered = sorted((one.length_s, one.n) for one in lengths)
    last = sum(n for _, n in ordered) - 1
    return [_at_place(ordered, share * last) for share in _CENTILES]


def _at_place(ordered: Sequence[tuple[float, int]], place: float) -> float:
    """The value at a place, from 0, in a list of values that each stand there so many times."""
    whole, part = int(place), place - int(place)
    low = high = None
    upto = 0
    for value, n in ordered:
        upto += n
        if low is None and whole < upto:
            low = value
        if whole + 1 < upto:
            high = value
            break
    assert low is not None
    return low if high is None else low + (high - low) * part


def _groups(lengths: Sequence[Length]) -> list[CycleGroup]:
    """By plan, algorithm and mode, the most used first."""
    grouped: dict[tuple[str | None, str, str], list[Length]] = {}
    for one in lengths:
        grouped.setdefault((one.plan, one.algorithm, one.mode), []).append(one)
    found = []
    for key, some in grouped.items():
        n = sum(one.n for one in some)
        found.append(CycleGroup(*key, n, sum(one.length_s * one.n for one in some) / n, *centiles(some)))
    return sorted(found, key=lambda one: (-one.cycles, one.plan is None, one.plan or "", one.algorithm, one.mode))


def _lanes(lanes: Sequence[Lane], known: Mapping[str, str]) -> list[LaneUse]:
    found = []
    for one in lanes:
        total_s = one.green_s + one.yellow_s + one.red_s
        if total_s > 0:
            shares = (part_s / total_s for part_s in (one.green_s, one.yellow_s, one.red_s))
            found.append(LaneUse(one.lane, known.get(one.lane), *shares))
    return found


def _of_log(asked: Asked, hours: Sequence[Hour]) -> dict[str, Any]:
    names = ("log_s", "green_share", "yellow_share", "lost_share", "stages")
    described = asked.place.described
    if described is None or asked.is_long_for_log:
        return dict.fromkeys(names)
    held = [one for hour in hours if hour.log for one in hour.log.held]
    total_us = sum(one.total_us for one in held)
    if total_us <= 0:
        return dict(zip(names, (0.0, None, None, None, []), strict=True))
    by_kind: dict[str, int] = defaultdict(int)
    by_owner: dict[tuple[int, str], int] = defaultdict(int)
    for one in held:
        by_kind[one.kind] += one.total_us
        by_owner[one.owner, one.kind] += one.total_us
    by_stage: dict[str, dict[str, int]] = {stage.name: defaultdict(int) for stage in described.stages}
    for (owner, kind), us in by_owner.items():
        by_stage.setdefault(stage_of(owner, described), defaultdict(int))[kind] += us
    by_stage.pop(_NOBODY, None)
    shares = [by_kind[kind] / total_us for kind in ("green", "yellow", "lost")]
    stages = [
        StageUse(name, *(times[kind] / total_us for kind in ("green", "yellow", "lost")))
        for name, times in by_stage.items()
    ]
    return dict(zip(names, (total_us / 1e6, *shares, stages), strict=True))


def stage_of(phases: int, junction: Junction) -> str:
    """The smallest stage that holds all phases of a set of bits; empty where none does, or the set is empty."""
    numbers = {movement.name: movement.phase for movement in junction.movements}
    members = {stage.name: sum(1 << numbers[name] for name in stage.movements) for stage in junction.stages}
    fitting = [name for name, bits in members.items() if phases and phases & ~bits == 0]
    return min(fitting, key=lambda name: members[name].bit_count()) if fitting else _NOBODY
