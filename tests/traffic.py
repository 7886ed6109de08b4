"""Made-up traffic of which everything is known: vehicles on a road, seen by a camera through a poor detector.

Vehicles drive in lanes with car-following, stop at a red light and go on. A pinhole camera somewhere above the
road sees them as boxes, nearer ones hiding farther ones; the detector misses some, moves the edges of others,
confuses classes, sees things that are not there, and gives parts of vehicles as vehicles. What is known is who
crossed the line, which way and when. All of it follows from a seed.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Detections
from edge_agent.domain.shapes import Anchor, Line
from tests.weak_detector import WeakDetector, Weakness

CLASS_NAMES = ("car", "bus", "truck", "motorcycle", "person")
SIZES_M = {
    "car": (4.4, 1.8, 1.5),
    "bus": (12.0, 2.5, 3.1),
    "truck": (8.0, 2.4, 3.0),
    "motorcycle": (2.1, 0.8, 1.6),
}
STEP_S = 1 / 30

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detector:
    """How poor the detector is. Shares are per box and frame unless said otherwise."""

    jitter: float = 0.03
    """Standard error of each edge, as a share of the box's size."""
    missed: float = 0.08
    blinks_per_s: float = 0.05
    """How often a vehicle is lost for longer,"""
    blink_s: float = 0.8
    """and for how long on average."""
    wrong_class: float = 0.05
    parts: float = 0.03
    false_boxes: float = 0.05
    """Per frame."""
    score: float = 0.7


@dataclass(frozen=True)
class World:
    """A road with a camera. Metres; the road runs along y, the line lies across it at y = 0."""

    seed: int = 0
    width_px: int = 640
    height_px: int = 360
    n_lanes_away: int = 2
    n_lanes_towards: int = 2
    speed_m_s: float = 12.0
    headway_s: float = 2.5
    camera_height_m: float = 7.0
    camera_back_m: float = 18.0
    """How far the camera stands from the line, along the road."""
    camera_side_m: float = 4.0
    focal: float = 0.9
    """Focal length as a share of the picture's width."""
    red_s: tuple[float, float] | None = None
    """When a light is red that stops all lanes; they stop with their fronts about the line."""
    stop_at_m: float = 0.0
    """Where they stop: their fronts are this far before the line; negative: past it."""
    drive_s: float = 25.0
    """For how long vehicles enter; the scene lasts until the last one has left."""
    max_speed_share: float = 1.0
    detector: Detector = field(default_factory=Detector)
    weakness: Weakness | None = None
    """If given, it is this detector that sees the road."""


@dataclass(frozen=True)
class Truth:
    """One vehicle's crossing of the line, with the point where it touches the ground below its middle."""

    t_s: float
    towards: bool
    cls: str
    vehicle: int


@dataclass
class _Vehicle:
    number: int
    cls: str
    lane: int
    at_m: float
    """Way along its lane of its middle, from where the lane enters."""
    speed_m_s: float
    wish_m_s: float
    lost_until_s: float = -1.0
    crossed: bool = False


