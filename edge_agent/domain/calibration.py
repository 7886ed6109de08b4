"""From pixels to metres on a flat ground: a homography through points that are known in both.

It is as good as the points are. With more than four the fit leaves errors, which are told; with exactly four it
passes through all of them whatever they are, and nobody knows. Outside of the points it is a guess: a small error
at the border grows fast towards the horizon. So what lies outside is not converted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.ground_points import LEAST, GroundPoint, check_ground_points

Floats = NDArray[np.float64]

MARGIN = 0.1
"""How far beyond the outermost points it is still trusted, as a share of their spread."""
_STEEP_DEG = 70.0
"""A camera that looks down on the middle of the points at this angle or more sees roofs rather than sides."""
_USUAL_FOCAL = 0.75
"""Focal length of a usual lens in picture widths. Only how steep the view is rests on it, and hardly so."""
_WORST_CONDITION = 1e7
_REFINEMENTS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted homography.

    Attributes:
        to_ground, to_picture: (3, 3), each the inverse of the other.
        hull_px: (k, 2) the outermost points, widened by the margin, in order around them.
        errors_px, errors_m: (n,) how far each point is from where the fit puts it; None where only four points
            were given, which any fit passes through.
        elevation_deg: how steeply the camera looks down on the middle of the points; 90 is straight down.
    """

    to_ground: Floats
    to_picture: Floats
    hull_px: Floats
    errors_px: Floats | None
    errors_m: Floats | None
    elevation_deg: float

    @property
    def steep(self) -> bool:
        """Whether boxes show vehicles from above: their middles stand for them, and not their lower ends."""
        return self.elevation_deg >= _STEEP_DEG

    def ground_m(self, points_px: Floats) -> Floats:
        """(..., 2) pixels as metres; NaN where the calibration does not cover."""
        return np.where(self.covers(points_px)[..., None], _mapped(self.to_ground, points_px), np.nan)

    def covers(self, points_px: Floats) -> NDArray[np.bool_]:
        """(...,) whether points, (..., 2), lie within the calibrated part of the picture. NaN does not."""
        starts = self.hull_px
        spans = np.roll(starts, -1, axis=0) - starts
        offsets = points_px[..., None, :] - starts
        return np.asarray((spans[:, 0] * offsets[..., 1] - spans[:, 1] * offsets[..., 0] >= 0).all(axis=-1))

    def in_words(self) -> str:
        """How good it is, for people."""
        if self.errors_px is None or self.errors_m is None:
            return "4 points: its error cannot be known; a fifth point would show it"
        worst = int(np.argmax(self.errors_px))
        return (
            f"{len(self.errors_px)} points, "
            f"mean error {_rms(self.errors_m):.2f} m ({_rms(self.errors_px):.1f} px), "
            f"worst at point {worst + 1}: {self.errors_m[worst]:.2f} m ({self.errors_px[worst]:.1f} px)"
        )


def calibrate(points: Sequence[GroundPoint], size_px: tuple[int, int]) -> Calibration:
    """Fit a homography.

    Args:
        size_px: width and height of the picture.

    Raises:
        ValueError: the points are wrong, or tell too little; with what to do about it.
    """
    check_ground_points(points)
    check_in_picture(points, size_px)
    table = np.asarray(points, np.float64)
    pixels, metres = table[:, :2], table[:, 2:]
    to_picture = _fit(metres, pixels)
    to_ground: Floats = np.linalg.inv(to_picture).astype(np.float64)
    _check_horizon(to_ground, pixels)
    hull_px = _widened(_hull(pixels), MARGIN)
    return Calibration(
        to_ground=to_ground,
        to_picture=to_picture,
        hull_px=_before_horizon(to_ground, hull_px, pixels),
        errors_px=_distances(_mapped(to_picture, metres), pixels) if len(points) > LEAST else None,
        errors_m=_distances(_mapped(to_ground, pixels), metres) if len(points) > LEAST else None,
        elevation_deg=_elevation_deg(to_ground, pixels.mean(axis=0), size_px),
    )


def check_in_picture(points: Sequence[GroundPoint], size_px: tuple[int, int]) -> None:
    """Refuse points of another picture.

    Raises:
        ValueError: naming the first.
    """
    width, height = size_px
    for number, (x, y, *_) in enumerate(points, start=1):
        if not (-1 <= x <= width + 1 and -1 <= y <= height + 1):
            raise ValueError(
                f"calibration: point {number} ({x:g}, {y:g}) is outside of the picture, which is {width}x{height}"
                "; take its pixels from a picture of this camera"
            )


def _fit(sources: Floats, targets: Floats) -> Floats:
    """The homography from `sources` to `targets` with the least squared error at the targets, both (n, 2).

    Both are shifted and scaled first, without which pixels of thousands and ones in the same equations lose most
    of their digits.
    """
    shrink, grow = _normaliser(sources), _normaliser(targets)
    a, b = _mapped(shrink, sources), _mapped(grow, targets)
    first = _linear(a, b)
    return np.linalg.inv(grow) @ _refined(first, a, b) @ shrink


