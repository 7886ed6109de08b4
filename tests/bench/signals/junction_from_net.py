"""A SUMO network's traffic light as a description of a junction of ours.

Stages are the green phases of the network's own program. Links of one road that are green, yielding and red in the
same phases are one movement; a lane with a turn of its own timing is in two movements.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from common.codes import Aspect
from common.junction import (
    Algorithm,
    Detector,
    DetectorKind,
    Junction,
    Lane,
    Movement,
    Plan,
    PlanStage,
    Stage,
    StartUp,
)

GREEN_SAMPLES = "Gg"
_LETTER = {Aspect.GREEN: "G", Aspect.YELLOW: "y", Aspect.RED: "r", Aspect.DARK: "O"}


@dataclass(frozen=True, slots=True)
class Timing:
    """What the interlock keeps. Seconds."""

    min_green_s: float = 5.0
    yellow_s: float = 3.0
    red_clearance_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Program:
    """A phase of the network's own program."""

    duration_s: float
    state: str


@dataclass(frozen=True, slots=True)
class Light:
    """A traffic light of a network.

    Attributes:
        junction: as our own code sees it.
        lanes: SUMO's names, in the order of the junction's lanes.
        movement_of: of each link, by its index; None for a link that is not used.
        yields_to: of each link in each stage: whether it has to let others pass there.
        program: the network's own, with its yellows.
    """

    tls: str
    junction: Junction
    lanes: tuple[str, ...]
    movement_of: tuple[str | None, ...]
    yields: tuple[tuple[bool, ...], ...]
    program: tuple[Program, ...]

    def state(self, aspects: dict[str, Aspect], stage: int) -> str:
        """The lamps as SUMO writes them; `stage` tells who has to let whom pass."""
        letters = []
        for link, movement in enumerate(self.movement_of):
            letter = _LETTER[aspects[movement]] if movement else "r"
            letters.append("g" if letter == "G" and self.yields[stage][link] else letter)
        return "".join(letters)


def read(net: Path, tls: str, timing: Timing) -> Light:
    """The light `tls` of the network in `net`."""
    root = ET.parse(net).getroot()
    logic = next(e for e in root.iter("tlLogic") if e.get("id") == tls)
    program = tuple(Program(float(p.get("duration", "0")), p.get("state", "")) for p in logic.iter("phase"))
    greens = [p for p in program if "y" not in p.state and set(p.state) & set(GREEN_SAMPLES)]
    links = _links(root, tls, len(greens[0].state))
    movements = _movements(links, [p.state for p in greens])
    lanes = tuple(dict.fromkeys(lane for _, lane in links if lane))
    junction = Junction(
        name=tls[:100],
        lanes=tuple(Lane(name=lane, approach=_edge(lane)) for lane in lanes),
        detectors=tuple(d for i, lane in enumerate(lanes, 1) for d in _detectors(i, lane)),
        movements=tuple(_described(m, timing) for m in movements),
        conflicts=_conflicts(movements),
        stages=tuple(
            Stage(name=f"stage-{i}", movements=tuple(m.name for m in movements if m.pattern[i] in GREEN_SAMPLES))
            for i in range(len(greens))
        ),
        plans=(
            Plan(
                name="day",
                stages=tuple(PlanStage(stage=f"stage-{i}", green_s=p.duration_s) for i, p in enumerate(greens)),
                algorithm=Algorithm.ADAPTIVE,
            ),
        ),
        startup=StartUp(stage="stage-0"),
    )
    by_link = {link: m.name for m in movements for link in m.links}
    yields = tuple(tuple(letter == "g" for letter in p.state) for p in greens)
    return Light(tls, junction, lanes, tuple(by_link.get(i) for i in range(len(links))), yields, program)


@dataclass(frozen=True, slots=True)
class _Movement:
    """Links that are alike. `pattern`: their letter in each green phase."""

    name: str
    number: int
    edge: str
    pattern: str
    links: tuple[int, ...]
    lanes: tuple[str, ...]
    gives_way_to: tuple[str, ...] = ()


def _links(root: ET.Element, tls: str, n: int) -> list[tuple[int, str]]:
    lanes = [""] * n
    for c in root.iter("connection"):
        if c.get("tl") == tls:
            lanes[int(c.get("linkIndex", "0"))] = f"{c.get('from')}_{c.get('fromLane')}"
    return list(enumerate(lanes))


def _edge(lane: str) -> str:
    return lane.rpartition("_")[0]


def _movements(links: list[tuple[int, str]], greens: list[str]) -> list[_Movement]:
    groups: dict[tuple[str, str], list[int]] = {}
    for link, lane in links:
        pattern = "".join(state[link] for state in greens)
        if lane and set(pattern) & set(GREEN_SAMPLES):
            groups.setdefault((_edge(lane), pattern), []).append(link)
    found = [
        _Movement(
            name=f"{edge}:{pattern}",
            number=number,
            edge=edge,
            pattern=pattern,
            links=tuple(members),
            lanes=tuple(dict.fromkeys(links[i][1] for i in members)),
        )
        for number, ((edge, pattern), members) in enumerate(groups.items(), 1)
    ]
    return [_with_right_of_way(m, found) for m in found]


def _with_right_of_way(movement: _Movement, others: list[_Movement]) -> _Movement:
    """Whom a yielding movement lets pass: those of other roads that go first in a stage, never beside it."""
    first = tuple(
        other.name
        for other in others
        if other.edge != movement.edge
        and any(a == "g" and b == "G" for a, b in zip(movement.pattern, other.pattern, strict=True))
        and not any(a == b == "G" for a, b in zip(movement.pattern, other.pattern, strict=True))
    )
    return _Movement(
        movement.name,
        movement.number,
        movement.edge,
        movement.pattern,
        movement.links,
        movement.lanes,
        first,
    )


def _described(m: _Movement, timing: Timing) -> Movement:
    return Movement(
        name=m.name,
        phase=m.number,
        lanes=m.lanes,
        min_green_s=timing.min_green_s,
        yellow_s=timing.yellow_s,
        red_clearance_s=timing.red_clearance_s,
        gives_way_to=m.gives_way_to,
    )


def _detectors(number: int, lane: str) -> tuple[Detector, Detector]:
    """A camera of its own for each lane: a line at the stop line, and a zone."""
    return (
        Detector(channel=number, lane=lane, kind=DetectorKind.STOP_LINE, sensor=lane, source="stop"),
        Detector(channel=100 + number, lane=lane, kind=DetectorKind.APPROACH, sensor=lane, source="zone"),
    )


def _conflicts(movements: list[_Movement]) -> tuple[tuple[str, str], ...]:
    """Those that are never green together."""
    return tuple(
        (a.name, b.name)
        for i, a in enumerate(movements)
        for b in movements[i + 1 :]
        if not any(x in GREEN_SAMPLES and y in GREEN_SAMPLES for x, y in zip(a.pattern, b.pattern, strict=True))
    )
