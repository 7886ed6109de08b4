"""Draws street scenes at random: any view from straight above to street level, any light, weather and camera.

A scene is a pure function of its random generator. What is asked of it is variety, not beauty: a network that was
trained on it must not be surprised by a real street.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image
from edge_agent.training.bodies import CLASSES, MAKERS, Body, Floats, Patch, Rng, Solid, Stroke, clutter
from edge_agent.training.ground import Ground, paint_ground
from edge_agent.training.sensor import through_sensor
from edge_agent.training.view import SUBPIXEL_BITS, View, fill, fixed_point, random_view

MIN_SIDE_PX = 5.0
"""Objects that are smaller in the picture are neither asked for nor forbidden."""
MIN_VISIBLE = 0.3
"""The same for those of which less is visible."""
MOST_OBJECTS = 45


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture and what is in it.

    Attributes:
        image: (height, width, 3), BGR.
        boxes_px: (n, 4): x1, y1, x2, y2 of what is visible of each.
        class_ids: (n,) into `CLASSES`; -1: to be ignored, too small or too much hidden to be judged by.
    """

    image: Image
    boxes_px: Floats
    class_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Placed:
    body: Body
    x_m: float
    y_m: float
    heading: float
    """Radians from +y, against the clock."""

    def to_world(self, points_m: Floats) -> Floats:
        c, s = math.cos(self.heading), math.sin(self.heading)
        x, y = points_m[..., 0], points_m[..., 1]
        world = np.empty(points_m.shape)
        world[..., 0] = self.x_m + c * x - s * y
        world[..., 1] = self.y_m + s * x + c * y
        world[..., 2] = points_m[..., 2]
        return world


@dataclass(frozen=True, slots=True)
class _Light:
    """`sun` points to it; `sharp` 0..1 is how dark its shadows are."""

    sun: Floats
    ambient: Floats
    direct: float
    sharp: float
    night: bool


def draw_scene(rng: Rng, size_px: tuple[int, int]) -> Drawn:
    """One scene at (width, height)."""
    view = random_view(rng, size_px)
    light = _random_light(rng)
    ground, picture = paint_ground(rng, view)
    placed = _place_all(rng, view, ground)
    picture = np.clip(picture * light.ambient * (0.75 + 0.35 * light.direct), 0, 255).astype(np.uint8)
    _draw_shadows(rng, picture, view, light, placed)
    glow = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    ids = np.zeros((size_px[1], size_px[0]), np.uint8)
    hulls = []
    for number, one in enumerate(placed, start=1):
        hulls.append(_draw_body(rng, picture, glow, ids, view, light, one, number))
    if light.night:
        halo = cv2.GaussianBlur(glow, (0, 0), size_px[0] / rng.uniform(60, 200))
        picture = np.asarray(cv2.add(cv2.add(picture, halo), glow), np.uint8)
    boxes, class_ids = _labels(placed, hulls, ids)
    return Drawn(through_sensor(rng, picture, night=light.night), boxes, class_ids)


def _random_light(rng: Rng) -> _Light:
    night = rng.random() < 0.13
    high = rng.uniform(0.25, 1.3)
    turn = rng.uniform(0, 2 * math.pi)
    sun = np.asarray([math.cos(high) * math.cos(turn), math.cos(high) * math.sin(turn), math.sin(high)])
    cloudy = rng.random() < 0.45
    tint = 1 + rng.normal(0, 0.04, 3)
    level = rng.uniform(0.22, 0.5) if night else rng.uniform(0.7, 1.05)
    direct = 0.0 if night else rng.uniform(0.05, 0.3) if cloudy else rng.uniform(0.4, 1.0)
    sharp = rng.uniform(0.15, 0.4) if cloudy or night else rng.uniform(0.4, 0.75)
    return _Light(sun, level * tint, direct, sharp, night)


# --- what stands where -------------------------------------------------------------------------------------------


def _place_all(rng: Rng, view: View, ground: Ground) -> list[_Placed]:
    """Farthest first, and apart from each other."""
    placed: list[_Placed] = []
    wanted = 0 if rng.random() < 0.06 else int(rng.integers(1, MOST_OBJECTS) * rng.uniform(0.1, 1.0)) + 1
    classes = list(MAKERS)
    shares = np.asarray([share for _, share in MAKERS.values()]) * rng.uniform(0.2, 1.8, len(classes))
    makers: list[Callable[[Rng], Body]] = [
        MAKERS[classes[int(i)]][0] for i in rng.choice(len(classes), wanted, p=shares / shares.sum())
    ]
    makers += [clutter] * int(rng.integers(0, 9))
    for make in makers:
        body = make(rng)
        for _ in range(6):
            spot = ground.lane_spot(rng, view) if _drives(body) else ground.any_spot(rng, view)
            if spot is None:
                continue
            one = _Placed(body, *spot)
            if not any(_touch(one, other) for other in placed):
                placed.append(one)
                break
    return sorted(placed, key=lambda one: -math.hypot(one.x_m, one.y_m))


