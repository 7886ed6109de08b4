"""Occupancy: what is in a zone, since when, and for how long it stayed.

An object is in a zone when its reference point was found there for some time, and out of it when that was found
clearly outside for some time. While it is hidden it stays where it was: a parked car behind a passing bus is one
visit, and is still one when it comes back under another id (see `handover`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.geometry import inside_distance_px
from edge_agent.domain.handover import Departed, Departures, HandoverParams
from edge_agent.domain.reference import ReferencePoints
from edge_agent.domain.shapes import Zone, check_names
from edge_agent.domain.timeline import Step, Timeline
from edge_agent.domain.tracking import Tracks

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of one object in a zone, from its first moment inside to its last."""

    zone: str
    from_s: float
    to_s: float
    cls: str
    track: int


@dataclass(frozen=True, slots=True)
class ZoneSummary:
    """How full a zone was over a span.

    Attributes:
        span_s: length of the span; measured_s: how much of it was watched, which is what n_mean is a mean over.
        n_end: how many were inside at its end.
        dwell_mean_s: mean stay of the visits that ended in the span; none ended: None.
    """

    zone: str
    span_s: float
    measured_s: float
    n_mean: float
    n_max: int
    n_end: int
    entries: int
    exits: int
    dwell_mean_s: float | None


@dataclass(frozen=True, slots=True)
class OccupancyParams:
    """The rule's figures.

    Attributes:
        confirm_s: how long an object must be found inside to have entered, or outside to have left.
        dead_zone: how far outside it must be found to leave, as a share of its box's height.
        unmeasured_s: a longer pause between updates was not watched.
    """

    confirm_s: float = 0.3
    dead_zone: float = 0.08
    unmeasured_s: float = 1.0
    handover: HandoverParams = field(default_factory=lambda: HandoverParams(standing_s=120.0))


# Planes of the facts, (planes, zones, tracks).
_INSIDE = 0
"""1: a visit is open."""
_FROM = 1
"""When it was first found inside, of the visit that is open or about to be; NaN: it is not inside."""
_LAST = 2
"""When it was last found inside."""
_OUT = 3
"""Since when it has been found outside; NaN: it has not."""
_PLANES = 4


@dataclass(slots=True)
class _Span:
    """What a zone's summary is made of."""

    measured_s: float = 0.0
    n_seconds: float = 0.0
    n_max: int = 0
    entries: int = 0
    stays_s: list[float] = field(default_factory=list)


