"""One lane that a camera and a tag reader both watch: what one saw and the other too is one vehicle.

Each is told as it comes. A vehicle counts at once, with whoever saw it first; the other's word, within `window_s`,
is then the same vehicle and adds its EPC or its class, but counts nothing. One word belongs to one vehicle only.
What only one of them ever saw tells how much the other misses. Pure; times are seconds of one monotonic clock.
"""

import statistics
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class Sensor(StrEnum):
    """Who saw it."""

    CAMERA = "camera"
    TAGS = "tags"

    @property
    def other(self) -> "Sensor":
        """The other one."""
        return Sensor.TAGS if self is Sensor.CAMERA else Sensor.CAMERA


class FusionRule(StrEnum):
    """Whose vehicles count. Who is not measuring leaves the counting to the other, whatever the rule."""

    EITHER = "either"
    """All that either of them saw."""
    CAMERA = "camera"
    """Those that the camera saw; tags add their EPCs. For lanes where the reader hears other lanes too."""
    TAGS = "tags"
    """Those with a tag; the camera adds their class."""


@dataclass(frozen=True, slots=True)
class FusionParams:
    """How a lane's two sensors go together.

    Attributes:
        window_s: how far apart the two may see one vehicle, once `offset_s` is taken off.
        offset_s: how much later the reader sees a vehicle than the camera; below 0: earlier.
        max_camera_miss: share of vehicles with a tag that the camera may miss.
        min_tag_share: share of the camera's vehicles that must have been read; None: not known.
        min_n: fewer are no ground for a judgement.
        settle_s: how long after `window_s` the other's word may still come.
    """

    window_s: float = 3.0
    offset_s: float = 0.0
    rule: FusionRule = FusionRule.EITHER
    max_camera_miss: float = 0.25
    min_tag_share: float | None = None
    min_n: int = 20
    settle_s: float = 20.0


@dataclass(frozen=True, slots=True)
class FusedCrossing:
    """One vehicle over the lane's stop line.

    Attributes:
        t_s: when, by the one that saw it first, in the camera's time.
        cls: as the camera told; `object` where it did not.
        epc: where its tag was read, and known by now.
        by: who made it count.
        late: it counted before; now its EPC is known too, or, where `epc` is None, its class.
    """

    t_s: float
    cls: str
    epc: str | None
    by: Sensor
    late: bool = False


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """How the two agreed over a while; vehicles at times when one of them did not measure are left out."""

    n_both: int
    n_camera_only: int
    n_tags_only: int
    offset_s: float | None
    """How much later the reader saw a vehicle, in the median; None: none was seen by both."""
    faults: tuple[str, ...] = ()

    @property
    def camera_miss(self) -> float | None:
        """Share of vehicles with a tag that the camera missed."""
        n = self.n_both + self.n_tags_only
        return self.n_tags_only / n if n else None

    @property
    def tag_share(self) -> float | None:
        """Share of the camera's vehicles whose tag was read: those with tags, times the reader's rate."""
        n = self.n_both + self.n_camera_only
        return self.n_both / n if n else None


@dataclass(slots=True)
class _Word:
    """What one sensor said."""

    sensor: Sensor
    t_s: float
    """In the camera's time."""
    cls: str
    epc: str | None
    counted: bool = False


@dataclass(slots=True)
class _Tally:
    n_both: int = 0
    n_only: dict[Sensor, int] = field(default_factory=lambda: dict.fromkeys(Sensor, 0))
    offsets_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))


