"""What a junction and a plan mean for green times, worked out once: by index, without names.

A lane counts fully in a stage that gives it the way, half where it has to let others pass, and in parts where only
some of its movements are green.
"""

from dataclasses import dataclass

from common.junction import DetectorKind, Junction, Movement, Plan, PlanStage, Recall, walks

REACH_M = 50.0
"""How far upstream a camera's zone sees, where that is not told."""
APPROACH_MPS = 12.5
"""How fast vehicles come to a stop line with nobody before them."""
WALK_HEADWAY_S = 1.0
"""Between two people who step off one after the other."""
PERMISSIVE = 0.5
"""What a turn that lets others pass is worth, of one that has the way to itself."""


@dataclass(frozen=True, slots=True)
class Service:
    """A movement that must be served in time: the stages that do, its lanes, and how long it may wait."""

    name: str
    stages: tuple[int, ...]
    lanes: tuple[int, ...]
    max_red_s: float
    recall: Recall


@dataclass(frozen=True, slots=True)
class Change:
    """From one stage to another.

    Attributes:
        loss_s: yellow and clearance until the other is green.
        losers: (lane, by how much less it counts then).
        gainers: (lane, how much it counts now, how much then) where that is more than now or might be.
    """

    stage: int
    loss_s: float
    losers: tuple[tuple[int, float], ...]
    gainers: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """Stages and lanes by their index in the junction's description. After its lanes come its `walks`.

    Attributes:
        walks: the lanes that are none, but people whom a button calls.
        followers: of each stage, those that come after it in the plan.
        order: the plan's stages. No other one is wanted ever.
        weights: by stage and lane, 0 to 1.
        stakes: by stage and lane, how much of its weight it loses at a change, at most.
        lanes: of each stage, those that count in it.
        yielding: of each stage, the lanes some of whose green movements have to let other green ones pass.
        changes: from each stage to each other one of the plan, in the plan's order from there on.
        travels_s: of each lane, from where a camera begins to see it to the stop line.
        headways_s: of each lane, between two vehicles of a standing queue that goes.
        greens_s, min_greens_s, max_greens_s: of each stage.
    """

    n_lanes: int
    walks: frozenset[int]
    order: tuple[int, ...]
    followers: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    stakes: tuple[tuple[float, ...], ...]
    lanes: tuple[tuple[int, ...], ...]
    yielding: tuple[tuple[int, ...], ...]
    changes: tuple[tuple[Change, ...], ...]
    services: tuple[Service, ...]
    travels_s: tuple[float, ...]
    headways_s: tuple[float, ...]
    greens_s: tuple[float, ...]
    min_greens_s: tuple[float, ...]
    max_greens_s: tuple[float, ...]

    @property
    def n_stages(self) -> int:
        """All of the junction's, whether in the plan or not."""
        return len(self.weights)

    def after(self, stage: int) -> int:
        """The plan's next stage; its first where `stage` is none of the plan's."""
        if stage not in self.order:
            return self.order[0]
        return self.order[(self.order.index(stage) + 1) % len(self.order)]

    def loss_s(self, stage: int, wanted: int) -> float:
        """Yellow and clearance from one stage to another."""
        return next((c.loss_s for c in self.changes[stage] if c.stage == wanted), 0.0)


def topology(junction: Junction, plan: Plan) -> Topology:
    """The view of `junction` under `plan`, which must be one of valid description."""
    movements = {m.name: m for m in junction.movements}
    stages = [[movements[name] for name in stage.movements] for stage in junction.stages]
    names = [stage.name for stage in junction.stages]
    planned = {names.index(part.stage): part for part in plan.stages}
    whole = [names.index(part.stage) for part in plan.stages]
    order = tuple(dict.fromkeys(whole))
    after = [(a, b) for a, b in zip(whole, (*whole[1:], *whole[:1]), strict=True) if a != b]
    weights = tuple(_weights(junction, members) for members in stages)
    n_walks = len(walks(junction))
    n_lanes = len(junction.lanes) + n_walks
    return Topology(
        n_lanes=n_lanes,
        walks=frozenset(range(n_lanes - n_walks, n_lanes)),
        order=order,
        followers=tuple(tuple(b for a, b in after if a == stage) for stage in range(len(stages))),
        weights=weights,
        stakes=tuple(_stakes(row, [weights[i] for i in order]) for row in weights),
        lanes=tuple(tuple(i for i in range(n_lanes) if row[i] > 0.0) for row in weights),
        yielding=tuple(_yielding(junction, members) for members in stages),
        changes=tuple(_changes(stage, order, stages, weights) for stage in range(len(stages))),
        services=_services(junction, stages, order),
        travels_s=(*(_reach_m(junction, lane.name) / APPROACH_MPS for lane in junction.lanes), *(0.0,) * n_walks),
        headways_s=(
            *(3_600.0 / lane.saturation_flow_vph for lane in junction.lanes),
            *(WALK_HEADWAY_S,) * n_walks,
        ),
        greens_s=tuple(_green_s(planned.get(i), members) for i, members in enumerate(stages)),
        min_greens_s=tuple(_min_green_s(planned.get(i), members) for i, members in enumerate(stages)),
        max_greens_s=tuple(_max_green_s(planned.get(i), members) for i, members in enumerate(stages)),
    )


