"""Where a junction's description and what its cameras count at do not go together. Pure.

A line that is renamed on a Pi leaves its lane without counts until the description names it so, too.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from common.junction import Detector, DetectorKind, Junction

_WITH_SOURCES = (DetectorKind.STOP_LINE, DetectorKind.APPROACH, DetectorKind.ADVANCE)


class SourceNow(msgspec.Struct, frozen=True):
    """A line, zone or reader of the junction's devices, and whether its camera counts there; None: it did, and its
    agent does not tell whether it still does."""

    sensor: str
    name: str
    kind: str
    counts: bool | None


class Why(StrEnum):
    """What does not go together."""

    GONE = "gone"
    """A lane is counted at what its camera does not count at any more."""
    UNKNOWN = "unknown"
    """A lane is counted at what no device here has told of."""
    UNUSED = "unused"
    """No lane is counted at it."""


class Unmatched(msgspec.Struct, frozen=True):
    """One of them.

    Attributes:
        lane, detector: whose description names it; null: nothing does.
        instead: what the same camera or reader counts at, of the same kind, and no lane is counted at.
    """

    why: Why
    lane: str | None
    detector: DetectorKind | None
    sensor: str
    source: str
    instead: list[str]


def unmatched(described: Junction | None, sources: Sequence[SourceNow]) -> list[Unmatched]:
    """Lanes' detectors in the order of the description, then what no lane is counted at."""
    detectors = [one for one in described.detectors if one.kind in _WITH_SOURCES] if described else []
    if not detectors:
        return []
    named = {(one.sensor, one.source, one.kind is DetectorKind.APPROACH) for one in detectors}
    sensors = {one.sensor for one in detectors}
    known = {(one.sensor, one.name, one.kind == "zone") for one in sources}
    counting = {(one.sensor, one.name, one.kind == "zone") for one in sources if one.counts is not False}
    unused = sorted(counting - named)
    found = []
    for one in detectors:
        is_zone = one.kind is DetectorKind.APPROACH
        key = (one.sensor, one.source, is_zone)
        if key not in counting:
            why = Why.GONE if key in known else Why.UNKNOWN
            instead = [name for sensor, name, zone in unused if (sensor, zone) == (one.sensor, is_zone)]
            found.append(_lacking(one, why, instead))
    of_junction = [(sensor, name) for sensor, name, _ in unused if sensor in sensors]
    return found + [Unmatched(Why.UNUSED, None, None, sensor, name, []) for sensor, name in of_junction]


def _lacking(detector: Detector, why: Why, instead: list[str]) -> Unmatched:
    return Unmatched(why, detector.lane, detector.kind, detector.sensor, detector.source, instead)
