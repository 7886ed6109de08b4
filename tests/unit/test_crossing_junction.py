"""A real junction: 21 vehicles came down over the line and 24 went up, read by eye, give or take two."""

from pathlib import Path
from statistics import fmean

import pytest

from tests.bench.bench_counting_truth import TRUTH, Frames, count, junction, phases


@pytest.fixture(scope="module")
def frames(test_data: Path) -> Frames:
    return junction(test_data, "yolox_nano")


@pytest.mark.parametrize("fps", [30, 15, 10, 6, 5])
def test_both_directions_are_true_at_any_frame_rate(frames: Frames, fps: int) -> None:
    n_in, n_out = count(frames[:: 30 // fps])
    assert abs(n_in + n_out - 45) <= 2
    assert abs(n_in - TRUTH[0]) <= 2
    assert abs(n_out - TRUTH[1]) <= 2


def test_both_directions_are_true_from_nearly_any_first_frame(frames: Frames) -> None:
    every = [one for step in (1, 2, 3, 5, 6) for one in phases(frames, step, count)]
    good = [
        abs(n_in + n_out - 45) <= 2 and abs(n_in - TRUTH[0]) <= 2 and abs(n_out - TRUTH[1]) <= 2
        for n_in, n_out in every
    ]
    assert len(every) == 17
    assert sum(good) >= 16, every


def test_three_frames_a_second_tell_the_directions(frames: Frames) -> None:
    every = phases(frames, 10, count)
    assert all(abs(n_in - TRUTH[0]) <= 5 and abs(n_out - TRUTH[1]) <= 5 for n_in, n_out in every), every


@pytest.mark.parametrize(("fps", "most"), [(30, 2.0), (15, 2.0), (10, 2.0), (6, 2.0), (5, 2.0), (3, 3.0)])
def test_no_lucky_first_frame_is_needed(frames: Frames, fps: int, most: float) -> None:
    every = phases(frames, 30 // fps, count)
    assert abs(fmean(map(sum, every)) - 45) <= most
    assert max(abs(sum(one) - 45) for one in every) <= 5


def test_three_frames_a_second_are_enough_for_a_total(frames: Frames) -> None:
    assert abs(sum(count(frames[::10])) - 45) <= 5


@pytest.mark.parametrize("fps", [30, 15, 10])
def test_poor_and_doubled_boxes_still_count(test_data: Path, fps: int) -> None:
    every = phases(junction(test_data, "darknet"), 30 // fps, count)
    assert abs(fmean(map(sum, every)) - 45) <= 4