def _yielding(junction: Junction, stage: list[Movement]) -> tuple[int, ...]:
    green = {m.name for m in stage}
    names = {lane for m in stage if green.intersection(m.gives_way_to) for lane in m.lanes}
    return tuple(i for i, lane in enumerate(junction.lanes) if lane.name in names)


def _weights(junction: Junction, stage: list[Movement]) -> tuple[float, ...]:
    """Of each lane, the mean over its movements."""
    green = {m.name for m in stage}
    worth = {
        m.name: 0.0 if m.name not in green else PERMISSIVE if green.intersection(m.gives_way_to) else 1.0
        for m in junction.movements
    }
    found = []
    for lane in junction.lanes:
        values = [worth[m.name] for m in junction.movements if lane.name in m.lanes]
        found.append(sum(values) / len(values) if values else 0.0)
    return (*found, *(float(name in green) for name in walks(junction)))


def _stakes(now: tuple[float, ...], others: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(max(0.0, weight - min(row[i] for row in others)) for i, weight in enumerate(now))


def _reach_m(junction: Junction, lane: str) -> float:
    zones = (d.reach_m for d in junction.detectors if d.lane == lane and d.kind is DetectorKind.APPROACH)
    return max((reach_m for reach_m in zones if reach_m is not None), default=REACH_M)


def _changes(
    stage: int, order: tuple[int, ...], stages: list[list[Movement]], weights: tuple[tuple[float, ...], ...]
) -> tuple[Change, ...]:
    start = order.index(stage) + 1 if stage in order else 0
    others = [order[(start + k) % len(order)] for k in range(len(order))]
    return tuple(_change(stage, other, stages, weights) for other in others if other != stage)


def _change(
    stage: int, other: int, stages: list[list[Movement]], weights: tuple[tuple[float, ...], ...]
) -> Change:
    now, then = weights[stage], weights[other]
    stay = {m.name for m in stages[other]}
    ending = [m for m in stages[stage] if m.name not in stay]
    lanes = range(len(now))
    return Change(
        stage=other,
        loss_s=max((m.yellow_s + m.red_clearance_s for m in ending), default=0.0),
        losers=tuple((i, now[i] - then[i]) for i in lanes if now[i] > then[i]),
        gainers=tuple((i, now[i], then[i]) for i in lanes if then[i] > 0.0),
    )


def _services(junction: Junction, stages: list[list[Movement]], order: tuple[int, ...]) -> tuple[Service, ...]:
    """Of all movements that the plan serves at all."""
    index = {lane.name: i for i, lane in enumerate(junction.lanes)}
    own = {name: (i,) for i, name in enumerate(walks(junction), len(index))}
    found = []
    for m in junction.movements:
        serving = tuple(i for i in order if any(member.name == m.name for member in stages[i]))
        if serving:
            lanes = tuple(index[name] for name in m.lanes) + own.get(m.name, ())
            found.append(Service(m.name, serving, lanes, m.max_red_s, m.recall))
    return tuple(found)


def _green_s(part: PlanStage | None, stage: list[Movement]) -> float:
    return part.green_s if part else _min_green_s(part, stage)


def _min_green_s(part: PlanStage | None, stage: list[Movement]) -> float:
    least_s = max((m.min_green_s for m in stage), default=0.0)
    return max(least_s, part.min_green_s) if part and part.min_green_s is not None else least_s


def _max_green_s(part: PlanStage | None, stage: list[Movement]) -> float:
    if part and part.max_green_s is not None:
        return part.max_green_s
    return min((m.max_green_s for m in stage), default=0.0)
