"""A video of what was counted: boxes with their tracks, lines with their counts, zones with what is in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from edge_agent.counting import FrameResult
from edge_agent.domain.frames import Frame, Image
from edge_agent.domain.shapes import Line, Zone
from edge_agent.drivers.base import DriverError
from edge_agent.preview.drawing import Counts, Painter


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
        self._painter = Painter(lines, zones)
        self._writer: cv2.VideoWriter | None = None
        self._first: tuple[Image, float] | None = None

    def add(
        self,
        frame: Frame,
        result: FrameResult,
        totals: Mapping[str, tuple[int, int]],
        occupancy: Mapping[str, int],
    ) -> None:
        """Draw one frame. `totals`: in and out of each line until now; `occupancy`: of each zone now."""
        picture = frame.image.copy()
        crossed = [crossing.line for crossing in result.crossings]
        self._painter.note(result.tracks, frame.t_s)
        self._painter.paint(picture, result.tracks, frame.t_s, Counts(totals, occupancy, crossed))
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