def _normaliser(points: Floats) -> Floats:
    """Moves the points' middle to 0 and their mean distance from it to the square root of 2."""
    middle = points.mean(axis=0)
    scale = np.sqrt(2.0) / float(np.hypot(*(points - middle).T).mean())
    return np.asarray([[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1]])


def _linear(a: Floats, b: Floats) -> Floats:
    """The direct linear transform: least algebraic error."""
    one, zero = np.ones(len(a)), np.zeros(len(a))
    x, y = a.T
    u, v = b.T
    rows = [
        np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1),
        np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1),
    ]
    _, values, vectors = np.linalg.svd(np.concatenate(rows))
    # The second smallest of nine values tells whether there is one solution only.
    if values[0] > _WORST_CONDITION * values[7]:
        raise ValueError("calibration: the points tell too little; spread them over more of the picture")
    return np.asarray(vectors[-1].reshape(3, 3))


def _refined(first: Floats, a: Floats, b: Floats) -> Floats:
    """Least squared distance at `b`, by Gauss and Newton from `first`."""
    best = first / first[2, 2] if abs(first[2, 2]) > 1e-12 else first
    for _ in range(_REFINEMENTS):
        step, *_ = np.linalg.lstsq(_slopes(best, a), (b - _mapped(best, a)).T.ravel(), rcond=None)
        trial = best + np.append(step, 0.0).reshape(3, 3)
        if not _squared(trial, a, b) < _squared(best, a, b):
            break
        best = trial
    return best


def _slopes(h: Floats, a: Floats) -> Floats:
    """How the mapped points change with the first eight numbers of `h`, (2n, 8)."""
    x, y = a.T
    depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    u, v = _mapped(h, a).T
    zero, one = np.zeros(len(a)), np.ones(len(a))
    of_u = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1)
    of_v = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1)
    return np.concatenate([of_u / depth[:, None], of_v / depth[:, None]])


def _squared(h: Floats, a: Floats, b: Floats) -> float:
    return float(np.square(_mapped(h, a) - b).sum())


def _mapped(h: Floats, points: Floats) -> Floats:
    """(..., 2) through a homography."""
    moved = points @ h[:, :2].T + h[:, 2]
    depth = moved[..., 2:]
    return np.asarray(moved[..., :2] / np.where(np.abs(depth) < 1e-12, np.nan, depth))


def _depths(to_ground: Floats, points_px: Floats) -> Floats:
    """Positive before the horizon and negative beyond it, or the other way round; the same for all seen ground."""
    return np.asarray(points_px @ to_ground[2, :2] + to_ground[2, 2])


def _check_horizon(to_ground: Floats, pixels: Floats) -> None:
    depths = _depths(to_ground, pixels)
    if not ((depths > 0).all() or (depths < 0).all()):
        raise ValueError(
            "calibration: the horizon would pass between the points; check which metres belong to which pixels"
        )


def _before_horizon(to_ground: Floats, hull_px: Floats, pixels: Floats) -> Floats:
    """The hull, drawn in where its margin comes near the horizon: there a pixel is many metres."""
    middle = pixels.mean(axis=0)
    depths, least = _depths(to_ground, hull_px), np.abs(_depths(to_ground, pixels)).min() / 2
    at_middle = float(_depths(to_ground, middle))
    sign = np.sign(at_middle)
    share = np.clip((abs(at_middle) - least) / np.maximum(abs(at_middle) - sign * depths, 1e-12), 0.0, 1.0)
    share = np.where(sign * depths >= least, 1.0, share)
    return np.asarray(middle + share[:, None] * (hull_px - middle))


def _hull(points: Floats) -> Floats:
    """The convex hull, (k, 2), clockwise on the screen."""
    ordered = sorted(map(tuple, points.tolist()))
    return np.asarray([*_half_hull(ordered)[:-1], *_half_hull(ordered[::-1])[:-1]])


def _half_hull(ordered: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    chain: list[tuple[float, ...]] = []
    for point in ordered:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _widened(hull: Floats, margin: float) -> Floats:
    middle = hull.mean(axis=0)
    return np.asarray(middle + (1.0 + 2 * margin) * (hull - middle))


def _distances(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.hypot(*(a - b).T))


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _elevation_deg(to_ground: Floats, point_px: Floats, size_px: tuple[int, int]) -> float:
    """How steeply the camera looks down on a point, square pixels and a centred lens taken for granted."""
    width, height = size_px
    focal_px = _USUAL_FOCAL * width
    horizon = to_ground[2]
    upright = np.asarray([
        focal_px * horizon[0], focal_px * horizon[1],
        horizon[0] * width / 2 + horizon[1] * height / 2 + horizon[2],
    ])  # fmt: skip
    ray = np.asarray([point_px[0] - width / 2, point_px[1] - height / 2, focal_px])
    sine = abs(float(upright @ ray)) / float(np.linalg.norm(upright) * np.linalg.norm(ray))
    return float(np.degrees(np.arcsin(min(1.0, sine))))
