"""Training pictures of the simulator that ships, with other cameras, light and traffic than its own scenes.

`sim:road`, `sim:overhead` and `sim:night` themselves are never trained on: they are what the model is tried on.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from edge_agent.drivers.sim.render import Look, Renderer
from edge_agent.drivers.sim.traffic import BUS, CAR, MOTORCYCLE, TRUCK, VAN, Lane, Traffic
from edge_agent.training.bodies import CLASSES, Rng
from edge_agent.training.scenes import MIN_SIDE_PX, Drawn
from edge_agent.training.sensor import through_sensor

_KINDS = (CAR, VAN, BUS, TRUCK, MOTORCYCLE)
_SIZE_PX = (640, 360)
_PER_STREET = 12
_SPAN_S = 100.0
_FIRST_SEED = 1000


def street_pictures(rng: Rng, size_px: tuple[int, int]) -> Iterator[Drawn]:
    """Some pictures of one street, shrunk to (width, height) from the top left."""
    look = _random_look(rng)
    straight_down = look.pitch_deg > 75
    lanes = _lanes(rng, straight_down)
    seed = int(rng.integers(_FIRST_SEED, 2**31))
    traffic, renderer = Traffic(lanes, seed), Renderer(look, lanes, _SIZE_PX, seed)
    plain = rng.random() < 0.6
    for t_s in 100.0 + rng.uniform(0, _SPAN_S, _PER_STREET):
        vehicles = traffic.vehicles(t_s)
        picture = renderer.draw(vehicles, t_s)
        boxes = renderer.boxes_px(vehicles)
        kinds = np.asarray([CLASSES.index(vehicle.kind.cls) for vehicle in vehicles], np.int64)
        inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1) if len(boxes) else np.zeros(0, bool)
        drawn = _shrunk(Drawn(picture, boxes[inside], kinds[inside]), size_px)
        yield (
            drawn
            if plain
            else Drawn(through_sensor(rng, drawn.image, night=look.night), drawn.boxes_px, drawn.class_ids)
        )


def _shrunk(drawn: Drawn, size_px: tuple[int, int]) -> Drawn:
    height, width = drawn.image.shape[:2]
    scale = min(size_px[0] / width, size_px[1] / height)
    inner = (int(width * scale), int(height * scale))
    image = np.full((size_px[1], size_px[0], 3), 114, np.uint8)
    image[: inner[1], : inner[0]] = cv2.resize(drawn.image, inner, interpolation=cv2.INTER_AREA)
    boxes = drawn.boxes_px * scale
    small = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) < MIN_SIDE_PX
    return Drawn(image, boxes, np.where(small, -1, drawn.class_ids))


def _random_look(rng: Rng) -> Look:
    night = rng.random() < 0.3
    down = rng.random() < 0.4
    pitch_deg = rng.uniform(80, 90) if down else rng.uniform(18, 50)
    return Look(
        height_m=rng.uniform(12, 40) if down else rng.uniform(6, 16),
        pitch_deg=pitch_deg,
        focal_px=rng.uniform(320, 620),
        ambient=rng.uniform(0.2, 0.4) if night else rng.uniform(0.6, 1.1),
        night=night,
        noise_levels=rng.uniform(0.5, 4.5),
        road_half_m=7.7,
        stop_m=None if down or rng.random() < 0.4 else rng.uniform(30, 50),
    )


def _lanes(rng: Rng, straight_down: bool) -> tuple[Lane, ...]:
    lanes = []
    for x_m, way in ((-5.6, -1), (-1.9, -1), (1.9, 1), (5.6, 1)):
        near, far = (-40.0, 40.0) if straight_down else (-3.0, rng.uniform(70, 110))
        start, end = (far, near) if way < 0 else (near, far)
        busy = rng.uniform(4, 14)
        lanes.append(Lane(x_m + rng.normal(0, 0.3), start, end, rng.uniform(7, 15), (busy * 0.5, busy), _KINDS))
    return tuple(lanes) if rng.random() < 0.8 else tuple(lanes[:: math.ceil(rng.uniform(0.5, 2))])
