"""Occupancy: what is in a zone, since when, and for how long it stayed.

An object is in a zone when its reference point was found there for some time, and out of it when that was found
clearly outside for some time. Between two pictures it is taken to have gone straight, so that a stay is as long at
3 pictures a second as at 30. While it is hidden it stays where it was: a parked car behind a passing bus is one
visit, and is still one when it comes back under another id (see `handover`). Who stood long is waited for long:
what has been parked for an hour and is not detected for ten minutes is most likely still there.

Who stands is told by his place and not by his speed, since the speed of a jittering box is never 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.geometry import Border, border_cuts
from edge_agent.domain.handover import Departed, Departures, HandoverParams
from edge_agent.domain.reference import ReferencePoints
from edge_agent.domain.shapes import Zone, check_names
from edge_agent.domain.timeline import Step, Timeline
from edge_agent.domain.tracking import Tracks, kept_and_gone

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of one object in a zone, from its first moment inside to its last.

    Attributes:
        stood_s: for how long of it the object stood still; stops that were too short to tell are not in it.
    """

    zone: str
    from_s: float
    to_s: float
    cls: str
    track: int
    stood_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ZoneNow:
    """What is in a zone at a moment.

    Attributes:
        n: how many are inside, also above `capacity`.
        n_standing: how many of them have stood still for the zone's `parked_after_s`; the others move.
        capacity: how many it is meant for; None: nobody said.
    """

    zone: str
    n: int
    n_standing: int
    capacity: int | None


@dataclass(frozen=True, slots=True)
class ZoneSummary:
    """How full a zone was over a span.

    Attributes:
        span_s: length of the span; measured_s: how much of it was watched, which is what n_mean is a mean over.
        n_end: how many were inside at its end.
        dwell_mean_s: mean stay of the visits that ended in the span; none ended: None.
        stood_mean_s: the same of the time for which they stood still.
        n_standing: how many of those inside at its end stand.
        capacity: how many it is meant for; None: nobody said.
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
    stood_mean_s: float | None
    n_standing: int
    capacity: int | None


@dataclass(frozen=True, slots=True)
class OccupancyParams:
    """The rule's figures.

    Attributes:
        confirm_s: how long an object must be found inside to have entered, or outside to have left.
        dead_zone: how far outside it must be found to leave, as a share of its box's height.
        unmeasured_s: a longer pause between updates was not watched, and a track that was not seen for longer is
            not taken to have gone straight.
        still_reach: who stays within this many box sizes of one place stands still,
        still_s: if he does so for this long.
        waited_s: who stood is waited for as long as he had stood, and at least as long as `handover` tells, but no
            longer than this.
    """

    confirm_s: float = 0.3
    dead_zone: float = 0.08
    unmeasured_s: float = 1.0
    still_reach: float = 0.2
    still_s: float = 2.0
    waited_s: float = 1800.0
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
_STILL = 4
"""Since when it has been at one place, inside or not."""
_AT = slice(5, 7)
"""That place, x and y."""
_STOOD = 7
"""How long it stood still in this visit, until it moved last."""
_PLANES = 8
_OTHERS = 13
"""Figures of a track that hold for all zones: three boxes or their speeds, and a time."""

_PLACE_FOLLOWS_S = 5.0
"""The place of who stands follows what is seen of him, this far behind: its first sighting may have been off."""


@dataclass(slots=True)
class _Span:
    """What a zone's summary is made of."""

    measured_s: float = 0.0
    n_seconds: float = 0.0
    n_max: int = 0
    entries: int = 0
    stays_s: list[float] = field(default_factory=list)
    stood_s: float = 0.0


