"""The counting rule, by situations of which the truth is known by construction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.codes import Direction
from edge_agent.domain.crossing import Crossing, CrossingCounter
from edge_agent.domain.frames import Detections
from edge_agent.domain.shapes import Anchor, Line
from edge_agent.domain.tracking import Tracker
from tests.traffic import CLASS_NAMES, Scene, detections, random_world

SIZE_PX = (640, 360)
LINE = Line("line", ((0, 180), (640, 180)))


def _count(
    frames: list[tuple[float, Detections]], lines: tuple[Line, ...] = (LINE,), size_px: tuple[int, int] = SIZE_PX
) -> list[Crossing]:
    tracker, counter = Tracker(), CrossingCounter(lines, size_px)
    crossings = []
    for t_s, found in frames:
        crossings += counter.update(tracker.update(found, t_s), t_s)
    return crossings + counter.finish(t_s)


def _drive(
    speed_px_s: float, fps: float, *, size_px: float = 44, jitter: float = 0.0, missed: float = 0.0, seed: int = 0
) -> list[tuple[float, Detections]]:
    """One vehicle from above the picture to below it, or the other way if `speed_px_s` is negative."""
    random = np.random.default_rng(seed)
    start_y = -size_px / 2 if speed_px_s > 0 else SIZE_PX[1] + size_px / 2
    frames = []
    for number in range(int((SIZE_PX[1] + size_px) / abs(speed_px_s) * fps) + 2):
        y = start_y + speed_px_s * number / fps
        box = np.array([300 - size_px * 0.7, y - size_px / 2, 300 + size_px * 0.7, y + size_px / 2])
        box += random.normal(0, jitter * size_px, 4)
        box = np.clip(box, 0, [*SIZE_PX, *SIZE_PX])
        seen = box[3] - box[1] > 6 and random.random() >= missed
        frames.append((number / fps, detections([tuple(box)], [0.7], ["car"]) if seen else detections([], [], [])))
    return frames


@settings(max_examples=60)
@given(
    st.floats(0.5, 5.0),
    st.sampled_from([30, 25, 15, 12.5, 10, 7, 6, 5]),
    st.floats(18, 110),
    st.floats(0.0, 0.04),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_who_drives_through_is_counted_once(
    sizes_per_s: float, fps: float, size_px: float, jitter: float, down: bool, seed: int
) -> None:
    speed = sizes_per_s * size_px * (1 if down else -1)
    n_seen = (SIZE_PX[1] + size_px) / abs(speed) * fps
    if n_seen < 5:
        return
    crossings = _count(_drive(speed, fps, size_px=size_px, jitter=jitter, seed=seed))
    assert [one.direction for one in crossings] == [Direction.IN if down else Direction.OUT]


@settings(max_examples=40)
@given(
    st.floats(-0.3, 0.3),
    st.sampled_from([30, 10, 5, 3]),
    st.floats(20, 100),
    st.floats(0.0, 0.06),
    st.floats(0.0, 0.4),
    st.integers(0, 10**6),
)
def test_who_stands_about_the_line_is_never_counted(
    offset: float, fps: float, size_px: float, jitter: float, missed: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    y = 180 + offset * size_px
    frames = []
    for number in range(int(30 * fps)):
        box = np.array([300 - size_px, y - size_px / 2, 300 + size_px, y + size_px / 2])
        box += random.normal(0, jitter * size_px, 4)
        boxes = [tuple(box)] if random.random() >= missed else []
        frames.append((number / fps, detections(boxes, [0.7] * len(boxes), ["car"] * len(boxes))))
    assert _count(frames) == []


def test_the_time_is_that_of_the_crossing_and_not_of_the_frame() -> None:
    for fps in (30, 10, 4):
        (crossing,) = _count(_drive(100.0, fps))
        assert crossing.t_s == pytest.approx(202 / 100, abs=0.03)
        assert not crossing.inferred


@pytest.mark.parametrize("anchor", list(Anchor))
def test_the_anchor_says_which_point_crosses(anchor: Anchor) -> None:
    line = Line("line", LINE.points_px, anchor)
    (crossing,) = _count(_drive(100.0, 30), (line,))
    assert crossing.t_s == pytest.approx(1.80 if anchor is Anchor.BOTTOM else 2.02, abs=0.04)


@pytest.mark.parametrize("y", [8, 352])
@pytest.mark.parametrize("speed", [80.0, -80.0])
def test_a_line_close_to_the_edge_counts(y: float, speed: float) -> None:
    crossings = _count(_drive(speed, 15, size_px=60), (Line("edge", ((0, y), (640, y))),))
    assert [one.direction for one in crossings] == [Direction.IN if speed > 0 else Direction.OUT]


def test_each_line_counts_by_itself() -> None:
    lines = tuple(Line(f"at {y}", ((0, y), (640, y))) for y in range(60, 320, 20))
    crossings = _count(_drive(150.0, 6), lines)
    assert sorted(one.line for one in crossings) == sorted(one.name for one in lines)
    assert [one.t_s for one in crossings] == sorted(one.t_s for one in crossings)


def test_a_detector_that_stops_is_not_a_crossing() -> None:
    frames = [(t, found) for t, found in _drive(60.0, 10) if t < 2.5]
    frames += [(2.5 + number / 10, detections([], [], [])) for number in range(100)]
    assert _count(frames) == []


def test_what_happened_while_nothing_was_measured_is_not_inferred() -> None:
    frames = [(number / 10, detections([], [], [])) for number in range(10)]
    frames += [(t + 60, found) for t, found in _drive(60.0, 10) if t > 3.9]
    assert _count(frames) == []


def test_lines_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'line' is used twice"):
        CrossingCounter([LINE, LINE], SIZE_PX)


def test_no_lines_count_nothing() -> None:
    assert _count(_drive(100.0, 10), ()) == []


number = st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=32), st.floats(0, 640, width=32))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.floats(-5, 20), st.lists(st.tuples(number, number, number, number, st.floats(0, 1)), max_size=8)
        ),
        max_size=15,
    )
)
def test_no_detector_breaks_the_counter(frames: list[tuple[float, list[tuple[float, ...]]]]) -> None:
    lines = (LINE, Line("bent", ((0, 10), (300, 200), (640, 20)), Anchor.BOTTOM))
    tracker, counter = Tracker(), CrossingCounter(lines, SIZE_PX)
    for t_s, boxes in frames:
        table = np.array(boxes, np.float64).reshape(-1, 5)
        found = Detections(
            table[:, :4].astype(np.float32),
            table[:, 4].astype(np.float32),
            np.zeros(len(table), np.int32),
            CLASS_NAMES,
        )
        for one in counter.update(tracker.update(found, t_s), t_s):
            assert np.isfinite(one.t_s)
            assert 0 <= one.confidence <= 1


@pytest.mark.parametrize(("fps", "most_wrong"), [(30, 0.05), (10, 0.06), (5, 0.08), (3, 0.12)])
def test_made_up_traffic_is_counted(traffic: list[Scene], fps: float, most_wrong: float) -> None:
    """Whole junctions with queues, blinks, occlusions and a poor detector; some vehicles can hardly be seen."""
    wrong = total = 0
    for number, scene in enumerate(traffic):
        world = scene.world
        frames = list(scene.frames(fps, number % round(30 / fps), clock_jitter_s=0.01))
        crossings = _count(frames, (scene.line(),), (world.width_px, world.height_px))
        towards, away = scene.counts()
        n_in = sum(one.direction is Direction.IN for one in crossings)
        wrong += abs(n_in - towards) + abs(len(crossings) - n_in - away)
        total += towards + away
    assert total > 100
    assert wrong <= most_wrong * total, f"{wrong} of {total}"


@pytest.fixture(scope="module")
def traffic() -> list[Scene]:
    return [Scene(random_world(seed)) for seed in range(100, 112)]
