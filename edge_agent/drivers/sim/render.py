"""Draws simulated streets: a fixed background, vehicles as shaded solids, light that drifts, and sensor noise.

World: metres, x to the right, y ahead, z up; the camera stands at (0, 0, height).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image
from edge_agent.drivers.sim.traffic import Lane, Vehicle

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]
"""BGR, 0..255."""

_SUBPIXEL_BITS = 4
_SUN = np.asarray([-0.45, -0.35, 0.82])
_GLASS: Colour = (72, 62, 54)
_BEAM = ((3.5, 14.0), (2.2, 32.0), (1.2, 54.0))
"""How far headlights reach in metres, and how bright the street is there, far parts first."""
_PAINTS: tuple[Colour, ...] = (
    (236, 238, 238), (225, 228, 230), (176, 178, 180), (120, 122, 126), (58, 58, 60), (40, 40, 44), (46, 40, 168),
    (150, 92, 44), (118, 62, 34), (96, 110, 60), (190, 200, 206), (60, 140, 196),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How a scene looks.

    Attributes:
        height_m: of the camera above the street.
        pitch_deg: how far it looks down; 90 is straight down.
        focal_px: of a picture 640 px wide.
        ambient: brightness of all that is not lit by lamps.
        night: lamps and headlights are on.
        noise_levels: standard deviation of the sensor's noise.
        road_half_m: half the width of the carriageway.
        stop_m: where along y a stop line is painted, and how far from the middle it reaches to the left.
        marked: whether lanes are marked and worn; on a path they are not.
    """

    height_m: float
    pitch_deg: float
    focal_px: float
    ambient: float
    night: bool
    noise_levels: float
    road_half_m: float
    stop_m: float | None
    marked: bool = True


