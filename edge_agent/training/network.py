"""The bundled network: depthwise separable convolutions, three scales, outputs in YOLOX's terms.

About a quarter of a million weights. Only what runs fast everywhere: convolutions, ReLU, nearest upsampling.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
_WIDTHS = (16, 40, 80, 128, 160)
_NECK = 72
_CAUTION = 1.75
"""Power of the scores: what the network tells at 0.5 comes out at 0.3, where the tracker begins to believe. In
pictures held back, 87 % of what is found at 0.5 is right; at 0.3 it is half of it."""


def _conv(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out, momentum=0.03, eps=1e-3),
        nn.ReLU(inplace=True),
    )


class Separable(nn.Module):
    """A depthwise convolution and a pointwise one, with a way around both where the shapes allow it."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.deep = _conv(n_in, n_in, kernel, stride, groups=n_in)
        self.wide = _conv(n_in, n_out, 1)
        self.around = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.wide(self.deep(x))
        return x + y if self.around else y


def _stage(n_in: int, n_out: int, kernel: int, more: int) -> nn.Sequential:
    return nn.Sequential(
        Separable(n_in, n_out, kernel, 2), *(Separable(n_out, n_out, kernel) for _ in range(more))
    )


class StreetNet(nn.Module):
    """Pictures (b, 3, h, w), BGR 0..255, to (b, cells, 5 + classes): x, y, w, h in cells, objectness, classes.

    Sides of the picture are multiples of 32. Cells go row by row, the finest scale first. In training, objectness
    and class scores are logits; else probabilities.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        stem, first, second, third, fourth = _WIDTHS
        self.stem = nn.Sequential(_conv(3, stem, 3, 2), _stage(stem, first, 3, 1))
        self.fine = _stage(first, second, 5, 2)
        self.middle = _stage(second, third, 5, 3)
        self.coarse = _stage(third, fourth, 5, 2)
        self.sides = nn.ModuleList(_conv(n, _NECK, 1) for n in (second, third, fourth))
        self.down = nn.ModuleList(Separable(_NECK, _NECK, 5) for _ in range(2))
        self.shrink = nn.ModuleList(_conv(_NECK, _NECK, 5, 2, groups=_NECK) for _ in range(2))
        self.up = nn.ModuleList(Separable(_NECK, _NECK, 5) for _ in range(2))
        self.places = nn.ModuleList(
            nn.Sequential(Separable(_NECK, _NECK, 5), Separable(_NECK, _NECK, 5)) for _ in STRIDES
        )
        self.kinds = nn.ModuleList(
            nn.Sequential(Separable(_NECK, _NECK, 5), Separable(_NECK, _NECK, 3)) for _ in STRIDES
        )
        self.boxes = nn.ModuleList(nn.Conv2d(_NECK, 5, 1) for _ in STRIDES)
        self.classes = nn.ModuleList(nn.Conv2d(_NECK, n_classes, 1) for _ in STRIDES)
        # To begin with: in the middle of the cell, three cells wide and high, and hardly ever there.
        first_guess = torch.tensor([0.5, 0.5, 1.1, 1.1, -4.6])
        for layer in self.boxes:
            layer.bias.data.copy_(first_guess)

    def forward(self, pictures: Tensor) -> Tensor:
        c8 = self.fine(self.stem(pictures * (1 / 64) - 2))
        c16 = self.middle(c8)
        levels = self._mixed(c8, c16, self.coarse(c16))
        rows = []
        for i, level in enumerate(levels):
            placed = self.boxes[i](self.places[i](level))
            named = self.classes[i](self.kinds[i](level))
            if not self.training:
                placed = torch.cat([placed[:, :4], placed[:, 4:].sigmoid() ** _CAUTION], 1)
                named = named.sigmoid() ** _CAUTION
            rows.append(torch.cat([placed, named], 1).flatten(2))
        return torch.cat(rows, 2).transpose(1, 2)

    def _mixed(self, c8: Tensor, c16: Tensor, c32: Tensor) -> Sequence[Tensor]:
        """Each scale told of the others: coarse to fine, then back."""
        p8, p16, p32 = (side(level) for side, level in zip(self.sides, (c8, c16, c32), strict=True))
        p16 = self.down[0](p16 + nn.functional.interpolate(p32, scale_factor=2.0))
        p8 = self.down[1](p8 + nn.functional.interpolate(p16, scale_factor=2.0))
        p16 = self.up[0](p16 + self.shrink[0](p8))
        p32 = self.up[1](p32 + self.shrink[1](p16))
        return p8, p16, p32


def cells(width_px: int, height_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Top left corner (n, 2) of each cell in cells of its own scale, and its stride (n, 1)."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height_px // stride), torch.arange(width_px // stride), indexing="ij")
        grid = torch.stack([x, y], -1).reshape(-1, 2)
        corners.append(grid)
        strides.append(torch.full((len(grid), 1), stride))
    return torch.cat(corners).float().to(device), torch.cat(strides).float().to(device)
