"""Junctions that the tests of lights use: crossroads in two stages and in four, and one with people."""

from common.junction import (
    Algorithm,
    Detector,
    DetectorKind,
    Junction,
    Lane,
    Movement,
    MovementKind,
    Plan,
    PlanStage,
    Stage,
    StartUp,
)

APPROACHES = ("north", "east", "south", "west")
NS, EW = ("north", "south"), ("east", "west")
CROSSING = tuple((a, b) for a in NS for b in EW)


def crossroads(
    *,
    algorithm: Algorithm = Algorithm.ADAPTIVE,
    min_green_s: float = 7.0,
    yellow_s: float = 3.0,
    red_clearance_s: float = 2.0,
    offset_s: float | None = None,
) -> Junction:
    """One lane an approach, opposite ones together, camera zone (50 m) and stop line on each lane."""
    return Junction(
        name="crossroads",
        lanes=tuple(Lane(name=name, approach=name) for name in APPROACHES),
        detectors=detectors(APPROACHES),
        movements=tuple(
            Movement(
                name=name,
                phase=2 * number,
                lanes=(name,),
                min_green_s=min_green_s,
                yellow_s=yellow_s,
                red_clearance_s=red_clearance_s,
            )
            for number, name in enumerate(APPROACHES, 1)
        ),
        conflicts=CROSSING,
        stages=(Stage(name="ns", movements=NS), Stage(name="ew", movements=EW)),
        plans=(
            Plan(
                name="day",
                stages=(PlanStage(stage="ns", green_s=25.0), PlanStage(stage="ew", green_s=20.0)),
                algorithm=algorithm,
                offset_s=offset_s,
            ),
        ),
        startup=StartUp(stage="ns"),
    )


def four_stages(algorithm: Algorithm = Algorithm.ADAPTIVE) -> Junction:
    """The template of a city's classic junction: each approach has a stage of its own."""
    pairs = tuple((a, b) for i, a in enumerate(APPROACHES) for b in APPROACHES[i + 1 :])
    return Junction(
        name="four-stages",
        lanes=tuple(Lane(name=name, approach=name) for name in APPROACHES),
        detectors=detectors(APPROACHES),
        movements=tuple(
            Movement(name=name, phase=2 * number, lanes=(name,)) for number, name in enumerate(APPROACHES, 1)
        ),
        conflicts=pairs,
        stages=tuple(Stage(name=name, movements=(name,)) for name in APPROACHES),
        plans=(
            Plan(
                name="day",
                stages=tuple(PlanStage(stage=name, green_s=15.0) for name in APPROACHES),
                algorithm=algorithm,
            ),
        ),
        startup=StartUp(stage="north"),
    )


def with_people() -> Junction:
    """The crossroads with two ways across for people: over the east road while north and south go, and so on."""
    base = crossroads()
    walks = (
        Movement(
            name="walk-over-east",
            phase=10,
            kind=MovementKind.PEDESTRIAN,
            min_green_s=6.0,
            yellow_s=0.0,
            red_clearance_s=8.0,
        ),
        Movement(
            name="walk-over-north",
            phase=12,
            kind=MovementKind.PEDESTRIAN,
            min_green_s=6.0,
            yellow_s=0.0,
            red_clearance_s=8.0,
        ),
    )
    return Junction(
        name="people",
        lanes=base.lanes,
        detectors=base.detectors,
        movements=base.movements + walks,
        conflicts=(
            *CROSSING,
            *(("walk-over-east", name) for name in EW),
            *(("walk-over-north", name) for name in NS),
            ("walk-over-east", "walk-over-north"),
        ),
        stages=(
            Stage(name="ns", movements=(*NS, "walk-over-east")),
            Stage(name="ew", movements=(*EW, "walk-over-north")),
        ),
        plans=base.plans,
        startup=base.startup,
    )


def detectors(lanes: tuple[str, ...]) -> tuple[Detector, ...]:
    """A stop line (channels 1, 2, ...) and an approach zone of 50 m (channels 101, ...) on each lane."""
    lines = tuple(
        Detector(channel=i, lane=name, kind=DetectorKind.STOP_LINE, sensor=f"cam-{name}", source="stop")
        for i, name in enumerate(lanes, 1)
    )
    zones = tuple(
        Detector(
            channel=100 + i,
            lane=name,
            kind=DetectorKind.APPROACH,
            sensor=f"cam-{name}",
            source="approach",
            reach_m=50.0,
        )
        for i, name in enumerate(lanes, 1)
    )
    return lines + zones
