"""Draws what was found into a picture: for the video of `count --preview` and for the preview page alike.

Strokes and letters grow with the picture, so that they can be read at 320 and at 3840 pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image
from edge_agent.domain.shapes import Line, Zone
from edge_agent.domain.tracking import Tracks

Colour = tuple[int, int, int]
Floats = NDArray[np.float64]

_LINE: Colour = (60, 220, 255)
_IN: Colour = (238, 182, 108)
_OUT: Colour = (94, 163, 240)
_ZONE: Colour = (255, 180, 60)
_FLASH: Colour = (80, 255, 120)
_PLATE: Colour = (24, 24, 24)
_COLOURS: tuple[Colour, ...] = (
    (90, 200, 90),
    (230, 160, 70),
    (90, 140, 240),
    (200, 110, 200),
    (190, 190, 80),
    (110, 220, 220),
)
_TRAIL_S = 1.5
_FLASH_S = 0.4
_BASE_PX = 640.0
_ZONE_TINT = 0.22
_SMALL = 0.38


@dataclass(frozen=True, slots=True)
class Counts:
    """What stands beside lines and zones.

    Attributes:
        totals: in and out of each line until now.
        occupancy: how many are in each zone now.
        crossed: the lines that something crossed just now; they light up.
    """

    totals: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    occupancy: Mapping[str, int] = field(default_factory=dict)
    crossed: Sequence[str] = ()


class Painter:
    """Draws frame after frame; remembers short trails and which line lights up. Time is an argument."""

    def __init__(self, lines: Sequence[Line] = (), zones: Sequence[Zone] = ()) -> None:
        self._lines = tuple(lines)
        self._zones = tuple(zones)
        self._trails: dict[int, list[tuple[float, float, float]]] = {}
        self._flash_until_s: dict[str, float] = {}

    def note(self, tracks: Tracks, t_s: float) -> None:
        """Take in where the tracks are, for their trails. To be called with every frame, drawn or not."""
        for row in np.flatnonzero(tracks.seen):
            x1, _, x2, y2 = tracks.boxes_px[row].tolist()
            self._trails.setdefault(int(tracks.ids[row]), []).append((t_s, (x1 + x2) / 2, y2))
        for number, trail in list(self._trails.items()):
            trail[:] = [point for point in trail if t_s - _TRAIL_S <= point[0] <= t_s]
            if not trail:
                del self._trails[number]

    def paint(self, picture: Image, tracks: Tracks, t_s: float, counts: Counts, *, scale: float = 1.0) -> None:
        """Draw into `picture`, which is `scale` times as large as the frame that the tracks are of."""
        pen = _Pen(picture, scale)
        for name in counts.crossed:
            self._flash_until_s[name] = t_s + _FLASH_S
        for zone in self._zones:
            pen.area(np.asarray(zone.points_px, np.float64), _ZONE)
        self._tracks_of(pen, tracks)
        self._zones_of(pen, counts.occupancy)
        self._lines_of(pen, counts.totals, t_s)

    def _tracks_of(self, pen: "_Pen", tracks: Tracks) -> None:
        for number, trail in self._trails.items():
            pen.way(np.asarray([point[1:] for point in trail]), _colour_of(number), 0.75)
        rows = np.flatnonzero(tracks.seen).tolist()
        for row in rows:
            pen.box(tracks.boxes_px[row], _colour_of(tracks.ids[row]), 1.0 if tracks.confirmed[row] else 0.5)
        # Labels after all boxes, so that no box runs through one.
        for row in (row for row in rows if tracks.confirmed[row]):
            x1, y1, x2, _ = tracks.boxes_px[row].tolist()
            text = f"{tracks.class_names[int(tracks.class_ids[row])]} {tracks.ids[row]}"
            if pen.width_px(text, _SMALL) > 1.4 * (x2 - x1):
                text = str(tracks.ids[row])
            pen.label(text, (x1, y1), _colour_of(tracks.ids[row]), _SMALL, above=True)

    def _lines_of(self, pen: "_Pen", totals: Mapping[str, tuple[int, int]], t_s: float) -> None:
        for line in self._lines:
            points = np.asarray(line.points_px, np.float64)
            colour = _FLASH if t_s < self._flash_until_s.get(line.name, -np.inf) else _LINE
            pen.way(points, colour, 1.25, outlined=True)
            n_in, n_out = totals.get(line.name, (0, 0))
            middle, right = middle_and_right(points)
            pen.arrow(middle, right, _IN, f"in {n_in}")
            pen.arrow(middle, -right, _OUT, f"out {n_out}")
            # The name at its first end, away from the arrows in the middle.
            pen.label(line.name, tuple(points[0].tolist()), colour, 0.5, above=True)

    def _zones_of(self, pen: "_Pen", occupancy: Mapping[str, int]) -> None:
        for zone in self._zones:
            corners = np.asarray(zone.points_px, np.float64)
            place = corners[int(np.argmin(corners.sum(axis=1)))]
            pen.label(
                f"{zone.name}: {occupancy.get(zone.name, 0)}", tuple(place.tolist()), _ZONE, 0.5, above=False
            )


def middle_and_right(points: Floats) -> tuple[Floats, Floats]:
    """The middle of a line's longest piece, and the unit vector to its right there, which is `in`."""
    spans = np.diff(points, axis=0)
    longest = int(np.argmax((spans**2).sum(axis=1)))
    span = spans[longest]
    return points[longest] + span / 2, np.asarray([-span[1], span[0]]) / float(np.hypot(*span))


