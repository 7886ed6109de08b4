"""What moves in the training scenes, and what only stands about, as solids in metres.

A body's own coordinates: x to its right, y forwards, z up, the origin on the ground below its middle. A solid is a
frustum over an outline of any number of corners, so that cars have round corners and people have shoulders.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator
CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
"""By the names of the COCO classes. Who rides is one with what he rides: one road user is one object."""


@dataclass(frozen=True, slots=True)
class Solid:
    """A frustum.

    Attributes:
        low, high: (n, 2) outlines of its bottom and its top, against the clock seen from above.
        z_m: their heights.
        sides: (n, 3) colours, BGR 0..255, of the faces between corner i and i+1.
        top: colour; None: open at the top.
        group: solids of one group are drawn from low to high, groups from far to near.
    """

    low: Floats
    high: Floats
    z_m: tuple[float, float]
    sides: Floats
    top: Floats | None
    group: int = 0


@dataclass(frozen=True, slots=True)
class Patch:
    """A flat piece drawn over what is there: a lamp, a plate, a window. `points_m`: (n, 3), seen from outside."""

    points_m: Floats
    colour: Floats
    glows: bool = False


@dataclass(frozen=True, slots=True)
class Stroke:
    """A thin thing: a frame, a spoke, a pole. `points_m`: (n, 3)."""

    points_m: Floats
    colour: Floats
    width_m: float


@dataclass(frozen=True, slots=True)
class Body:
    """All of one object. `cls` None: it is not to be found."""

    cls: str | None
    solids: list[Solid] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)

    @property
    def reach_m(self) -> float:
        """Radius of its footprint."""
        return max(float(np.abs(solid.low).max()) for solid in self.solids)


# --- pieces ------------------------------------------------------------------------------------------------------


def outline(x1: float, y1: float, x2: float, y2: float, roundness: float = 0.2, n: int = 16) -> Floats:
    """(n, 2) corners of a rectangle with round corners: 0 is sharp, 1 is an ellipse."""
    if roundness < 0.03:
        return np.asarray([(x2, y1), (x2, y2), (x1, y2), (x1, y1)], float)
    signs, sizes = _unit_circle(n)
    points = signs * sizes ** max(roundness, 0.12)
    points *= ((x2 - x1) / 2, (y2 - y1) / 2)
    points += ((x1 + x2) / 2, (y1 + y2) / 2)
    return points


@cache
def _unit_circle(n: int) -> tuple[Floats, Floats]:
    """Signs and sizes of the coordinates of n points of a circle."""
    angles = (np.arange(n) + 0.5) / n * 2 * math.pi - math.pi / 2
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.sign(points), np.abs(points)


def frustum(
    low: tuple[float, float, float, float],
    high: tuple[float, float, float, float],
    z_m: tuple[float, float],
    colour: Floats,
    top: Floats | None,
    *,
    roundness: float = 0.2,
    group: int = 0,
    n: int = 16,
) -> Solid:
    """From one rectangle, x1, y1, x2, y2, to another."""
    bottom, roof = outline(*low, roundness, n), outline(*high, roundness, n)
    return Solid(bottom, roof, z_m, np.tile(colour, (len(bottom), 1)), top, group)


def rectangle(centre: Sequence[float], across: Sequence[float], up: Sequence[float]) -> Floats:
    """(4, 3) corners of a flat rectangle, from its middle and its half sides."""
    c, a, b = (np.asarray(vector, float) for vector in (centre, across, up))
    return np.stack([c - a - b, c + a - b, c + a + b, c - a + b])


def ring(centre: Sequence[float], radius_m: float, n: int = 14) -> Floats:
    """(n + 1, 3) points of a wheel that stands along y."""
    angles = np.linspace(0, 2 * math.pi, n + 1)
    x, y, z = centre
    return np.stack([np.full(n + 1, x), y + radius_m * np.cos(angles), z + radius_m * np.sin(angles)], axis=1)


def paint(rng: Rng) -> Floats:
    """A colour that vehicles have: mostly white, grey and black."""
    if rng.random() < 0.62:
        return np.asarray(rng.choice([238, 225, 190, 160, 120, 80, 55, 38]) + rng.normal(0, 7, 3))
    return np.asarray(_hue(rng, rng.uniform(0.35, 0.95), rng.uniform(60, 235)))


def cloth(rng: Rng) -> Floats:
    """A colour that people wear."""
    if rng.random() < 0.55:
        return np.asarray(rng.uniform(15, 110) + rng.normal(0, 10, 3))
    return _hue(rng, rng.uniform(0.1, 0.9), rng.uniform(60, 245))


def _hue(rng: Rng, strength: float, level: float) -> Floats:
    angle = rng.uniform(0, 2 * math.pi)
    wheel = np.cos(angle + np.asarray([0.0, 2.1, 4.2])) * 0.5 + 0.5
    return np.asarray(level * (1 - strength + strength * wheel))


def _glass(rng: Rng) -> Floats:
    return np.asarray(rng.uniform(18, 105) + rng.normal(0, 6, 3))


# --- vehicles ----------------------------------------------------------------------------------------------------


def car(rng: Rng) -> Body:
    """A saloon, hatchback, estate, SUV, van or pickup."""
    shape = str(
        rng.choice(["saloon", "hatch", "estate", "suv", "van", "pickup"], p=[0.3, 0.25, 0.14, 0.17, 0.09, 0.05])
    )
    length, width = rng.uniform(3.6, 5.1), rng.uniform(1.62, 1.95)
    height = {"suv": rng.uniform(1.6, 1.85), "van": rng.uniform(1.8, 2.3)}.get(shape, rng.uniform(1.35, 1.55))
    if shape in ("van", "pickup"):
        length = rng.uniform(4.5, 5.7)
    body = Body("car")
    _car_body(rng, body, shape, (length / 2, width / 2, height))
    return body


def _car_body(rng: Rng, body: Body, shape: str, half: tuple[float, float, float]) -> None:
    long, wide, tall = half
    colour, glass = paint(rng), _glass(rng)
    roundness = rng.uniform(0.16, 0.42)
    belt = tall * rng.uniform(0.52, 0.62)
    low = (-wide, -long, wide, long)
    inset = 0.94 * wide
    body.solids.append(frustum(low, low, (0.18, belt * 0.7), colour, None, roundness=roundness))
    hood = (-inset, -long * 0.97, inset, long * 0.95)
    body.solids.append(
        frustum(low, hood, (belt * 0.7, belt), colour, colour * rng.uniform(0.96, 1.08), roundness=roundness)
    )
    front, rear = _greenhouse(rng, shape, long)
    slope_front, slope_rear = rng.uniform(0.45, 0.95), rng.uniform(0.15, 0.85)
    if shape in ("van", "estate", "suv"):
        slope_rear = rng.uniform(0.05, 0.3)
    narrow = wide * rng.uniform(0.68, 0.82)
    roof = colour if rng.random() < 0.85 else np.full(3, rng.uniform(15, 50))
    base, high = (
        (-inset * 0.97, rear, inset * 0.97, front),
        (-narrow, rear + slope_rear, narrow, front - slope_front),
    )
    round_top = max(0.14, roundness - 0.1)
    body.solids.append(frustum(base, high, (belt, tall), glass, roof, roundness=round_top))
    _pillars(body, base, high, (belt, tall), colour, open_sides=shape == "van" and rng.random() < 0.6)
    if rng.random() < 0.12:
        body.patches.append(
            Patch(rectangle((0, (high[1] + high[3]) / 2, tall + 0.01), (narrow * 0.6, 0, 0), (0, 0.35, 0)), glass)
        )
    _car_details(rng, body, (long, wide, belt), colour)


def _greenhouse(rng: Rng, shape: str, long: float) -> tuple[float, float]:
    """Where the glass begins at the front and ends at the rear."""
    front = long * rng.uniform(0.38, 0.55)
    rear = {
        "saloon": -long * rng.uniform(0.62, 0.78),
        "pickup": -long * rng.uniform(0.0, 0.15),
        "van": -long * 0.95,
    }.get(shape, -long * rng.uniform(0.84, 0.96))
    return (long * rng.uniform(0.6, 0.8) if shape == "van" else front), rear


def _pillars(
    body: Body,
    base: tuple[float, float, float, float],
    high: tuple[float, float, float, float],
    z_m: tuple[float, float],
    colour: Floats,
    *,
    open_sides: bool,
) -> None:
    """The painted posts between the windows; sides of panel vans are painted whole."""
    for side, (xb, xh) in ((1.0, (base[2], high[2])), (-1.0, (base[0], high[0]))):
        for share in (0.0, 0.5, 1.0):
            y0 = base[1] + share * (base[3] - base[1])
            y1 = high[1] + share * (high[3] - high[1])
            wide = 0.05 if 0 < share < 1 else 0.09
            points = np.asarray(
                [
                    (xb, y0 - wide, z_m[0]),
                    (xb, y0 + wide, z_m[0]),
                    (xh, y1 + wide, z_m[1]),
                    (xh, y1 - wide, z_m[1]),
                ]
            )
            body.patches.append(Patch(points if side > 0 else points[::-1], colour))
        if open_sides:
            ends = np.asarray(
                [
                    (xb, base[1], z_m[0]),
                    (xb, base[3] - 1.2, z_m[0]),
                    (xh, high[3] - 1.2, z_m[1]),
                    (xh, high[1], z_m[1]),
                ]
            )
            body.patches.append(Patch(ends if side > 0 else ends[::-1], colour))


def _car_details(rng: Rng, body: Body, half: tuple[float, float, float], colour: Floats) -> None:
    long, wide, belt = half
    head, tail = (
        np.asarray([225.0, 232, 235]) * rng.uniform(0.6, 1.0),
        np.asarray([35.0, 30, 150]) * rng.uniform(0.5, 1.5),
    )
    for side in (-1.0, 1.0):
        x = side * wide * 0.72
        body.patches.append(
            Patch(rectangle((x, long * 0.995, belt * 0.72), (-0.2, 0, 0), (0, -0.03, 0.09)), head, glows=True)
        )
        body.patches.append(
            Patch(rectangle((x, -long * 0.995, belt * 0.74), (0.18, 0, 0), (0, 0.03, 0.1)), tail, glows=True)
        )
        mirror = _mirror(side, wide, long * 0.42)
        body.solids.append(
            frustum(mirror, mirror, (belt * 0.95, belt * 1.12), colour * 0.8, colour, roundness=0, group=1)
        )
        for y in (-long * 0.6, long * 0.62):
            wheel = ring((side * (wide + 0.005), y, 0.31), 0.31, 10)[:-1]
            body.patches.append(Patch(wheel if side > 0 else wheel[::-1], np.full(3, rng.uniform(15, 40))))
            hub = ring((side * (wide + 0.01), y, 0.31), 0.18, 8)[:-1]
            body.patches.append(Patch(hub if side > 0 else hub[::-1], np.full(3, rng.uniform(40, 150))))
    plate = np.asarray([225.0, 228, 230]) * rng.uniform(0.7, 1)
    body.patches.append(Patch(rectangle((0, long, belt * 0.45), (-0.26, 0, 0), (0, 0, 0.06)), plate))
    body.patches.append(Patch(rectangle((0, -long, belt * 0.6), (0.26, 0, 0), (0, 0, 0.06)), plate))
    grille = np.full(3, rng.uniform(15, 60))
    body.patches.append(
        Patch(rectangle((0, long * 0.999, belt * 0.62), (-wide * 0.45, 0, 0), (0, 0, 0.09)), grille)
    )


def _mirror(side: float, wide: float, y: float) -> tuple[float, float, float, float]:
    inner, outer = sorted((side * wide * 0.96, side * (wide + 0.2)))
    return inner, y - 0.08, outer, y + 0.08


def bus(rng: Rng) -> Body:
    """A city bus or a coach, sometimes articulated."""
    long, wide, tall = rng.uniform(4.5, 6.5), rng.uniform(1.2, 1.28), rng.uniform(2.8, 3.4)
    colour, glass, roof = paint(rng), _glass(rng), np.asarray(rng.uniform(120, 245) + rng.normal(0, 6, 3))
    body = Body("bus")
    box = (-wide, -long, wide, long)
    split = rng.uniform(0.36, 0.48)
    skirt = colour if rng.random() < 0.6 else paint(rng)
    for z1, z2, shade, top in (
        (0.3, tall * split, skirt, None),
        (tall * split, tall * 0.84, glass, None),
        (tall * 0.84, tall, colour, roof),
    ):
        body.solids.append(frustum(box, box, (z1, z2), shade, top, roundness=0.13, n=12))
    for y in np.linspace(-long * 0.6, long * 0.6, int(rng.integers(0, 4))):
        hatch = frustum(
            (-0.7, y - 0.5, 0.7, y + 0.5),
            (-0.6, y - 0.4, 0.6, y + 0.4),
            (tall, tall + 0.2),
            roof * 0.8,
            roof * rng.uniform(0.6, 1),
            roundness=0,
        )
        body.solids.append(hatch)
    for side in (-1.0, 1.0):
        for y in np.arange(-long + 1.2, long - 0.6, rng.uniform(1.1, 1.7)):
            post = rectangle(
                (side * (wide + 0.005), y, tall * (split + 0.84) / 2),
                (0, side * 0.05, 0),
                (0, 0, tall * (0.84 - split) / 2),
            )
            body.patches.append(Patch(post, colour))
        body.patches.append(
            Patch(
                rectangle((side * wide * 0.7, long, 0.8), (-0.2, 0, 0), (0, 0, 0.12)),
                np.asarray([225.0, 232, 235]),
                glows=True,
            )
        )
        body.patches.append(
            Patch(
                rectangle((side * wide * 0.75, -long, 1.0), (0.15, 0, 0), (0, 0, 0.2)),
                np.asarray([40.0, 35, 150]),
                glows=True,
            )
        )
    return body


def truck(rng: Rng) -> Body:
    """A cab with a box, a tarpaulin, a flat bed or a tank; short or long."""
    long, wide, tall = rng.uniform(2.9, 7.5), rng.uniform(1.05, 1.28), rng.uniform(2.4, 3.8)
    cab = rng.uniform(1.7, 2.3)
    colour, cargo, glass = paint(rng), paint(rng), _glass(rng)
    body = Body("truck")
    cab_tall = min(tall, rng.uniform(2.2, 3.0))
    end = long - cab - rng.uniform(0.1, 0.4)
    kind = str(rng.choice(["box", "flat", "tank"], p=[0.7, 0.2, 0.1]))
    box = (-wide, -long, wide, end)
    if kind == "flat":
        load = cargo * rng.uniform(0.4, 0.9)
        body.solids.append(frustum(box, box, (0.7, 1.3), colour * 0.6, load, roundness=0))
        if rng.random() < 0.6:
            heap = (-wide * 0.85, -long * rng.uniform(0.4, 0.95), wide * 0.85, end * 0.8)
            body.solids.append(
                frustum(heap, heap, (1.3, rng.uniform(1.5, tall)), load, load * 1.1, roundness=rng.uniform(0, 0.5))
            )
    else:
        roundness = 0.5 if kind == "tank" else 0.0
        body.solids.append(
            frustum(box, box, (0.55, tall), cargo, cargo * rng.uniform(0.85, 1.1), roundness=roundness)
        )
    chassis = (-wide * 0.9, -long, wide * 0.9, long - 0.2)
    body.solids.insert(0, frustum(chassis, chassis, (0.3, 0.6), np.full(3, 40.0), np.full(3, 45.0), roundness=0))
    _cab(rng, body, (wide * 0.97, long - cab, long, cab_tall), colour, glass)
    return body


def _cab(rng: Rng, body: Body, size: tuple[float, float, float, float], colour: Floats, glass: Floats) -> None:
    wide, rear, front, tall = size
    low = (-wide, rear, wide, front)
    top = (-wide * 0.92, rear, wide * 0.92, front - rng.uniform(0.15, 0.5))
    body.solids.append(frustum(low, low, (0.4, tall * 0.55), colour, None, roundness=0.14, group=1, n=12))
    body.solids.append(frustum(low, top, (tall * 0.55, tall * 0.88), glass, None, roundness=0.14, group=1, n=12))
    body.solids.append(
        frustum(top, top, (tall * 0.88, tall), colour, colour * 1.05, roundness=0.14, group=1, n=12)
    )
    for side in (-1.0, 1.0):
        body.patches.append(
            Patch(
                rectangle((side * wide * 0.75, front, 0.75), (-0.18, 0, 0), (0, 0, 0.12)),
                np.asarray([225.0, 232, 235]),
                glows=True,
            )
        )


# --- people ------------------------------------------------------------------------------------------------------


def _torso(rng: Rng, body: Body, hip: tuple[float, float], y: float, lean: float, size: float) -> None:
    """Shoulders and head over `hip` = (height, half width), leaning forwards by `lean` metres."""
    height, half = hip
    shirt, skin = cloth(rng), np.asarray([110.0, 140, 190]) * rng.uniform(0.35, 1.15)
    shoulder = 0.23 * size
    top = height + 0.56 * size
    body.solids.append(
        frustum(
            (-half, y - 0.12, half, y + 0.12),
            (-shoulder, y + lean - 0.12, shoulder, y + lean + 0.12),
            (height, top),
            shirt,
            shirt * 1.05,
            roundness=0.6,
            n=10,
        )
    )
    hair = np.full(3, rng.uniform(10, 120)) if rng.random() < 0.75 else cloth(rng)
    head = (-0.09, y + lean - 0.07, 0.09, y + lean + 0.13)
    body.solids.append(frustum(head, head, (top, top + 0.16), skin, None, roundness=0.9, n=10))
    body.solids.append(
        frustum(
            head,
            (-0.06, y + lean - 0.05, 0.06, y + lean + 0.08),
            (top + 0.14, top + 0.27),
            hair,
            hair,
            roundness=0.9,
            n=10,
        )
    )
    for side in (-1.0, 1.0):
        hand = np.asarray([side * 0.26, y + lean * 0.5 + rng.uniform(-0.15, 0.25), height + 0.02])
        body.strokes.append(Stroke(np.stack([[side * shoulder, y + lean, top - 0.06], hand]), shirt * 0.9, 0.1))


def person(rng: Rng) -> Body:
    """Somebody who walks or stands, with a bag or an umbrella at times."""
    size = rng.uniform(0.72, 1.08) if rng.random() < 0.85 else rng.uniform(0.5, 0.72)
    body = Body("person")
    trousers, stride = cloth(rng), rng.uniform(0.0, 0.32)
    hip = 0.86 * size
    for side in (-1.0, 1.0):
        foot, x = side * stride, side * 0.09
        leg = (x - 0.08, foot - 0.1, x + 0.08, foot + 0.12)
        body.solids.append(
            frustum(leg, (x - 0.09, -0.1, x + 0.09, 0.1), (0.0, hip), trousers, None, roundness=0.5, n=8, group=0)
        )
    _torso(rng, body, (hip, 0.17 * size), 0.0, rng.uniform(-0.02, 0.08), size)
    if rng.random() < 0.2:
        side = rng.choice([-1.0, 1.0]) * 0.28
        bag = (side - 0.08, -0.2, side + 0.08, 0.15)
        body.solids.append(frustum(bag, bag, (hip - 0.35, hip + 0.1), cloth(rng), cloth(rng), roundness=0.2, n=8))
    if rng.random() < 0.05:
        shade, top = cloth(rng), 1.9 * size
        body.solids.append(
            frustum(
                (-0.5, -0.5, 0.5, 0.5),
                (-0.05, -0.05, 0.05, 0.05),
                (top, top + 0.25),
                shade,
                shade,
                roundness=1.0,
                n=10,
            )
        )
    return body


def bicycle(rng: Rng) -> Body:
    """A bicycle with who rides it."""
    return _two_wheeler(
        rng, Body("bicycle"), wheel=rng.uniform(0.3, 0.36), reach=rng.uniform(0.48, 0.56), thick=0.035
    )


def motorcycle(rng: Rng) -> Body:
    """A motorcycle or scooter with who rides it."""
    body = _two_wheeler(
        rng, Body("motorcycle"), wheel=rng.uniform(0.24, 0.32), reach=rng.uniform(0.55, 0.75), thick=0.12
    )
    tank = paint(rng)
    body.solids.insert(
        0,
        frustum(
            (-0.18, -0.75, 0.18, 0.6),
            (-0.13, -0.8, 0.13, 0.45),
            (0.35, 0.9),
            tank,
            tank * 0.5,
            roundness=0.6,
            n=10,
        ),
    )
    body.patches.append(
        Patch(rectangle((0, 0.85, 0.85), (-0.09, 0, 0), (0, 0, 0.09)), np.asarray([220.0, 235, 240]), glows=True)
    )
    body.patches.append(
        Patch(rectangle((0, -0.85, 0.75), (0.09, 0, 0), (0, 0, 0.06)), np.asarray([40.0, 35, 170]), glows=True)
    )
    return body


def _two_wheeler(rng: Rng, body: Body, *, wheel: float, reach: float, thick: float) -> Body:
    dark, frame = np.full(3, rng.uniform(10, 45)), paint(rng)
    for y in (-reach, reach):
        body.strokes.append(Stroke(ring((0, y, wheel), wheel), dark, max(thick, 0.04)))
    for points in (
        [(0, -reach, wheel), (0, -0.1, 0.85), (0, 0.4, 0.85), (0, 0.05, 0.3), (0, -0.1, 0.85)],
        [(0, 0.4, 0.85), (0, reach, wheel)],
        [(-0.28, 0.42, 1.02), (0.28, 0.42, 1.02)],
    ):
        body.strokes.append(Stroke(np.asarray(points, float), frame, max(thick, 0.04)))
    trousers = cloth(rng)
    for side in (-1.0, 1.0):
        knee = (side * 0.12, rng.uniform(0.1, 0.3), rng.uniform(0.55, 0.75))
        leg = np.asarray([(side * 0.1, -0.12, 0.92), knee, (side * 0.11, 0.05, 0.3)])
        body.strokes.append(Stroke(leg, trousers, 0.13))
    _torso(rng, body, (0.9, 0.16), -0.12, rng.uniform(0.05, 0.4), rng.uniform(0.85, 1.05))
    return body


# --- what only stands about --------------------------------------------------------------------------------------


def clutter(rng: Rng) -> Body:
    """Something that looks like nothing to be found: a bin, a box, a bollard, a sign, a tree, a hut."""
    kind = str(rng.choice(["box", "pole", "tree", "hut", "rail"], p=[0.3, 0.25, 0.25, 0.1, 0.1]))
    body = Body(None)
    colour = paint(rng) * rng.uniform(0.4, 1.0)
    if kind == "box":
        a, b, z = rng.uniform(0.15, 0.9), rng.uniform(0.15, 0.9), rng.uniform(0.2, 1.8)
        body.solids.append(
            frustum(
                (-a, -b, a, b),
                (-a * 0.95, -b * 0.95, a * 0.95, b * 0.95),
                (0, z),
                colour,
                colour * rng.uniform(0.7, 1.2),
                roundness=rng.choice([0.0, 0.3, 1.0]),
            )
        )
    elif kind == "pole":
        r, z = rng.uniform(0.04, 0.15), rng.uniform(0.8, 7)
        body.solids.append(frustum((-r, -r, r, r), (-r, -r, r, r), (0, z), colour, colour, roundness=1.0, n=8))
        if rng.random() < 0.5:
            plate = rectangle((0, 0.1, z * 0.9), (-rng.uniform(0.2, 0.7), 0, 0), (0, 0, rng.uniform(0.2, 0.5)))
            body.patches.extend([Patch(plate, paint(rng)), Patch(plate[::-1], colour)])
    elif kind == "tree":
        _tree(rng, body)
    elif kind == "hut":
        a, b = rng.uniform(1.0, 6.0), rng.uniform(1.0, 6.0)
        body.solids.append(
            frustum(
                (-a, -b, a, b),
                (-a, -b, a, b),
                (0, rng.uniform(2, 7)),
                colour,
                colour * rng.uniform(0.5, 1.1),
                roundness=0,
            )
        )
    else:
        body.solids.append(
            frustum(
                (-0.06, -4, 0.06, 4),
                (-0.06, -4, 0.06, 4),
                (0.3, rng.uniform(0.6, 1.2)),
                colour,
                colour,
                roundness=0,
            )
        )
    return body


def _tree(rng: Rng, body: Body) -> None:
    green = np.asarray([rng.uniform(20, 60), rng.uniform(50, 120), rng.uniform(30, 90)])
    tall, wide = rng.uniform(2.5, 7), rng.uniform(0.6, 2.4)
    body.solids.append(
        frustum(
            (-0.12, -0.12, 0.12, 0.12),
            (-0.1, -0.1, 0.1, 0.1),
            (0, tall * 0.5),
            np.asarray([40.0, 60, 75]),
            None,
            roundness=1.0,
            n=6,
        )
    )
    for _ in range(int(rng.integers(3, 8))):
        x, y, r = *rng.normal(0, wide * 0.35, 2), wide * rng.uniform(0.4, 0.8)
        z = tall * rng.uniform(0.35, 0.8)
        shade = green * rng.uniform(0.6, 1.3)
        body.solids.append(
            frustum(
                (x - r, y - r, x + r, y + r),
                (x - r * 0.5, y - r * 0.5, x + r * 0.5, y + r * 0.5),
                (z, z + r),
                shade,
                shade * 1.15,
                roundness=1.0,
                n=10,
            )
        )


MAKERS: dict[str, tuple[Callable[[Rng], Body], float]] = {
    "car": (car, 0.52),
    "truck": (truck, 0.11),
    "bus": (bus, 0.07),
    "motorcycle": (motorcycle, 0.08),
    "bicycle": (bicycle, 0.09),
    "person": (person, 0.13),
}
"""By class: what makes one, and how often it comes."""
