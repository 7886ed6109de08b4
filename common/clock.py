"""When something happened, on machines whose clock is wrong until the network is there.

A Raspberry Pi has no clock before NTP, or a wrong one. What it always has is `CLOCK_BOOTTIME`: steady since boot,
never set. So nothing is dated when it is made. It gets a `Stamp`; from time to time somebody trustworthy tells
the time (an `Anchor`); and a `Timeline` puts the two together when a record is sent, which may be days later.

How a stamp gets its time, best first:

1. The system clock was synchronised: its wall time stands, with error 0, unless an anchor contradicts it by more
   than `JUMP_MS`. Then the anchor wins, since a clock can be stepped by years and CLOCK_BOOTTIME cannot.
2. It was not, and its boot has an anchor: the anchor's time plus the difference in CLOCK_BOOTTIME. The error is
   the anchor's own and grows by `DRIFT_PPM` with the distance.
3. Its boot has none: it lies after all earlier boots and before all later ones, so half way between those bounds,
   with half their distance as error. All stamps of such a boot keep their distances from each other.

Where anchors of one boot contradict each other, the collector's rule over NTP's, since a fleet shares the
collector, and newer ones over older ones. No result lies before `FLOOR_MS` or after the time of sending.

Pure: no clock is read here. Times are UTC in ms since 1970, or ns of CLOCK_BOOTTIME.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import accumulate
from math import ceil

import msgspec

FLOOR_MS = 1_767_225_600_000
"""2026-01-01 UTC. There was no Stopline before it, so an earlier time is a wrong clock."""
SYNCED_WITHIN_MS = 2_000
"""A clock counts as synchronised while the kernel's worst-case bound (`maxerror`, which grows by 500 ppm between
two NTP polls) stays below this. The true error is then some ms; it is sent as 0."""
JUMP_MS = 60_000
"""Two honest clocks differ by less. Beyond it one of them is wrong, and is not believed."""
DRIFT_PPM = 100
"""How fast an undisciplined crystal may run off, in parts per million; a Pi's stays within 50."""
UNKNOWN_ERROR_MS = 10 * 365 * 86_400_000
"""Error of a time that nothing is known about."""
_NS_PER_MS = 1_000_000


class Stamp(msgspec.Struct, frozen=True):
    """The moment something happened, as the machine's own clocks told it."""

    boot_id: str
    boottime_ns: int
    """CLOCK_BOOTTIME."""
    wall_ms: int
    """The system clock, right or wrong."""
    synced: bool
    """Whether the system clock was synchronised within `SYNCED_WITHIN_MS`."""


class AnchorSource(StrEnum):
    """Who told the time."""

    NTP = "ntp"
    COLLECTOR = "collector"


class Anchor(msgspec.Struct, frozen=True):
    """Somebody told the time: at `boottime_ns` of this boot it was `wall_ms`, give or take `error_ms`."""

    boot_id: str
    boottime_ns: int
    wall_ms: int
    error_ms: int
    source: AnchorSource

    @property
    def start_ms(self) -> int:
        """When the boot began, by this anchor."""
        return self.wall_ms - self.boottime_ns // _NS_PER_MS


class Boot(msgspec.Struct, frozen=True):
    """One boot of the machine and how far it is known to have run."""

    boot_id: str
    last_boottime_ns: int


class Resolved(msgspec.Struct, frozen=True):
    """A time and how far it may be off either way. 0: the clock was synchronised."""

    at_ms: int
    at_error_ms: int


