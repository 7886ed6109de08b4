"""A junction as its lights see it: lanes, detectors, movements, what conflicts, stages, plans.

One description serves the Pi that drives the heads, the collector that shows them, and both sides of every order.
It says nothing about pins or brokers: where a head hangs is the Pi's own configuration.

The words are the field's: a *movement* is a group of lanes that may go together and has one signal group (head),
numbered as a *phase* in the hi-res log. A *stage* is a set of movements that are green together. A *plan* is an
order of stages with their bounds. All durations are seconds.

Structure is checked by msgspec as it is read (unknown members are refused); what the parts must be to each other
is checked by `common.junction_checks`, which tells all faults at once. Nothing here reads a clock or a file.
"""

import re
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

DESCRIBED_ACTION = "junction_described"
"""A `log` record with this action tells the collector what a junction is: `context` holds the description, as JSON
in a text, as `description`. The lights send one whenever they begin."""

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Seconds = Annotated[float, Meta(ge=0.0, le=86_400.0)]
Phase = Annotated[int, Meta(ge=1, le=16)]
Channel = Annotated[int, Meta(ge=1, le=255)]
LEAST_SEEN = 0.25
"""Where less than this share of the vehicles is seen, no sensor tells what a lane needs."""


def name_order(name: str) -> tuple[list[str | int], str]:
    """By which names are sorted where no description says how: as people count, `lane 2` before `lane 10`."""
    # Of what it is split into, every second part is a number.
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))], name


class Algorithm(StrEnum):
    """How green times are found. As sensors fail, the ladder goes down from the first to `FIXED`, and to flash."""

    ADAPTIVE = "adaptive"
    """Camera and crossings, second by second."""
    ACTUATED = "actuated"
    """Crossings at the stop line, second by second, with recall."""
    FIXED = "fixed"
    """The plan's own green times, corrected slowly by `webster` where counts are known."""
    WEBSTER = "webster"
    """Each cycle from the counts of those before."""
    PROPORTIONAL = "proportional"
    """Green in proportion to the last cycle's counts; simple, and nearly the worst."""
    MAX_PRESSURE = "max_pressure"
    """The stage with the most vehicles before it, on a grid of time."""


class MovementKind(StrEnum):
    """Who moves. People have no yellow: their green goes to red, and the clearance is their way across."""

    VEHICLE = "vehicle"
    PEDESTRIAN = "pedestrian"


class Recall(StrEnum):
    """Whether a movement is served without a call."""

    NONE = "none"
    MIN = "min"
    """Its minimum green, once in `max_red_s`."""
    MAX = "max"
    """As if there were always a vehicle."""


CONTACTS = "contacts"
"""The `sensor` of detectors that are wired to the lights' own Pi."""


class DetectorKind(StrEnum):
    """What a detector tells."""

    STOP_LINE = "stop_line"
    """Crossings of the stop line: a counting line of a camera, or a tag reader."""
    APPROACH = "approach"
    """How many are on the last metres before the stop line, and how many of them move: a camera's zone."""
    ADVANCE = "advance"
    """Crossings well before the stop line: arrivals on green are told from it."""
    BUTTON = "button"
    """A pedestrian's push button."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the description."""


class Lane(_Part, frozen=True):
    """One lane up to its stop line."""

    name: Name
    approach: Name
    """`north`: vehicles come from there."""
    saturation_flow_vph: Annotated[float, Meta(ge=200.0, le=3_000.0)] = 1_800.0
    """Vehicles per hour of green that a standing queue sends over the stop line."""


class Detector(_Part, frozen=True):
    """What tells about one lane. Several may tell about the same; they are fused."""

    channel: Channel
    """Its number in the hi-res log."""
    lane: Name
    """Of a button: the movement of people that it calls, or a lane."""
    kind: DetectorKind
    sensor: Name
    """The camera or reader, as the agent's configuration names it; `contacts`: the lights' own Pi."""
    source: Name
    """The line, zone or antenna of it; the contact, as the lights' configuration names it."""
    reach_m: Annotated[float, Meta(gt=0.0, le=500.0)] | None = None
    """APPROACH: how far upstream it sees. ADVANCE: how far before the stop line it lies."""


class Movement(_Part, frozen=True):
    """Lanes that get green together, with their own signal group."""

    name: Name
    phase: Phase
    lanes: tuple[Name, ...] = ()
    kind: MovementKind = MovementKind.VEHICLE
    min_green_s: Seconds = 7.0
    max_green_s: Seconds = 50.0
    yellow_s: Seconds = 3.0
    """0 for pedestrians; vehicles 3 to 6."""
    red_clearance_s: Seconds = 2.0
    """How long all that conflicts stays red after it is red; for pedestrians their way across."""
    max_red_s: Seconds = 120.0
    """No call or recall waits longer."""
    recall: Recall = Recall.MIN
    gives_way_to: tuple[Name, ...] = ()
    """Movements it may be green together with, but has to let pass: a permissive turn. That is no conflict."""


