"""A car that stops in a rendered yard while others pass, by way of the whole pipeline."""

import numpy as np
import pytest

from edge_agent.counting import Pipeline
from edge_agent.domain.frames import Frame
from edge_agent.domain.shapes import Zone
from edge_agent.drivers.detectors.onnx import load_detector
from edge_agent.drivers.sim.render import Camera, Look, Renderer
from edge_agent.drivers.sim.traffic import BUS, CAR, Vehicle

SIZE = (640, 360)
ABOVE = Look(
    height_m=24.0, pitch_deg=90.0, focal_px=480.0, ambient=1.0, night=False, noise_levels=2.2, road_half_m=7.6,
    stop_m=None,
)  # fmt: skip
ARRIVES_S, STANDS_S = 4.0, 14.0


def _vehicles(t_s: float) -> list[Vehicle]:
    """One comes, stands in the middle, and goes; a bus and a car pass beside it meanwhile."""
    parked_m = float(np.interp(t_s, [1, ARRIVES_S, ARRIVES_S + STANDS_S, 21], [-16, 0, 0, 16]))
    found = [Vehicle(0, CAR, 0, 5.0, parked_m, 1.0, False, 3)] if 1 < t_s < 21 else []
    for number, (kind, at_s) in enumerate(((BUS, 9.0), (CAR, 14.0)), start=1):
        y_m = -8.0 * (t_s - at_s)
        if abs(y_m) < 18:
            found.append(Vehicle(number, kind, 0, -2.0, y_m, -1.0, False, 5 * number))
    return found


@pytest.mark.parametrize("fps", [10, 5])
def test_a_car_that_parks_is_told_from_those_that_pass(fps: int) -> None:
    renderer, camera = Renderer(ABOVE, (), SIZE, seed=2), Camera(ABOVE, SIZE)
    corners = [camera.ground(x, y) for x, y in ((-6, 5), (8, 5), (8, -5), (-6, -5))]
    zone = Zone("yard", tuple(corners), capacity=1, parked_after_s=5.0)
    pipeline = Pipeline(load_detector("motion", classes=None, score_threshold=0.2, threads=1), [], [zone])
    visits, most, most_standing = [], 0, 0
    for number in range(24 * fps):
        t_s = number / fps
        visits += pipeline.process(Frame(renderer.draw(_vehicles(t_s), t_s), t_s, number)).visits_ended
        (now,) = pipeline.zones_now(t_s)
        most, most_standing = max(most, now.n), max(most_standing, now.n_standing)
    visits += pipeline.finish(t_s).visits_ended
    assert len(visits) == 3
    parked = max(visits, key=lambda visit: visit.to_s - visit.from_s)
    assert parked.stood_s == pytest.approx(STANDS_S, abs=1.0)
    assert parked.from_s == pytest.approx(1 + 3 * 11 / 16, abs=0.4)
    assert [visit.stood_s for visit in visits if visit is not parked] == [0.0, 0.0]
    assert (most, most_standing) == (2, 1)
