"""The ground of a training scene: roads with their markings, what lies beside them, and where things may stand."""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.training.bodies import Floats, Rng
from edge_agent.training.view import FAR_M, View, fill, fill_ground

_TILE_PX = 512
_TILES = 40


@dataclass(frozen=True, slots=True)
class Road:
    """A straight road. `lanes_m` are the middles of its lanes, to the right of its own middle; `ways` +1 or -1."""

    middle_m: tuple[float, float]
    heading: float
    lanes_m: tuple[float, ...]
    ways: tuple[int, ...]
    lane_width_m: float
    queue_m: float | None
    """In a queue vehicles follow each other at this distance."""

    @property
    def half_m(self) -> float:
        return self.lane_width_m * len(self.lanes_m) / 2

    def at(self, across_m: float, along_m: float) -> Floats:
        """A point by its place across and along the road."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return np.asarray(self.middle_m) + np.asarray([c * across_m - s * along_m, s * across_m + c * along_m])

    def strip(self, x1: float, x2: float, y1: float, y2: float) -> Floats:
        """(4, 2) corners of a rectangle along the road."""
        return np.stack([self.at(x1, y1), self.at(x2, y1), self.at(x2, y2), self.at(x1, y2)])


@dataclass(frozen=True, slots=True)
class Ground:
    """Where things may stand. A car park has no order of headings."""

    roads: tuple[Road, ...]
    car_park: bool

    def lane_spot(self, rng: Rng, view: View) -> tuple[float, float, float] | None:
        """x, y and heading of a place on a lane."""
        seen = view.random_ground(rng)
        if seen is None:
            return None
        road = self.roads[int(rng.integers(len(self.roads)))]
        offset = seen - np.asarray(road.middle_m)
        c, s = math.cos(road.heading), math.sin(road.heading)
        across, along = c * offset[0] + s * offset[1], -s * offset[0] + c * offset[1]
        if self.car_park or rng.random() < 0.12:
            heading = road.heading + rng.choice([0.0, math.pi / 2, math.pi, -math.pi / 2]) + rng.normal(0, 0.08)
            return (*map(float, seen), heading) if abs(across) > road.half_m or self.car_park else None
        lane = int(np.argmin(np.abs(np.asarray(road.lanes_m) - across)))
        if abs(road.lanes_m[lane] - across) > 3 * road.lane_width_m:
            # Far roads fill few pixels: without this hardly anything would stand there.
            lane, along = int(rng.integers(len(road.lanes_m))), rng.uniform(-0.3, 1.0) * min(80.0, view.reach_m)
        if road.queue_m:
            along = round(along / road.queue_m) * road.queue_m + rng.normal(0, 0.3)
        point = road.at(road.lanes_m[lane] + rng.normal(0, 0.25), along)
        turn = rng.normal(0, 0.04) if rng.random() < 0.9 else rng.normal(0, 0.5)
        return float(point[0]), float(point[1]), road.heading + (math.pi if road.ways[lane] < 0 else 0.0) + turn

    def any_spot(self, rng: Rng, view: View) -> tuple[float, float, float] | None:
        """Anywhere, by preference beside the road."""
        seen = view.random_ground(rng)
        if seen is None:
            return None
        road = self.roads[0]
        offset = seen - np.asarray(road.middle_m)
        across = math.cos(road.heading) * offset[0] + math.sin(road.heading) * offset[1]
        if abs(across) < road.half_m and rng.random() < 0.6:
            return None
        return float(seen[0]), float(seen[1]), rng.uniform(0, 2 * math.pi)


def paint_ground(rng: Rng, view: View) -> tuple[Ground, NDArray[np.uint8]]:
    """The ground and its picture, in daylight, without anything that stands on it."""
    width, height = view.size_px
    base = _earth(rng)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = base
    ground = _random_ground(rng, view)
    for road in ground.roads:
        _pavements(rng, picture, view, road)
    for road in ground.roads:
        _carriageway(rng, picture, view, road)
    if ground.car_park:
        _bays(rng, picture, view, ground.roads[0])
    else:
        for road in ground.roads:
            _markings(rng, picture, view, road)
    _stains(rng, picture, view)
    if rng.random() < 0.35:
        _scraps(rng, picture)
    _texture(rng, picture, view)
    _sky(rng, picture, view)
    return ground, picture


def _earth(rng: Rng) -> Floats:
    kind = rng.random()
    if kind < 0.3:
        return np.asarray([rng.uniform(30, 80), rng.uniform(60, 130), rng.uniform(45, 110)])
    if kind < 0.6:
        return np.asarray([rng.uniform(80, 140), rng.uniform(110, 165), rng.uniform(130, 190)])
    return np.asarray(rng.uniform(50, 190) + rng.normal(0, 6, 3))


def _asphalt(rng: Rng) -> tuple[float, ...]:
    return tuple(np.clip(rng.uniform(38, 165) + rng.normal(0, 5, 3), 0, 255))


def _random_ground(rng: Rng, view: View) -> Ground:
    car_park = rng.random() < 0.1
    heading = (
        rng.normal(0, 0.35) if view.pitch < 0.5 and rng.random() < 0.6 else rng.uniform(-math.pi / 2, math.pi / 2)
    )
    middle = view.random_ground(rng)
    roads = [_random_road(rng, (0.0, 8.0) if middle is None else (float(middle[0]), float(middle[1])), heading)]
    if rng.random() < 0.35:
        along = rng.uniform(0, 25)
        x_m, y_m = roads[0].at(0, along).tolist()
        roads.append(_random_road(rng, (x_m, y_m), heading + math.pi / 2 + rng.normal(0, 0.2)))
    return Ground(tuple(roads), car_park)


def _random_road(rng: Rng, middle: tuple[float, float], heading: float) -> Road:
    n, wide = int(rng.integers(1, 6)), rng.uniform(2.7, 3.8)
    lanes = tuple((i - (n - 1) / 2) * wide for i in range(n))
    split = int(rng.integers(0, n + 1))
    side = 1 if rng.random() < 0.7 else -1
    ways = tuple(side * (1 if i >= split else -1) for i in range(n))
    return Road(middle, heading, lanes, ways, wide, rng.uniform(5.5, 9.0) if rng.random() < 0.4 else None)


def _pavements(rng: Rng, picture: NDArray[np.uint8], view: View, road: Road) -> None:
    if rng.random() < 0.25:
        return
    colour = tuple(np.clip(rng.uniform(90, 210) + rng.normal(0, 8, 3), 0, 255))
    kerb = tuple(np.clip(np.asarray(colour) * rng.uniform(0.8, 1.2), 0, 255))
    wide = rng.uniform(1.2, 5)
    fill_ground(picture, view, road.strip(-road.half_m - wide, road.half_m + wide, -FAR_M, FAR_M), colour)
    fill_ground(picture, view, road.strip(-road.half_m - 0.25, road.half_m + 0.25, -FAR_M, FAR_M), kerb)


def _carriageway(rng: Rng, picture: NDArray[np.uint8], view: View, road: Road) -> None:
    colour = _asphalt(rng)
    fill_ground(picture, view, road.strip(-road.half_m, road.half_m, -FAR_M, FAR_M), colour)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(-road.half_m, road.half_m), rng.uniform(-20, 60)
        shade = tuple(np.clip(np.asarray(colour) * rng.uniform(0.75, 1.25), 0, 255))
        fill_ground(
            picture,
            view,
            road.strip(x - rng.uniform(0.2, 1.5), x + rng.uniform(0.2, 1.5), y, y + rng.uniform(0.5, 12)),
            shade,
        )
    if rng.random() < 0.4:
        worn = tuple(np.clip(np.asarray(colour) * rng.uniform(0.85, 1.12), 0, 255))
        for lane in road.lanes_m:
            for wheel in (-0.8, 0.8):
                fill_ground(picture, view, road.strip(lane + wheel - 0.3, lane + wheel + 0.3, -FAR_M, FAR_M), worn)


def _markings(rng: Rng, picture: NDArray[np.uint8], view: View, road: Road) -> None:
    white = tuple(np.clip(rng.uniform(150, 250) + rng.normal(0, 5, 3), 0, 255))
    if rng.random() < 0.12:
        white = (rng.uniform(30, 90), rng.uniform(150, 210), rng.uniform(180, 240))
    start = rng.uniform(-45, -30)
    dash, pause = rng.uniform(1.5, 6), rng.uniform(2, 9)
    for i in range(len(road.lanes_m) - 1):
        x = (road.lanes_m[i] + road.lanes_m[i + 1]) / 2
        if road.ways[i] != road.ways[i + 1] and rng.random() < 0.7:
            fill_ground(picture, view, road.strip(x - 0.08, x + 0.08, -FAR_M, FAR_M), white)
        elif rng.random() < 0.9:
            for y in np.arange(start, 80, dash + pause):
                fill_ground(picture, view, road.strip(x - 0.07, x + 0.07, y, y + dash), white)
    if rng.random() < 0.7:
        for x in (-road.half_m + 0.2, road.half_m - 0.2):
            fill_ground(picture, view, road.strip(x - 0.07, x + 0.07, -FAR_M, FAR_M), white)
    if rng.random() < 0.4:
        _crossing(rng, picture, view, road, white)
    for _ in range(int(rng.integers(0, 3))):
        _arrow(rng, picture, view, road, white)


def _crossing(rng: Rng, picture: NDArray[np.uint8], view: View, road: Road, white: tuple[float, ...]) -> None:
    """A zebra crossing, and a stop line before it."""
    y, deep = rng.uniform(-5, 35), rng.uniform(2.5, 4.5)
    for x in np.arange(-road.half_m + 0.3, road.half_m - 0.4, rng.uniform(0.9, 1.3)):
        fill_ground(picture, view, road.strip(x, x + 0.5, y, y + deep), white)
    if rng.random() < 0.6:
        fill_ground(picture, view, road.strip(-road.half_m, 0, y - 1.5, y - 1.1), white)


def _arrow(rng: Rng, picture: NDArray[np.uint8], view: View, road: Road, white: tuple[float, ...]) -> None:
    x, y = float(rng.choice(road.lanes_m)), rng.uniform(-5, 40)
    fill_ground(picture, view, road.strip(x - 0.08, x + 0.08, y, y + 2.6), white)
    tip = np.stack([road.at(x - 0.4, y + 2.4), road.at(x + 0.4, y + 2.4), road.at(x, y + 3.6)])
    fill_ground(picture, view, tip, white)


def _bays(rng: Rng, picture: NDArray[np.uint8], view: View, road: Road) -> None:
    """A car park: rows of bays on asphalt."""
    colour = _asphalt(rng)
    fill_ground(picture, view, road.strip(-70, 70, -70, 90), colour)
    white = tuple(np.full(3, rng.uniform(150, 245)))
    for y in np.arange(-30, 60, rng.uniform(11, 17)):
        for x in np.arange(-30, 30, rng.uniform(2.3, 2.8)):
            fill_ground(picture, view, road.strip(x - 0.05, x + 0.05, y, y + 5), white)


def _stains(rng: Rng, picture: NDArray[np.uint8], view: View) -> None:
    """Oil, manholes, puddles, leaves: dark and bright spots that are nothing."""
    for _ in range(int(rng.integers(0, 12))):
        middle = view.random_ground(rng)
        if middle is None:
            continue
        n = int(rng.integers(5, 12))
        angles = np.linspace(0, 2 * math.pi, n, endpoint=False)
        radius = rng.uniform(0.1, 1.2) * (rng.uniform(0.7, 1.3, n) if rng.random() < 0.6 else np.ones(n))
        spot = middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] * [
            1,
            rng.uniform(0.4, 1),
        ]
        hull = cv2.convexHull(spot.astype(np.float32))[:, 0].astype(float)
        fill_ground(picture, view, hull, tuple(np.clip(rng.uniform(15, 230) + rng.normal(0, 8, 3), 0, 255)))


def _scraps(rng: Rng, picture: NDArray[np.uint8]) -> None:
    """Shapes without sense anywhere in the picture: what is not like a road user is none, however bright."""
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(1, 14))):
        colour = np.clip(rng.uniform(10, 245) + rng.normal(0, 25, 3), 0, 255)
        middle, size = rng.uniform(0, 1, 2) * [width, height], math.exp(rng.uniform(math.log(4), math.log(70)))
        kind = rng.integers(3)
        if kind == 0:
            points = middle + rng.normal(0, size / 2, (int(rng.integers(3, 7)), 2))
            fill(picture, cv2.convexHull(points.astype(np.float32))[:, 0], tuple(colour))
            continue
        box = cv2.boxPoints(
            (tuple(middle), (size, size * rng.uniform(0.3, 1.6)), rng.choice([0.0, rng.uniform(0, 90)]))
        )
        fill(picture, box, tuple(colour))
        if kind == 1:
            inner = middle + (box - middle) * rng.uniform(0.4, 0.9)
            fill(picture, inner, tuple(np.clip(colour * rng.uniform(0.2, 1.6), 0, 255)))
        else:
            for share in np.linspace(0.1, 0.9, int(rng.integers(2, 7))):
                a, b = box[0] + share * (box[1] - box[0]), box[3] + share * (box[2] - box[3])
                line = np.rint(np.stack([a, b])).astype(np.int32)[:, None]
                cv2.polylines(
                    picture, [line], False, tuple(np.clip(colour * rng.uniform(0.3, 1.6), 0, 255)), 1, cv2.LINE_AA
                )


def _texture(rng: Rng, picture: NDArray[np.uint8], view: View) -> None:
    """Grain of the ground, seen in its perspective, and large stains of light."""
    width, height = view.size_px
    tile = _tile(int(rng.integers(_TILES))) * np.float32(rng.uniform(0.3, 1.6))
    metres = rng.uniform(0.03, 0.12)
    centre = np.asarray([[1, 0, -_TILE_PX / 2], [0, 1, -_TILE_PX / 2], [0, 0, 1]], float)
    grain = cv2.warpPerspective(
        tile,
        view.homography(metres) @ centre,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    blotches = rng.normal(0, rng.uniform(0, 9), (5, 7)).astype(np.float32)
    grain = cv2.add(grain, cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC))
    picture[:] = cv2.add(picture, cv2.merge([grain] * 3), dtype=cv2.CV_8U)


@cache
def _tile(number: int) -> NDArray[np.float32]:
    """Grain of one kind of ground."""
    rng = np.random.default_rng([number, 3])
    tile = np.zeros((_TILE_PX, _TILE_PX), np.float32)
    for cells, strength in ((16, 6.0), (64, 5.0), (256, 6.0)):
        small = rng.normal(0, strength * rng.uniform(0.1, 1.4), (cells, cells)).astype(np.float32)
        tile += cv2.resize(small, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_LINEAR)
    return tile


def _sky(rng: Rng, picture: NDArray[np.uint8], view: View) -> None:
    """Above the horizon: sky, and a row of houses and trees before it."""
    width, height = view.size_px
    level = height / 2 - view.focal_px * math.tan(view.pitch)
    horizon = round(level)
    if horizon <= -20:
        return
    top, bottom = rng.uniform(120, 255, 3), rng.uniform(150, 255)
    rows = np.linspace(0, 1, max(1, horizon))[:, None, None]
    if horizon > 0:
        picture[:horizon] = np.clip(top * (1 - rows) + bottom * rows, 0, 255).astype(np.uint8)
    x = 0.0
    while x < width and rng.random() < 0.97:
        wide, tall = rng.uniform(8, 110), rng.uniform(0.02, 0.4) * height
        _facade(rng, picture, (int(x), int(horizon - tall), int(x + wide), horizon + int(rng.integers(0, 6))))
        x += wide * rng.uniform(0.6, 1.3)


def _facade(rng: Rng, picture: NDArray[np.uint8], box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = box
    if rng.random() < 0.35:
        green = np.asarray([rng.uniform(15, 60), rng.uniform(40, 110), rng.uniform(25, 85)])
        for _ in range(int(rng.integers(3, 12))):
            centre = (int(rng.uniform(x1, x2)), int(rng.uniform(y1, y2)))
            cv2.circle(
                picture,
                centre,
                int(rng.uniform(2, 14)),
                tuple(green * rng.uniform(0.5, 1.4)),
                cv2.FILLED,
                cv2.LINE_AA,
            )
        return
    wall = rng.uniform(50, 220) + rng.normal(0, 15, 3)
    cv2.rectangle(picture, (x1, y1), (x2, y2), tuple(np.clip(wall, 0, 255)), cv2.FILLED)
    step = int(rng.integers(4, 16))
    for y in range(y1 + 2, y2 - 3, step):
        for x in range(x1 + 2, x2 - 3, step):
            cv2.rectangle(
                picture,
                (x, y),
                (x + step // 2, y + step // 2),
                tuple(np.clip(wall * rng.uniform(0.3, 1.2), 0, 255)),
                cv2.FILLED,
            )
