"""The pipeline: what goes in comes out once, sized by the first frame, and nothing is hidden."""

from collections.abc import Sequence

import numpy as np
import pytest

from edge_agent.counting import Pipeline
from edge_agent.domain.frames import Detections, Frame, Image
from edge_agent.domain.shapes import Line, Zone, check_inside
from edge_agent.drivers.base import DetectorError

SIZE = (200, 100)
LINE = Line("mid", ((0, 50), (200, 50)))
ZONE = Zone("below", ((0, 60), (200, 60), (200, 100), (0, 100)))


class Scripted:
    """A detector that finds one car at a given height for each picture; None fails."""

    class_names: Sequence[str] = ("car", "bus")

    def __init__(self, heights: Sequence[float | None]) -> None:
        self._heights = list(heights)

    def detect(self, image: Image) -> Detections:
        y = self._heights.pop(0)
        if y is None:
            raise DetectorError("the model failed")
        boxes = np.asarray([[90, y - 20, 110, y]], np.float32)
        return Detections(boxes, np.asarray([0.9], np.float32), np.zeros(1, np.int32), self.class_names)

    def close(self) -> None:
        pass


def frame(number: int) -> Frame:
    return Frame(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), number / 10, number)


def test_a_car_that_drives_down_is_counted_once() -> None:
    heights = [25 + 2.5 * n for n in range(28)]
    pipeline = Pipeline(Scripted(heights), [LINE], [ZONE])
    crossings, visits = [], []
    for number in range(len(heights)):
        result = pipeline.process(frame(number))
        crossings += result.crossings
        visits += result.visits_ended
        assert len(result.detections) == 1
        assert result.latency_s >= 0
    assert result.seen_by_class == {"car": 1}
    assert pipeline.occupancy() == {"below": 1}
    assert [summary.zone for summary in pipeline.zone_summaries(2.7)] == ["below"]
    rest = pipeline.finish(2.7)
    crossings += rest.crossings
    visits += rest.visits_ended
    assert [(c.line, str(c.direction), c.cls) for c in crossings] == [("mid", "in", "car")]
    assert [(v.zone, v.cls) for v in visits] == [("below", "car")]


def test_latency_is_that_of_the_detector() -> None:
    ticks = iter([10.0, 10.25])
    pipeline = Pipeline(Scripted([30]), [LINE], [], monotonic_s=lambda: next(ticks))
    assert pipeline.process(frame(0)).latency_s == 0.25


def test_a_failed_model_is_told_and_counting_goes_on() -> None:
    pipeline = Pipeline(Scripted([30, None, 32]), [LINE], [])
    pipeline.process(frame(0))
    with pytest.raises(DetectorError):
        pipeline.process(frame(1))
    assert len(pipeline.process(frame(2)).tracks) == 1


def test_finish_before_the_first_frame() -> None:
    pipeline = Pipeline(Scripted([]), [LINE], [ZONE])
    assert (pipeline.finish(0.0).crossings, pipeline.occupancy(), pipeline.zone_summaries(0.0)) == ([], {}, [])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Line("far", ((0, 50), (640, 50))), r"line 'far': its point \(640, 50\) is outside .* 200x100"),
        (Zone("far", ((0, 0), (10, 0), (10, 400))), r"zone 'far': its point \(10, 400\) is outside"),
        (Line("far", ((-5, 50), (100, 50))), r"its point \(-5, 50\)"),
    ],
)
def test_what_was_drawn_on_another_picture_is_refused(shape: Line | Zone, words: str) -> None:
    lines, zones = ([shape], []) if isinstance(shape, Line) else ([], [shape])
    with pytest.raises(ValueError, match=words):
        Pipeline(Scripted([30]), lines, zones).process(frame(0))


def test_a_line_may_end_on_the_edge() -> None:
    check_inside(Line("edge", ((0, 0), (200, 100))), SIZE)


def test_one_name_for_two_is_refused() -> None:
    with pytest.raises(ValueError, match="'mid' is used twice"):
        Pipeline(Scripted([]), [LINE, LINE], [])
