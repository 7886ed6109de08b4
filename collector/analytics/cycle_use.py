"""What became of the cycles' time."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from collector.analytics.answers_lights import CycleGroup, CycleUseAnswer, LaneUse, StageUse
from collector.analytics.lanes import approaches
from collector.analytics.log import ask_log
from collector.analytics.period import Asked
from collector.db import Connection, load_queries
from common.junction import Junction

_NOBODY = ""
"""The stage of what no described stage holds."""


@dataclass(frozen=True)
class _Held:
    """For how long a set of phases (bits) was green, or was followed by yellow or nothing."""

    owner: int
    kind: str
    total_s: float


async def read_cycle_use(connection: Connection, asked: Asked) -> CycleUseAnswer:
    """From cycles, and from the event log where the period is short enough."""
    lengths = await _rows(connection, asked, "lengths")
    lanes = await _rows(connection, asked, "lanes")
    every = lengths[0]
    total_s = every["total_s"] or 0.0
    p15_s, p50_s, p85_s = every["centiles_s"] or (None, None, None)
    period_s = (min(asked.end, asked.place.as_of) - asked.start).total_seconds()
    return CycleUseAnswer(
        **asked.head,
        cycles=every["n"],
        cycles_s=total_s,
        cycles_share=min(1.0, total_s / period_s) if period_s > 0 else 0.0,
        mean_s=every["mean_s"],
        p15_s=p15_s,
        p50_s=p50_s,
        p85_s=p85_s,
        groups=[_group(row) for row in lengths[1:]],
        lanes=_lanes(lanes, approaches(asked.place.described)),
        **await _of_log(connection, asked),
    )


async def _rows(connection: Connection, asked: Asked, question: str) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(load_queries("analytics_lights")[question], asked.parameters, prepare=False)
        return await cursor.fetchall()


def _group(row: Mapping[str, Any]) -> CycleGroup:
    return CycleGroup(row["plan"], row["algorithm"], row["mode"], row["n"], row["mean_s"], *row["centiles_s"])


def _lanes(rows: list[dict[str, Any]], known: Mapping[str, str]) -> list[LaneUse]:
    found = []
    for row in rows:
        total_s = row["green_s"] + row["yellow_s"] + row["red_s"]
        if total_s > 0:
            shares = (row[f"{aspect}_s"] / total_s for aspect in ("green", "yellow", "red"))
            found.append(LaneUse(row["lane"], known.get(row["lane"]), *shares))
    return found


async def _of_log(connection: Connection, asked: Asked) -> dict[str, Any]:
    names = ("log_s", "green_share", "yellow_share", "lost_share", "stages")
    described = asked.place.described
    if described is None or asked.is_long_for_log:
        return dict.fromkeys(names)
    phases = {"phases": [one.phase for one in described.movements]}
    held = await ask_log(connection, asked, ["states", "stages"], _Held, phases)
    total_s = sum(one.total_s for one in held)
    if total_s <= 0:
        return dict(zip(names, (0.0, None, None, None, []), strict=True))
    by_kind: dict[str, float] = defaultdict(float)
    by_stage: dict[str, dict[str, float]] = {stage.name: defaultdict(float) for stage in described.stages}
    for one in held:
        by_kind[one.kind] += one.total_s
        by_stage.setdefault(stage_of(one.owner, described), defaultdict(float))[one.kind] += one.total_s
    by_stage.pop(_NOBODY, None)
    shares = [by_kind[kind] / total_s for kind in ("green", "yellow", "lost")]
    stages = [
        StageUse(name, *(times[kind] / total_s for kind in ("green", "yellow", "lost")))
        for name, times in by_stage.items()
    ]
    return dict(zip(names, (total_s, *shares, stages), strict=True))


def stage_of(phases: int, junction: Junction) -> str:
    """The smallest stage that holds all phases of a set of bits; empty where none does, or the set is empty."""
    numbers = {movement.name: movement.phase for movement in junction.movements}
    members = {stage.name: sum(1 << numbers[name] for name in stage.movements) for stage in junction.stages}
    fitting = [name for name, bits in members.items() if phases and phases & ~bits == 0]
    return min(fitting, key=lambda name: members[name].bit_count()) if fitting else _NOBODY
