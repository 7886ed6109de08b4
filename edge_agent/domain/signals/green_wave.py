"""Offsets along an arterial road: the widest bands of green both ways.

A band is the time in which a vehicle may leave the first junction and, at the road's speed, meets green at all
others. Each junction has one offset for both ways, so the two bands are found together.

How it is found, exactly and without a solver: let the band out begin at 0 and have width `b`, and let the band
back begin at `u` and have width `c`, each by the clock of the vehicle that leads it. A junction can be set so that
both fit if and only if, with `d` the distance on the cycle from the one alignment to the other,
`c <= green_back - d` or `b <= green_out - (cycle - d)`. Given `u`, the best `b` and `c` are among the bounds of
these terms. And as `u` goes round, all `d` grow alike, so the best is where some bound meets the smallest green,
where some `d` is 0, or, where the bands are to be balanced, where a bound of one meets a bound of the other.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_agent.domain.signals.timing import TimingError

MOST_JUNCTIONS = 30
_KMH_PER_MPS = 3.6
_NEARLY_S = 1e-9


@dataclass(frozen=True, slots=True)
class Green:
    """The green of one way at one junction: `start_s` after the first stage's green began, for `length_s`."""

    length_s: float
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """One junction on the road.

    Attributes:
        at_m: from the beginning of the road, growing in the way out.
        out, back: green of the way out, and of the way back.
        out_kmh, back_kmh: speed from the one before, and to it.
    """

    name: str
    at_m: float
    out: Green
    back: Green
    out_kmh: float = 50.0
    back_kmh: float = 50.0


@dataclass(frozen=True, slots=True)
class Wave:
    """A road with its offsets.

    Attributes:
        offsets_s: of each junction's first stage, from the common zero; the first junction's is 0.
        out_s, back_s: width of the bands.
        out_from_s: when the band out leaves the first junction; `back_from_s`: when the band back leaves the last.
        efficiency: width of both bands over twice the cycle.
        attainability: width of both over the smallest green each way; 1: it cannot be better.
    """

    stops: tuple[Stop, ...]
    cycle_s: float
    offsets_s: tuple[float, ...]
    out_s: float
    back_s: float
    out_from_s: float
    back_from_s: float
    efficiency: float
    attainability: float

    @property
    def out_travel_s(self) -> tuple[float, ...]:
        """From the first junction to each."""
        return travel_out_s(self.stops)

    @property
    def back_travel_s(self) -> tuple[float, ...]:
        """From the last junction to each."""
        return travel_back_s(self.stops)


def travel_out_s(stops: Sequence[Stop]) -> tuple[float, ...]:
    """How long it takes from the first junction to each."""
    times_s = [0.0]
    for before, stop in pairwise(stops):
        times_s.append(times_s[-1] + (stop.at_m - before.at_m) * _KMH_PER_MPS / stop.out_kmh)
    return tuple(times_s)


def travel_back_s(stops: Sequence[Stop]) -> tuple[float, ...]:
    """How long it takes from the last junction to each."""
    times_s = [0.0]
    for stop, before in pairwise(stops[::-1]):
        times_s.append(times_s[-1] + (stop.at_m - before.at_m) * _KMH_PER_MPS / stop.back_kmh)
    return tuple(reversed(times_s))


def bands(stops: Sequence[Stop], cycle_s: float, offsets_s: Sequence[float]) -> tuple["Band", "Band"]:
    """The widest band each way with these offsets: out, and back."""
    out = [
        ((offset_s + stop.out.start_s - travel_s), stop.out.length_s)
        for stop, offset_s, travel_s in zip(stops, offsets_s, travel_out_s(stops), strict=True)
    ]
    back = [
        ((offset_s + stop.back.start_s - travel_s), stop.back.length_s)
        for stop, offset_s, travel_s in zip(stops, offsets_s, travel_back_s(stops), strict=True)
    ]
    return _common(out, cycle_s), _common(back, cycle_s)


@dataclass(frozen=True, slots=True)
class Band:
    """A time in which all is green for those who leave then: from when, 0 to the cycle, and how long."""

    from_s: float
    width_s: float


