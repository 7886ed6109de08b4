"""What comes between a scene and a picture: air, water, glass, a sensor, a codec."""

import math

import cv2
import numpy as np

from edge_agent.domain.frames import Image
from edge_agent.training.bodies import Rng


def through_sensor(rng: Rng, picture: Image, *, night: bool) -> Image:
    """The picture as a cheap outdoor camera gives it."""
    if rng.random() < 0.12:
        picture = _rain(rng, picture)
    if rng.random() < 0.12:
        picture = _fog(rng, picture)
    picture = _optics(rng, picture)
    picture = _exposure(rng, picture)
    picture = _noise(rng, picture, night=night)
    if rng.random() < 0.6:
        ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(22, 92))])
        if ok:
            picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture


def _rain(rng: Rng, picture: Image) -> Image:
    height, width = picture.shape[:2]
    drops = np.zeros((height, width), np.uint8)
    slant, long = rng.normal(0, 0.25), rng.uniform(4, 22)
    for x, y in rng.uniform(0, 1, (int(rng.integers(40, 350)), 2)) * [width, height]:
        cv2.line(
            drops,
            (int(x), int(y)),
            (int(x + slant * long), int(y + long)),
            int(rng.integers(25, 110)),
            1,
            cv2.LINE_AA,
        )
    for x, y in rng.uniform(0, 1, (int(rng.integers(0, 8)), 2)) * [width, height]:
        # Drops on the glass blur what is behind them.
        r = int(rng.integers(3, 14))
        x1, y1 = max(0, int(x) - r), max(0, int(y) - r)
        part = picture[y1 : int(y) + r, x1 : int(x) + r]
        if part.size:
            picture[y1 : int(y) + r, x1 : int(x) + r] = cv2.GaussianBlur(part, (0, 0), r / 2.5)
    return np.asarray(cv2.add(picture, cv2.merge([drops] * 3)), np.uint8)


def _fog(rng: Rng, picture: Image) -> Image:
    height = picture.shape[0]
    grey = rng.uniform(140, 230)
    thick = np.linspace(rng.uniform(0.25, 0.85), rng.uniform(0.0, 0.3), height)[:, None, None]
    return np.asarray(picture * (1 - thick) + grey * thick, np.uint8)


def _optics(rng: Rng, picture: Image) -> Image:
    height, width = picture.shape[:2]
    if rng.random() < 0.35:
        share = rng.uniform(0.4, 0.95)
        small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if rng.random() < 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.5)), np.uint8)
    if rng.random() < 0.12:
        picture = _shaken(rng, picture)
    if rng.random() < 0.2:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = np.asarray(cv2.addWeighted(picture, 1 + (a := rng.uniform(0.3, 1.3)), soft, -a, 0), np.uint8)
    if rng.random() < 0.25:
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        falloff = 1 - rng.uniform(0.1, 0.5) * (x * x + y * y) / 2
        picture = np.asarray(picture * falloff[..., None], np.uint8)
    return picture


def _shaken(rng: Rng, picture: Image) -> Image:
    n = int(rng.choice([3, 5, 7]))
    kernel = np.zeros((n, n), np.float32)
    angle = rng.uniform(0, math.pi)
    c, r = n // 2, n / 2
    cv2.line(
        kernel,
        (int(c - r * math.cos(angle)), int(c - r * math.sin(angle))),
        (int(c + r * math.cos(angle)), int(c + r * math.sin(angle))),
        1.0,
    )
    return np.asarray(cv2.filter2D(picture, -1, kernel / max(kernel.sum(), 1)), np.uint8)


def _exposure(rng: Rng, picture: Image) -> Image:
    values = np.arange(256) / 255
    gain = math.exp(rng.normal(0.05, 0.22))
    gamma = math.exp(rng.normal(0, 0.22))
    lift = rng.normal(0, 0.04)
    table = np.stack(
        [np.clip((values * gain * math.exp(rng.normal(0, 0.03))) ** gamma + lift, 0, 1) for _ in range(3)], axis=1
    )
    lit = cv2.LUT(picture, (table * 255).astype(np.uint8)[None])
    if rng.random() < 0.08:
        grey = cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY)
        return np.asarray(cv2.merge([grey] * 3), np.uint8)
    if rng.random() < 0.3:
        hsv = cv2.cvtColor(lit, cv2.COLOR_BGR2HSV)
        hsv[..., 1] = cv2.convertScaleAbs(hsv[..., 1], alpha=rng.uniform(0.2, 1.2))
        lit = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return np.asarray(lit, np.uint8)


def _noise(rng: Rng, picture: Image, *, night: bool) -> Image:
    level = abs(rng.normal(0, 7.0 if night else 3.5))
    if level < 0.5:
        return picture
    channels = 3 if rng.random() < 0.6 else 1
    grain = rng.standard_normal((*picture.shape[:2], channels), np.float32) * np.float32(level)
    grain = np.ascontiguousarray(np.broadcast_to(grain, picture.shape))
    return np.asarray(cv2.add(picture, grain, dtype=cv2.CV_8U), np.uint8)