def fitted(picture: Image, width_px: int) -> tuple[Image, float]:
    """A copy no wider than `width_px`, and its scale."""
    height, width = picture.shape[:2]
    scale = min(1.0, width_px / width)
    if scale == 1.0:
        return picture.copy(), 1.0
    size = width_px, max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def as_jpeg(picture: Image, quality: int = 75) -> bytes:
    """The picture as a JPEG file."""
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(coded.data)


def draw_ways(picture: Image, ways: Sequence[Floats]) -> None:
    """Draw where vehicles went, each way (n, 2) with a dot at its end."""
    pen = _Pen(picture, 1.0)
    for number, way in enumerate(ways):
        pen.way(way, _colour_of(number), 0.6)
        pen.dot(way[-1], _colour_of(number))


def _colour_of(number: int) -> Colour:
    return _COLOURS[int(number) % len(_COLOURS)]


class _Pen:
    """Draws in the frame's own coordinates, with strokes that suit the picture's size."""

    def __init__(self, picture: Image, scale: float) -> None:
        self._picture = picture
        self._scale = scale
        height, width = picture.shape[:2]
        self._unit = max(0.6, max(width, height) / _BASE_PX)

    def stroke(self, weight: float) -> int:
        return int(max(1, round(weight * 1.6 * self._unit)))

    def _at(self, points: Floats) -> NDArray[np.int32]:
        # Far outside is as good as just outside, and fits OpenCV's integers.
        placed: NDArray[np.int32] = np.rint(np.clip(points * self._scale, -1e5, 1e5)).astype(np.int32)
        return placed

    def way(self, points: Floats, colour: Colour, weight: float, *, outlined: bool = False) -> None:
        placed = self._at(points)
        if outlined:
            width = self.stroke(weight) + 2 * self.stroke(0.5)
            cv2.polylines(self._picture, [placed], False, _PLATE, width, cv2.LINE_AA)
        cv2.polylines(self._picture, [placed], False, colour, self.stroke(weight), cv2.LINE_AA)

    def dot(self, place: Floats, colour: Colour) -> None:
        x, y = self._at(place).tolist()
        cv2.circle(self._picture, (x, y), self.stroke(2.0), colour, cv2.FILLED, cv2.LINE_AA)

    def box(self, box_px: Floats, colour: Colour, weight: float) -> None:
        (x1, y1), (x2, y2) = self._at(box_px.reshape(2, 2)).tolist()
        cv2.rectangle(self._picture, (x1, y1), (x2, y2), colour, self.stroke(weight))

    def area(self, corners: Floats, colour: Colour) -> None:
        placed = self._at(corners)
        left, top, width, height = cv2.boundingRect(placed)
        x, y = max(0, left), max(0, top)
        part = self._picture[y : max(0, top + height), x : max(0, left + width)]
        if part.size:
            # Only the part that it covers: a copy of a 4K picture for each zone would be slow.
            tint = part.copy()
            cv2.fillPoly(tint, [placed - (x, y)], colour)
            cv2.addWeighted(tint, _ZONE_TINT, part, 1 - _ZONE_TINT, 0, dst=part)
        cv2.polylines(self._picture, [placed], True, colour, self.stroke(0.75), cv2.LINE_AA)

    def arrow(self, start: Floats, way: Floats, colour: Colour, text: str) -> None:
        """From the line's middle to one side, with a text at its tip."""
        length = 26 * self._unit
        first, tip = start * self._scale, start * self._scale + length * way
        begin, end = np.rint(first).astype(int).tolist(), np.rint(tip).astype(int).tolist()
        for shade, weight in ((_PLATE, self.stroke(1.25) + 2 * self.stroke(0.5)), (colour, self.stroke(1.25))):
            cv2.arrowedLine(self._picture, begin, end, shade, weight, cv2.LINE_AA, tipLength=0.4)
        self._plate(text, tip + 14 * self._unit * way, colour, 0.55, centred=True)

    def label(self, text: str, place: tuple[float, ...], colour: Colour, size: float, *, above: bool) -> None:
        """A text above a place, or below it, to the right of it."""
        gap = self.stroke(1.0) + 2 * self._unit
        _, height = self._extent(text, size)
        x, y = place[0] * self._scale, place[1] * self._scale
        y += -gap - height / 2 if above else gap + height / 2
        self._plate(text, np.asarray([x, y]), colour, size, centred=False)

    def width_px(self, text: str, size: float) -> float:
        """How wide a text is, in px of the frame."""
        return self._extent(text, size)[0] / self._scale

    def _extent(self, text: str, size: float) -> tuple[int, int]:
        weight = self.stroke(0.5)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size * self._unit, weight)
        return width, height + below

    def _plate(self, text: str, place: Floats, colour: Colour, size: float, *, centred: bool) -> None:
        """A text on a dark plate, moved to where all of it is seen; `place` is its middle or its left end."""
        width, height = self._extent(text, size)
        pad = round(3 * self._unit)
        x = place[0] - (width / 2 if centred else 0)
        y = place[1] - height / 2
        x = round(min(max(pad, x), max(pad, self._picture.shape[1] - width - pad)))
        y = round(min(max(pad, y), max(pad, self._picture.shape[0] - height - pad)))
        # A plate, not an outline: OpenCV 5 draws thicker text wider.
        corner = (x + width + pad, y + height + pad // 2)
        cv2.rectangle(self._picture, (x - pad, y - pad // 2), corner, _PLATE, cv2.FILLED)
        base = y + height - round(0.24 * height)
        font, weight = cv2.FONT_HERSHEY_SIMPLEX, self.stroke(0.5)
        cv2.putText(self._picture, text, (x, base), font, size * self._unit, colour, weight, cv2.LINE_AA)