class Camera:
    """A pinhole camera over the street."""

    def __init__(self, look: Look, size_px: tuple[int, int]) -> None:
        self.size_px = size_px
        self._height_m = look.height_m
        self._focal_px = look.focal_px * size_px[0] / 640
        pitch = math.radians(look.pitch_deg)
        self._ahead = np.asarray([0.0, math.cos(pitch), -math.sin(pitch)])
        self._up = np.asarray([0.0, math.sin(pitch), math.cos(pitch)])

    def project(self, points_m: Floats) -> Floats:
        """(..., 3) in metres to (..., 2) in pixels. What is behind the camera is put just before it."""
        from_camera = points_m - np.asarray([0.0, 0.0, self._height_m])
        depth = np.maximum(from_camera @ self._ahead, 0.3)
        x = self.size_px[0] / 2 + self._focal_px * from_camera[..., 0] / depth
        y = self.size_px[1] / 2 - self._focal_px * (from_camera @ self._up) / depth
        return np.stack([x, y], axis=-1)

    def ground(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Where a point of the street is in the picture."""
        x, y = self.project(np.asarray([x_m, y_m, 0.0]))
        return float(x), float(y)

    def scale(self, y_m: float) -> float:
        """Pixels per metre across the street at `y_m`."""
        return self.ground(1.0, y_m)[0] - self.ground(0.0, y_m)[0]


@dataclass(frozen=True, slots=True)
class _Solid:
    """A block that may be narrower at its top. Its own coordinates: x to the right, y forwards, z up.

    Attributes:
        low, high: x1, y1, x2, y2 of its bottom and its top.
        sides, top: colours.
    """

    low: tuple[float, float, float, float]
    high: tuple[float, float, float, float]
    z_m: tuple[float, float]
    sides: Colour
    top: Colour


class Renderer:
    """Draws one scene. A picture depends on the vehicles and the time alone."""

    def __init__(self, look: Look, lanes: Sequence[Lane], size_px: tuple[int, int], seed: int) -> None:
        self._look = look
        self._size_px = size_px
        self.camera = Camera(look, size_px)
        rng = np.random.default_rng([seed, 77])
        self._background = _Backdrop(look, lanes, size_px, rng).draw()
        shape = (size_px[1] + 64, size_px[0] + 64, 3)
        self._noise = np.rint(rng.normal(0, look.noise_levels, shape)).astype(np.int16)

    def draw(self, vehicles: Sequence[Vehicle], t_s: float) -> Image:
        """The picture at `t_s`, (height, width, 3)."""
        picture = self._background.copy()
        ordered = sorted(vehicles, key=lambda vehicle: -abs(vehicle.y_m))
        if self._look.night:
            self._draw_beams(picture, ordered)
        else:
            self._draw_shadows(picture, ordered)
        for vehicle in ordered:
            self._draw_vehicle(picture, vehicle)
        return self._through_sensor(picture, t_s)

    def boxes_px(self, vehicles: Sequence[Vehicle]) -> Floats:
        """Where each vehicle is in the picture, (n, 4) as x1, y1, x2, y2, cut at its edges; no area: not in it."""
        boxes = np.zeros((len(vehicles), 4))
        for number, vehicle in enumerate(vehicles):
            corners = np.concatenate([_corners(solid) for solid in _body(vehicle)])
            pixels = self.camera.project(_to_world(vehicle, corners))
            boxes[number] = *pixels.min(axis=0), *pixels.max(axis=0)
        return np.clip(boxes, 0.0, np.tile(np.asarray(self._size_px, float), 2))

    def _through_sensor(self, picture: Image, t_s: float) -> Image:
        light = 1 + 0.05 * math.sin(t_s / 23.0) + 0.03 * math.sin(t_s / 7.1 + 1)
        lit = cv2.convertScaleAbs(picture, alpha=light)
        mixed = (int(t_s * 1000) * 2654435761) & 0xFFFFFFFF
        x, y = mixed % 64, (mixed >> 8) % 64
        noise = self._noise[y : y + self._size_px[1], x : x + self._size_px[0]]
        return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)

    def _draw_shadows(self, picture: Image, vehicles: Sequence[Vehicle]) -> None:
        mask = np.zeros(picture.shape[:2], np.uint8)
        for vehicle in vehicles:
            outline = _to_world(vehicle, _footprint(vehicle, 0.9))
            thrown = outline + np.asarray([0.45, 0.35, 0.0]) * (vehicle.kind.height_m * 0.55)
            hull = cv2.convexHull(
                np.vstack([self.camera.project(outline), self.camera.project(thrown)]).astype(np.float32)
            )
            _fill(mask, hull[:, 0], (96.0, 0, 0))
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            band = np.s_[rows[0] : rows[-1] + 1]
            keep = cv2.merge([255 - mask[band]] * 3)
            picture[band] = cv2.multiply(picture[band], keep, scale=1 / 255)

    def _draw_beams(self, picture: Image, vehicles: Sequence[Vehicle]) -> None:
        """Headlights on the street before each vehicle, added to what is there."""
        light = np.zeros(picture.shape[:2], np.uint8)
        for reach_m, level in _BEAM:
            for vehicle in vehicles:
                front, half = vehicle.kind.length_m / 2, vehicle.kind.width_m / 2
                wide = half + 0.1 * reach_m
                cone = [
                    (-half, front, 0),
                    (-wide, front + reach_m, 0),
                    (wide, front + reach_m, 0),
                    (half, front, 0),
                ]
                _fill(light, self.camera.project(_to_world(vehicle, np.asarray(cone))), (level, 0, 0))
        rows = np.flatnonzero(light.any(axis=1))
        if len(rows):
            band = np.s_[rows[0] : rows[-1] + 1]
            warm = [cv2.convertScaleAbs(light[band], alpha=share) for share in (0.8, 0.95, 1.0)]
            picture[band] = cv2.add(picture[band], cv2.merge(warm))

    def _draw_vehicle(self, picture: Image, vehicle: Vehicle) -> None:
        for solid in self._in_order(vehicle):
            corners = _to_world(vehicle, _corners(solid))
            pixels = self.camera.project(corners)
            for face, colour, normal in _FACES:
                polygon = pixels[list(face)]
                if _doubled_area(polygon) < 0:
                    shade = self._shade(vehicle, normal)
                    paint = solid.top if colour else solid.sides
                    _fill(picture, polygon, tuple(channel * shade for channel in paint))
        self._draw_lights(picture, vehicle)

    def _in_order(self, vehicle: Vehicle) -> list[_Solid]:
        """Far solids first, then low ones, so that what is nearer covers what is not."""

        def distance(solid: _Solid) -> tuple[float, float]:
            middle = vehicle.y_m + vehicle.heading * (solid.low[1] + solid.low[3]) / 2
            return (-round(abs(middle), 1) if solid.z_m[0] < 0.5 else 0.0, solid.z_m[0])

        return sorted(_body(vehicle), key=distance)

    def _shade(self, vehicle: Vehicle, normal: Floats) -> float:
        turned = normal * np.asarray([vehicle.heading, vehicle.heading, 1.0])
        return self._look.ambient * (0.66 + 0.4 * max(0.0, float(turned @ _SUN)))

    def _draw_lights(self, picture: Image, vehicle: Vehicle) -> None:
        if vehicle.kind.cls == "person":
            return
        towards = vehicle.heading < 0
        end = vehicle.kind.length_m / 2 * (1.0 if towards else -1.0)
        half = vehicle.kind.width_m / 2
        colour = self._light_colour(towards, vehicle.braking)
        radius = self.camera.scale(vehicle.y_m) * (0.14 if not self._look.night else 0.2)
        for side in (-0.75, 0.75) if half > 0.5 else (0.0,):
            x, y = self.camera.project(_to_world(vehicle, np.asarray([[side * half, end * 1.01, 0.65]])))[0]
            centre = (int(x * 16), int(y * 16))
            cv2.circle(picture, centre, max(8, int(radius * 16)), colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _light_colour(self, towards: bool, braking: bool) -> Colour:
        if towards:
            return (235, 250, 255) if self._look.night else (225, 230, 232)
        if braking:
            return (60, 60, 255)
        return (30, 30, 190) if self._look.night else (38, 36, 130)


_FACES: tuple[tuple[tuple[int, int, int, int], bool, Floats], ...] = (
    ((0, 1, 5, 4), False, np.asarray([0.0, -1.0, 0.0])),
    ((1, 2, 6, 5), False, np.asarray([1.0, 0.0, 0.0])),
    ((2, 3, 7, 6), False, np.asarray([0.0, 1.0, 0.0])),
    ((3, 0, 4, 7), False, np.asarray([-1.0, 0.0, 0.0])),
    ((4, 5, 6, 7), True, np.asarray([0.0, 0.0, 1.0])),
)
"""Faces of a solid: corner numbers, whether it is the top, and its normal."""


def _corners(solid: _Solid) -> Floats:
    """Eight corners: the bottom's four from its rear left, against the clock seen from above, then the top's."""
    points = []
    for (x1, y1, x2, y2), z in ((solid.low, solid.z_m[0]), (solid.high, solid.z_m[1])):
        points += [(x1, y1, z), (x2, y1, z), (x2, y2, z), (x1, y2, z)]
    return np.asarray(points)


def _body(vehicle: Vehicle) -> Iterator[_Solid]:
    """The solids that make up a vehicle."""
    half, long, tall = vehicle.kind.width_m / 2, vehicle.kind.length_m / 2, vehicle.kind.height_m
    paint = _PAINTS[vehicle.seed % len(_PAINTS)]
    if vehicle.kind.cls == "bus":
        yield _block(half, -long, long, (0.25, tall * 0.45), paint, paint)
        yield _block(half, -long, long, (tall * 0.45, tall * 0.8), _GLASS, _GLASS)
        yield _block(half, -long, long, (tall * 0.8, tall), paint, _lighter(paint))
    elif vehicle.kind.cls == "truck":
        cargo = _PAINTS[vehicle.seed // 16 % 3]
        yield _block(half, -long, long - 2.2, (0.45, tall), cargo, _lighter(cargo))
        yield _block(half * 0.95, long - 2.0, long, (0.35, 1.4), paint, paint)
        yield _cabin(half * 0.95, long - 2.0, long, (1.4, 2.5), paint, slope=0.25)
    elif vehicle.kind.cls == "person":
        yield from _walker(vehicle, paint)
    elif vehicle.kind.cls == "motorcycle":
        yield _block(half * 0.45, -long, long, (0.1, 0.85), paint, _GLASS)
        yield _block(half, -0.45, 0.15, (0.85, tall), (66, 60, 58), (70, 70, 170))
    else:
        yield _block(half, -long, long, (0.2, tall * 0.55), paint, paint)
        nose = 0.25 if tall < 1.8 else 0.12
        yield _cabin(half * 0.94, -long * 0.92, long * (1 - 2 * nose), (tall * 0.55, tall), paint, slope=0.55)


def _walker(vehicle: Vehicle, coat: Colour) -> Iterator[_Solid]:
    """Legs, coat and head."""
    trousers, skin, hair = _PAINTS[4 + vehicle.seed // 16 % 4], (128.0, 160.0, 205.0), (40.0, 48.0, 62.0)
    tall, half = vehicle.kind.height_m, vehicle.kind.width_m / 2
    hip = tall * 0.5
    yield _block(half * 0.55, -0.13, 0.15, (0.0, hip), trousers, trousers)
    yield _block(half * 0.9, -0.15, 0.17, (hip, tall * 0.84), coat, _lighter(coat))
    yield _block(0.1, -0.08, 0.12, (tall * 0.84, tall * 0.93), skin, skin)
    yield _block(0.1, -0.1, 0.1, (tall * 0.93, tall), hair, hair)


def _block(half: float, rear: float, front: float, z_m: tuple[float, float], sides: Colour, top: Colour) -> _Solid:
    rectangle = (-half, rear, half, front)
    return _Solid(rectangle, rectangle, z_m, sides, top)


def _cabin(
    half: float, rear: float, front: float, z_m: tuple[float, float], paint: Colour, slope: float
) -> _Solid:
    """Glass all around, and a painted roof."""
    roof = (-half * 0.84, rear + slope * 0.8, half * 0.84, front - slope)
    return _Solid((-half, rear, half, front), roof, z_m, _GLASS, paint)


def _lighter(colour: Colour) -> Colour:
    blue, green, red = (min(255.0, channel * 1.06 + 6) for channel in colour)
    return blue, green, red


def _footprint(vehicle: Vehicle, share: float) -> Floats:
    half, long = vehicle.kind.width_m / 2 * share, vehicle.kind.length_m / 2 * share
    return np.asarray([(-half, -long, 0.0), (half, -long, 0.0), (half, long, 0.0), (-half, long, 0.0)])


def _to_world(vehicle: Vehicle, points_m: Floats) -> Floats:
    turned = points_m * np.asarray([vehicle.heading, vehicle.heading, 1.0])
    return np.asarray(turned + np.asarray([vehicle.x_m, vehicle.y_m, 0.0]))


def _doubled_area(quad: Floats) -> float:
    """Twice the area of (4, 2) corners; negative where they run against the clock on the screen."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad.tolist()
    return float((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0))


def _fill(picture: NDArray[np.uint8], polygon: NDArray[Any], colour: Sequence[float]) -> None:
    points = np.clip(polygon, -2000, 4000) * (1 << _SUBPIXEL_BITS)
    cv2.fillConvexPoly(picture, np.rint(points).astype(np.int32), tuple(colour), cv2.LINE_AA, _SUBPIXEL_BITS)


class _Backdrop:
    """The street without vehicles, drawn once at twice the size and shrunk."""

    _FAR_M, _NEAR_M = 140.0, -40.0

    def __init__(
        self, look: Look, lanes: Sequence[Lane], size_px: tuple[int, int], rng: np.random.Generator
    ) -> None:
        self._look = look
        self._lanes = lanes
        self._size_px = size_px
        self._rng = rng
        self._camera = Camera(look, (2 * size_px[0], 2 * size_px[1]))
        self._picture = np.zeros((2 * size_px[1], 2 * size_px[0], 3), np.uint8)

    def draw(self) -> Image:
        self._picture[:] = (92, 122, 112)
        self._texture(9.0, 6)
        self._surfaces()
        self._markings()
        self._texture(3.0, 1)
        self._trees()
        small = cv2.resize(self._picture, self._size_px, interpolation=cv2.INTER_AREA)
        lit = np.asarray(cv2.convertScaleAbs(small, alpha=self._look.ambient), np.uint8)
        return self._lamps(lit) if self._look.night else lit

    def _strip(self, x1: float, x2: float, y1: float, y2: float, colour: Colour) -> None:
        """A rectangle on the ground, from where the camera sees it: what is behind the camera has no place."""
        near = self._nearest_m()
        y1, y2 = max(y1, near), max(y2, near)
        if y2 > y1:
            corners = np.asarray([(x1, y1, 0), (x2, y1, 0), (x2, y2, 0), (x1, y2, 0)], float)
            _fill(self._picture, self._camera.project(corners), colour)

    def _nearest_m(self) -> float:
        """The nearest part of the street that is before the camera."""
        if self._look.pitch_deg >= 80:
            return self._NEAR_M
        return 0.35 * self._look.height_m * math.tan(math.radians(90 - self._look.pitch_deg)) * 0.5

    def _surfaces(self) -> None:
        half = self._look.road_half_m
        for x1, x2, colour in (
            (-half - 4.2, half + 4.2, (158, 166, 170)),
            (-half - 0.5, half + 0.5, (182, 188, 190)),
            (-half, half, (98, 98, 98)),
        ):
            self._strip(x1, x2, self._NEAR_M, self._FAR_M, colour)
        for y in np.arange(self._NEAR_M, self._FAR_M, 2.0):
            for side in (-1, 1):
                x1, x2 = sorted((side * (half + 0.5), side * (half + 4.2)))
                self._strip(x1, x2, y, y + 0.06, (140, 148, 152))
        for lane in self._lanes if self._look.marked else ():
            self._strip(lane.x_m - 1.0, lane.x_m - 0.6, self._NEAR_M, self._FAR_M, (92, 92, 92))
            self._strip(lane.x_m + 0.6, lane.x_m + 1.0, self._NEAR_M, self._FAR_M, (92, 92, 92))

    def _markings(self) -> None:
        white: Colour = (214, 216, 216)
        xs = sorted(lane.x_m for lane in self._lanes) if self._look.marked else []
        for left, right in pairwise(xs):
            middle = (left + right) / 2
            if left < 0 < right:
                self._strip(middle - 0.22, middle - 0.1, self._NEAR_M, self._FAR_M, white)
                self._strip(middle + 0.1, middle + 0.22, self._NEAR_M, self._FAR_M, white)
            else:
                for y in np.arange(self._NEAR_M, self._FAR_M, 9.0):
                    self._strip(middle - 0.07, middle + 0.07, y, y + 4.0, white)
        if self._look.stop_m is not None:
            self._strip(-self._look.road_half_m, -0.3, self._look.stop_m - 0.5, self._look.stop_m, white)

    def _trees(self) -> None:
        """Beside the pavements, far ones first; none where the camera looks straight down."""
        if self._look.pitch_deg >= 80:
            return
        edge = self._look.road_half_m + 4.2
        for y in np.arange(96.0, 9.0, -8.0):
            for side in (-1.0, 1.0):
                x = side * (edge + 3.0 + self._rng.uniform(0, 2.5))
                self._tree(x, float(y + self._rng.uniform(-2, 2)))

    def _tree(self, x_m: float, y_m: float) -> None:
        scale = self._camera.scale(y_m)
        green = np.asarray((58.0, 98.0, 74.0)) * self._rng.uniform(0.8, 1.15)
        for _ in range(26):
            around = self._rng.normal(0, (0.9, 0.9, 0.8), 3)
            point = np.asarray([x_m, y_m, 3.4]) + around
            x, y = self._camera.project(point)
            shade = 0.78 + 0.14 * float(np.clip(around[2] - 0.5 * around[0], -1.5, 1.5))
            colour = tuple((green * shade).tolist())
            cv2.circle(self._picture, (int(x), int(y)), max(1, int(0.75 * scale)), colour, cv2.FILLED, cv2.LINE_AA)

    def _texture(self, levels: float, grain_px: int) -> None:
        height, width = self._picture.shape[:2]
        coarse = self._rng.normal(0, levels, (height // grain_px + 1, width // grain_px + 1)).astype(np.float32)
        noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        self._picture = np.clip(self._picture + noise[:, :, None], 0, 255).astype(np.uint8)

    def _lamps(self, picture: Image) -> Image:
        """Pools of warm light on the street."""
        camera = Camera(self._look, self._size_px)
        light = np.full(picture.shape, 1.0, np.float32)
        for y_m in (8.0, 26.0, 48.0, 76.0):
            for side in (-1.0, 1.0):
                x, y = camera.ground(side * (self._look.road_half_m - 1.0), y_m)
                scale = camera.scale(y_m)
                depth = abs(camera.ground(0, y_m - 3.0)[1] - camera.ground(0, y_m + 3.0)[1]) / 6.0
                light += _pool(picture.shape, (x, y), (6.0 * scale, 6.0 * depth))[:, :, None] * np.asarray(
                    (0.9, 1.45, 1.7), np.float32
                )
        return np.asarray(np.clip(picture * light, 0, 255), np.uint8)


def _pool(shape: tuple[int, ...], centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.float32]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    squared = ((columns - centre[0]) / radii[0]) ** 2 + ((rows - centre[1]) / radii[1]) ** 2
    return np.asarray(np.exp(-squared), np.float32)
