"""A junction's description by numbers: what control looks up in every step, worked out once.

Movements, stages and lanes are their indexes in the description.
"""

from common.junction import Junction, MovementKind, Recall, walks
from common.junction_times import hard_min_s, intergreen_s, movements_of, rivals


class Layout:
    """The parts of a junction, by index.

    Attributes:
        stages: the movements of each stage.
        rivals: of each movement, those that conflict with it.
        lanes: of each movement; one that a button calls has a lane of its own, after the junction's (`walks`).
        least_s: each stage's shortest green that all its movements allow.
        between_s: from the end of one stage's green until all of another is green.
    """

    def __init__(self, junction: Junction) -> None:
        self.junction = junction
        self.names = tuple(movement.name for movement in junction.movements)
        self.stage_names = tuple(stage.name for stage in junction.stages)
        self.n_movements, self.n_stages = len(self.names), len(self.stage_names)
        self.stage_index = {name: i for i, name in enumerate(self.stage_names)}
        movement_index = {name: i for i, name in enumerate(self.names)}
        lane_index = {lane.name: i for i, lane in enumerate(junction.lanes)}
        walk_index = {name: i for i, name in enumerate(walks(junction), len(lane_index))}
        self.n_lanes = len(lane_index) + len(walk_index)
        self.stages = tuple(frozenset(movement_index[m] for m in stage.movements) for stage in junction.stages)
        conflicts = rivals(junction)
        self.rivals = tuple(tuple(sorted(movement_index[b] for b in conflicts[name])) for name in self.names)
        self.lanes = tuple(
            tuple(lane_index[lane] for lane in one.lanes)
            + ((walk_index[one.name],) if one.name in walk_index else ())
            for one in junction.movements
        )
        self.min_green_s = tuple(movement.min_green_s for movement in junction.movements)
        self.yellow_s = tuple(movement.yellow_s for movement in junction.movements)
        self.clearance_s = tuple(movement.red_clearance_s for movement in junction.movements)
        self.max_red_s = tuple(movement.max_red_s for movement in junction.movements)
        self.recalls = tuple(movement.recall for movement in junction.movements)
        self.has_yellow = tuple(movement.kind is MovementKind.VEHICLE for movement in junction.movements)
        self.is_recalled = tuple(recall is not Recall.NONE for recall in self.recalls)
        self.least_s = tuple(hard_min_s(movements_of(junction, name)) for name in self.stage_names)
        self.between_s = tuple(
            tuple(intergreen_s(junction, a, b) for b in self.stage_names) for a in self.stage_names
        )
        self.outside = tuple(
            tuple(m for m in range(self.n_movements) if m not in stage and stage & frozenset(self.rivals[m]))
            for stage in self.stages
        )
        """Of each stage the movements that wait for its end: those outside that conflict with one inside."""
