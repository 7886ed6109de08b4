"""Speeds over a calibrated ground: right where the camera is calibrated, and not told where nothing is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.counting import Pipeline
from edge_agent.domain.calibration import calibrate
from edge_agent.domain.crossing import Crossing
from edge_agent.domain.frames import Detections, Frame, Image
from edge_agent.domain.ground_points import GroundPoint
from edge_agent.domain.shapes import Line
from edge_agent.domain.speed import SpeedMeter
from edge_agent.domain.tracking import Tracker
from edge_agent.drivers.detectors.onnx import load_detector
from edge_agent.drivers.sim.render import Camera, Look, Renderer
from edge_agent.drivers.sim.traffic import BUS, CAR, TRUCK, VAN, Kind, Vehicle
from tests.traffic import detections

Floats = NDArray[np.float64]

SIZE = (640, 360)
ROAD = Look(
    height_m=10.0, pitch_deg=30.0, focal_px=420.0, ambient=1.0, night=False, noise_levels=2.2, road_half_m=7.7,
    stop_m=None,
)  # fmt: skip
ABOVE = replace(ROAD, height_m=24.0, pitch_deg=90.0, focal_px=480.0)


@dataclass(frozen=True)
class Drive:
    """A vehicle that is at the line at `at_s`."""

    kind: Kind
    speed_mps: float
    heading: float
    at_s: float


@dataclass(frozen=True)
class Place:
    """A camera, where it is calibrated and where counted, and how far the street goes."""

    look: Look
    line_m: float
    far_m: tuple[float, float]
    calibrated_m: tuple[float, ...]

    @property
    def ground_points(self) -> list[GroundPoint]:
        camera = Camera(self.look, SIZE)
        return [(*camera.ground(x, y), x, y) for y in self.calibrated_m for x in (-6.0, 6.0)]

    @property
    def line(self) -> Line:
        _, y = Camera(self.look, SIZE).ground(0.0, self.line_m)
        return Line("line", ((0.0, y), (640.0, y)))

    def vehicles(self, drives: list[Drive], t_s: float) -> list[Vehicle]:
        found = []
        for number, drive in enumerate(drives):
            y_m = self.line_m + drive.heading * drive.speed_mps * (t_s - drive.at_s)
            if self.far_m[0] < y_m < self.far_m[1]:
                x_m = 1.9 * drive.heading
                found.append(Vehicle(number, drive.kind, 0, x_m, y_m, drive.heading, False, 7 * number + 1))
        return found


STREET = Place(ROAD, 16.0, (-6.0, 55.0), (11.0, 20.0, 40.0))
YARD = Place(ABOVE, 0.0, (-20.0, 20.0), (-7.0, 2.0, 7.0))


class Pictures:
    """The street as the camera sees it; the empty one first, so that motion knows it."""

    def __init__(self, place: Place, drives: list[Drive], fps: float) -> None:
        renderer = Renderer(place.look, (), SIZE, seed=3)
        self.shown: list[tuple[float, Image]] = []
        for number in range(int((drives[-1].at_s + 2) * fps)):
            t_s = number / fps
            vehicles = place.vehicles(drives, t_s)
            if vehicles or t_s < 1 or any(abs(t_s - drive.at_s) < 2 for drive in drives):
                self.shown.append((t_s, renderer.draw(vehicles, t_s)))

    def counted(self, place: Place, every: int) -> list[Crossing]:
        pipeline = Pipeline(
            load_detector("motion", classes=None, score_threshold=0.2, threads=1), [place.line], [],
            ground_points=place.ground_points,
        )  # fmt: skip
        crossings = []
        for number, (t_s, image) in enumerate(self.shown[::every]):
            crossings += pipeline.process(Frame(image, t_s, number)).crossings
        return crossings + pipeline.finish(t_s).crossings


def errors(crossings: list[Crossing], drives: list[Drive]) -> Floats:
    """Share by which each speed is off."""
    assert len(crossings) == len(drives)
    pairs = zip(sorted(crossings, key=lambda one: one.t_s), drives, strict=True)
    return np.asarray([one.speed_mps / drive.speed_mps - 1 for one, drive in pairs if one.speed_mps is not None])


DRIVES = [
    Drive(CAR, 8.0, -1.0, 5.0), Drive(TRUCK, 11.0, 1.0, 10.0),
    Drive(CAR, 18.0, -1.0, 14.0), Drive(VAN, 14.0, 1.0, 17.5),
]  # fmt: skip


def test_speeds_of_a_rendered_street_at_30_10_and_5_pictures_a_second() -> None:
    pictures = Pictures(STREET, DRIVES, 30.0)
    for every in (1, 3, 6):
        off = errors(pictures.counted(STREET, every), DRIVES)
        assert len(off) == len(DRIVES)
        assert np.median(np.abs(off)) < 0.04, every
        assert np.abs(off).max() < 0.12, every


def test_straight_from_above_what_is_tall_seems_faster_by_its_share_of_the_cameras_height() -> None:
    drives = [Drive(CAR, 9.0, -1.0, 3.0), Drive(BUS, 12.0, 1.0, 7.0), Drive(CAR, 14.0, 1.0, 11.0)]
    crossings = Pictures(YARD, drives, 10.0).counted(YARD, 1)
    off = errors(crossings, drives)
    assert len(off) == 3
    heights_m = np.asarray([drive.kind.height_m for drive in drives])
    assert (off > -0.03).all()
    assert (off < heights_m / ABOVE.height_m + 0.03).all()
    lengths = [one.length_m for one in sorted(crossings, key=lambda one: one.t_s)]
    for length_m, drive in zip(lengths, drives, strict=True):
        assert length_m is not None
        too_long = drive.kind.height_m / (ABOVE.height_m - drive.kind.height_m)
        assert -0.05 < length_m / drive.kind.length_m - 1 < too_long + 0.1, drive


def projected(place: Place, vehicle: Vehicle) -> tuple[float, ...]:
    """Its box in the picture, x1, y1, x2, y2, cut by the picture's edge."""
    half, long, tall = vehicle.kind.width_m / 2, vehicle.kind.length_m / 2, vehicle.kind.height_m
    corners = [
        (vehicle.x_m + dx * half, vehicle.y_m + dy * long, z)
        for dx in (-1, 1)
        for dy in (-1, 1)
        for z in (0.0, tall)
    ]
    points = Camera(place.look, SIZE).project(np.asarray(corners))
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return tuple(np.clip(box, 0, np.asarray([*SIZE, *SIZE])).tolist())


