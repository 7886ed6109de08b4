"""From readings of tags to passages of vehicles: who waits on the reader passes it once.

A tag is *there* while its readings follow each other within `gap_s`. When it has not been read for that long it
has left, and is told: a `Passage`. It is then *held* for `rearm_s` after its last reading: reflections, or who
creeps on in the queue, are the same passage still. Too few readings are a ghost: a stray answer from another
lane. A tag that several antennas read belongs to the one that heard it loudest.

Time that was not measured proves nothing, neither that a tag left nor that it was away for long: `blind` takes it
out. Pure; times are seconds of one monotonic clock, and one that goes back is held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.codes import Direction

PLATEAU_DB = 2.0
"""Readings so near the loudest are as near: of one that waits, the last of them is the moment it drives on."""


class Reading(Protocol):
    """One reading of one tag; `edge_agent.drivers.base.TagRead` is one."""

    @property
    def epc(self) -> str:
        """The tag's number."""

    @property
    def antenna(self) -> int:
        """Which antenna, from 1."""

    @property
    def t_s(self) -> float:
        """When."""

    @property
    def rssi_dbm(self) -> float | None:
        """How strong, where that is told."""


@dataclass(frozen=True, slots=True)
class PassageParams:
    """What makes a passage.

    Attributes:
        gap_s: a tag not read for so long has left.
        rearm_s: and one read again within so long had not; at least `gap_s`.
        min_reads: fewer readings are a ghost.
        min_rssi_dbm: weaker readings are not heard; None: all are.
        order: two antennas, passed in this order by who comes in; None: no direction is told.
    """

    gap_s: float = 1.5
    rearm_s: float = 15.0
    min_reads: int = 2
    min_rssi_dbm: float | None = None
    order: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One vehicle over the reader.

    Attributes:
        antenna: the one that heard it loudest.
        t_s: when it was nearest, or, where strength is not told, when it was read last.
        first_s, last_s: its first and last reading.
        direction: NONE where it is not known.
    """

    epc: str
    antenna: int
    t_s: float
    first_s: float
    last_s: float
    n_reads: int
    rssi_dbm: float | None = None
    direction: Direction = Direction.NONE


@dataclass(slots=True)
class _Heard:
    """What one antenna heard of one tag."""

    first_s: float
    last_s: float
    near_s: float
    n: int = 0
    loudest_dbm: float | None = None

    def add(self, t_s: float, rssi_dbm: float | None) -> None:
        self.n += 1
        self.last_s = t_s
        if rssi_dbm is None:
            if self.loudest_dbm is None:
                self.near_s = t_s
            return
        if self.loudest_dbm is None or rssi_dbm >= self.loudest_dbm - PLATEAU_DB:
            self.near_s = t_s
        self.loudest_dbm = rssi_dbm if self.loudest_dbm is None else max(self.loudest_dbm, rssi_dbm)

    @property
    def weight(self) -> tuple[float, int]:
        """To compare antennas by."""
        return (-1000.0 if self.loudest_dbm is None else self.loudest_dbm, self.n)


@dataclass(slots=True)
class _Tag:
    """A tag that is there."""

    quiet_s: float
    """Since when it has not been read, not counting time that was not measured."""
    heard: dict[int, _Heard] = field(default_factory=dict)

    @property
    def n_reads(self) -> int:
        return sum(heard.n for heard in self.heard.values())


class PassageCounter:
    """Counts the passages of one reader."""

    def __init__(self, params: PassageParams | None = None) -> None:
        """
        Raises:
            ValueError: the parameters make no sense.
        """
        self._params = params or PassageParams()
        if not 0 < self._params.gap_s <= self._params.rearm_s or self._params.min_reads < 1:
            raise ValueError("gap_s must be above 0, rearm_s at least gap_s, and min_reads at least 1")
        self._there: dict[str, _Tag] = {}
        """By their last reading, oldest first."""
        self._held: dict[str, float] = {}
        """Tags that were told -> since when they have not been read; nearly in that order."""
        self._now_s = float("-inf")
        self.n_ghosts = 0
        """Tags with too few readings, so far."""

    @property
    def present(self) -> tuple[str, ...]:
        """The tags that are there now, ghosts left out."""
        return tuple(epc for epc, tag in self._there.items() if tag.n_reads >= self._params.min_reads)

    def update(self, reads: Iterable[Reading], now_s: float) -> list[Passage]:
        """Take in readings up to `now_s`. Returns who has left, in order of their passing."""
        done: list[Passage] = []
        for read in sorted(reads, key=lambda read: read.t_s):
            floor_dbm = self._params.min_rssi_dbm
            if floor_dbm is not None and read.rssi_dbm is not None and read.rssi_dbm < floor_dbm:
                continue
            # Never earlier than what was known before: what left by then has left.
            self._now_s = max(self._now_s, read.t_s)
            done += self._expire(self._now_s)
            self._take(read, self._now_s)
        self._now_s = max(self._now_s, now_s)
        done += self._expire(self._now_s)
        return sorted(done, key=lambda passage: passage.t_s)

    def blind(self, span_s: float) -> None:
        """Nothing was measured for `span_s`, which end about now: that a tag was not read then says nothing."""
        for tag in self._there.values():
            tag.quiet_s += span_s
        self._held = {epc: quiet_s + span_s for epc, quiet_s in self._held.items()}

    def settle(self) -> list[Passage]:
        """Nothing comes for now, or any more: who is there is told, and held."""
        done = [passage for epc in list(self._there) if (passage := self._leave(epc)) is not None]
        return sorted(done, key=lambda passage: passage.t_s)

    def _take(self, read: Reading, t_s: float) -> None:
        held_s = self._held.pop(read.epc, None)
        if held_s is not None and t_s - held_s <= self._params.rearm_s:
            self._held[read.epc] = max(held_s, t_s)
            return
        tag = self._there.pop(read.epc, None) or _Tag(t_s)
        self._there[read.epc] = tag
        tag.quiet_s = max(tag.quiet_s, t_s)
        tag.heard.setdefault(read.antenna, _Heard(t_s, t_s, t_s)).add(t_s, read.rssi_dbm)

    def _expire(self, now_s: float) -> list[Passage]:
        """Who has left by `now_s`; and forget who has been away for long."""
        done: list[Passage] = []
        while self._there and now_s - next(iter(self._there.values())).quiet_s > self._params.gap_s:
            passage = self._leave(next(iter(self._there)))
            done += [passage] if passage is not None else []
        while self._held and now_s - next(iter(self._held.values())) > self._params.rearm_s:
            del self._held[next(iter(self._held))]
        return done

    def _leave(self, epc: str) -> Passage | None:
        tag = self._there.pop(epc)
        if tag.n_reads < self._params.min_reads:
            self.n_ghosts += 1
            return None
        self._held[epc] = tag.quiet_s
        antenna, nearest = max(tag.heard.items(), key=lambda item: item[1].weight)
        return Passage(
            epc=epc,
            antenna=antenna,
            t_s=nearest.near_s,
            first_s=min(heard.first_s for heard in tag.heard.values()),
            last_s=max(heard.last_s for heard in tag.heard.values()),
            n_reads=tag.n_reads,
            rssi_dbm=nearest.loudest_dbm,
            direction=_direction(tag.heard, self._params.order),
        )


def _direction(heard: dict[int, _Heard], order: Sequence[int] | None) -> Direction:
    """Which antenna came first and which went last. Where they do not agree, no direction is known."""
    if order is None or any(antenna not in heard for antenna in order):
        return Direction.NONE
    first, second = (heard[antenna] for antenna in order)
    if first.first_s < second.first_s and first.last_s < second.last_s:
        return Direction.IN
    if first.first_s > second.first_s and first.last_s > second.last_s:
        return Direction.OUT
    return Direction.NONE
