"""Points whose place is known both in the picture and on the ground: what a camera is calibrated by.

On the ground: metres as on a map seen from above, x to the right and y ahead, from any origin. In the picture:
pixels, with y downwards.

Only the standard library is needed here, so that a configuration can be checked where numpy is not loaded.
"""

import math
from collections.abc import Sequence
from itertools import combinations

GroundPoint = tuple[float, float, float, float]
"""x_px, y_px, x_m, y_m."""
Place = tuple[float, float]

LEAST, MOST = 4, 32
_THIN = 0.03
"""A triangle that is lower than this share of its longest side is a line for our purposes."""
_SURE = 0.08
"""And one that is higher than this says for sure which way round it goes."""
_FAR_M = 1e5


def check_ground_points(points: Sequence[GroundPoint]) -> None:
    """Refuse points that tell no plane, or not this one.

    Raises:
        ValueError: which point, and what is to be done.
    """
    _check_numbers(points)
    _check_repeats(points)
    _check_spread(points)
    _check_turning(points)


def _check_numbers(points: Sequence[GroundPoint]) -> None:
    if not LEAST <= len(points) <= MOST:
        raise ValueError(f"a calibration needs {LEAST} to {MOST} points, not {len(points)}")
    for number, point in enumerate(points, start=1):
        if len(point) != 4 or not all(math.isfinite(value) for value in point):
            raise ValueError(f"point {number} must be four finite numbers: x_px, y_px, x_m, y_m")
        if max(abs(point[2]), abs(point[3])) > _FAR_M:
            raise ValueError(
                f"point {number} is more than {_FAR_M / 1000:g} km away; take an origin near the camera"
            )


def _check_repeats(points: Sequence[GroundPoint]) -> None:
    for (i, a), (j, b) in combinations(enumerate(points, start=1), 2):
        if math.dist(a[:2], b[:2]) < 1.0:
            raise ValueError(f"points {i} and {j} are the same in the picture; take away one, or move it")
        if math.dist(a[2:], b[2:]) < 0.01:
            raise ValueError(f"points {i} and {j} are the same on the ground; take away one, or measure it again")


def _check_spread(points: Sequence[GroundPoint]) -> None:
    """Four of the points must be corners of a figure of which no three lie on a line, in both worlds."""
    for where, places in (("in the picture", _pixels(points)), ("on the ground", _metres(points))):
        if all(_thickness(*three) < _THIN for three in combinations(places, 3)):
            raise ValueError(f"all points lie on one line {where}; add points beside it")
    if not any(_firm(four) for four in combinations(points, 4)):
        raise ValueError(
            "three of each four points lie on one line; give the corners of a figure with four, as large as the "
            "picture allows"
        )


def _firm(four: Sequence[GroundPoint]) -> bool:
    return all(
        _thickness(*_pixels(three)) >= _THIN and _thickness(*_metres(three)) >= _THIN
        for three in combinations(four, 3)
    )


def _check_turning(points: Sequence[GroundPoint]) -> None:
    """Seen from above, three points go round the same way as in the picture, once y is turned over."""
    wrong, n_sure = _wrong_triples(points)
    if not wrong:
        return
    if wrong == n_sure:
        raise ValueError(
            "the ground is mirrored: its points go round the other way than in the picture. x is to the right and "
            "y ahead, as on a map seen from above; give all y_m the other sign"
        )
    pairs = [
        (i, j) for i, j in combinations(range(len(points)), 2) if not _wrong_triples(_swapped(points, i, j))[0]
    ]
    if pairs:
        told = ", or ".join(f"{i + 1} and {j + 1}" for i, j in pairs[:3])
        raise ValueError(f"the points do not fit each other: their metres seem to be swapped, those of {told}")
    raise ValueError(
        "the points do not fit each other: some go round the other way on the ground than in the picture; check "
        "which metres belong to which pixels"
    )


def _wrong_triples(points: Sequence[GroundPoint]) -> tuple[int, int]:
    """How many triples turn the wrong way, of how many that tell."""
    wrong = sure = 0
    for three in combinations(points, 3):
        a, b, c = _pixels(three)
        d, e, f = _metres(three)
        if _thickness(a, b, c) >= _SURE and _thickness(d, e, f) >= _SURE:
            sure += 1
            wrong += (_cross(a, b, c) > 0) == (_cross(d, e, f) > 0)
    return wrong, sure


def _swapped(points: Sequence[GroundPoint], i: int, j: int) -> list[GroundPoint]:
    result = list(points)
    result[i] = (*points[i][:2], *points[j][2:])
    result[j] = (*points[j][:2], *points[i][2:])
    return result


def _thickness(a: Place, b: Place, c: Place) -> float:
    """Height of a triangle over its longest side, as a share of that."""
    longest = max(math.dist(a, b), math.dist(b, c), math.dist(a, c))
    return abs(_cross(a, b, c)) / longest**2 if longest else 0.0


def _cross(a: Place, b: Place, c: Place) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _pixels(points: Sequence[GroundPoint]) -> list[Place]:
    return [(point[0], point[1]) for point in points]


def _metres(points: Sequence[GroundPoint]) -> list[Place]:
    return [(point[2], point[3]) for point in points]