class Boxes:
    """A detector whose pictures are numbers of frames: it sees each vehicle's box, jittered, and misses some."""

    class_names = ("car", "truck", "bus", "motorcycle", "person")

    def __init__(self, place: Place, drives: list[Drive], fps: float) -> None:
        self._place, self._drives, self._fps = place, drives, fps
        self._random = np.random.default_rng(8)
        self._number = 0

    def detect(self, image: Image) -> Detections:
        boxes = list(self._seen(self._number / self._fps))
        self._number += 1
        return detections(boxes, [0.8] * len(boxes), ["car"] * len(boxes))

    def _seen(self, t_s: float) -> Iterator[tuple[float, ...]]:
        for vehicle in self._place.vehicles(self._drives, t_s):
            box = np.asarray(projected(self._place, vehicle))
            size = np.sqrt(max(0.0, (box[2] - box[0]) * (box[3] - box[1])))
            if size > 8 and self._random.random() > 0.1:
                moved = box + self._random.normal(0, 0.02 * size, 4)
                yield tuple(np.clip(moved, 0, np.asarray([*SIZE, *SIZE])).tolist())

    def close(self) -> None:
        pass


@pytest.mark.parametrize("fps", [30.0, 10.0, 5.0])
def test_speeds_of_jittering_boxes(fps: float) -> None:
    random = np.random.default_rng(2)
    drives = [
        Drive((CAR, TRUCK, VAN)[n % 3], float(random.uniform(3, 20)), (-1.0) ** n, 10.0 + 9 * n) for n in range(14)
    ]
    detector = Boxes(STREET, drives, fps)
    pipeline = Pipeline(detector, [STREET.line], [], ground_points=STREET.ground_points)
    crossings, image = [], np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for number in range(int(fps * (drives[-1].at_s + 12))):
        crossings += pipeline.process(Frame(image, number / fps, number)).crossings
    off = errors(crossings, drives)
    assert len(off) >= (10 if fps == 5 else 13), "the fast ones are seen twice only at 5 a second"
    assert np.median(np.abs(off)) < 0.05
    assert np.quantile(np.abs(off), 0.95) < 0.12


def meter(place: Place = STREET) -> SpeedMeter:
    return SpeedMeter(calibrate(place.ground_points, SIZE), SIZE)


def follow(speeds: SpeedMeter, boxes: Sequence[tuple[float, tuple[float, ...] | None]]) -> int:
    """Feed one vehicle; its track's id."""
    tracker, track = Tracker(), 0
    for t_s, box in boxes:
        found = detections([box] if box else [], [0.9] if box else [], ["car"] if box else [])
        tracks = tracker.update(found, t_s)
        speeds.update(tracks, found, t_s)
        track = int(tracks.ids[-1]) if len(tracks) else track
    return track


def drive_past(from_m: float, speed_mps: float, times: Floats) -> list[tuple[float, tuple[float, ...] | None]]:
    return [
        (float(t), projected(STREET, Vehicle(0, CAR, 0, 1.9, from_m + speed_mps * float(t), 1.0, False, 1)))
        for t in times
    ]


