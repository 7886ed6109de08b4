"""Many lines and many points at once: what the counter asks of geometry in every frame."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.geometry import signed_distance_px
from edge_agent.domain.shapes import Anchor, Line, Point

Floats = NDArray[np.float64]


class LineSet:
    """Lines as arrays. Results have a row per line and a column per point."""

    def __init__(self, lines: Sequence[Line], frame_size_px: tuple[int, int]) -> None:
        self.lines = tuple(lines)
        starts = np.array([line.points_px[0] for line in lines], np.float64).reshape(-1, 2)
        spans = np.array([line.points_px[1] for line in lines], np.float64).reshape(-1, 2) - starts
        lengths = np.hypot(spans[:, 0], spans[:, 1])
        self._normals = np.stack([-spans[:, 1] / lengths, spans[:, 0] / lengths])[..., None]
        self._offsets = (starts.T[..., None] * self._normals).sum(axis=0)
        self._bent = [i for i, line in enumerate(lines) if len(line.points_px) > 2]
        width_px, height_px = frame_size_px
        corners = np.array([(0, 0), (width_px, 0), (width_px, height_px), (0, height_px)], np.float64)
        distances = self.distances_px(corners[None])
        self.room_px = np.maximum(np.stack([-distances.min(axis=1), distances.max(axis=1)]), 1.0)[..., None]
        """(2, lines, 1): how far the picture reaches on the negative and on the positive side of each line."""

    def pick(self, points_px: Mapping[Anchor, Floats]) -> Floats:
        """For each line the points of its anchor, (lines, n, 2)."""
        if len(self.lines) == 1:
            return points_px[self.lines[0].anchor][None]
        return np.stack([points_px[line.anchor] for line in self.lines])

    def distances_px(self, points_px: Floats) -> Floats:
        """Signed distance of each point from its line, (lines, n), of points (lines or 1, n, 2)."""
        result: Floats = points_px[..., 0] * self._normals[0]
        result += points_px[..., 1] * self._normals[1]
        result -= self._offsets
        for i in self._bent:
            result[i] = signed_distance_px(self.lines[i], points_px[i % len(points_px)])
        return result

    def middle_and_reach_px(self, line: int, box_px: Sequence[float]) -> tuple[float, float]:
        """Signed distance of a box's middle from a line, and how far the box reaches from there across it."""
        x1, y1, x2, y2 = box_px
        normal_x, normal_y = float(self._normals[0, line, 0]), float(self._normals[1, line, 0])
        reach_px = (abs(normal_x) * (x2 - x1) + abs(normal_y) * (y2 - y1)) * 0.5
        x, y = (x1 + x2) * 0.5, (y1 + y2) * 0.5
        if line in self._bent:
            return float(signed_distance_px(self.lines[line], np.array([[x, y]]))[0]), reach_px
        return x * normal_x + y * normal_y - float(self._offsets[line, 0]), reach_px

    def across(self, line: int, vector_px: Point) -> float:
        """How far a move goes across the first piece of a line, positive towards its positive side."""
        return float(vector_px[0] * self._normals[0, line, 0] + vector_px[1] * self._normals[1, line, 0])