class _Placement:
    """Where one boot lies: anchors that agree with each other, and bounds of its start."""

    def __init__(self, anchors: Sequence[Anchor], start_from_ms: int, start_to_ms: int) -> None:
        self._start_from_ms, self._start_to_ms = start_from_ms, start_to_ms
        ordered = sorted(anchors, key=lambda anchor: anchor.boottime_ns)
        self._times_ns = [anchor.boottime_ns for anchor in ordered]
        # The best anchor for a moment is the best of those before it or the best of those after it; and since all
        # errors grow alike with the distance, which of these that is does not depend on the moment.
        self._best_until = list(accumulate(ordered, _better_beyond))
        self._best_from = list(accumulate(reversed(ordered), _better_beyond))[::-1]

    def estimate(self, boottime_ns: int) -> Resolved:
        """The time at `boottime_ns` of this boot, by its best anchor or else half way between its bounds."""
        if self._times_ns:
            after = bisect_right(self._times_ns, boottime_ns)
            near = self._best_until[max(0, after - 1) : after] + self._best_from[after : after + 1]
            best = min(near, key=lambda anchor: _error_at(anchor, boottime_ns))
            return Resolved(best.start_ms + boottime_ns // _NS_PER_MS, ceil(_error_at(best, boottime_ns)))
        middle_ms = (self._start_from_ms + self._start_to_ms) // 2
        half_ms = (abs(self._start_to_ms - self._start_from_ms) + 1) // 2
        return Resolved(middle_ms + boottime_ns // _NS_PER_MS, max(half_ms, 1))


class Timeline:
    """All boots that matter, placed in time; made anew whenever an anchor or a boot comes in.

    Args:
        boots: oldest first, the present one last.
        anchors: of any of these boots, in any order.
        ceiling_ms: now, as well as it is known. Nothing in the past can be later.
    """

    def __init__(self, boots: Sequence[Boot], anchors: Iterable[Anchor], ceiling_ms: int) -> None:
        self._ceiling_ms = max(ceiling_ms, FLOOR_MS)
        self._placements = _place(boots, list(anchors), self._ceiling_ms)

    def resolve(self, stamp: Stamp, *, ceiling_ms: int | None = None) -> Resolved:
        """The time of `stamp`, never before `FLOOR_MS` and never after the ceiling.

        Args:
            ceiling_ms: a later ceiling than the timeline's own; time goes on after it was made.
        """
        ceiling_ms = self._ceiling_ms if ceiling_ms is None else max(ceiling_ms, FLOOR_MS)
        place = self._placements.get(stamp.boot_id)
        if place is None:
            place = _Placement((), FLOOR_MS, max(FLOOR_MS, ceiling_ms - stamp.boottime_ns // _NS_PER_MS))
        estimate = place.estimate(stamp.boottime_ns)
        if stamp.synced and abs(stamp.wall_ms - estimate.at_ms) <= estimate.at_error_ms + JUMP_MS:
            estimate = Resolved(stamp.wall_ms, 0)
        return _clamp(estimate, ceiling_ms)


def best_now(stamp: Stamp, anchors: Iterable[Anchor]) -> Resolved:
    """What time it is at `stamp`, from the anchors of its own boot or else from the machine's own clock."""
    own = [anchor for anchor in anchors if anchor.boot_id == stamp.boot_id and anchor.wall_ms >= FLOOR_MS]
    agreed = _agreeing(own)
    if not agreed:
        error_ms = 0 if stamp.synced and stamp.wall_ms >= FLOOR_MS else UNKNOWN_ERROR_MS
        return Resolved(max(stamp.wall_ms, FLOOR_MS), error_ms)
    estimate = _Placement(agreed, 0, 0).estimate(stamp.boottime_ns)
    if stamp.synced and abs(stamp.wall_ms - estimate.at_ms) <= estimate.at_error_ms + JUMP_MS:
        return Resolved(stamp.wall_ms, 0)
    return estimate


def is_news(anchor: Anchor, kept: Iterable[Anchor], *, every_ms: int = 3_600_000) -> bool:
    """Whether `anchor` tells more than those `kept`: a first of its source, a much better or contradicting one, or
    one after `every_ms` without any."""
    same = [other for other in kept if other.boot_id == anchor.boot_id and other.source is anchor.source]
    if not same:
        return True
    last = max(same, key=lambda other: other.boottime_ns)
    best_error_ms = min(_error_at(other, anchor.boottime_ns) for other in same)
    return (
        anchor.boottime_ns - last.boottime_ns >= every_ms * _NS_PER_MS
        or anchor.error_ms * 2 < best_error_ms
        or abs(anchor.start_ms - last.start_ms) > anchor.error_ms + _error_at(last, anchor.boottime_ns) + 1000
    )


def _error_at(anchor: Anchor, boottime_ns: int) -> float:
    """How far off `anchor` may be at another moment of its boot, in ms; at least 1, since it is an estimate."""
    return max(1.0, _own_error_at(anchor, boottime_ns))


def _own_error_at(anchor: Anchor, boottime_ns: int) -> float:
    distance_ms = abs(boottime_ns - anchor.boottime_ns) / _NS_PER_MS
    return anchor.error_ms + distance_ms * DRIFT_PPM / 1e6


def _better_beyond(first: Anchor, second: Anchor) -> Anchor:
    """Which of two anchors is better for moments on the far side of `second`."""
    return second if second.error_ms <= _own_error_at(first, second.boottime_ns) else first


def _agreeing(anchors: Sequence[Anchor]) -> tuple[Anchor, ...]:
    """Those anchors of one boot that do not contradict the most trustworthy of them."""
    if not anchors:
        return ()
    chief = max(anchors, key=lambda anchor: (anchor.source is AnchorSource.COLLECTOR, anchor.boottime_ns))
    return tuple(
        anchor
        for anchor in anchors
        if abs(anchor.start_ms - chief.start_ms) <= chief.error_ms + _error_at(anchor, chief.boottime_ns) + JUMP_MS
    )


def _place(boots: Sequence[Boot], anchors: list[Anchor], ceiling_ms: int) -> dict[str, _Placement]:
    """Two walks: from now backwards for the latest possible starts (a later boot judges the anchors of earlier
    ones), then forwards for the earliest possible ones."""
    latest_ms = ceiling_ms
    agreed: dict[str, tuple[Anchor, ...]] = {}
    start_to_ms: dict[str, int] = {}
    for boot in reversed(boots):
        length_ms = boot.last_boottime_ns // _NS_PER_MS
        own = _agreeing([a for a in anchors if a.boot_id == boot.boot_id and a.wall_ms >= FLOOR_MS])
        agreed[boot.boot_id] = tuple(a for a in own if a.start_ms + length_ms - a.error_ms <= latest_ms + JUMP_MS)
        latest_ms -= length_ms
        if agreed[boot.boot_id]:
            latest_ms = min(latest_ms, *(a.start_ms + a.error_ms for a in agreed[boot.boot_id]))
        start_to_ms[boot.boot_id] = latest_ms
    placements: dict[str, _Placement] = {}
    earliest_ms = FLOOR_MS
    for boot in boots:
        own = agreed[boot.boot_id]
        if own:
            earliest_ms = max(earliest_ms, *(a.start_ms - a.error_ms for a in own))
        start_ms = min(earliest_ms, start_to_ms[boot.boot_id])
        placements[boot.boot_id] = _Placement(own, start_ms, start_to_ms[boot.boot_id])
        earliest_ms = start_ms + boot.last_boottime_ns // _NS_PER_MS
    return placements


def _clamp(estimate: Resolved, ceiling_ms: int) -> Resolved:
    """`estimate` within floor and ceiling; what had to be cut off is added to the error."""
    at_ms = min(max(estimate.at_ms, FLOOR_MS), ceiling_ms)
    cut_ms = abs(at_ms - estimate.at_ms)
    return Resolved(at_ms, estimate.at_error_ms + cut_ms) if cut_ms else estimate
