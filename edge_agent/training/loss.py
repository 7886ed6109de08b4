"""Which cell answers for which object, and how wrong the answers are.

Each object is given to the cells that already tell it best (task-aligned assignment); objectness learns how good
the box is, so that a score means something. Cells inside objects to be ignored are not blamed.
"""

import torch
from torch import Tensor
from torch.nn import functional

_BEST = 9
_RADIUS_CELLS = 2.5


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes x1, y1, x2, y2 that broadcast, (..., 4) -> (...)."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1) + (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return shared / (areas - shared + 1e-6)


def distance_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - IoU, and how far the middles are apart as a share of what holds both boxes: (n, 4) x 2 -> (n,)."""
    low, high = torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])
    reach = ((high - low) ** 2).sum(-1) + 1e-6
    apart = (((a[:, :2] + a[:, 2:]) - (b[:, :2] + b[:, 2:])) ** 2).sum(-1) / 4
    return 1 - overlap(a, b) + apart / reach


def to_boxes(outputs: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """(b, n, 4) in pixels from a network's outputs (b, n, 5 + classes)."""
    middle = (outputs[..., :2] + corners) * strides
    half = outputs[..., 2:4].clamp(max=5.0).exp() * strides / 2
    return torch.cat([middle - half, middle + half], -1)


@torch.no_grad()
def assign(
    boxes: Tensor, logits: Tensor, truth: Tensor, kinds: Tensor, corners: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Give objects to cells.

    Args:
        boxes: (b, n, 4) proposed.
        logits: (b, n, 1 + classes): objectness and classes.
        truth: (b, m, 4), kinds: (b, m): class; -1 to be ignored, -2 nothing.

    Returns:
        owner: (b, n) index of the object that each cell answers for, or -1.
        quality: (b, n) what its objectness ought to be.
        excused: (b, n) not to be blamed for finding something.
    """
    middles = (corners + 0.5) * strides
    x, y = middles[None, :, None, 0], middles[None, :, None, 1]
    inside = (
        (x > truth[:, None, :, 0])
        & (x < truth[:, None, :, 2])
        & (y > truth[:, None, :, 1])
        & (y < truth[:, None, :, 3])
    )
    excused = (inside & (kinds == -1)[:, None]).any(-1)
    centre = (truth[..., :2] + truth[..., 2:])[:, None] / 2
    near = ((middles[None, :, None] - centre).abs() < _RADIUS_CELLS * strides[None, :, None]).all(-1)
    holds = ((middles[None, :, None] - centre).abs() <= 0.5 * strides[None, :, None]).all(-1)
    allowed = ((inside & near) | holds) & (kinds >= 0)[:, None]
    told = overlap(boxes[:, :, None], truth[:, None])
    chances = logits.float().sigmoid()
    named = chances[..., 1:].gather(2, kinds.clamp(min=0)[:, None].expand(-1, boxes.shape[1], -1))
    metric = (chances[..., :1] * named).clamp(min=1e-6).sqrt() * told**4 * allowed + 1e-9 * allowed
    best = metric.topk(_BEST, dim=1).values[:, -1:]
    chosen = allowed & (metric >= best) & (metric > 0)
    fit = torch.where(chosen, told + 1e-6, 0)
    quality, owner = fit.max(-1)
    peak = metric.amax(1, keepdim=True).clamp(min=1e-9)
    fine = told.amax(1, keepdim=True).where(kinds[:, None] >= 0, 0)
    wanted = (metric / peak * fine).gather(2, owner[..., None])[..., 0]
    owner = torch.where(quality > 0, owner, -1)
    return owner, torch.where(owner >= 0, wanted, 0), excused & (owner < 0)


def loss(
    outputs: Tensor, truth: Tensor, kinds: Tensor, corners: Tensor, strides: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole loss of a batch, and its parts."""
    outputs = outputs.float()
    boxes = to_boxes(outputs, corners, strides)
    owner, quality, excused = assign(boxes.detach(), outputs[..., 4:].detach(), truth, kinds, corners, strides)
    mine = owner >= 0
    total = quality.sum().clamp(min=1.0)
    objectness = outputs[..., 4]
    focus = torch.where(mine, 1.0, 0.75 * objectness.detach().sigmoid() ** 2) * ~excused
    weight = torch.where(mine, quality.clamp(min=0.05) * 1.5, focus)
    found = (
        functional.binary_cross_entropy_with_logits(objectness, quality, reduction="none") * weight
    ).sum() / total
    targets = truth.gather(1, owner.clamp(min=0)[..., None].expand(-1, -1, 4))[mine]
    placed = (distance_loss(boxes[mine], targets) * quality[mine]).sum() / total
    names = functional.one_hot(
        kinds.gather(1, owner.clamp(min=0))[mine].clamp(min=0), outputs.shape[-1] - 5
    ).float()
    named = functional.binary_cross_entropy_with_logits(outputs[..., 5:][mine], names, reduction="none").sum(-1)
    named = (named * quality[mine]).sum() / total
    return found + 4.0 * placed + 0.7 * named, {
        "found": found.detach(),
        "placed": placed.detach(),
        "named": named.detach(),
    }
