"""How the event log is to be read: what its phases and channels are, by the lights' own description."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from collector.analytics.log_state import Reading
from common.junction import DetectorKind, Junction, Movement, MovementKind


@dataclass(frozen=True)
class Phase:
    """A phase that carries vehicles; `channels` are those of its detectors that are asked for."""

    movement: Movement
    channels: Sequence[int]

    @property
    def phase(self) -> int:
        return self.movement.phase


def vehicle_movements(described: Junction | None) -> list[Movement]:
    """In order of phases."""
    movements = described.movements if described else ()
    return sorted((one for one in movements if one.kind is MovementKind.VEHICLE), key=lambda one: one.phase)


def with_detectors(described: Junction | None, kind: DetectorKind) -> dict[int, Phase]:
    """Phases that have detectors of a kind on one of their lanes."""
    found = {}
    for movement in vehicle_movements(described):
        detectors = described.detectors if described else ()
        channels = [one.channel for one in detectors if one.kind is kind and one.lane in movement.lanes]
        if channels:
            found[movement.phase] = Phase(movement, channels)
    return found


def reading_of(described: Junction | None) -> Reading | None:
    """By a description; arrivals are told by a phase's advance detectors, else by its stop lines."""
    if described is None:
        return None
    told_by = with_detectors(described, DetectorKind.STOP_LINE) | with_detectors(described, DetectorKind.ADVANCE)
    return Reading(
        vehicles=tuple(one.phase for one in vehicle_movements(described)),
        on_foot=tuple(sorted(m.phase for m in described.movements if m.kind is MovementKind.PEDESTRIAN)),
        arrivals=_by_channel(told_by.values()),
        presence=_by_channel(with_detectors(described, DetectorKind.APPROACH).values()),
    )


def _by_channel(phases: Collection[Phase]) -> dict[int, tuple[int, ...]]:
    """A channel may stand for several phases."""
    found: dict[int, tuple[int, ...]] = {}
    for one in phases:
        for channel in one.channels:
            found[channel] = (*found.get(channel, ()), one.phase)
    return dict(sorted(found.items()))