class ZoneCounter:
    """Keeps the visits of zones. Pure: time is an argument."""

    def __init__(
        self,
        zones: Sequence[Zone],
        frame_size_px: tuple[int, int],
        params: OccupancyParams | None = None,
        references: ReferencePoints | None = None,
    ) -> None:
        """`frame_size_px`: width, height. `references`: what lines of the same tracks use too; None: its own.

        Raises:
            ValueError: two zones have one name.
        """
        check_names(zones)
        self._zones = tuple(zones)
        self._borders = [Border(zone) for zone in zones]
        self._params = params or OccupancyParams()
        self._references = references or ReferencePoints(frame_size_px)
        self._timeline = Timeline()
        self._departures = Departures(self._params.handover)
        self._classes: dict[int, str] = {}
        self._spans = [_Span() for _ in zones]
        self._span_from_s: float | None = None
        self._forget_rows()

    def _forget_rows(self) -> None:
        self._n_inside = [0] * len(self._zones)
        n_figures = len(self._zones) * (_PLANES + 2) + _OTHERS
        self._hold(np.zeros(0, np.int64), np.zeros((n_figures, 0)), np.zeros((2, 0), np.bool_))

    def _hold(self, ids: NDArray[np.int64], figures: Floats, flags: NDArray[np.bool_]) -> None:
        """Take these rows. All that is known of tracks is part of two arrays that have a column for each."""
        n, n_zones = len(ids), len(self._zones)
        self._ids, self._figures, self._flags = ids, figures, flags
        self._facts = figures[: _PLANES * n_zones].reshape(_PLANES, n_zones, n)
        self._points_px = figures[_PLANES * n_zones : -_OTHERS].reshape(n_zones, 2, n).swapaxes(1, 2)
        boxes = figures[-_OTHERS:-1].reshape(3, 4, n).swapaxes(1, 2)
        self._boxes_px, self._born_boxes_px, self._velocities_px_s = boxes
        self._seen_s = figures[-1]
        self._standing, self._arrived = flags

    @property
    def occupancy(self) -> dict[str, int]:
        """How many are in each zone, by its name."""
        return {zone.name: n for zone, n in zip(self._zones, self._n_inside, strict=True)}

    def now(self, now_s: float) -> list[ZoneNow]:
        """What is in each zone."""
        standing = self._n_standing(now_s)
        return [
            ZoneNow(zone.name, n, n_standing, zone.capacity)
            for zone, n, n_standing in zip(self._zones, self._n_inside, standing, strict=True)
        ]

    def _n_standing(self, now_s: float) -> list[int]:
        """By zone: who has stood long enough. Who stood when he was last seen stands on."""
        as_of_s = np.where(self._standing, now_s, self._seen_s)
        after_s = np.asarray([zone.parked_after_s for zone in self._zones])
        stands = (self._facts[_INSIDE] > 0) & (as_of_s - self._facts[_STILL] >= after_s[:, None])
        n = stands.sum(axis=1)
        for departed in self._departures:
            if departed.standing:
                n += (departed.facts[_INSIDE] > 0) & (now_s - departed.facts[_STILL] >= after_s)
        return [int(one) for one in n]

    def _counted(self) -> list[int]:
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
        self._n_inside = self._counted()
        for span, n in zip(self._spans, self._n_inside, strict=True):
            span.n_max = max(span.n_max, n)
        self._forget_classes()
        return ended

    def summary(self, now_s: float) -> list[ZoneSummary]:
        """One summary per zone of the span since the last call, and begin a new span."""
        from_s = now_s if self._span_from_s is None else self._span_from_s
        self._span_from_s = now_s
        result = []
        for now, span in zip(self.now(now_s), self._spans, strict=True):
            result.append(_summary(now, span, max(0.0, now_s - from_s)))
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
        for span, n in zip(self._spans, self._n_inside, strict=True):
            span.measured_s += step.dt_s
            span.n_seconds += n * step.dt_s

    def _align(self, tracks: Tracks) -> None:
        """Make the rows those of `tracks`; remember the tracks that ended."""
        if self._ids.tobytes() == tracks.ids.tobytes():
            return
        keep, gone = kept_and_gone(self._ids, tracks.ids)
        for row in gone.tolist():
            self._departures.add(self._departed(row))
        n_kept = len(keep)
        figures, flags = np.full((len(self._figures), len(tracks)), np.nan), np.zeros((2, len(tracks)), np.bool_)
        figures[:, :n_kept] = self._figures.take(keep, axis=1)
        flags[:, :n_kept] = self._flags.take(keep, axis=1)
        self._hold(tracks.ids.copy(), figures, flags)
        if n_kept < len(tracks):
            self._facts[_INSIDE, :, n_kept:] = self._facts[_STOOD, :, n_kept:] = 0.0
            self._boxes_px[n_kept:] = self._born_boxes_px[n_kept:] = tracks.boxes_px[n_kept:]
            self._velocities_px_s[n_kept:] = tracks.velocities_px_s[n_kept:]
            self._seen_s[n_kept:] = tracks.seen_s[n_kept:]

    def _departed(self, row: int) -> Departed:
        return Departed(
            track=int(self._ids[row]),
            seen_s=float(self._seen_s[row]),
            box_px=self._boxes_px[row].copy(),
            velocity_px_s=self._velocities_px_s[row].copy(),
            standing=bool(self._standing[row]),
            facts=self._facts[:, :, row].copy(),
            points_px=self._points_px[:, row].copy(),
            patience_s=self._patience_s(row) if self._standing[row] else None,
        )

    def _patience_s(self, row: int) -> float:
        """How long the track of `row`, which stands, is waited for."""
        stood_s = float(np.nanmax(self._seen_s[row] - self._facts[_STILL, :, row], initial=0.0))
        return max(self._params.handover.standing_s, min(stood_s, self._params.waited_s))

    def _note_positions(self, tracks: Tracks, step: Step) -> None:
        """What this frame showed of each track, and what that says of each zone."""
        seen = tracks.seen
        by_anchor = self._references.bodies(tracks, step.now_s).points_px
        heights = tracks.boxes_px[:, 3] - tracks.boxes_px[:, 1]
        past_px = -np.maximum(self._params.dead_zone * heights, 1.0)
        np.copyto(self._boxes_px, tracks.boxes_px, where=seen[:, None])
        np.copyto(self._velocities_px_s, tracks.velocities_px_s, where=seen[:, None])
        np.copyto(self._standing, tracks.standing, where=seen)
        for number, zone in enumerate(self._zones):
            points = by_anchor[zone.anchor]
            depth_px = self._borders[number].inside_distance_px(points)
            within = seen & (depth_px >= 0)
            out = seen & (depth_px < past_px)
            first, last, since = self._facts[_FROM, number], self._facts[_LAST, number], self._facts[_OUT, number]
            came, went = within & np.isnan(first), seen & (depth_px < 0) & (last == self._seen_s)
            np.copyto(first, step.now_s, where=came)
            np.copyto(last, step.now_s, where=within)
            np.copyto(since, np.nan, where=within)
            np.copyto(since, step.now_s, where=out & np.isnan(since))
            for row in (came | went).nonzero()[0].tolist():
                plane, which = (first, -1) if came[row] else (last, 0)
                plane[row] = self._cut_s(zone, row, self._points_px[number, row], points[row], step.now_s, which)
            self._note_place(number, seen, points, step)
            np.copyto(self._points_px[number], points, where=seen[:, None])
        np.copyto(self._seen_s, step.now_s, where=seen)

    def _cut_s(self, zone: Zone, row: int, before_px: Floats, now_px: Floats, now_s: float, which: int) -> float:
        """When the way of `row` since it was last seen cut the border: the first time, or with -1 the last.

        If it cannot be told, who came in is in since now, and who went out is out since he was last seen inside.
        """
        seen_s = float(self._seen_s[row])
        cuts = []
        if not np.isnan(before_px).any() and now_s - seen_s <= self._params.unmeasured_s:
            cuts = border_cuts(zone, (before_px[0], before_px[1]), (now_px[0], now_px[1]))
        if not cuts:
            return now_s if which else seen_s
        return seen_s + cuts[which] * (now_s - seen_s)

    def _note_place(self, number: int, seen: NDArray[np.bool_], points: Floats, step: Step) -> None:
        """Whether each still is where it was, and if not, for how long it was there."""
        facts = self._facts[:, number]
        place_px = facts[_AT]
        spans_px = (self._boxes_px[:, 2:] - self._boxes_px[:, :2]).T
        away_px = points.T - place_px
        reach_px2 = spans_px[0] * spans_px[1] * self._params.still_reach**2
        stays = seen & (away_px[0] * away_px[0] + away_px[1] * away_px[1] <= reach_px2)
        moved = seen > stays
        if np.count_nonzero(moved):
            facts[_STOOD][moved] += self._stood_s(facts, np.fmin(facts[_LAST], self._seen_s))[moved]
            np.copyto(facts[_STILL], step.now_s, where=moved)
            np.copyto(place_px, points.T, where=moved)
        if np.count_nonzero(stays):
            away_px *= 1.0 - np.exp((self._seen_s - step.now_s) / _PLACE_FOLLOWS_S)
            np.add(place_px, away_px, out=place_px, where=stays)

    def _stood_s(self, facts: Floats, until_s: Floats) -> Floats:
        """How long it stood still inside at its present place, where that is long enough to tell."""
        stretch_s = until_s - np.fmax(facts[_STILL], facts[_FROM])
        return np.asarray(np.where(stretch_s >= self._params.still_s, stretch_s, 0.0))

    def _welcome(self, tracks: Tracks) -> None:
        """Tracks that were just confirmed may continue the visits of one that ended."""
        due = tracks.confirmed > self._arrived
        if not np.count_nonzero(due):
            return
        self._arrived |= due
        for row in np.flatnonzero(due):
            born_s = float(tracks.born_s[row])
            unseen = [
                self._departed(int(i))
                for i in np.flatnonzero(~tracks.seen & (self._seen_s < born_s) & (self._ids != tracks.ids[row]))
            ]
            donor = self._departures.take(self._born_boxes_px[row], tracks.velocities_px_s[row], born_s, unseen)
            if donor is not None:
                self._hand_over(donor, int(row))

    def _hand_over(self, donor: Departed, row: int) -> None:
        """Let the track of `row` go on with the visits of `donor`."""
        facts, stays = self._facts[:, :, row], donor.facts[_INSIDE] > 0
        facts[_INSIDE][stays] = 1.0
        for plane in (_FROM, _STOOD):
            facts[plane][stays] = donor.facts[plane][stays]
        facts[_LAST] = np.where(stays & np.isnan(facts[_LAST]), donor.facts[_LAST], facts[_LAST])
        if donor.standing:
            facts[_STILL] = np.fmin(donor.facts[_STILL], facts[_STILL])
        gone = np.flatnonzero(self._ids == donor.track)
        self._facts[_INSIDE][:, gone] = 0.0
        self._facts[_FROM][:, gone] = np.nan

    def _enter_and_leave(self, tracks: Tracks, step: Step) -> list[Visit]:
        facts, confirm_s = self._facts, self._params.confirm_s
        inside, from_s = facts[_INSIDE], facts[_FROM]
        found = ~np.isnan(from_s)
        concerned = (found | (inside > 0)).any(axis=0).nonzero()[0]
        if not len(concerned):
            return []
        for track, cls in zip(tracks.ids[concerned].tolist(), tracks.class_ids[concerned].tolist(), strict=True):
            self._classes[track] = tracks.class_names[cls]
        entered = found & (inside == 0) & tracks.confirmed & (facts[_LAST] - from_s >= confirm_s)
        if np.count_nonzero(entered):
            for span, n in zip(self._spans, entered.sum(axis=1).tolist(), strict=True):
                span.entries += n
            inside[entered] = 1.0
        gone = found & (step.now_s - facts[_OUT] >= confirm_s)
        if not np.count_nonzero(gone):
            return []
        visits = [
            self._end(zone, int(self._ids[row]), facts[:, zone, row])
            for zone, row in np.argwhere(gone & (inside > 0)).tolist()
        ]
        inside[gone] = 0.0
        from_s[gone] = np.nan
        facts[_STOOD][gone] = 0.0
        return visits

    def _end(self, zone: int, track: int, facts: Floats) -> Visit:
        from_s, to_s = float(facts[_FROM]), float(facts[_LAST])
        stood_s = float(facts[_STOOD] + self._stood_s(facts, facts[_LAST]))
        self._spans[zone].stays_s.append(to_s - from_s)
        self._spans[zone].stood_s += stood_s
        return Visit(self._zones[zone].name, from_s, to_s, self._classes.get(track, "object"), track, stood_s)

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


def _summary(now: ZoneNow, span: _Span, span_s: float) -> ZoneSummary:
    stays_s = span.stays_s
    return ZoneSummary(
        zone=now.zone,
        span_s=span_s,
        measured_s=min(span.measured_s, span_s) if span_s else span.measured_s,
        n_mean=span.n_seconds / span.measured_s if span.measured_s else float(now.n),
        n_max=max(span.n_max, now.n),
        n_end=now.n,
        entries=span.entries,
        exits=len(stays_s),
        dwell_mean_s=sum(stays_s) / len(stays_s) if stays_s else None,
        stood_mean_s=span.stood_s / len(stays_s) if stays_s else None,
        n_standing=now.n_standing,
        capacity=now.capacity,
    )