def _drives(body: Body) -> bool:
    return body.cls is not None and body.cls != "person"


def _touch(a: _Placed, b: _Placed) -> bool:
    """Whether two footprints come too near: each is taken as a few discs along its length."""
    apart = math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)
    if apart > a.body.reach_m + b.body.reach_m:
        return False
    pa, ra = _discs(a)
    pb, rb = _discs(b)
    return bool((np.hypot(*(pa[:, None] - pb[None]).transpose(2, 0, 1)) < ra + rb).any())


def _discs(one: _Placed) -> tuple[Floats, float]:
    corners = np.concatenate([solid.low for solid in one.body.solids])
    half_x, half_y = np.abs(corners).max(axis=0)
    radius = max(0.15, min(half_x, half_y))
    n = max(1, math.ceil(max(half_x, half_y) / radius))
    along = np.linspace(-1, 1, n) * max(0.0, max(half_x, half_y) - radius)
    zeros = np.zeros(n)
    local = np.stack([zeros, along, zeros] if half_y >= half_x else [along, zeros, zeros], axis=1)
    return one.to_world(local)[:, :2], radius


# --- drawing -----------------------------------------------------------------------------------------------------


def _draw_shadows(rng: Rng, picture: Image, view: View, light: _Light, placed: Sequence[_Placed]) -> None:
    """On the ground, away from the sun; under cloud only a dark rim below things is left."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    soft = light.direct < 0.35
    slope = light.sun[:2] / max(light.sun[2], 0.2)
    for one in placed:
        corners = [_rim(solid, end) for solid in one.body.solids for end in (0, 1)]
        points = one.to_world(np.concatenate(corners))
        away = -slope * (0.12 if soft else 1.0)
        flat = np.concatenate([points[:, :2] + points[:, 2:] * away, np.zeros((len(points), 1))], axis=1)
        pixels, depth = view.project(flat)
        if (depth > 0.4).all():
            fill(mask, cv2.convexHull(pixels.astype(np.float32))[:, 0], (255,))
    if rng.random() < 0.25:
        _cast_from_outside(rng, mask, view)
    if mask.any():
        blurred = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.6, 3.0) if not soft else rng.uniform(1.5, 5.0))
        keep = 255 - (blurred * light.sharp).astype(np.uint8)
        picture[:] = cv2.multiply(picture, cv2.merge([keep] * 3), scale=1 / 255)


def _rim(solid: Solid, end: int) -> Floats:
    outline = solid.high if end else solid.low
    return np.concatenate([outline, np.full((len(outline), 1), solid.z_m[end])], axis=1)


def _cast_from_outside(rng: Rng, mask: NDArray[np.uint8], view: View) -> None:
    """Shadows of trees and houses that are not in the picture: they are not to be found."""
    for _ in range(int(rng.integers(1, 6))):
        middle = view.random_ground(rng)
        if middle is None:
            continue
        spread = rng.uniform(0.5, 6)
        around = middle[None] + rng.normal(0, spread, (int(rng.integers(4, 9)), 2))
        pixels, depth = view.project(np.concatenate([around, np.zeros((len(around), 1))], axis=1))
        if (depth > 0.4).all():
            fill(mask, cv2.convexHull(pixels.astype(np.float32))[:, 0], (255,))


def _draw_body(
    rng: Rng,
    picture: Image,
    glow: Image,
    ids: NDArray[np.uint8],
    view: View,
    light: _Light,
    one: _Placed,
    number: int,
) -> float:
    """Draw it; returns the area of its hull in the picture, 0 where it cannot be drawn."""
    body = one.body
    rims = [(one.to_world(_rim(solid, 0)), one.to_world(_rim(solid, 1))) for solid in body.solids]
    everything = np.concatenate(
        [rim for pair in rims for rim in pair] + [one.to_world(s.points_m) for s in body.strokes]
    )
    pixels, depth = view.project(everything)
    if (depth < 0.5).any():
        return 0.0
    hull = cv2.convexHull(pixels.astype(np.float32))[:, 0]
    for stroke in body.strokes:
        _draw_stroke(picture, view, light, one, stroke)
    groups = sorted({solid.group for solid in body.solids}, key=lambda group: -_group_distance(body, rims, group))
    for group in groups:
        for solid, (low, high) in zip(body.solids, rims, strict=True):
            if solid.group == group:
                _draw_solid(rng, picture, view, light, solid, low, high)
    for patch, points in zip(body.patches, _projected(view, one, body.patches), strict=True):
        if _faces(points):
            lit = patch.colour * (1.0 if patch.glows and light.night else float(light.ambient.mean()))
            fill(picture, points, tuple(lit))
            if patch.glows and light.night and number < MOST_OBJECTS:
                fill(glow, points, tuple(patch.colour))
    fill(ids, hull, (float(number),), smooth=False)
    return float(cv2.contourArea(hull))


def _projected(view: View, one: _Placed, patches: Sequence[Patch]) -> list[Floats]:
    """Each patch's corners in the picture."""
    if not patches:
        return []
    pixels, _ = view.project(one.to_world(np.concatenate([patch.points_m for patch in patches])))
    return np.split(pixels, np.cumsum([len(patch.points_m) for patch in patches])[:-1])


