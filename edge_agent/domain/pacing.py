"""How many pictures a second are looked at when the machine is too slow, or too hot, for all of them.

Every so many-th picture of the camera is taken, the same number each time, since tracking lives on even steps. The
number grows when the work for one picture takes longer than there is time, and when the processor gets hot: in
steps, before its firmware throttles it in its own, uneven way; and not below a rate at which vehicles can still be
followed. It shrinks again slowly, and only when there is room. Pure: time is an argument, in seconds.
"""

import math
import statistics
from collections import deque
from dataclasses import dataclass

from edge_agent.domain.measuring import ENOUGH_FPS

_HEAT_LADDER = (1.0, 4 / 3, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""By how much fewer pictures are taken, step by step."""
_TOLERANCE = 0.25
"""A rate that misses by so little of a picture is met: no camera keeps its own exactly."""
_RATE_PICTURES = 60
_RATE_CHANGE = 0.1
_PAUSE_S = 2.0
_BUSY_PICTURES = 15
"""The work of one picture is the middle of so many: one that took long is no slow machine."""


@dataclass(frozen=True, slots=True)
class PacingParams:
    """When to slow down, and how fast.

    Attributes:
        warm_c: from this temperature on the rate falls; a Raspberry Pi throttles itself from 80 C on.
        hot_c: from here on it falls twice as fast.
        cool_c: below it, the rate rises again.
        step_s: between two steps down.
        recover_s: between two steps up.
        floor_fps: it does not fall below this for heat, where the machine can do as much at all.
        busy_share: how much of the time the work may take.
        spare_share: how much it may take at a higher rate for that to be tried.
    """

    warm_c: float = 75.0
    hot_c: float = 80.0
    cool_c: float = 70.0
    step_s: float = 10.0
    recover_s: float = 60.0
    floor_fps: float = 3.0
    busy_share: float = 0.9
    spare_share: float = 0.7


@dataclass(frozen=True, slots=True)
class Strain:
    """What the processor bears. None: the machine cannot tell.

    Attributes:
        throttled: its firmware slows it down at this moment.
    """

    temperature_c: float | None = None
    throttled: bool = False


class Pacer:
    """Decides which pictures of one camera are taken."""

    def __init__(self, asked_fps: float | None, params: PacingParams | None = None) -> None:
        """`asked_fps`: no more than that; None: all."""
        self._asked_fps = asked_fps
        self._params = params or PacingParams()
        self._seen: deque[tuple[float, int]] = deque(maxlen=_RATE_PICTURES)
        self._camera_fps: float | None = None
        """The camera's own rate, as of when it last changed; None: not known yet."""
        self._busy_s: deque[float] = deque(maxlen=_BUSY_PICTURES)
        self._asked_stride = 1
        self._able_stride = 1
        self._able_since_s = -math.inf
        self._heat = 0
        self._stepped_s = -math.inf
        self._warm_s = -math.inf
        self.stride = 1
        """Every so many-th picture is taken."""
        self.detail = ""
        """Why fewer are taken than was asked for, for people; it changes only when the number does.

        Where no number was asked for, as many as count well are no complaint.
        """

    def frame(self, t_s: float, index: int, busy_s: float) -> None:
        """A picture was taken, number `index` of the camera, and all its work took `busy_s`."""
        if self._seen and not 0 < t_s - self._seen[-1][0] < _PAUSE_S:
            self._seen.clear()
        self._seen.append((t_s, index))
        self._busy_s.append(busy_s)
        self._learn_rate()
        if self._camera_fps is not None:
            self._set_able(t_s, self._camera_fps)
            self._decide(self._camera_fps)

    def feel(self, strain: Strain, now_s: float) -> None:
        """What the processor bears now; to be told about every second."""
        params = self._params
        temperature_c = strain.temperature_c
        hot = strain.throttled or (temperature_c is not None and temperature_c >= params.hot_c)
        if hot or (temperature_c is not None and temperature_c >= params.warm_c):
            self._warm_s = now_s
            if now_s - self._stepped_s >= (params.step_s / 2 if hot else params.step_s):
                self._step(1, now_s)
        elif temperature_c is not None and temperature_c >= params.cool_c:
            return
        elif self._heat and now_s - max(self._stepped_s, self._warm_s) >= params.recover_s:
            self._step(-1, now_s)

    def takes(self, index: int) -> bool:
        """Whether picture number `index` is looked at: a source that keeps pictures gives unwanted ones too."""
        reduced = self.stride > self._asked_stride
        return not (reduced and self._seen and 0 < index - self._seen[-1][1] < self.stride)

    def wait_until_s(self, last_s: float) -> float:
        """When to ask for the next picture, after one of `last_s`: half a picture before it comes."""
        if self._camera_fps is None:
            return last_s + 0.9 / self._asked_fps if self._asked_fps else last_s
        return last_s + (self.stride - 0.5) / self._camera_fps if self.stride > 1 else last_s

    def _learn_rate(self) -> None:
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        if len(self._seen) < 5 or last_s <= first_s:
            return
        fps = (last - first) / (last_s - first_s)
        if self._camera_fps is None or abs(fps / self._camera_fps - 1) > _RATE_CHANGE:
            self._camera_fps = fps
            self._asked_stride = _stride(fps / self._asked_fps) if self._asked_fps else 1

    def _set_able(self, now_s: float, camera_fps: float) -> None:
        """How many the machine can take: fewer at once when they are too many, more when that has long been so."""
        share = camera_fps * statistics.median(self._busy_s)
        if share > self._params.busy_share * max(self._able_stride, self._asked_stride):
            self._able_stride = math.ceil(share / self._params.busy_share)
            self._able_since_s = now_s
        elif share > self._params.spare_share * (self._able_stride - 1):
            self._able_since_s = now_s
        elif self._able_stride > 1 and now_s - self._able_since_s >= self._params.step_s:
            self._able_stride -= 1
            self._able_since_s = now_s

    def _step(self, way: int, now_s: float) -> None:
        """One step of heat up or down: as far as it makes a difference."""
        before, level = self.stride, self._heat
        if self._camera_fps is None:
            return
        while 0 <= level + way < len(_HEAT_LADDER):
            level += way
            if self._stride_at(level, self._camera_fps) != before:
                break
        if self._stride_at(level, self._camera_fps) != before or way < 0:
            self._heat, self._stepped_s = level, now_s
        self._decide(self._camera_fps)

    def _stride_at(self, heat: int, camera_fps: float) -> int:
        base = max(self._asked_stride, self._able_stride)
        floor_fps = min(self._params.floor_fps, self._asked_fps or math.inf)
        most = max(base, math.floor(camera_fps / floor_fps + _TOLERANCE))
        return min(most, _stride(base * _HEAT_LADDER[heat]))

    def _decide(self, camera_fps: float) -> None:
        self.stride = self._stride_at(self._heat, camera_fps)
        base = max(self._asked_stride, self._able_stride)
        taken, asked = camera_fps / self.stride, camera_fps / self._asked_stride
        is_hot = self.stride > base
        is_enough = self._asked_fps is None and not is_hot and taken > ENOUGH_FPS - _TOLERANCE
        if self.stride <= self._asked_stride or is_enough:
            self.detail = ""
            return
        why = "too hot" if is_hot else "too slow"
        self.detail = f"{why}: {_rate(taken)} of {_rate(asked)} pictures a second"


def _stride(ratio: float) -> int:
    return max(1, math.ceil(ratio - _TOLERANCE))


def _rate(fps: float) -> str:
    return f"{fps:.0f}" if fps >= 9.5 else f"{round(fps * 2) / 2:g}"