def _common(greens: Sequence[tuple[float, float]], cycle_s: float) -> Band:
    """The widest time that lies in all of these greens, (from, length) on the cycle. It begins where one does."""
    best = Band(0.0, 0.0)
    for start_s, _ in greens:
        width_s = min(
            length_s - (start_s - from_s) % cycle_s if length_s < cycle_s else cycle_s
            for from_s, length_s in greens
        )
        if width_s > best.width_s:
            best = Band(start_s % cycle_s, width_s)
    return best


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted of a wave.

    Attributes:
        weight_out, weight_back: what a second of each band is worth.
        balance: each band is to be at least this share of the other, 0 to 1, where that can be at all. With 0 the
            widest sum may leave one way without any band.
    """

    weight_out: float = 1.0
    weight_back: float = 1.0
    balance: float = 0.0

    def worth(self, out_s: float, back_s: float) -> tuple[float, float]:
        """How good two bands are; of equal ones the more alike are better. What is too wide does not count."""
        if self.balance:
            out_s, back_s = min(out_s, back_s / self.balance), min(back_s, out_s / self.balance)
        return round(self.weight_out * out_s + self.weight_back * back_s, 6), min(out_s, back_s)


WIDEST = Aim()


def green_wave(stops: Sequence[Stop], cycle_s: float, aim: Aim = WIDEST, *, step_s: float = 0.1) -> Wave:
    """Offsets with the widest bands.

    Args:
        stops: in the way out.
        cycle_s: of all junctions.
        step_s: offsets are rounded to multiples of it; the bands are those of the rounded ones.

    Raises:
        TimingError: a value makes no sense; the message names the junction.
    """
    _check(stops, cycle_s, aim)
    problem = _Problem.of(stops, cycle_s)
    # One way alone can always have its whole smallest green; whatever is left for the other comes by itself.
    found = [problem.offsets_one_way(is_out=True), problem.offsets_one_way(is_out=False)]
    pairs = [pair for u_s in problem.moments(aim) for pair in problem.pairs(u_s)]
    if pairs:
        found.append(problem.offsets(*max(pairs, key=lambda pair: aim.worth(*pair[1:]))))
    smallest_s = min(problem.out_s) + min(problem.back_s)
    waves = [_wave(stops, cycle_s, offsets_s, step_s, smallest_s) for offsets_s in found]
    return max(waves, key=lambda wave: (aim.worth(wave.out_s, wave.back_s), wave.out_s + wave.back_s))


@dataclass(frozen=True, slots=True)
class _Problem:
    """Greens and alignments of a road: at offset `align_out_s` a junction's green out begins when the head of the
    band comes by; `align_back_s` the same for a band back that begins at 0."""

    cycle_s: float
    out_s: tuple[float, ...]
    back_s: tuple[float, ...]
    align_out_s: tuple[float, ...]
    align_back_s: tuple[float, ...]

    @classmethod
    def of(cls, stops: Sequence[Stop], cycle_s: float) -> "_Problem":
        return cls(
            cycle_s,
            tuple(min(stop.out.length_s, cycle_s) for stop in stops),
            tuple(min(stop.back.length_s, cycle_s) for stop in stops),
            tuple(t_s - stop.out.start_s for t_s, stop in zip(travel_out_s(stops), stops, strict=True)),
            tuple(t_s - stop.back.start_s for t_s, stop in zip(travel_back_s(stops), stops, strict=True)),
        )

    def distances_s(self, u_s: float) -> list[float]:
        """From the alignment out to the one back, at each junction."""
        pairs = zip(self.align_out_s, self.align_back_s, strict=True)
        return [_on_cycle(back_s + u_s - out_s, self.cycle_s) for out_s, back_s in pairs]

    def moments(self, aim: Aim) -> list[float]:
        """Where the best `u` is to be found."""
        starts_s = self.distances_s(0.0)
        least_out_s, least_back_s = min(self.out_s), min(self.back_s)
        found = set()
        for start_s, out_s, back_s in zip(starts_s, self.out_s, self.back_s, strict=True):
            found |= {wanted_s - start_s for wanted_s in (0.0, least_out_s - out_s, back_s - least_back_s)}
        for ratio in {1.0 / aim.balance, aim.balance} if aim.balance else {1.0}:
            found |= self._meetings(ratio, starts_s)
        return sorted({_on_cycle(u_s, self.cycle_s) for u_s in found})

    def _meetings(self, ratio: float, starts_s: Sequence[float]) -> set[float]:
        """Where a bound of the band back is `ratio` times one of the band out."""
        least_out_s, least_back_s, cycle_s = min(self.out_s), min(self.back_s), self.cycle_s
        found = set()
        for start_s, out_s, back_s in zip(starts_s, self.out_s, self.back_s, strict=True):
            found.add(back_s - start_s - ratio * least_out_s)
            found.add(least_back_s / ratio - out_s + cycle_s - start_s)
            for other_s, other_back_s in zip(starts_s, self.back_s, strict=True):
                level_s = other_back_s - other_s - ratio * (out_s - cycle_s + start_s)
                for turns in (0.0, 1.0, ratio, 1.0 + ratio):
                    found.add((level_s + turns * cycle_s) / (1.0 + ratio))
        return found

    def pairs(self, u_s: float) -> Iterator[tuple[float, float, float]]:
        """All pairs of bands at this `u` that cannot be made wider: `u`, and both widths."""
        distances_s = self.distances_s(u_s)
        of_out_s = [g - (self.cycle_s - d) if d else g for g, d in zip(self.out_s, distances_s, strict=True)]
        of_back_s = [g - d for g, d in zip(self.back_s, distances_s, strict=True)]
        least_out_s, least_back_s = min(self.out_s), min(self.back_s)
        for out_s in {least_out_s, *(one for one in of_out_s if 0.0 <= one < least_out_s)}:
            bounds_s = [c for b, c in zip(of_out_s, of_back_s, strict=True) if out_s > b + _NEARLY_S]
            back_s = min([least_back_s, *bounds_s])
            if back_s >= 0.0:
                yield u_s, out_s, back_s

    def offsets(self, u_s: float, out_s: float, back_s: float) -> list[float]:
        """Offsets in which both bands fit, each in the middle of what it may be, since they are rounded."""
        found = []
        for k, d_s in enumerate(self.distances_s(u_s)):
            room_out_s, room_back_s = self.out_s[k] - out_s, self.back_s[k] - back_s
            # Relative to the alignment out: [-room_out, 0] fits the band out, [d - room_back, d] the band back.
            if d_s <= room_back_s + _NEARLY_S:
                low_s, high_s = max(-room_out_s, d_s - room_back_s), 0.0
            else:
                d_s -= self.cycle_s
                low_s, high_s = max(-room_out_s, d_s - room_back_s), d_s
            found.append(self.align_out_s[k] + (min(low_s, high_s) + high_s) / 2.0)
        return found

    def offsets_one_way(self, *, is_out: bool) -> list[float]:
        """Offsets that give one way the whole of its smallest green."""
        greens_s, align_s = (self.out_s, self.align_out_s) if is_out else (self.back_s, self.align_back_s)
        width_s = min(greens_s)
        return [at_s - (green_s - width_s) / 2.0 for green_s, at_s in zip(greens_s, align_s, strict=True)]


def _on_cycle(value_s: float, cycle_s: float) -> float:
    """0 to below the cycle; the noise of subtraction next to a whole cycle is 0."""
    rest_s = value_s % cycle_s
    return 0.0 if cycle_s - rest_s < _NEARLY_S or rest_s < _NEARLY_S else rest_s


def _wave(
    stops: Sequence[Stop], cycle_s: float, offsets_s: Sequence[float], step_s: float, smallest_s: float
) -> Wave:
    rounded_s = tuple(
        _on_cycle(round(round((offset_s - offsets_s[0]) / step_s) * step_s, 6), cycle_s) for offset_s in offsets_s
    )
    out, back = bands(stops, cycle_s, rounded_s)
    both_s = out.width_s + back.width_s
    return Wave(
        tuple(stops),
        cycle_s,
        rounded_s,
        round(out.width_s, 3),
        round(back.width_s, 3),
        out.from_s,
        back.from_s,
        both_s / (2.0 * cycle_s),
        both_s / smallest_s,
    )


def _check(stops: Sequence[Stop], cycle_s: float, aim: Aim) -> None:
    if not 2 <= len(stops) <= MOST_JUNCTIONS:
        raise TimingError(f"a wave needs 2 to {MOST_JUNCTIONS} junctions, and there are {len(stops)}")
    if not 10.0 <= cycle_s <= 600.0:
        raise TimingError(f"a cycle of {cycle_s:g} s is none; it is 10 to 600 s")
    if not (aim.weight_out >= 0.0 and aim.weight_back >= 0.0 and aim.weight_out + aim.weight_back > 0.0):
        raise TimingError("the weights of the two ways must be 0 or more, and one of them above 0")
    if not 0.0 <= aim.balance <= 1.0:
        raise TimingError(f"a balance of {aim.balance:g} is none; it is 0 to 1")
    for before, stop in pairwise(stops):
        if not stop.at_m > before.at_m:
            raise TimingError(
                f"{stop.name} lies at {stop.at_m:g} m, which is not beyond {before.name} ({before.at_m:g} m)"
            )
    for stop in stops:
        if not math.isfinite(stop.at_m):
            raise TimingError(f"{stop.name}: at_m is {stop.at_m:g}; it must be a place on the road")
        for way, green in (("out", stop.out), ("back", stop.back)):
            if not 0.0 < green.length_s <= cycle_s:
                raise TimingError(
                    f"{stop.name}: a green {way} of {green.length_s:g} s is not within the cycle ({cycle_s:g} s)"
                )
        if not (5.0 <= stop.out_kmh <= 200.0 and 5.0 <= stop.back_kmh <= 200.0):
            raise TimingError(f"{stop.name}: speeds are 5 to 200 km/h")