def _group_distance(body: Body, rims: Sequence[tuple[Floats, Floats]], group: int) -> float:
    middles = [
        low[:, :2].mean(axis=0) for solid, (low, _) in zip(body.solids, rims, strict=True) if solid.group == group
    ]
    return float(np.hypot(*np.mean(middles, axis=0)))


def _faces(points_px: Floats) -> bool:
    """Whether a polygon shows us its front: against the clock on the screen."""
    return cv2.contourArea(points_px.astype(np.float32), oriented=True) < 0


def _draw_solid(
    rng: Rng, picture: Image, view: View, light: _Light, solid: Solid, low: Floats, high: Floats
) -> None:
    n = len(low)
    pixels, _ = view.project(np.concatenate([low, high]))
    following = np.append(np.arange(1, n), 0)
    quads = pixels[np.stack([np.arange(n), following, following + n, np.arange(n, 2 * n)], axis=1)]
    diagonals = quads[:, 2:] - quads[:, :2]
    shown = np.flatnonzero(diagonals[:, 0, 0] * diagonals[:, 1, 1] - diagonals[:, 1, 0] * diagonals[:, 0, 1] < 0)
    colours = solid.sides[shown] * _shades(low, high, following, light)[shown, None] * light.ambient
    colours[::3] += rng.uniform(-12, 25)
    for quad, colour in zip(fixed_point(quads[shown]), np.clip(colours, 0, 255).tolist(), strict=True):
        cv2.fillConvexPoly(picture, quad, colour, cv2.LINE_AA, SUBPIXEL_BITS)
    roof = pixels[n:]
    if solid.top is not None and _faces(roof):
        shade = 0.85 + 0.45 * light.direct * max(0.0, float(light.sun[2]))
        colour = np.clip(solid.top * shade * light.ambient, 0, 255)
        fill(picture, roof, tuple(colour))
        middle = roof.mean(axis=0)
        inner = middle + (roof - middle) * 0.6 + rng.normal(0, 0.03, 2) * np.ptp(roof, axis=0)
        fill(picture, inner, tuple(np.clip(colour * rng.uniform(0.93, 1.12), 0, 255)))


def _shades(low: Floats, high: Floats, following: NDArray[np.int64], light: _Light) -> Floats:
    """How bright each side is, by where it faces."""
    across, up = low[following] - low, high - low
    x = across[:, 1] * up[:, 2] - across[:, 2] * up[:, 1]
    y = across[:, 2] * up[:, 0] - across[:, 0] * up[:, 2]
    z = across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0]
    long = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)
    towards = (x * light.sun[0] + y * light.sun[1] + z * light.sun[2]) / long
    return np.asarray(0.72 + 0.45 * light.direct * np.maximum(towards, 0) + 0.12 * z / long)


def _draw_stroke(picture: Image, view: View, light: _Light, one: _Placed, stroke: Stroke) -> None:
    world = one.to_world(stroke.points_m)
    points, depth = view.project(world)
    width = stroke.width_m * view.focal_px / float(depth.mean())
    colour = tuple(stroke.colour * light.ambient * 0.9)
    if width < 0.35:
        return
    cv2.polylines(
        picture, [fixed_point(points)[:, None]], False, colour, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS
    )


# --- truth -------------------------------------------------------------------------------------------------------


def _labels(
    placed: Sequence[_Placed], hulls: Sequence[float], ids: NDArray[np.uint8]
) -> tuple[Floats, NDArray[np.int64]]:
    boxes, classes = [], []
    for number, (one, area) in enumerate(zip(placed, hulls, strict=True), start=1):
        if one.body.cls is None or area <= 0:
            continue
        mine = ids == number
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        if not len(rows):
            continue
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        seen = np.count_nonzero(mine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]) / area
        small = min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PX
        boxes.append(box)
        classes.append(-1 if small or seen < MIN_VISIBLE else CLASSES.index(one.body.cls))
    return np.asarray(boxes, float).reshape(-1, 4), np.asarray(classes, np.int64)


def scenes(seed: int, size_px: tuple[int, int]) -> Iterator[Drawn]:
    """Scenes without end; each seed gives others."""
    rng = np.random.default_rng([seed, 20])
    while True:
        yield draw_scene(rng, size_px)
