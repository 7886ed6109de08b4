"""Tracks: one id per object, at any frame rate, whatever the detector gives."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.frames import Detections
from edge_agent.domain.tracking import Tracker, TrackerParams, Tracks
from tests.traffic import CLASS_NAMES, detections

Box = tuple[float, float, float, float]


def _box(x: float, y: float, width: float = 60, height: float = 40) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _frame(*boxes: Box, score: float = 0.7, cls: str = "car") -> Detections:
    return detections(list(boxes), [score] * len(boxes), [cls] * len(boxes))


def _ids(frames: Iterator[tuple[float, Detections]], tracker: Tracker) -> set[int]:
    """Ids that were ever confirmed."""
    ids: set[int] = set()
    for t_s, found in frames:
        tracks = tracker.update(found, t_s)
        ids |= set(tracks.ids[tracks.confirmed].tolist())
    return ids


@pytest.mark.parametrize("fps", [30, 15, 10, 6, 5, 3])
@pytest.mark.parametrize("speed_px_s", [0, 40, 120, 200])
def test_one_id_per_vehicle_at_any_frame_rate(fps: int, speed_px_s: float) -> None:
    random = np.random.default_rng(fps)
    times = np.arange(0, 3, 1 / fps)
    frames = (
        (float(t), _frame(*(_box(50 + speed_px_s * t + random.normal(0, 1), y) for y in (60, 150, 240))))
        for t in times
    )
    assert len(_ids(frames, Tracker())) == 3


@pytest.mark.parametrize("fps", [30, 10, 5])
def test_two_that_meet_keep_their_ids(fps: int) -> None:
    tracker = Tracker()
    starts: list[int] = []
    for t in np.arange(0, 4, 1 / fps):
        tracks = tracker.update(_frame(_box(50 + 120 * t, 100), _box(530 - 120 * t, 130)), float(t))
        eastbound = tracks.ids[np.argmin(np.abs(tracks.boxes_px[:, 1] - 80))]
        starts.append(int(eastbound))
    assert len(set(starts)) == 1


def test_a_track_is_confirmed_by_time_and_not_by_frames() -> None:
    for fps in (30, 5):
        tracker = Tracker(TrackerParams(confirm_s=0.3))
        confirmed = [
            t for t in np.arange(0, 1, 1 / fps) if tracker.update(_frame(_box(100, 100)), float(t)).confirmed.any()
        ]
        assert confirmed[0] == pytest.approx(0.3 if fps == 30 else 0.4, abs=0.04)


def test_what_flickers_is_not_confirmed() -> None:
    tracker = Tracker()
    for number in range(60):
        found = _frame(_box(100, 100)) if number % 5 == 0 else _frame()
        assert not tracker.update(found, number / 30).confirmed.any()


def test_a_weak_box_continues_a_track_and_begins_none() -> None:
    tracker = Tracker()
    assert len(tracker.update(_frame(_box(100, 100), score=0.22), 0.0)) == 0
    tracker.update(_frame(_box(100, 100)), 0.1)
    tracks = tracker.update(_frame(_box(102, 100), score=0.22), 0.2)
    assert tracks.seen.tolist() == [True]


def test_one_vehicle_seen_twice_is_one_track() -> None:
    tracker = Tracker()
    for number in range(10):
        found = detections([_box(100, 100), _box(102, 101, 64, 42)], [0.7, 0.6], ["car", "truck"])
        tracks = tracker.update(found, number / 10)
    assert len(tracks) == 1


def test_a_part_of_a_vehicle_is_no_track() -> None:
    tracker = Tracker()
    for number in range(10):
        found = detections([_box(100, 100, 120, 60), _box(70, 105, 50, 40)], [0.8, 0.35], ["truck", "car"])
        tracks = tracker.update(found, number / 10)
    assert len(tracks) == 1


def test_a_motorcycle_before_a_bus_is_a_track() -> None:
    tracker = Tracker()
    for number in range(10):
        found = detections([_box(300, 200, 300, 160), _box(300, 250, 30, 50)], [0.8, 0.45], ["bus", "motorcycle"])
        tracks = tracker.update(found, number / 10)
    assert len(tracks) == 2


def test_the_class_is_voted() -> None:
    tracker = Tracker()
    for number, (cls, score) in enumerate(
        [("truck", 0.4), ("car", 0.8), ("car", 0.9), ("truck", 0.5), ("car", 0.7)]
    ):
        track = tracker.update(_frame(_box(100, 100), score=score, cls=cls), number / 10)[0]
    assert track.cls == "car"
    assert track.confidence == pytest.approx((0.8 + 0.9 + 0.7) / 5)


def test_a_parked_car_keeps_its_id_behind_a_bus_and_a_moving_one_is_forgotten() -> None:
    tracker = Tracker()
    for number in range(30):
        tracks = tracker.update(_frame(_box(100, 100), _box(200 + 5 * number, 300)), number / 10)
    parked, moving = tracks.ids.tolist()
    for number in range(30, 330):
        tracks = tracker.update(_frame(), number / 10)
    assert tracks.ids.tolist() == [parked]
    tracks = tracker.update(_frame(_box(101, 99), _box(340, 300)), 33.0)
    assert parked in tracks.ids[tracks.seen]
    assert moving not in tracks.ids


def test_ids_are_never_used_twice_and_nothing_is_kept_for_ever() -> None:
    tracker = Tracker()
    seen: set[int] = set()
    for number in range(300):
        tracks = tracker.update(_frame(_box(50 + 97 * (number % 11), 50 + 61 * (number % 7))), number * 3.0)
        fresh = set(tracks.ids[tracks.born_s == number * 3.0].tolist())
        assert not fresh & seen
        seen |= fresh
        assert len(tracks) <= 2


def test_a_sequence_of_tracks_reads_as_one() -> None:
    tracks = Tracker().update(_frame(_box(100, 100), _box(300, 200)), 1.5)
    assert [one.id for one in tracks] == [1, 2]
    assert tracks[-1] == tracks[1] == tracks[1:][0]
    assert tracks[0].box_px == pytest.approx(_box(100, 100))
    assert (tracks[0].born_s, tracks[0].seen, tracks[0].confirmed) == (1.5, True, False)


def test_a_clock_that_jumps_back_begins_anew_and_one_that_stutters_does_not() -> None:
    tracker = Tracker()
    for t_s in (10.0, 10.1, 10.05, 10.2):
        tracks = tracker.update(_frame(_box(100, 100)), t_s)
    assert tracks.ids.tolist() == [1]
    assert tracker.update(_frame(_box(100, 100)), 2.0).ids.tolist() == [2]


@pytest.mark.parametrize("t_s", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(t_s: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Tracker().update(_frame(), t_s)


def test_changed_classes_are_refused() -> None:
    tracker = Tracker()
    tracker.update(_frame(_box(100, 100)), 0.0)
    other = dataclasses.replace(_frame(), class_names=("cat", "dog"))
    with pytest.raises(ValueError, match="classes changed"):
        tracker.update(other, 0.1)


def _assert_sound(tracks: Tracks) -> None:
    for column in (tracks.boxes_px, tracks.velocities_px_s, tracks.confidences, tracks.born_s, tracks.seen_s):
        assert np.isfinite(column).all()
    assert (np.diff(tracks.ids) > 0).all()
    assert (tracks.boxes_px[:, 2:] > tracks.boxes_px[:, :2]).all()


number = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.floats(0, 640, width=32),
    st.sampled_from([0.0, 640.0, -1.0]),
)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.floats(-5, 20),
            st.lists(st.tuples(number, number, number, number, number, st.integers(-2, 9)), max_size=8),
        ),
        max_size=12,
    )
)
def test_no_detector_breaks_the_state(frames: list[tuple[float, list[tuple[float, ...]]]]) -> None:
    tracker = Tracker()
    for t_s, boxes in frames:
        table = np.array(boxes, np.float64).reshape(-1, 6)
        found = Detections(
            table[:, :4].astype(np.float32),
            table[:, 4].astype(np.float32),
            table[:, 5].astype(np.int32),
            CLASS_NAMES,
        )
        _assert_sound(tracker.update(found, t_s))


def test_a_thousand_boxes_are_borne() -> None:
    random = np.random.default_rng(5)
    tracker = Tracker()
    for step in range(4):
        corners = random.uniform(0, 1800, (1500, 2))
        boxes = np.concatenate([corners, corners + random.uniform(5, 80, (1500, 2))], axis=1).astype(np.float32)
        found = Detections(
            boxes, random.uniform(0, 1, 1500).astype(np.float32), np.zeros(1500, np.int32), CLASS_NAMES
        )
        tracks = tracker.update(found, step / 10)
        _assert_sound(tracks)
    assert len(tracks) <= TrackerParams().max_tracks


def test_each_class_begins_tracks_from_its_own_score_on() -> None:
    tracker = Tracker(TrackerParams(birth_scores={"person": 0.5, "bus": 0.25}))
    boxes, classes = (
        [_box(100, 100), _box(250, 100), _box(400, 100), _box(550, 100)],
        ["person", "car", "bus", "car"],
    )
    tracks = tracker.update(detections(boxes, [0.45, 0.35, 0.27, 0.28], classes), 0.0)
    assert [(one.cls, one.box_px[0]) for one in tracks] == [("car", 220), ("bus", 370)]
    tracks = tracker.update(detections(boxes, [0.55, 0.35, 0.27, 0.28], classes), 0.1)
    assert sorted(one.cls for one in tracks) == ["bus", "car", "person"]
    # Who is known goes on by weaker boxes.
    tracks = tracker.update(detections(boxes, [0.25, 0.25, 0.22, 0.25], classes), 0.2)
    assert (len(tracks), int(tracks.seen.sum())) == (3, 3)
