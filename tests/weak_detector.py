"""A weak detector, whose faults last: what a small model shows in dense traffic at 30 pictures a second.

Noise that is new in every picture evens out. What a weak model does wrong, it does for half a second: a score
that sinks below what makes a vehicle and comes back, edges that wander, one car in two boxes, a truck in two, two
cars in one, a hedge that is a truck now and then. All of it follows from a seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.drivers.detectors.suppression import suppress_by_class

Floats = NDArray[np.float64]
Shown = tuple[tuple[float, ...], float, str]
_Add = Callable[[Floats, float, str], None]

_STEP_S = 1 / 30
_LONG = ("bus", "truck")


@dataclass(frozen=True)
class Weakness:
    """Faults that last. Shares are of the time; edges are shares of the box's size."""

    score: float = 0.5
    score_wander: float = 0.13
    edge_wander: float = 0.05
    wander_s: float = 0.5
    jitter: float = 0.02
    doubled: float = 0.15
    """A second box, larger or smaller, around a part of a vehicle or around it and what is beside it."""
    split: float = 0.5
    """A long vehicle is shown by its halves as well."""
    merged: float = 0.3
    """Two vehicles of which one hides a part of the other are one box, and the hidden one is not shown."""
    lasts_s: float = 0.5
    hedges: int = 2
    """Things beside the road that are vehicles now and then."""


class WeakDetector:
    """Shows the vehicles of one scene, frame by frame."""

    def __init__(self, weakness: Weakness, size_px: tuple[int, int], seed: int) -> None:
        self._weak = weakness
        self._random = np.random.default_rng(seed)
        self._far_px = np.array([*size_px, *size_px], np.float64)
        self._wander: dict[int, Floats] = {}
        self._spells: dict[tuple[str, int], tuple[bool, Floats]] = {}
        self._hedges = [self._hedge() for _ in range(weakness.hedges)]

    def show(self, bodies: Sequence[tuple[int, str, Floats, float]]) -> list[Shown]:
        """One frame of boxes.

        Args:
            bodies: of each vehicle its number, its class, the box of what can be seen of it, and which share of it
                that is; nearer ones first.
        """
        boxes: list[Floats] = []
        scores: list[float] = []
        classes: list[str] = []

        def add(box: Floats, score: float, cls: str) -> None:
            box = np.clip(box, 0.0, self._far_px)
            if box[2] - box[0] >= 6 and box[3] - box[1] >= 6 and score > 0.1:
                boxes.append(box)
                scores.append(min(score, 0.98))
                classes.append(cls)

        for place, (number, cls, whole, share) in enumerate(bodies):
            if share < 0.3 or math.sqrt(_area(whole)) < 12:
                continue
            box, score = self._wandering(number, whole, self._weak.score * min(1.0, share + 0.2))
            nearer = next((one[2] for one in bodies[:place] if _meet(one[2], whole)), None)
            if nearer is not None and self._spell("merged", number, self._weak.merged)[0]:
                add(_around(nearer, box), score * 0.8, cls)
                continue
            add(box, score, cls)
            self._again(number, cls, box, score, add)
        for number, hedge in enumerate(self._hedges):
            box, score = self._wandering(-1 - number, hedge, 0.2)
            add(box, score, "truck")
        return self._suppressed(boxes, scores, classes)

    def _again(self, number: int, cls: str, box: Floats, score: float, add: _Add) -> None:
        size = np.tile(box[2:] - box[:2], 2)
        active, shape = self._spell("doubled", number, self._weak.doubled)
        if active:
            add(box + (shape[:4] - 0.5) * size * 0.9, score * (0.5 + 0.5 * shape[4]), cls)
        if cls in _LONG and self._spell("split", number, self._weak.split)[0]:
            along = int(size[1] > size[0])
            for end in (0, 2):
                half = box.copy()
                half[end + along] = (box[along] + box[2 + along]) / 2
                add(half, score * 0.9, "car")

    def _wandering(self, number: int, box: Floats, score: float) -> tuple[Floats, float]:
        keeps = math.exp(-_STEP_S / self._weak.wander_s)
        state = self._wander.get(number)
        fresh = self._random.normal(0, 1, 5)
        state = fresh if state is None else keeps * state + math.sqrt(1 - keeps**2) * fresh
        self._wander[number] = state
        size = np.tile(box[2:] - box[:2], 2)
        edges = self._weak.edge_wander * state[:4] + self._weak.jitter * self._random.normal(0, 1, 4)
        return box + edges * size, score + self._weak.score_wander * float(state[4])

    def _spell(self, name: str, number: int, share: float) -> tuple[bool, Floats]:
        """Whether a fault lasts now, and five figures that stay the same while it does."""
        known = self._spells.get((name, number))
        if known is None or self._random.random() < _STEP_S / self._weak.lasts_s:
            known = bool(self._random.random() < share), self._random.random(5)
            self._spells[name, number] = known
        return known

    def _hedge(self) -> Floats:
        width, height = self._random.uniform(30, 90, 2)
        x, y = self._random.uniform(0, self._far_px[0]), self._random.uniform(0, self._far_px[1])
        return np.array([x, y, x + width, y + height])

    def _suppressed(self, boxes: list[Floats], scores: list[float], classes: list[str]) -> list[Shown]:
        if not boxes:
            return []
        names = sorted(set(classes))
        keep = suppress_by_class(
            np.array(boxes, np.float32),
            np.array(scores, np.float32),
            np.array([names.index(one) for one in classes], np.int32),
            iou_limit=0.45,
            twin_iou=0.75,
        )
        return [(tuple(boxes[i].tolist()), scores[i], classes[i]) for i in keep]


def _area(box: Floats) -> float:
    return max(float((box[2] - box[0]) * (box[3] - box[1])), 0.0)


def _meet(a: Floats, b: Floats) -> bool:
    return bool((np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all())


def _around(a: Floats, b: Floats) -> Floats:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
