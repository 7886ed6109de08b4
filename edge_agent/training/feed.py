"""Pictures for training: drawn by all cores without end, kept in a ring on the device, changed anew each time.

Drawing is slower than learning. So each picture is used several times, mirrored, zoomed, moved and recoloured.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from edge_agent.training.scenes import Drawn, scenes
from edge_agent.training.street import street_pictures

MOST_TRUTHS = 48
NOTHING, IGNORED = -2, -1
_STREET_SHARE = 0.12
_FILL = 114
_BATCH = 16


class Pictures(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Pictures of one worker: uint8 (3, h, w), boxes (m, 4), classes (m,) with `NOTHING` where there are fewer."""

    def __init__(self, seed: int, size_px: tuple[int, int]) -> None:
        self._seed, self._size_px = seed, size_px

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        seed = self._seed * 1000 + (worker.id if worker else 0)
        for drawn in mixed(seed, self._size_px):
            yield as_tensors(drawn)


def mixed(seed: int, size_px: tuple[int, int]) -> Iterator[Drawn]:
    """Scenes drawn at random, and now and then a street of the simulator. Without end."""
    rng = np.random.default_rng([seed, 7])
    at_random = scenes(seed, size_px)
    while True:
        if rng.random() < _STREET_SHARE:
            for drawn in street_pictures(rng, size_px):
                yield drawn
                yield from (next(at_random) for _ in range(round(1 / _STREET_SHARE) - 1))
        else:
            yield next(at_random)


def as_tensors(drawn: Drawn) -> tuple[Tensor, Tensor, Tensor]:
    boxes = torch.zeros(MOST_TRUTHS, 4)
    kinds = torch.full((MOST_TRUTHS,), NOTHING, dtype=torch.int64)
    n = min(MOST_TRUTHS, len(drawn.class_ids))
    boxes[:n] = torch.from_numpy(drawn.boxes_px[:n]).float()
    kinds[:n] = torch.from_numpy(drawn.class_ids[:n])
    return torch.from_numpy(np.ascontiguousarray(drawn.image.transpose(2, 0, 1))), boxes, kinds


@dataclass(frozen=True, slots=True)
class Batch:
    """`pictures` (b, 3, h, w) float 0..255, `truth` (b, m, 4) in pixels, `kinds` (b, m)."""

    pictures: Tensor
    truth: Tensor
    kinds: Tensor


class Ring:
    """The latest pictures, filled by a thread from worker processes."""

    def __init__(
        self, seed: int, size_px: tuple[int, int], device: torch.device, *, room: int, workers: int
    ) -> None:
        width, height = size_px
        self._pictures = torch.zeros((room, 3, height, width), dtype=torch.uint8, device=device)
        self._truth = torch.zeros((room, MOST_TRUTHS, 4), device=device)
        self._kinds = torch.full((room, MOST_TRUTHS), NOTHING, dtype=torch.int64, device=device)
        self._room, self.drawn = room, 0
        self._loader = DataLoader(
            Pictures(seed, size_px),
            batch_size=_BATCH,
            num_workers=workers,
            prefetch_factor=4,
            persistent_workers=True,
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="pictures", daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        for pictures, truth, kinds in self._loader:
            if self._over.is_set():
                return
            places = torch.arange(self.drawn, self.drawn + len(pictures)) % self._room
            self._pictures[places] = pictures.to(self._pictures.device)
            self._truth[places] = truth.to(self._truth.device)
            self._kinds[places] = kinds.to(self._kinds.device)
            self.drawn += len(pictures)

    def sample(self, n: int) -> Batch:
        """Some of them, as they are."""
        places = torch.randint(min(self.drawn, self._room), (n,), device=self._pictures.device)
        return Batch(self._pictures[places].float(), self._truth[places], self._kinds[places])

    def close(self) -> None:
        """Draw no more."""
        self._over.set()


def varied(batch: Batch) -> Batch:
    """Mirrored, zoomed, moved, recoloured and with a filled edge, as a letterbox leaves one. Boxes follow."""
    pictures, truth, kinds = batch.pictures, batch.truth, batch.kinds
    n, _, height, width = pictures.shape
    device = pictures.device
    flip = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    zoom = torch.exp(torch.empty(n, device=device).uniform_(-0.45, 0.4))
    zoom = torch.where(torch.rand(n, device=device) < 0.3, torch.ones_like(zoom), zoom)
    room = (1 - 1 / zoom).abs()
    shift = (torch.rand(n, 2, device=device) * 2 - 1) * room[:, None]
    maps = torch.zeros(n, 2, 3, device=device)
    maps[:, 0, 0], maps[:, 1, 1] = flip / zoom, 1 / zoom
    maps[:, :, 2] = shift
    grid = functional.affine_grid(maps, [n, 3, height, width], align_corners=False)
    moved = functional.grid_sample(pictures - _FILL, grid, align_corners=False) + _FILL
    # A target pixel u shows the source pixel (flip * u + shift * zoom) / zoom, both in -1..1.
    scale = torch.tensor([width, height], device=device)
    corners = truth.view(n, -1, 2, 2) / scale * 2 - 1
    corners = (corners - shift[:, None, None]) * zoom[:, None, None, None]
    corners[..., 0] *= flip[:, None, None]
    corners = (corners + 1) / 2 * scale
    boxes = torch.cat([corners.amin(2), corners.amax(2)], -1)
    return _edged(_recoloured(moved), boxes, kinds)


def _recoloured(pictures: Tensor) -> Tensor:
    n, device = len(pictures), pictures.device
    gain = torch.exp(torch.randn(n, 1, 1, 1, device=device) * 0.15 + torch.randn(n, 3, 1, 1, device=device) * 0.03)
    grain = torch.randn_like(pictures) * (torch.rand(n, 1, 1, 1, device=device) * 4)
    return (pictures * gain + torch.randn(n, 1, 1, 1, device=device) * 8 + grain).clamp(0, 255)


def _edged(pictures: Tensor, boxes: Tensor, kinds: Tensor) -> Batch:
    """Cut boxes at the edge of the picture; what is hardly there any more is to be ignored."""
    n, _, height, width = pictures.shape
    chance = torch.rand(n, device=pictures.device)
    right = torch.where(chance < 0.15, float(width * 0.82), float(width))
    bottom = torch.where(chance > 0.45, float(height * 0.914), float(height))
    x, y = torch.arange(width, device=pictures.device), torch.arange(height, device=pictures.device)
    outside = (x[None, None, None] >= right[:, None, None, None]) | (
        y[None, None, :, None] >= bottom[:, None, None, None]
    )
    pictures = torch.where(outside, torch.full_like(pictures, _FILL), pictures)
    whole = (boxes[..., 2:] - boxes[..., :2]).prod(-1).clamp(min=1e-6)
    limits = torch.stack([right, bottom], -1)[:, None]
    cut = torch.cat([boxes[..., :2].clamp(min=0).minimum(limits), boxes[..., 2:].clamp(min=0).minimum(limits)], -1)
    sides = cut[..., 2:] - cut[..., :2]
    gone = sides.amin(-1) < 1.5
    weak = (sides.prod(-1) < 0.25 * whole) | (sides.amin(-1) < 4.0)
    kinds = torch.where((kinds >= 0) & weak, IGNORED, kinds)
    return Batch(pictures, cut, torch.where(gone, NOTHING, kinds))