def test_a_speed_is_that_around_its_moment() -> None:
    speeds = meter()
    track = follow(speeds, drive_past(14.0, 5.0, np.arange(0, 3, 0.1)))
    assert speeds.speed_mps(track, 2.0) == pytest.approx(5.0, rel=0.02)
    assert speeds.speed_mps(track, 9.0) is None, "it was not seen then"
    assert speeds.speed_mps(track + 1, 2.0) is None, "there is no such track"


def test_who_stands_has_a_speed_of_nought() -> None:
    speeds = meter()
    track = follow(speeds, drive_past(16.0, 0.0, np.arange(0, 3, 0.1)))
    assert speeds.speed_mps(track, 2.0) == pytest.approx(0.0, abs=0.01)


def test_two_sightings_tell_nothing() -> None:
    speeds = meter()
    track = follow(speeds, drive_past(14.0, 5.0, np.asarray([0.0, 0.2])))
    assert speeds.speed_mps(track, 0.2) is None
    follow(speeds, drive_past(14.0, 5.0, np.asarray([0.0, 0.2, 0.4])))
    assert speeds.speed_mps(track, 0.2) is not None


@pytest.mark.parametrize("from_m", [60.0, 2.0])
def test_outside_of_the_calibrated_ground_nothing_is_told(from_m: float) -> None:
    speeds = meter()
    track = follow(speeds, drive_past(from_m, 1.0, np.arange(0, 2, 0.1)))
    assert speeds.speed_mps(track, 1.0) is None


def test_places_that_make_no_way_have_no_speed() -> None:
    """Two vehicles taken for one: its box is here, then there."""
    speeds = meter()
    one, two = (projected(STREET, Vehicle(0, CAR, 0, x, 15.0, 1.0, False, 1)) for x in (-2.5, 2.5))
    track = follow(speeds, [(0.3 * n, (one, two, two, one, one, two)[n]) for n in range(6)])
    assert speeds.speed_mps(track, 0.9) is None


def test_what_is_remembered_is_bounded() -> None:
    speeds, tracker = meter(), Tracker()
    box = projected(STREET, Vehicle(0, CAR, 0, 1.9, 16.0, 1.0, False, 1))
    for number in range(600):
        found = detections([box], [0.9], ["car"])
        speeds.update(tracker.update(found, number / 10), found, number / 10)
    (places,) = speeds._places.values()
    assert len(places) <= 42
    speeds.update(tracker.update(detections([], [], []), 70.0), detections([], [], []), 70.0)
    assert not speeds._places


def test_a_clock_that_jumps_back_begins_anew() -> None:
    speeds = meter()
    track = follow(speeds, drive_past(14.0, 5.0, np.arange(0, 3, 0.1)))
    none = detections([], [], [])
    speeds.update(Tracker().update(none, -100.0), none, -100.0)
    assert speeds.speed_mps(track, 2.0) is None


def across(place: Place, turned: float, speed_mps: float = 6.0) -> tuple[SpeedMeter, int]:
    """Drive a box of 4.4 m by 1.8 m, as seen from above, at an angle to the picture's rows."""
    camera, boxes = Camera(place.look, SIZE), []
    ahead = np.asarray([np.cos(turned), np.sin(turned)])
    for t_s in np.arange(0, 1.5, 0.1):
        middle = ahead * speed_mps * (t_s - 0.7)
        beside = np.asarray([-ahead[1], ahead[0]])
        corners = [middle + a * 2.2 * ahead + b * 0.9 * beside for a in (-1, 1) for b in (-1, 1)]
        points = camera.project(np.asarray([(*corner, 0.0) for corner in corners]))
        boxes.append((float(t_s), tuple(np.concatenate([points.min(axis=0), points.max(axis=0)]).tolist())))
    speeds = meter(place)
    return speeds, follow(speeds, boxes)


@pytest.mark.parametrize("turned", [0.0, np.pi / 2, np.pi])
def test_a_length_is_told_along_the_way(turned: float) -> None:
    speeds, track = across(YARD, turned)
    assert speeds.length_m(track, 0.7) == pytest.approx(4.4, abs=0.05)
    assert speeds.speed_mps(track, 0.7) == pytest.approx(6.0, rel=0.02)


def test_no_length_is_told_where_the_box_does_not_show_it() -> None:
    speeds, track = across(YARD, 0.7)
    assert speeds.speed_mps(track, 0.7) is not None
    assert speeds.length_m(track, 0.7) is None, "it drives askew"
    speeds, track = across(YARD, 0.0, speed_mps=0.2)
    assert speeds.length_m(track, 0.7) is None, "it hardly drives"
    low = meter(STREET)
    track = follow(low, drive_past(14.0, 5.0, np.arange(0, 3, 0.1)))
    assert low.length_m(track, 2.0) is None, "the camera sees its height"
