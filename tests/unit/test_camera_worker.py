"""What a camera process tells of turns, speeds and zones, from the settings to the records."""

import contextlib
from collections import Counter
from datetime import date
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from common.codes import Direction, GapReason, Via
from common.records import Count, Frames, Gap, Occupancy
from edge_agent.cameras.jobs import camera_job
from edge_agent.cameras.messages import Beat, CameraJob, Fact, Message, ZonesSeen, decode_job, encode_job
from edge_agent.cameras.process import (
    CameraFailed,
    calibration_in_words,
    make_detector,
    make_pipeline,
    make_shapes,
)
from edge_agent.cameras.view import CameraView
from edge_agent.cameras.worker import CameraWorker, boottime_ns
from edge_agent.config.camera import CameraSettings
from edge_agent.domain.frames import Detections, Frame
from edge_agent.drivers.base import SourceEnded
from edge_agent.drivers.sim.source import SceneSource

SETTINGS = {
    "name": "north",
    "source": "sim:road",
    "lines": [
        {"name": "far", "points": [[0, 60], [640, 60]]},
        {"name": "near", "points": [[0, 185], [640, 185]]},
    ],
    "turns": [
        {
            "name": "towards", "from": "far", "from_direction": "in", "to": "near", "to_direction": "in",
            "within_s": 20.0,
        },
        {
            "name": "back", "from": "near", "from_direction": "out", "to": "near", "to_direction": "in",
            "within_s": 9.0,
        },
    ],
    "zones": [
        {
            "name": "street", "points": [[100, 80], [540, 80], [640, 300], [0, 300]], "capacity": 1,
            "parked_after_s": 3.0,
        }
    ],
    "calibration": {
        "points": [[129, 253, -7, 12], [511, 253, 7, 12], [394, 60, 7, 40], [246, 60, -7, 40], [320, 164, 0, 19]]
    },
}  # fmt: skip


def the_job() -> CameraJob:
    """As the process gets it."""
    settings = CameraSettings.model_validate_json(msgspec.json.encode(SETTINGS))
    return decode_job(encode_job(camera_job(settings, 1, live=True)))


def all_told_of(source: SceneSource) -> list[Message]:
    """All that is told of a source from its beginning to its end."""
    job = the_job()
    lines, zones = make_shapes(job, source)
    detector = make_detector(job)
    pipeline = make_pipeline(job, detector, lines, zones)
    source.open()
    sent: list[Message] = []
    worker = CameraWorker(job, source, pipeline, source.read(1.0), boottime_ns(), sent.append)
    with contextlib.suppress(SourceEnded):
        worker.run(lambda: False)
    worker._beat(boottime_ns())
    worker.finish()
    return sent


@pytest.fixture(scope="module")
def told() -> list[Message]:
    """Of 20 s of a street, 10 pictures a second."""
    return all_told_of(SceneSource("road", realtime=False, frames=(1, 600), every=3))


def test_less_than_a_picture_a_second_measures_nothing() -> None:
    sent = all_told_of(SceneSource("road", realtime=False, frames=(1, 30 * 90), every=40))
    records = [message.record for message in sent if isinstance(message, Fact)]
    gaps = [record for record in records if isinstance(record, Gap)]
    assert {gap.reason for gap in gaps} == {GapReason.TOO_SLOW}
    assert sum(gap.duration_ms for gap in gaps) == pytest.approx(89_000, abs=2_000)
    assert not [record for record in records if isinstance(record, Frames)]
    begun_ns = min(message.boottime_ns for message in sent if isinstance(message, Fact))
    known_ns = begun_ns + 12 * 10**9
    late = [message for message in sent if isinstance(message, Fact) and message.boottime_ns > known_ns]
    assert not [one for one in late if isinstance(one.record, Count) and one.record.via is Via.CAMERA]
    (beat,) = [message for message in sent if isinstance(message, Beat)][-1:]
    assert (beat.state, beat.open_block) == ("slow", None)
    assert "0.75 pictures a second are looked at, and by less than 1 nobody can be followed" in beat.detail
    assert "the camera gives no more" in beat.detail


def counts(told: list[Message], via: Via) -> list[Count]:
    records = [message.record for message in told if isinstance(message, Fact)]
    return [record for record in records if isinstance(record, Count) and record.via is via]


def test_each_count_comes_with_the_measured_time_that_it_lies_in(told: list[Message]) -> None:
    """Else it would be kept, where the agent is killed, and the time of its block would not."""
    found = [message for message in told if isinstance(message, Fact) and isinstance(message.record, Count)]
    assert len(found) > 20
    for fact in found:
        block = fact.open_block
        if isinstance(fact.record, Count) and fact.record.via is Via.TRUTH:
            continue
        assert block is not None
        assert isinstance(block.record, Frames)
        assert block.boottime_ns >= fact.boottime_ns
    told_ns = [message.boottime_ns for message in told if isinstance(message, Fact)]
    assert len(told_ns) > len(found)