class LaneFusion:
    """The fusion of one lane."""

    def __init__(self, params: FusionParams | None = None) -> None:
        self._params = params or FusionParams()
        self._open: list[_Word] = []
        """Words that the other has not confirmed."""
        self._tally = _Tally()
        self._now_s = float("-inf")
        self._measures = dict.fromkeys(Sensor, True)
        self._blind_s = float("-inf")
        """The last moment at which one of them did not measure."""

    def sees(self, sensor: Sensor, measures: bool, now_s: float) -> None:
        """Whether a sensor measures. To be told when it changes, and before each `check`."""
        if not (measures and self._measures[sensor]):
            self._blind_s = max(self._blind_s, now_s)
        self._measures[sensor] = measures

    def camera(self, t_s: float, cls: str) -> FusedCrossing | None:
        """The camera counted a vehicle at `t_s`. Returns what that makes known; None: nothing new."""
        return self._hear(_Word(Sensor.CAMERA, t_s, cls, None))

    def tag(self, t_s: float, epc: str | None) -> FusedCrossing | None:
        """A tag passed the reader at `t_s`."""
        return self._hear(_Word(Sensor.TAGS, t_s - self._params.offset_s, "object", epc))

    def check(self, now_s: float) -> CrossCheck:
        """How they agreed since the last check, over vehicles that no word can be missing of any more."""
        self._settle(now_s)
        tally, self._tally = self._tally, _Tally()
        offset_s = statistics.median(tally.offsets_s) if tally.offsets_s else None
        found = CrossCheck(tally.n_both, tally.n_only[Sensor.CAMERA], tally.n_only[Sensor.TAGS], offset_s)
        return CrossCheck(
            found.n_both, found.n_camera_only, found.n_tags_only, offset_s, tuple(faults(found, self._params))
        )

    def _hear(self, word: _Word) -> FusedCrossing | None:
        self._settle(word.t_s)
        twin = min(
            (one for one in self._open if one.sensor is word.sensor.other and self._fits(one, word)),
            key=lambda one: abs(one.t_s - word.t_s),
            default=None,
        )
        if twin is None:
            self._open.append(word)
            word.counted = self._counts(word.sensor)
            return FusedCrossing(word.t_s, word.cls, word.epc, word.sensor) if word.counted else None
        self._open.remove(twin)
        return self._pair(twin, word)

    def _fits(self, one: _Word, other: _Word) -> bool:
        return abs(one.t_s - other.t_s) <= self._params.window_s

    def _counts(self, sensor: Sensor) -> bool:
        """Whether what this sensor alone has seen so far counts."""
        rule = self._params.rule
        return rule is FusionRule.EITHER or rule == sensor.value or not self._measures[sensor.other]

    def _pair(self, first: _Word, second: _Word) -> FusedCrossing | None:
        camera, tag = (first, second) if first.sensor is Sensor.CAMERA else (second, first)
        if not self._was_blind(first.t_s) and not self._was_blind(second.t_s):
            self._tally.n_both += 1
        self._tally.offsets_s.append(tag.t_s + self._params.offset_s - camera.t_s)
        if not first.counted:
            return FusedCrossing(first.t_s, camera.cls, tag.epc, second.sensor)
        epc = tag.epc if first is camera else None
        news = camera.cls != "object" if first is tag else epc is not None
        return FusedCrossing(first.t_s, camera.cls, epc, first.sensor, late=True) if news else None

    def _was_blind(self, t_s: float) -> bool:
        return not all(self._measures.values()) or self._blind_s >= t_s - self._params.window_s

    def _settle(self, now_s: float) -> None:
        """What the other can no longer confirm is known to be seen by one alone."""
        self._now_s = max(self._now_s, now_s)
        old_s = self._now_s - self._params.window_s - self._params.settle_s
        for word in [word for word in self._open if word.t_s < old_s]:
            self._open.remove(word)
            if not self._was_blind(word.t_s):
                self._tally.n_only[word.sensor] += 1


def faults(found: CrossCheck, params: FusionParams) -> list[str]:
    """What does not agree, in words; nothing where too few were seen."""
    told = []
    n_tags, n_camera = found.n_both + found.n_tags_only, found.n_both + found.n_camera_only
    miss, share = found.camera_miss, found.tag_share
    if miss is not None and n_tags >= params.min_n and miss > params.max_camera_miss:
        told.append(
            f"the camera missed {found.n_tags_only} of {n_tags} vehicles with a tag ({miss:.0%}, bound "
            f"{params.max_camera_miss:.0%}); look at its line and its picture; does the reader hear other lanes?"
        )
    lowest = params.min_tag_share
    if share is not None and lowest is not None and n_camera >= params.min_n and share < lowest:
        told.append(
            f"the reader read {found.n_both} of the camera's {n_camera} vehicles ({share:.0%}, bound "
            f"{lowest:.0%}); look at its antennas and power, and whether the camera counts other lanes"
        )
    return told
