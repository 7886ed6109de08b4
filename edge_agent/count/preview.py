"""A video of what was counted: boxes with their tracks, lines with their counts, zones with what is in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_agent.counting import FrameResult
from edge_agent.domain.frames import Frame, Image
from edge_agent.domain.shapes import Line, Zone
from edge_agent.domain.tracking import Track
from edge_agent.drivers.base import DriverError

Colour = tuple[int, int, int]
_LINE: Colour = (60, 220, 255)
_ZONE: Colour = (255, 180, 60)
_FLASH: Colour = (80, 255, 120)
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


class PreviewVideo:
    """Writes an .mp4. The rate of its pictures is that of the source."""

    def __init__(self, path: Path, lines: Sequence[Line], zones: Sequence[Zone]) -> None:
        """
        Raises:
            DriverError: the file cannot be written, or is no .mp4.
        """
        if path.suffix.lower() != ".mp4":
            raise DriverError(f"the preview {path} must end in .mp4")
        if not path.parent.is_dir():
            raise DriverError(f"there is no folder {path.parent} for the preview")
        self._path = path
        self._lines = tuple(lines)
        self._zones = tuple(zones)
        self._writer: cv2.VideoWriter | None = None
        self._first: tuple[Image, float] | None = None
        self._trails: dict[int, list[tuple[float, tuple[int, int]]]] = {}
        self._flash_until_s: dict[str, float] = {}

    def add(
        self,
        frame: Frame,
        result: FrameResult,
        totals: Mapping[str, tuple[int, int]],
        occupancy: Mapping[str, int],
    ) -> None:
        """Draw one frame. `totals`: in and out of each line until now; `occupancy`: of each zone now."""
        picture = frame.image.copy()
        for crossing in result.crossings:
            self._flash_until_s[crossing.line] = frame.t_s + _FLASH_S
        self._draw_zones(picture, occupancy)
        self._draw_tracks(picture, [track for track in result.tracks if track.seen], frame.t_s)
        self._draw_lines(picture, totals, frame.t_s)
        self._write(picture, frame.t_s)

    def close(self) -> None:
        """Finish the file."""
        if self._first is not None:
            self._open(self._first[0], 25.0)
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _write(self, picture: Image, t_s: float) -> None:
        if self._writer is not None:
            self._writer.write(picture)
        elif self._first is None:
            self._first = (picture, t_s)
        else:
            # Only the second picture tells the rate.
            self._open(self._first[0], 1 / max(1e-3, t_s - self._first[1]))
            self._write(picture, t_s)

    def _open(self, first: Image, fps: float) -> None:
        height, width = first.shape[:2]
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._path), fourcc, min(240.0, max(0.5, fps)), (width, height))
        if not writer.isOpened():
            raise DriverError(f"the preview {self._path} cannot be written")
        writer.write(first)
        self._writer, self._first = writer, None

    def _draw_tracks(self, picture: Image, tracks: Sequence[Track], t_s: float) -> None:
        for track in tracks:
            x1, y1, x2, y2 = (round(value) for value in track.box_px)
            colour = _COLOURS[track.id % len(_COLOURS)]
            cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2 if track.confirmed else 1)
            if track.confirmed:
                _label(picture, f"{track.cls} {track.id}", (x1, y1 - 3), colour)
            self._trails.setdefault(track.id, []).append((t_s, ((x1 + x2) // 2, y2)))
        self._draw_trails(picture, t_s)

    def _draw_trails(self, picture: Image, t_s: float) -> None:
        for number, trail in list(self._trails.items()):
            trail[:] = [point for point in trail if t_s - point[0] <= _TRAIL_S]
            if not trail:
                del self._trails[number]
                continue
            points = np.asarray([place for _, place in trail], np.int32)
            cv2.polylines(picture, [points], False, _COLOURS[number % len(_COLOURS)], 1, cv2.LINE_AA)

    def _draw_lines(self, picture: Image, totals: Mapping[str, tuple[int, int]], t_s: float) -> None:
        for line in self._lines:
            colour = _FLASH if t_s < self._flash_until_s.get(line.name, -1.0) else _LINE
            points = np.asarray(line.points_px, np.float64)
            cv2.polylines(picture, [np.rint(points).astype(np.int32)], False, colour, 2, cv2.LINE_AA)
            _draw_in_arrow(picture, points, colour)
            n_in, n_out = totals[line.name]
            x, y = _inside(picture, points.min(axis=0) + np.asarray([8, -8]))
            _label(picture, f"{line.name}  in {n_in}  out {n_out}", (x, y), colour, scale=0.55)

    def _draw_zones(self, picture: Image, occupancy: Mapping[str, int]) -> None:
        for zone in self._zones:
            corners = np.rint(np.asarray(zone.points_px)).astype(np.int32)
            tint = picture.copy()
            cv2.fillPoly(tint, [corners], _ZONE)
            cv2.addWeighted(tint, 0.2, picture, 0.8, 0, dst=picture)
            cv2.polylines(picture, [corners], True, _ZONE, 1, cv2.LINE_AA)
            x, y = _inside(picture, corners.min(axis=0) + np.asarray([6, 18]))
            _label(picture, f"{zone.name}  {occupancy.get(zone.name, 0)}", (x, y), _ZONE, scale=0.55)


def _draw_in_arrow(
    picture: Image, points: np.ndarray[tuple[int, ...], np.dtype[np.float64]], colour: Colour
) -> None:
    """An arrow across the middle of the line's longest piece, the way that counts as `in`."""
    spans = np.diff(points, axis=0)
    longest = int(np.argmax((spans**2).sum(axis=1)))
    middle = points[longest] + spans[longest] / 2
    right = np.asarray([-spans[longest][1], spans[longest][0]]) / float(np.hypot(*spans[longest]))
    start, end = (tuple(int(v) for v in np.rint(place)) for place in (middle, middle + 22 * right))
    cv2.arrowedLine(picture, start, end, colour, 2, cv2.LINE_AA, tipLength=0.4)


def _inside(picture: Image, place: Sequence[float]) -> tuple[int, int]:
    """The same place, moved so that a label there can be read."""
    height, width = picture.shape[:2]
    return min(max(2, int(place[0])), max(2, width - 160)), min(max(14, int(place[1])), height - 4)


def _label(picture: Image, text: str, place: tuple[int, int], colour: Colour, scale: float = 0.4) -> None:
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x, y = place
    # A plate, not an outline: OpenCV 5 draws thicker text wider.
    cv2.rectangle(picture, (x - 2, y - height - 2), (x + width + 2, y + below), (24, 24, 24), cv2.FILLED)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