class ZoneCounter:
    """Keeps the visits of zones. Pure: time is an argument."""

    def __init__(
        self, zones: Sequence[Zone], frame_size_px: tuple[int, int], params: OccupancyParams | None = None
    ) -> None:
        """`frame_size_px`: width, height.

        Raises:
            ValueError: two zones have one name.
        """
        check_names(zones)
        self._zones = tuple(zones)
        self._params = params or OccupancyParams()
        self._references = ReferencePoints(frame_size_px)
        self._timeline = Timeline()
        self._departures = Departures(self._params.handover)
        self._classes: dict[int, str] = {}
        self._spans = [_Span() for _ in zones]
        self._span_from_s: float | None = None
        self._forget_rows()

    def _forget_rows(self) -> None:
        self._ids = np.zeros(0, np.int64)
        self._facts = np.zeros((_PLANES, len(self._zones), 0))
        self._points_px = np.zeros((len(self._zones), 0, 2))
        self._boxes_px = np.zeros((0, 4))
        self._velocities_px_s = np.zeros((0, 4))
        self._seen_s = np.zeros(0)
        self._standing = np.zeros(0, np.bool_)
        self._arrived = np.zeros(0, np.bool_)

    @property
    def occupancy(self) -> dict[str, int]:
        """How many are in each zone, by its name."""
        return {zone.name: n for zone, n in zip(self._zones, self._n_inside(), strict=True)}

    def _n_inside(self) -> list[int]:
        """By zone: tracks inside, and those that ended inside and may come back."""
        inside = self._facts[_INSIDE].sum(axis=1)
        for departed in self._departures:
            inside += departed.facts[_INSIDE]
        return [int(n) for n in inside]

    def update(self, tracks: Tracks, t_s: float) -> list[Visit]:
        """Visits that ended, each reported once.

        Raises:
            ValueError: `t_s` is not finite.
        """
        step = self._timeline.advance(t_s)
        ended = self._close_all() if step.restarted else []
        if not self._zones:
            return []
        self._watch(step)
        self._align(tracks)
        if len(tracks):
            self._note_positions(tracks, step)
            self._welcome(tracks)
            ended += self._enter_and_leave(tracks, step)
        ended += [visit for gone in self._departures.forget_old(step.now_s) for visit in self._visits_of(gone)]
        for span, n in zip(self._spans, self._n_inside(), strict=True):
            span.n_max = max(span.n_max, n)
        self._forget_classes()
        return ended

    def summary(self, now_s: float) -> list[ZoneSummary]:
        """One summary per zone of the span since the last call, and begin a new span."""
        from_s = now_s if self._span_from_s is None else self._span_from_s
        self._span_from_s = now_s
        result = []
        for zone, span, n_end in zip(self._zones, self._spans, self._n_inside(), strict=True):
            result.append(_summary(zone.name, span, n_end, max(0.0, now_s - from_s)))
        self._spans = [_Span(n_max=one.n_end) for one in result]
        return result

    def finish(self, t_s: float) -> list[Visit]:
        """The source is over: visits still open, ended when each was last seen inside."""
        self._watch(self._timeline.advance(t_s))
        return self._close_all()

    def _watch(self, step: Step) -> None:
        """Time passed with what was inside."""
        if self._span_from_s is None or step.restarted:
            self._span_from_s = step.now_s
        if step.dt_s > self._params.unmeasured_s:
            return
        for span, n in zip(self._spans, self._n_inside(), strict=True):
            span.measured_s += step.dt_s
            span.n_seconds += n * step.dt_s

    def _align(self, tracks: Tracks) -> None:
        """Make the rows those of `tracks`; remember the tracks that ended."""
        if len(self._ids) == len(tracks.ids) and np.array_equal(self._ids, tracks.ids):
            return
        lives = np.isin(self._ids, tracks.ids)
        for row in np.flatnonzero(~lives):
            self._departures.add(self._departed(int(row)))
        keep = np.flatnonzero(lives)
        fresh = ~np.isin(tracks.ids, self._ids)
        n_new = int(fresh.sum())
        facts = np.full((_PLANES, len(self._zones), n_new), np.nan)
        facts[_INSIDE] = 0.0
        self._facts = np.concatenate([self._facts[:, :, keep], facts], axis=2)
        points = np.zeros((len(self._zones), n_new, 2))
        self._points_px = np.concatenate([self._points_px[:, keep], points], axis=1)
        self._boxes_px = np.concatenate([self._boxes_px[keep], tracks.boxes_px[fresh]])
        self._velocities_px_s = np.concatenate([self._velocities_px_s[keep], tracks.velocities_px_s[fresh]])
        self._seen_s = np.concatenate([self._seen_s[keep], tracks.seen_s[fresh]])
        self._standing = np.concatenate([self._standing[keep], np.zeros(n_new, np.bool_)])
        self._arrived = np.concatenate([self._arrived[keep], np.zeros(n_new, np.bool_)])
        self._ids = tracks.ids.copy()
        self._references.align(keep, n_new)

    def _departed(self, row: int) -> Departed:
        return Departed(
            track=int(self._ids[row]),
            seen_s=float(self._seen_s[row]),
            box_px=self._boxes_px[row].copy(),
            velocity_px_s=self._velocities_px_s[row].copy(),
            standing=bool(self._standing[row]),
            facts=self._facts[:, :, row].copy(),
            points_px=self._points_px[:, row].copy(),
        )

    def _note_positions(self, tracks: Tracks, step: Step) -> None:
        """What this frame showed of each track, and what that says of each zone."""
        seen = tracks.seen
        by_anchor = self._references.bodies(tracks, step.now_s).points_px
        heights = tracks.boxes_px[:, 3] - tracks.boxes_px[:, 1]
        self._boxes_px[seen] = tracks.boxes_px[seen]
        self._velocities_px_s[seen] = tracks.velocities_px_s[seen]
        self._standing[seen] = tracks.standing[seen]
        self._seen_s[seen] = step.now_s
        for number, zone in enumerate(self._zones):
            points = by_anchor[zone.anchor]
            depth_px = inside_distance_px(zone, points)
            within = seen & (depth_px >= 0)
            out = seen & (depth_px < -np.maximum(self._params.dead_zone * heights, 1.0))
            first, last, since = self._facts[_FROM, number], self._facts[_LAST, number], self._facts[_OUT, number]
            first[within & np.isnan(first)] = step.now_s
            last[within] = step.now_s
            since[within] = np.nan
            since[out & np.isnan(since)] = step.now_s
            self._points_px[number, seen] = points[seen]

    def _welcome(self, tracks: Tracks) -> None:
        """Tracks that were just confirmed may continue the visits of one that ended."""
        due = tracks.confirmed & ~self._arrived
        self._arrived |= due
        for row in np.flatnonzero(due):
            born_s = float(tracks.born_s[row])
            donor = self._departures.take(self._boxes_px[row], tracks.velocities_px_s[row], born_s, ())
            if donor is None:
                continue
            facts, stays = self._facts[:, :, row], donor.facts[_INSIDE] > 0
            facts[_INSIDE][stays] = 1.0
            facts[_FROM][stays] = donor.facts[_FROM][stays]
            facts[_LAST] = np.where(stays & np.isnan(facts[_LAST]), donor.facts[_LAST], facts[_LAST])

    def _enter_and_leave(self, tracks: Tracks, step: Step) -> list[Visit]:
        facts, confirm_s = self._facts, self._params.confirm_s
        self._classes.update(
            (int(tracks.ids[row]), tracks.class_names[int(tracks.class_ids[row])])
            for row in np.flatnonzero(facts[_INSIDE].any(axis=0) | ~np.isnan(facts[_FROM]).all(axis=0))
        )
        entered = (facts[_INSIDE] == 0) & tracks.confirmed & (facts[_LAST] - facts[_FROM] >= confirm_s)
        for number in np.flatnonzero(entered.any(axis=1)):
            self._spans[number].entries += int(entered[number].sum())
        facts[_INSIDE][entered] = 1.0
        gone = (step.now_s - facts[_OUT] >= confirm_s) & ~np.isnan(facts[_FROM])
        left = gone & (facts[_INSIDE] > 0)
        visits = [
            self._end(int(zone), int(self._ids[row]), facts[:, zone, row]) for zone, row in np.argwhere(left)
        ]
        facts[_INSIDE][gone] = 0.0
        facts[_FROM][gone] = np.nan
        return visits

    def _end(self, zone: int, track: int, facts: Floats) -> Visit:
        from_s, to_s = float(facts[_FROM]), float(facts[_LAST])
        self._spans[zone].stays_s.append(to_s - from_s)
        return Visit(self._zones[zone].name, from_s, to_s, self._classes.get(track, "object"), track)

    def _visits_of(self, departed: Departed) -> Iterator[Visit]:
        for zone in np.flatnonzero(departed.facts[_INSIDE] > 0):
            yield self._end(int(zone), departed.track, departed.facts[:, zone])

    def _close_all(self) -> list[Visit]:
        everything = [self._departed(row) for row in range(len(self._ids))]
        ended = [visit for one in (*self._departures, *everything) for visit in self._visits_of(one)]
        self._forget_rows()
        self._references.forget()
        self._departures = Departures(self._params.handover)
        return sorted(ended, key=lambda visit: visit.from_s)

    def _forget_classes(self) -> None:
        if len(self._classes) > 2 * (len(self._ids) + len(self._departures)) + 16:
            known = {int(track) for track in self._ids} | {one.track for one in self._departures}
            self._classes = {track: cls for track, cls in self._classes.items() if track in known}


def _summary(zone: str, span: _Span, n_end: int, span_s: float) -> ZoneSummary:
    stays_s = span.stays_s
    return ZoneSummary(
        zone=zone,
        span_s=span_s,
        measured_s=min(span.measured_s, span_s) if span_s else span.measured_s,
        n_mean=span.n_seconds / span.measured_s if span.measured_s else float(n_end),
        n_max=max(span.n_max, n_end),
        n_end=n_end,
        entries=span.entries,
        exits=len(stays_s),
        dwell_mean_s=sum(stays_s) / len(stays_s) if stays_s else None,
    )
