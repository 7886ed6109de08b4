"""The camera of a training scene: at (0, 0, height) over a flat ground, looking along +y and down."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.training.bodies import Floats, Rng

SUBPIXEL_BITS = 4
FAR_M = 130.0


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera.

    Attributes:
        axes: (3, 3) rows: right, up and ahead of the camera, in the world.
        reach_m: how far out things are still worth placing.
    """

    size_px: tuple[int, int]
    height_m: float
    pitch: float
    focal_px: float
    axes: Floats
    reach_m: float

    def project(self, points_m: Floats) -> tuple[Floats, Floats]:
        """(n, 3) in metres to (n, 2) in pixels, and the depth of each, (n,), in metres.

        What is less than 0.3 m before the camera has no place in the picture.
        """
        local = (points_m - np.asarray([0.0, 0.0, self.height_m])) @ self.axes.T
        depth = local[:, 2]
        safe = np.maximum(depth, 0.05)
        pixels = local[:, :2] * (self.focal_px / safe)[:, None]
        pixels *= (1.0, -1.0)
        pixels += (self.size_px[0] / 2, self.size_px[1] / 2)
        return pixels, depth

    def ground_at(self, x_px: float, y_px: float) -> Floats | None:
        """Where on the ground a pixel is, (2,) in metres; None for the sky."""
        ray = np.asarray(
            [(x_px - self.size_px[0] / 2) / self.focal_px, (self.size_px[1] / 2 - y_px) / self.focal_px, 1.0]
        )
        world = ray @ self.axes
        if world[2] > -1e-3:
            return None
        point = world[:2] * (self.height_m / -world[2])
        return np.asarray(point) if float(np.hypot(*point)) < self.reach_m else None

    def random_ground(self, rng: Rng) -> Floats | None:
        """A point of the ground in the picture or just beside it."""
        width, height = self.size_px
        return self.ground_at(rng.uniform(-0.08, 1.08) * width, rng.uniform(-0.08, 1.12) * height)

    def homography(self, metres_per_px: float) -> Floats:
        """(3, 3) from pixels of a map of the ground, centred below the camera, to the picture's."""
        right, up, ahead = self.axes
        columns = [
            np.asarray([axis[0] * metres_per_px, axis[1] * metres_per_px, -axis[2] * self.height_m])
            for axis in (right, up, ahead)
        ]
        width, height = self.size_px
        x = columns[0] * self.focal_px + columns[2] * width / 2
        y = -columns[1] * self.focal_px + columns[2] * height / 2
        return np.stack([x, y, columns[2]])


def random_view(rng: Rng, size_px: tuple[int, int]) -> View:
    """From straight above to street level."""
    kind = rng.choice(3, p=[0.33, 0.37, 0.3])
    if kind == 0:
        pitch, height = math.radians(rng.uniform(68, 90)), math.exp(rng.uniform(math.log(4.5), math.log(35)))
    elif kind == 1:
        pitch, height = math.radians(rng.uniform(25, 68)), math.exp(rng.uniform(math.log(4), math.log(20)))
    else:
        pitch, height = math.radians(rng.uniform(4, 25)), math.exp(rng.uniform(math.log(2.2), math.log(10)))
    wide = math.radians(rng.uniform(38, 95))
    focal_px = size_px[0] / 2 / math.tan(wide / 2)
    roll = math.radians(float(np.clip(rng.normal(0, 3), -10, 10)))
    ahead = np.asarray([0.0, math.cos(pitch), -math.sin(pitch)])
    up = np.asarray([0.0, math.sin(pitch), math.cos(pitch)])
    right = np.asarray([1.0, 0.0, 0.0])
    turned_right, turned_up = (
        math.cos(roll) * right + math.sin(roll) * up,
        math.cos(roll) * up - math.sin(roll) * right,
    )
    # A car is 1.5 m high; what is lower than five pixels is not worth drawing.
    reach_m = min(FAR_M, 1.5 * focal_px / 4.0)
    return View(size_px, height, pitch, focal_px, np.stack([turned_right, turned_up, ahead]), reach_m)


def fill(
    picture: NDArray[np.uint8], polygon: NDArray[Any], colour: tuple[float, ...], *, smooth: bool = True
) -> None:
    """Fill a convex polygon, (n, 2) in pixels."""
    cv2.fillConvexPoly(picture, fixed_point(polygon), colour, cv2.LINE_AA if smooth else cv2.LINE_8, SUBPIXEL_BITS)


def fixed_point(points_px: NDArray[Any]) -> NDArray[np.int32]:
    """Pixels as OpenCV's drawing takes them, with `SUBPIXEL_BITS` behind the point."""
    scaled = points_px * float(1 << SUBPIXEL_BITS)
    np.maximum(scaled, -48000, out=scaled)
    np.minimum(scaled, 80000, out=scaled)
    return scaled.astype(np.int32)


def fill_ground(picture: NDArray[np.uint8], view: View, polygon_m: Floats, colour: tuple[float, ...]) -> None:
    """Fill a convex polygon of the ground, (n, 2) in metres, as far as it is before the camera."""
    points = np.concatenate([polygon_m, np.zeros((len(polygon_m), 1))], axis=1)
    _, depth = view.project(points)
    near = 0.4
    kept: list[Floats] = []
    for i in range(len(points)):
        j = (i + 1) % len(points)
        if depth[i] >= near:
            kept.append(points[i])
        if (depth[i] >= near) != (depth[j] >= near):
            share = (near - depth[i]) / (depth[j] - depth[i])
            kept.append(points[i] + share * (points[j] - points[i]))
    if len(kept) >= 3:
        pixels, _ = view.project(np.stack(kept))
        fill(picture, pixels, colour)
