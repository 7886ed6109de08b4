"""What a fixed camera sees when nothing is there, learned from its pictures.

A mixture of Gaussians forgets on one clock: slow, and a change of light makes objects of the whole street; fast,
and a queue at a red light melts into the road. So this model keeps the three things apart:

* **Light.** Each picture is related to the background by one gain and one offset per colour, fitted on the pixels
  that were background a moment ago. A camera that corrects its exposure when a white car drives in, or a cloud,
  changes nothing.
* **Learning.** Only what looks like background moves the background. A waiting car stays an object.
* **Mistakes.** What was in the first picture and drove away leaves a ghost, an object that never moves. It is told
  from a waiting car by its outline, which is an edge in the background and none in the picture, and is taken
  over at once. A real object that stands for very long, a parked car, becomes background in the end.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image

Mask = NDArray[np.uint8]
Floats = NDArray[np.float32]

DIMMED, OBJECT = 128, 255
"""What the pixels of a foreground are."""

_GHOST_INTERVAL = 5
"""Ghosts are looked for in every so many frames: it costs more than the rest, and they do not run away."""

_KERNEL = np.ones((3, 3), np.uint8)
_SAMPLE_STEP = 4
"""Every so many pixels, in both directions, one is used to fit the light."""


@dataclass(frozen=True, slots=True)
class BackgroundParams:
    """The model's figures.

    Attributes:
        learning_rate: share by which a background pixel follows the picture, per frame.
        min_contrast: smallest difference to the background, as a share of its level, that makes an object.
        difference_range: bounds of that, in levels of 0..255.
        noise_factor: the smallest difference also in the pixel's own mean deviation.
        shadow_ratios: a pixel that keeps its colour and is dimmed by a factor within these is in shadow.
        shadow_colour: how far the factors of the three colours of a shadow may differ.
        park_frames: after so many frames of standing still an object becomes background.
        ghost_frames, ghost_share: for so long so much of an area must stand still for its outline to be looked at.
        jump_share: with more foreground than this the light has changed in a way that cannot be fitted; the
            background is learned anew.
    """

    learning_rate: float = 0.03
    min_contrast: float = 0.16
    difference_range: tuple[float, float] = (7.0, 16.0)
    noise_factor: float = 4.5
    shadow_ratios: tuple[float, float] = (0.5, 0.96)
    shadow_colour: float = 0.08
    park_frames: int = 1800
    ghost_frames: int = 15
    ghost_share: float = 0.9
    jump_share: float = 0.6


class Background:
    """The background of pictures of one size. Not thread-safe."""

    def __init__(self, params: BackgroundParams | None = None) -> None:
        self._params = params or BackgroundParams()
        self._mean: Floats | None = None

    def foreground(self, image: Image) -> Mask:
        """Where the picture is not the background: `OBJECT`, `DIMMED` where a shadow would look the same, or 0.

        Args:
            image: (height, width, 3), of one size in all calls. In the first picture all is background.
        """
        now = _planes(np.asarray(cv2.GaussianBlur(image, (3, 3), 0), np.uint8))
        if self._mean is None:
            return self._learn_anew(now)
        self._follow_light(now)
        difference = np.abs(now - self._mean).max(axis=0)
        least = self._least_difference()
        differs = difference > least
        if np.count_nonzero(differs) > self._params.jump_share * differs.size:
            return self._learn_anew(now)
        levels = np.zeros(differs.shape, np.uint8)
        dimmed = self._in_shadow(now[:, differs], self._mean[:, differs])
        levels[differs] = np.where(dimmed, DIMMED, OBJECT)
        self._learn(now, difference, differs)
        self._watch_still(now, differs, least)
        return levels

    def _learn_anew(self, now: Floats) -> Mask:
        self._mean = now.copy()
        self._noise = np.full(now.shape[1:], 2.0, np.float32)
        self._differs = np.zeros(now.shape[1:], bool)
        self._still = np.zeros(now.shape[1:], np.int16)
        self._at_rest = now.copy()
        self._since_ghosts = 0
        return np.zeros(now.shape[1:], np.uint8)

    def _least_difference(self) -> Floats:
        """By how much each pixel must differ to be an object's, (height, width)."""
        assert self._mean is not None
        contrast = np.clip(self._mean.max(axis=0) * self._params.min_contrast, *self._params.difference_range)
        return np.asarray(np.maximum(contrast, self._params.noise_factor * self._noise), np.float32)

    def _follow_light(self, now: Floats) -> None:
        """Bring the background to the light of this picture."""
        assert self._mean is not None
        step = _SAMPLE_STEP
        usable = ~self._differs[::step, ::step]
        if np.count_nonzero(usable) < 50:
            return
        before, after = self._mean[:, ::step, ::step][:, usable], now[:, ::step, ::step][:, usable]
        fits = [_fit_light(x, y) for x, y in zip(before, after, strict=True)]
        gains, offsets = np.asarray(fits, np.float32).T[:, :, None, None]
        self._mean *= gains
        self._mean += offsets
        np.clip(self._mean, 0, 255, out=self._mean)

    def _in_shadow(self, now: Floats, background: Floats) -> NDArray[np.bool_]:
        """For pixels given as (3, n) each."""
        ratios = (now + 1) / (background + 1)
        low, high = ratios.min(axis=0), ratios.max(axis=0)
        darkest, lightest = self._params.shadow_ratios
        shadow: NDArray[np.bool_] = (low > darkest) & (high < lightest) & (high - low < self._params.shadow_colour)
        return shadow

    def _learn(self, now: Floats, difference: Floats, differs: NDArray[np.bool_]) -> None:
        assert self._mean is not None
        rate = np.where(differs, np.float32(0), np.float32(self._params.learning_rate))
        self._mean += rate * (now - self._mean)
        self._noise += rate * (difference - self._noise)
        self._differs = differs

    def _watch_still(self, now: Floats, differs: NDArray[np.bool_], least: Floats) -> None:
        """Count for how long each foreground pixel has not changed; take over ghosts, and what is parked."""
        assert self._mean is not None
        # Against the picture in which the pixel came to rest: a slow bus changes little from one to the next.
        rests = differs & (np.abs(now - self._at_rest).max(axis=0) < least)
        self._still = np.where(rests, self._still + np.int16(1), np.int16(0))
        np.copyto(self._at_rest, now, where=~rests)
        if int(self._still.max()) < self._params.ghost_frames:
            return
        taken = self._still >= self._params.park_frames
        self._since_ghosts += 1
        if self._since_ghosts >= _GHOST_INTERVAL:
            self._since_ghosts = 0
            taken |= self._ghosts(now, differs)
        if taken.any():
            self._mean[:, taken] = now[:, taken]
            self._still[taken] = 0

    def _ghosts(self, now: Floats, differs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Areas that stand still as a whole and whose outline is an edge in the background but not in the picture.

        The inside of a long bus does not change either while it drives by; its ends do.
        """
        assert self._mean is not None
        areas = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, _KERNEL)
        n, labels, stats, _ = cv2.connectedComponentsWithStats(areas, connectivity=8)
        long_still = self._still >= self._params.ghost_frames
        still_px = np.bincount(labels.ravel(), long_still.ravel(), minlength=n)
        ghosts = np.zeros(differs.shape, bool)
        for number in range(1, n):
            x, y, width, height, area_px = (int(value) for value in stats[number])
            if still_px[number] < self._params.ghost_share * area_px:
                continue
            window = np.s_[..., max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4]
            area = (labels[window] == number).astype(np.uint8)
            if _contrast_across(self._mean[window], area) > 1.5 * _contrast_across(now[window], area):
                ghosts[window] |= area > 0
        return ghosts


def _planes(image: Image) -> Floats:
    """(height, width, 3) bytes to (3, height, width) floats."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


def _fit_light(before: Floats, after: Floats) -> tuple[float, float]:
    """Gain and offset with `after = gain * before + offset`, not led astray by some pixels that changed.

    A least-squares fit is repeated without the pixels that it explains worst. Where the background has no contrast
    to fit a gain to, the median ratio decides.
    """
    ratio = float(np.median((after + 1) / (before + 1)))
    gain, offset = ratio, 0.0
    for _ in range(3):
        error = np.abs(gain * before + offset - after)
        good = error <= max(2.0, 2.0 * float(np.median(error)))
        x, y = before[good], after[good]
        spread = float(x.var())
        if spread < 25.0:
            return ratio, 0.0
        gain = float(((x - x.mean()) * (y - y.mean())).mean()) / spread
        offset = float(y.mean() - gain * x.mean())
    return (gain, offset) if 0.2 < gain < 5.0 else (ratio, 0.0)


def _contrast_across(picture: Floats, area: Mask) -> float:
    """How much the picture changes from just inside to just outside of an area's outline, in levels.

    Edges that run across the outline, as kerbs and markings do, are on both sides and do not matter.
    """
    outline = (cv2.dilate(area, _KERNEL) != area) | (cv2.erode(area, _KERNEL) != area)
    inside = _local_mean(picture, area.astype(np.float32))
    outside = _local_mean(picture, (1 - area).astype(np.float32))
    change = np.abs(inside - outside).max(axis=0)[outline]
    return float(np.nanmean(change)) if np.isfinite(change).any() else 0.0


def _local_mean(picture: Floats, weights: Floats) -> Floats:
    """Mean of the pixels around each pixel that `weights` picks, (3, height, width); NaN where it picks none."""
    size = (5, 5)
    total = cv2.boxFilter(weights, -1, size, normalize=False)
    sums = np.stack([cv2.boxFilter(plane * weights, -1, size, normalize=False) for plane in picture])
    return np.asarray(np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0.5), np.float32)
