"""Whether a detector can be believed: one that is silent, stuck on or chattering tells of itself, not of traffic.

*Silent*: nothing came for so long that it is implausible, by what is usual at this hour and by how much the other
detectors see of what is usual for them; or while another detector of the same lane told of several vehicles.
*Stuck*: a vehicle stands there through several greens in which nobody crossed, or nothing changed for a long time.
*Chattering*: more than can drive there. *Absent*: its sensor does not measure, or says nothing any more.

Who is doubtful is believed again when it shows what a sound detector shows.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from common.junction import Detector, DetectorKind

HOURS = 24


class Doubt(StrEnum):
    """What is wrong with a detector."""

    NONE = "none"
    UNKNOWN = "unknown"
    """Nothing came from it or of its sensor yet."""
    ABSENT = "absent"
    SILENT = "silent"
    STUCK = "stuck"
    CHATTERING = "chattering"


FAULT_CODES = {
    Doubt.NONE: 83,
    Doubt.ABSENT: 84,
    Doubt.UNKNOWN: 84,
    Doubt.SILENT: 85,
    Doubt.STUCK: 87,
    Doubt.CHATTERING: 88,
}
"""In the hi-res log: restored, other, watchdog, shorted loop, excessive change."""


@dataclass(frozen=True, slots=True)
class HealthParams:
    """When to doubt.

    Attributes:
        stale_s: a sensor that says nothing for this long does not measure.
        silent_s: no silence shorter than this is doubted,
        implausible: nor one in which fewer vehicles than this were to be expected. 9: once in 8,000 times.
        peers: vehicles that other detectors of the lane tell of meanwhile, for a silence to be doubted at once.
        unknown_s: where it is not known what is usual, a silence of this length,
        others: in which so many vehicles passed on the other lanes.
        stuck_greens: greens without a crossing while somebody stands,
        stuck_s: or time without any change while somebody stands.
        chatter_vps: more than this over `chatter_s` is chattering.
        calm_s: for how long a doubtful detector must be calm, and
        returns: how often a silent one must tell of a vehicle in that time times ten, to be believed again.
    """

    stale_s: float = 3.0
    silent_s: float = 120.0
    implausible: float = 9.0
    peers: int = 8
    unknown_s: float = 600.0
    others: int = 150
    stuck_greens: int = 3
    stuck_s: float = 900.0
    chatter_vps: float = 1.5
    chatter_s: float = 10.0
    calm_s: float = 60.0
    returns: int = 2


class History:
    """Vehicles per second that are usual in each hour of the day; learned, slowly.

    The first hours tell little, and are weighted by how long was measured.
    """

    def __init__(self) -> None:
        self._counts = [0.0] * HOURS
        self._spans_s = [0.0] * HOURS

    def learn(self, hour: int, elapsed_s: float, n: float) -> None:
        """`n` vehicles in `elapsed_s` of this hour. Older days fade: a week weighs more than a month."""
        keep = 1.0 - min(1.0, elapsed_s / (7 * 3_600.0))
        self._counts[hour] = self._counts[hour] * keep + n
        self._spans_s[hour] = self._spans_s[hour] * keep + elapsed_s

    def usual_vps(self, hour: int | None) -> float | None:
        """What is usual; None: less than 10 minutes were ever measured, or the hour is not known."""
        if hour is None or self._spans_s[hour] < 600.0:
            return None
        return self._counts[hour] / self._spans_s[hour]


@dataclass(slots=True)
class DetectorHealth:
    """What one detector told, and whether it is believed. Times are seconds, monotonic.

    Attributes:
        doubt: what is wrong, and since when.
        n: vehicles it told of; for a zone, how often it became occupied.
        expected: vehicles to be expected since it last told of anything.
        peer_n, others_n: vehicles that others of its lane, and of other lanes, told of since.
        presence_s: when it last said how many are there.
        history: what is usual, by the hour.
    """

    detector: Detector
    params: HealthParams
    since_s: float
    doubt: Doubt = Doubt.UNKNOWN
    why: str = "nothing came from it yet"
    n: int = 0
    expected: float = 0.0
    peer_n: int = 0
    others_n: int = 0
    presence_s: float | None = None
    knows_usual: bool = False
    last_s: float = 0.0
    told_s: float | None = None
    measures: bool | None = None
    occupancy: int = 0
    standing: int = 0
    greens_blocked: int = 0
    history: History = field(default_factory=History)
    _recent_s: deque[float] = field(default_factory=deque)
    _changed_s: float = 0.0
    _calm_from_s: float = 0.0
    _back_s: deque[float] = field(default_factory=deque)
    _learned: int = 0

    def __post_init__(self) -> None:
        self.last_s = self._changed_s = self._calm_from_s = self.since_s

    @property
    def is_trusted(self) -> bool:
        """Whether what it tells is used."""
        return self.doubt is Doubt.NONE

    def sensor_says(self, measures: bool, at_s: float, why_not: str) -> None:
        """Its camera or reader measures, or does not."""
        self.told_s, self.measures = at_s, measures
        if not measures:
            self._set(Doubt.ABSENT, at_s, why_not or "its sensor does not measure")

    def actuated(self, at_s: float) -> None:
        """A vehicle crossed, or its zone became occupied."""
        self.n += 1
        self.greens_blocked = 0
        self._changed_s = max(self._changed_s, at_s)
        self._heard(at_s)
        self._recent_s.append(at_s)
        self._back_s.append(at_s)

    def occupied(self, n: int, n_standing: int, at_s: float) -> bool:
        """Its zone holds so many. Answers whether it became occupied."""
        self.presence_s = at_s
        rises = n > 0 and self.occupancy == 0
        if (n, n_standing) != (self.occupancy, self.standing):
            self._changed_s = at_s
            self._heard(at_s)
        if n_standing == 0:
            self.greens_blocked = 0
        self.occupancy, self.standing = n, n_standing
        if rises:
            self.actuated(at_s)
        return rises

    def green_ended(self, crossed: bool | None) -> None:
        """A green of its lane is over. `crossed`: whether somebody did, by others; None: nobody can tell."""
        if crossed is False and self.standing > 0:
            self.greens_blocked += 1
        elif crossed:
            self.greens_blocked = 0

    def expect(self, hour: int | None, elapsed_s: float, activity: float) -> None:
        """Time passes in which its lane is served.

        Args:
            activity: how much the other detectors see of what is usual for them, 0 to 1.
        """
        usual_vps = self.history.usual_vps(hour)
        self.knows_usual = usual_vps is not None
        if usual_vps is not None:
            self.expected += usual_vps * elapsed_s * activity
        if hour is not None and self.is_trusted:
            self.history.learn(hour, elapsed_s, self.n - self._learned)
        self._learned = self.n

    def judge(self, now_s: float) -> bool:
        """Looks whether it is still, or again, to be believed. Answers whether that changed."""
        before = self.doubt
        self._forget(now_s)
        if self.told_s is None or self.measures is False:
            return self.doubt is not before
        if now_s - self.told_s > self.params.stale_s:
            self._set(Doubt.ABSENT, now_s, "its sensor says nothing any more")
        elif self.detector.kind is DetectorKind.APPROACH and not self._tells_presence(now_s):
            self._set(Doubt.ABSENT, now_s, "nothing says how many are in its zone")
        elif self.doubt in (Doubt.ABSENT, Doubt.UNKNOWN):
            self._begin(now_s)
            self._set(Doubt.NONE, now_s, "")
        else:
            self._judge_what_it_tells(now_s)
        return self.doubt is not before

    def _tells_presence(self, now_s: float) -> bool:
        return self.presence_s is not None and now_s - self.presence_s <= self.params.stale_s

    def _judge_what_it_tells(self, now_s: float) -> None:
        p = self.params
        symptom = self._symptom(now_s)
        if symptom is not None:
            self._calm_from_s = now_s
            self._set(*symptom)
        elif self.doubt is Doubt.SILENT:
            if len(self._back_s) >= p.returns:
                self._set(Doubt.NONE, now_s, "")
        elif self.doubt is not Doubt.NONE and now_s - self._calm_from_s >= p.calm_s:
            self._set(Doubt.NONE, now_s, "")

    def _symptom(self, now_s: float) -> tuple[Doubt, float, str] | None:
        p = self.params
        most = p.chatter_vps * p.chatter_s
        if len(self._recent_s) > most:
            return Doubt.CHATTERING, now_s, f"{len(self._recent_s)} actuations in {p.chatter_s:g} s"
        quiet_s = now_s - self._changed_s
        if self.standing > 0 and self.greens_blocked >= p.stuck_greens:
            return Doubt.STUCK, now_s, f"somebody stands there through {self.greens_blocked} greens"
        if self.standing > 0 and quiet_s >= p.stuck_s:
            return Doubt.STUCK, now_s, f"nothing changed for {quiet_s:.0f} s"
        silent_s = now_s - self.last_s
        if silent_s < p.silent_s or self.occupancy > 0:
            return None
        if self.peer_n >= p.peers:
            return (
                Doubt.SILENT,
                now_s,
                f"silent for {silent_s:.0f} s in which others told of {self.peer_n} vehicles",
            )
        if self.expected >= p.implausible:
            return Doubt.SILENT, now_s, f"silent for {silent_s:.0f} s in which {self.expected:.0f} are usual"
        if not self.knows_usual and silent_s >= p.unknown_s and self.others_n >= p.others:
            return Doubt.SILENT, now_s, f"silent for {silent_s:.0f} s with {self.others_n} vehicles on other lanes"
        return None

    def _heard(self, at_s: float) -> None:
        """It told of something, be it that a full zone has one more or one less: no silence began before."""
        self.last_s = max(self.last_s, at_s)
        self.expected, self.peer_n, self.others_n = 0.0, 0, 0

    def _forget(self, now_s: float) -> None:
        while self._recent_s and now_s - self._recent_s[0] > self.params.chatter_s:
            self._recent_s.popleft()
        while self._back_s and now_s - self._back_s[0] > 10.0 * self.params.calm_s:
            self._back_s.popleft()

    def _begin(self, now_s: float) -> None:
        """It measures again: what it did not tell meanwhile says nothing."""
        self.last_s = self._changed_s = now_s
        self.expected, self.peer_n, self.others_n, self.greens_blocked = 0.0, 0, 0, 0

    def _set(self, doubt: Doubt, now_s: float, why: str) -> None:
        if doubt is not self.doubt:
            self.since_s = now_s
            self._back_s.clear()
        self.doubt, self.why = doubt, why