class Scene:
    """The traffic of one world, as frames of detections with its truth."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truth: list[Truth] = []
        self._random = np.random.default_rng(world.seed)
        self._n_lanes = world.n_lanes_away + world.n_lanes_towards
        self._reach_m = 90.0
        self._n_entered = 0
        self.seen_s: dict[int, list[float]] = defaultdict(list)
        """When the detector told of each vehicle."""
        self._camera = _Camera(world)
        self._weak = (
            WeakDetector(world.weakness, (world.width_px, world.height_px), world.seed) if world.weakness else None
        )
        self._boxes = [self._detect(*one) for one in self._drive()]

    def line(self, name: str = "line", anchor: Anchor = Anchor.AUTO) -> Line:
        """The line across the road, drawn so that `in` is towards the camera."""
        half_m = self._n_lanes * 3.5 / 2 + 1.0
        ends = self._camera.project(np.array([(-half_m, 0.0, 0.0), (half_m, 0.0, 0.0)]))
        return Line(name, tuple((float(x), float(y)) for x, y in ends), anchor)

    def frames(
        self, fps: float, phase: int = 0, clock_jitter_s: float = 0.0
    ) -> Iterator[tuple[float, Detections]]:
        """Every k-th frame of 30 per second, from number `phase` on."""
        jitter = np.random.default_rng(self.world.seed + 1)
        for number in range(phase, len(self._boxes), max(1, round(30 / fps))):
            yield number * STEP_S + float(jitter.uniform(0, clock_jitter_s)), self._boxes[number]

    def counts(self) -> tuple[int, int]:
        """How many came towards the camera, and how many went away."""
        towards = sum(one.towards for one in self.truth)
        return towards, len(self.truth) - towards

    def _drive(self) -> Iterator[tuple[float, list[_Vehicle]]]:
        world = self.world
        vehicles: list[_Vehicle] = []
        next_s = self._random.exponential(world.headway_s, self._n_lanes)
        t_s = 0.0
        while t_s < world.drive_s or vehicles:
            for lane in range(self._n_lanes):
                if t_s >= next_s[lane] and t_s < world.drive_s:
                    next_s[lane] = t_s + 1.2 + self._random.exponential(world.headway_s)
                    self._enter(vehicles, lane)
            for vehicle in vehicles:
                self._move(vehicle, vehicles, t_s)
            vehicles = [one for one in vehicles if one.at_m < 2 * self._reach_m]
            yield t_s, vehicles
            t_s += STEP_S
            if t_s > world.drive_s + 240:
                raise AssertionError("the traffic of this world never ends")

    def _enter(self, vehicles: list[_Vehicle], lane: int) -> None:
        cls = str(self._random.choice(list(SIZES_M), p=(0.82, 0.05, 0.08, 0.05)))
        wish = self.world.speed_m_s * float(self._random.uniform(0.8, 1.15))
        ahead = min((one.at_m - SIZES_M[one.cls][0] for one in vehicles if one.lane == lane), default=math.inf)
        if ahead > SIZES_M[cls][0] + wish * 0.8:
            self._n_entered += 1
            vehicles.append(_Vehicle(self._n_entered, cls, lane, 0.0, wish, wish))

    def _move(self, one: _Vehicle, vehicles: list[_Vehicle], t_s: float) -> None:
        """Car-following by the intelligent driver model, the red light being one more car."""
        front_m = one.at_m + SIZES_M[one.cls][0] / 2
        gaps = [
            (other.at_m - SIZES_M[other.cls][0] / 2 - front_m, other.speed_m_s)
            for other in vehicles
            if other.lane == one.lane and other.at_m > one.at_m
        ]
        red = self.world.red_s
        stop_m = self._reach_m - self.world.stop_at_m
        if red is not None and red[0] <= t_s < red[1] and front_m < stop_m + 0.5:
            brakes_m = one.speed_m_s**2 / (2 * 5.0)
            if stop_m - front_m > brakes_m - 1.0:
                gaps.append((stop_m + 1.0 - front_m, 0.0))
        acceleration = 1.8 * (1 - (one.speed_m_s / one.wish_m_s) ** 4)
        for gap_m, speed_m_s in gaps:
            wanted_m = 1.8 + max(0.0, one.speed_m_s * 1.1 + one.speed_m_s * (one.speed_m_s - speed_m_s) / 4.0)
            acceleration = min(acceleration, 1.8 * (1 - (wanted_m / max(gap_m, 0.1)) ** 2))
        one.speed_m_s = max(0.0, one.speed_m_s + max(acceleration, -8.0) * STEP_S)
        before_m = one.at_m
        one.at_m += one.speed_m_s * STEP_S
        if before_m < self._reach_m <= one.at_m:
            self.truth.append(Truth(t_s, self._towards(one.lane), one.cls, one.number))

    def _towards(self, lane: int) -> bool:
        return lane >= self.world.n_lanes_away

    def _place(self, one: _Vehicle) -> tuple[float, float]:
        x_m = (one.lane - (self._n_lanes - 1) / 2) * 3.5
        along_m = one.at_m - self._reach_m
        return x_m, -along_m if self._towards(one.lane) else along_m

    def _detect(self, t_s: float, vehicles: list[_Vehicle]) -> Detections:
        boxes, shares, owners = self._camera.see([(self._place(one), SIZES_M[one.cls]) for one in vehicles])
        if self._weak is not None:
            shown = self._weak.show(
                [
                    (vehicles[owner].number, vehicles[owner].cls, box, share)
                    for box, share, owner in zip(boxes, shares, owners, strict=True)
                ]
            )
            return detections([one[0] for one in shown], [one[1] for one in shown], [one[2] for one in shown])
        seen = [
            found
            for box, share, owner in zip(boxes, shares, owners, strict=True)
            for found in self._report(box, share, vehicles[owner], t_s)
        ]
        if self._random.random() < self.world.detector.false_boxes:
            seen.append(self._false_box())
        self._random.shuffle(seen)
        return detections([one[0] for one in seen], [one[1] for one in seen], [one[2] for one in seen])

    def _report(
        self, box: Floats, share: float, vehicle: _Vehicle, t_s: float
    ) -> Iterator[tuple[tuple[float, ...], float, str]]:
        """What the detector says of one vehicle, `share` of which can be seen."""
        detector, random = self.world.detector, self._random
        if random.random() < detector.blinks_per_s * STEP_S:
            vehicle.lost_until_s = t_s + random.exponential(detector.blink_s)
        size_px = math.sqrt(max(0.0, (box[2] - box[0]) * (box[3] - box[1])))
        if size_px < 12 or share < 0.35 or t_s < vehicle.lost_until_s or random.random() < detector.missed:
            return
        self.seen_s[vehicle.number].append(t_s)
        score = float(np.clip(random.normal(detector.score, 0.12) * min(1.0, share + 0.2), 0.05, 0.98))
        noisy = box + random.normal(0, detector.jitter * size_px, 4)
        cls = "truck" if random.random() < detector.wrong_class else vehicle.cls
        yield tuple(self._camera.clip(noisy)), score, cls
        if random.random() < detector.parts:
            part = box.copy()
            part[random.integers(0, 2) * 2] = (box[0] + box[2]) / 2
            yield tuple(self._camera.clip(_in_order(part))), score * random.uniform(0.3, 0.6), vehicle.cls

    def _false_box(self) -> tuple[tuple[float, ...], float, str]:
        x, y = self._random.uniform(0, self.world.width_px), self._random.uniform(0, self.world.height_px)
        size_px = self._random.uniform(15, 80)
        box = np.array([x, y, x + size_px, y + size_px])
        return tuple(self._camera.clip(box)), float(self._random.uniform(0.2, 0.5)), "car"


def detections(boxes_px: Sequence[tuple[float, ...]], scores: list[float], classes: list[str]) -> Detections:
    """One frame of boxes."""
    return Detections(
        np.array(boxes_px, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array([CLASS_NAMES.index(one) for one in classes], np.int32),
        CLASS_NAMES,
    )


class _Camera:
    """A pinhole camera above the road that looks at the middle of the line."""

    def __init__(self, world: World) -> None:
        self._size_px = np.array([world.width_px, world.height_px, world.width_px, world.height_px], np.float64)
        self._eye = np.array([world.camera_side_m, -world.camera_back_m, world.camera_height_m])
        forward = -self._eye / np.linalg.norm(self._eye)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        self._axes = np.stack([right, -np.cross(right, forward), forward])
        self._focal_px = world.focal * world.width_px
        self._middle_px = np.array([world.width_px / 2, world.height_px / 2])

    def project(self, points_m: Floats) -> Floats:
        """Pixels, (n, 2), of points in space, (n, 3); NaN behind the camera."""
        local = (points_m - self._eye) @ self._axes.T
        depth = np.where(local[:, 2] > 1.0, local[:, 2], np.nan)
        return np.asarray(local[:, :2] / depth[:, None] * self._focal_px + self._middle_px)

    def see(
        self, bodies: list[tuple[tuple[float, float], tuple[float, float, float]]]
    ) -> tuple[list[Floats], list[float], list[int]]:
        """What can be seen of bodies at (x, y) of (length, width, height): boxes, shares seen, whose."""
        distances = [math.dist((x, y), self._eye[:2]) for (x, y), _ in bodies]
        nearer: list[Floats] = []
        boxes, shares, owners = [], [], []
        for owner in sorted(range(len(bodies)), key=distances.__getitem__):
            whole = self._box(*bodies[owner])
            if whole is None:
                continue
            box = self.clip(whole)
            shown, share = _uncovered(box, nearer)
            nearer.append(box)
            if box[2] > box[0] and box[3] > box[1]:
                boxes.append(shown)
                shares.append(share)
                owners.append(owner)
        return boxes, shares, owners

    def _box(self, place: tuple[float, float], size: tuple[float, float, float]) -> Floats | None:
        length, width, height = size
        corners = np.array([
            (place[0] + dx * width / 2, place[1] + dy * length / 2, z * height)
            for dx in (-1, 1) for dy in (-1, 1) for z in (0, 1)
        ])  # fmt: skip
        points = self.project(corners)
        if np.isnan(points).any():
            return None
        return np.concatenate([points.min(axis=0), points.max(axis=0)])

    def clip(self, box: Floats) -> Floats:
        return np.asarray(np.clip(_in_order(box), 0.0, self._size_px))


def _in_order(box: Floats) -> Floats:
    return np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])


def _uncovered(box: Floats, nearer: list[Floats]) -> tuple[Floats, float]:
    """What nearer boxes leave of a box, as a box, and as a share of its area."""
    shown = box.copy()
    for other in nearer:
        if other[0] >= shown[2] or other[2] <= shown[0] or other[1] >= shown[3] or other[3] <= shown[1]:
            continue
        across = (min(other[2], shown[2]) - max(other[0], shown[0])) / (shown[2] - shown[0])
        down = (min(other[3], shown[3]) - max(other[1], shown[1])) / (shown[3] - shown[1])
        if across > 0.7 and other[3] >= shown[3]:
            shown[3] = max(shown[1], other[1])
        elif down > 0.7 and other[0] <= shown[0]:
            shown[0] = min(shown[2], other[2])
        elif down > 0.7 and other[2] >= shown[2]:
            shown[2] = max(shown[0], other[0])
        if shown[2] - shown[0] < 1 or shown[3] - shown[1] < 1:
            return shown, 0.0
    area = (box[2] - box[0]) * (box[3] - box[1])
    return shown, float((shown[2] - shown[0]) * (shown[3] - shown[1]) / max(area, 1e-9))


def random_world(seed: int) -> World:
    """Some world: camera, road, traffic and detector drawn from what is usual."""
    random = np.random.default_rng(seed)
    big = bool(random.integers(0, 2))
    speed = float(random.uniform(5, 18))
    world = World(
        seed=seed,
        width_px=1280 if big else 640,
        height_px=720 if big else 360,
        n_lanes_away=int(random.integers(0, 3)),
        n_lanes_towards=int(random.integers(1, 3)),
        speed_m_s=speed,
        headway_s=float(random.uniform(1.5, 5.0)),
        camera_height_m=float(random.uniform(5, 12)),
        camera_back_m=float(random.uniform(10, 30)),
        camera_side_m=float(random.uniform(-12, 12)),
        focal=float(random.uniform(0.7, 1.2)),
        drive_s=20.0,
        detector=Detector(
            jitter=float(random.uniform(0.01, 0.05)),
            missed=float(random.uniform(0.0, 0.2)),
            blinks_per_s=float(random.uniform(0.0, 0.15)),
            blink_s=float(random.uniform(0.2, 1.0)),
            parts=float(random.uniform(0.0, 0.08)),
            false_boxes=float(random.uniform(0.0, 0.1)),
        ),
    )
    if random.random() < 0.5:
        world = replace(world, red_s=(6.0, 18.0), stop_at_m=float(random.uniform(-4.0, 4.0)), drive_s=25.0)
    return world