def test_turns_are_counted_beside_the_crossings_that_they_are_made_of(told: list[Message]) -> None:
    crossings = Counter((one.source, one.direction) for one in counts(told, Via.CAMERA))
    turns = Counter(one.source for one in counts(told, Via.TURN))
    assert turns["towards"] == 4
    assert all(one.direction is Direction.NONE for one in counts(told, Via.TURN))
    unpaired = Counter(one.source for one in counts(told, Via.UNPAIRED))
    assert turns["towards"] + unpaired["far: no exit seen"] == crossings["far", Direction.IN]
    assert unpaired["near: no exit seen"] == crossings["near", Direction.OUT] > 0, "nobody turned back"


def test_speeds_come_with_the_crossings(told: list[Message]) -> None:
    crossings = [one for one in counts(told, Via.CAMERA) if one.direction is not Direction.NONE]
    speeds = [one.speed_mps for one in crossings if one.speed_mps is not None]
    assert len(speeds) >= 0.9 * len(crossings) > 9
    assert all(7 < speed < 16 for speed in speeds)
    view = CameraView("north")
    for one in crossings:
        view.add(one, date(2026, 1, 1))
    assert view.tallies["near"].speed_mean_mps == pytest.approx(11.4, abs=1.0)


def test_zones_are_told_now_and_over_time(told: list[Message]) -> None:
    (beat,) = [message for message in told if isinstance(message, Beat)][-1:]
    assert [(one.zone, one.capacity) for one in beat.zones] == [("street", 1)]
    (occupancy,) = [m.record for m in told if isinstance(m, Fact) and isinstance(m.record, Occupancy)]
    assert occupancy.capacity == 1
    assert occupancy.n_max > 1, "above its capacity, and shown"
    assert occupancy.n_standing == 0
    assert occupancy.stood_mean_s == 0.0
    assert occupancy.exits > 6


def test_what_changes_in_a_zone_is_told_at_once_and_the_rest_once_a_second(told: list[Message]) -> None:
    seen = [message.zones for message in told if isinstance(message, ZonesSeen)]
    n_same = sum(one == two for one, two in pairwise(seen))
    assert 0 < n_same <= 20, "at most once a second of these 20"
    assert len(seen) - n_same > 10
    assert {(one.zone, one.capacity) for (one,) in seen} == {("street", 1)}
    (beat,) = [message for message in told if isinstance(message, Beat)][-1:]
    assert beat.zones == seen[-1]


def test_points_of_another_picture_stop_the_camera_with_words() -> None:
    job = the_job()
    assert str(calibration_in_words(job, (640, 360))).startswith("5 points, mean error 0.0")
    with pytest.raises(CameraFailed, match=r"point 1 \(129, 253\) is outside of the picture, which is 320x240"):
        calibration_in_words(job, (320, 240))


class Seen:
    """A car that drives downwards, in pictures of 640x360, 5 a second; `scores`: how sure each picture is."""

    class_names = ("car",)

    def __init__(self, scores: list[float]) -> None:
        self._scores = scores
        self._n = 0

    def detect(self, image: object) -> Detections:
        top_px, score = 60.0 + 20 * self._n, self._scores[self._n]
        self._n += 1
        box_px = np.array([[300, top_px, 350, top_px + 40]], np.float32)
        return Detections(box_px, np.array([score], np.float32), np.zeros(1, np.int32), self.class_names)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("asked", "scores", "n_counted"),
    [
        ({"score_threshold": 0.5}, [0.6, 0.6, *[0.22] * 10], 1),  # once it is known, weaker boxes are enough
        ({"score_threshold": 0.5}, [0.45] * 12, 0),
        ({}, [0.45] * 12, 1),
        ({"score_threshold": 0.1}, [0.22] * 12, 0),  # so weak that all kinds of things would be counted
        ({"scores": {"car": 0.5}}, [0.6, 0.6, *[0.22] * 10], 1),
        ({"scores": {"car": 0.5}}, [0.45] * 12, 0),
        ({"scores": {"car": 0.1}}, [0.22] * 12, 0),
        ({"score_threshold": 0.5, "scores": {"car": 0.4}}, [0.45] * 12, 1),
    ],
)
def test_from_the_score_threshold_on_there_is_a_vehicle(
    asked: dict[str, object], scores: list[float], n_counted: int
) -> None:
    settings = CameraSettings.model_validate_json(msgspec.json.encode({**SETTINGS, **asked}))
    job = decode_job(encode_job(camera_job(settings, 1)))
    lines, _ = make_shapes(job, SceneSource("road"))
    pipeline, picture = make_pipeline(job, Seen(scores), lines, ()), np.zeros((360, 640, 3), np.uint8)
    results = [pipeline.process(Frame(picture, number / 5, number)) for number in range(len(scores))]
    crossings = [one for result in results for one in result.crossings] + pipeline.finish(3.0).crossings
    assert sum(one.line == "near" for one in crossings) == n_counted