class Stage(_Part, frozen=True):
    """Movements that are green together."""

    name: Name
    movements: tuple[Name, ...]


class PlanStage(_Part, frozen=True):
    """One stage in a plan's order."""

    stage: Name
    green_s: Seconds
    """Its green where times are fixed, and where the sensors tell nothing."""
    min_green_s: Seconds | None = None
    """None: the largest minimum of its movements."""
    max_green_s: Seconds | None = None
    """None: the smallest maximum of its movements."""


class Plan(_Part, frozen=True):
    """An order of stages and how long each is green."""

    name: Name
    stages: tuple[PlanStage, ...]
    algorithm: Algorithm = Algorithm.ADAPTIVE
    offset_s: Seconds | None = None
    """Coordinated: the first stage's green begins so long after the common zero (midnight in the junction's time
    zone, then every cycle). None: free."""
    actuated_coordination: bool = False
    """Coordinated plans only. The first stage's green ends at its moment of the cycle, as ever; the other ones end
    before theirs where nobody comes any more, and what they leave is the first stage's."""


class PlanTime(_Part, frozen=True):
    """From `start` on, on these days, this plan; until the next one begins."""

    plan: Name
    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    days: tuple[Annotated[int, Meta(ge=1, le=7)], ...] = (1, 2, 3, 4, 5, 6, 7)
    """1 is Monday."""


class Preemption(_Part, frozen=True):
    """An emergency vehicle's way: its stage is brought as fast as clearances permit, and held."""

    name: Name
    stage: Name
    number: Annotated[int, Meta(ge=1, le=10)]
    """In the hi-res log."""
    entry_min_green_s: Seconds = 2.0
    """A running green that has to go may be cut to this."""
    min_dwell_s: Seconds = 7.0
    max_presence_s: Seconds = 120.0
    """Then it ends by itself, and is reported: a stuck input must not own the junction."""
    exit_stage: Name | None = None
    """None: whichever has waited longest."""


class StartUp(_Part, frozen=True):
    """How the lights begin, after power, a fault or flash."""

    stage: Name
    flash_s: Seconds = 0.0
    all_red_s: Annotated[float, Meta(ge=3.0, le=60.0)] = 6.0


class Junction(_Part, frozen=True):
    """The whole of it. `conflicts` are pairs of movements, each once, in any order."""

    name: Name
    lanes: Annotated[tuple[Lane, ...], Meta(min_length=1, max_length=64)]
    movements: Annotated[tuple[Movement, ...], Meta(min_length=1, max_length=16)]
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1, max_length=32)]
    plans: Annotated[tuple[Plan, ...], Meta(min_length=1, max_length=32)]
    startup: StartUp
    conflicts: tuple[tuple[Name, Name], ...] = ()
    timezone: Name = "UTC"
    detectors: tuple[Detector, ...] = ()
    schedule: tuple[PlanTime, ...] = ()
    """Empty: the first plan, always."""
    preemptions: tuple[Preemption, ...] = ()
    seen_share: Annotated[float, Meta(ge=LEAST_SEEN, le=1.0)] | None = None
    """The share of the vehicles that its detectors see, where that is known, as 0.4 where four in ten have a tag.
    Taken to be so until queues in a camera's zone tell otherwise. None: all."""


def conflict_pairs(junction: Junction) -> tuple[tuple[str, str], ...]:
    """Those that must not go together: as described, and whatever no stage lets go together.

    So a conflict that was forgotten lets nobody begin while the other ends. Who comes from one lane cannot meet,
    and who gives way is in no conflict.
    """
    may = {frozenset((a, b)) for stage in junction.stages for a in stage.movements for b in stage.movements}
    may |= {frozenset((one.name, other)) for one in junction.movements for other in one.gives_way_to}
    may |= {frozenset(pair) for pair in junction.conflicts}
    forgotten = (
        (a.name, b.name)
        for i, a in enumerate(junction.movements)
        for b in junction.movements[i + 1 :]
        if frozenset((a.name, b.name)) not in may and not set(a.lanes) & set(b.lanes)
    )
    return (*junction.conflicts, *forgotten)


def walks(junction: Junction) -> tuple[str, ...]:
    """Movements of people that a button calls, in the junction's order. Whoever looks at lanes has them as such,
    after the junction's own."""
    lanes = {lane.name for lane in junction.lanes}
    called = {one.lane for one in junction.detectors if one.kind is DetectorKind.BUTTON} - lanes
    return tuple(
        one.name for one in junction.movements if one.kind is MovementKind.PEDESTRIAN and one.name in called
    )
