"""What tracking and crossing cost per frame, beside ByteTrack of the `trackers` package in the same run.

Processor time, since the machine is seldom ours alone; in turns, since its speed changes.
"""

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import supervision
from trackers import ByteTrackTracker

from edge_agent.domain.crossing import CrossingCounter
from edge_agent.domain.frames import Detections
from edge_agent.domain.shapes import Line
from edge_agent.domain.tracking import Tracker
from tests.bench import report

SIZE_PX = (1920, 1080)
LINES = (Line("a", ((0, 500), (1920, 500))), Line("b", ((900, 0), (1000, 600), (900, 1080))))
FPS = 30
LIMITS_MS = {20: 0.5, 100: 2.0}


def frames_of(n: int, n_frames: int = 300) -> list[Detections]:
    """`n` vehicles that move over the whole picture, 5 % of them missed in each frame."""
    random = np.random.default_rng(n)
    side = int(np.ceil(np.sqrt(n)))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)[:n]
    start = grid * np.array(SIZE_PX) / side + 20
    velocity, sizes = random.normal(0, 40, (n, 2)), random.uniform(40, 60, (n, 2))
    result = []
    for number in range(n_frames):
        middles = (start + velocity * number / FPS) % np.array(SIZE_PX) + random.normal(0, 1, (n, 2))
        boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1).astype(np.float32)
        seen = random.random(n) > 0.05
        scores, classes = (
            random.uniform(0.65, 0.9, n).astype(np.float32),
            random.integers(0, 3, n).astype(np.int32),
        )
        result.append(Detections(boxes[seen], scores[seen], classes[seen], ("car", "bus", "truck")))
    return result


def median_ms(frames: list[Detections], step: Callable[[Detections, float], object]) -> float:
    """Median over the frames: what else runs on the machine hits single frames."""
    times_s = []
    for number, found in enumerate(frames):
        began_s = time.thread_time()
        step(found, number / FPS)
        times_s.append(time.thread_time() - began_s)
    return statistics.median(times_s) * 1000


def ours(lines: tuple[Line, ...]) -> Callable[[Detections, float], object]:
    tracker, counter = Tracker(), CrossingCounter(lines, SIZE_PX)
    return lambda found, t_s: counter.update(tracker.update(found, t_s), t_s)


def byte_track() -> Callable[[Detections, float], object]:
    tracker = ByteTrackTracker(frame_rate=float(FPS))

    def step(found: Detections, t_s: float) -> object:
        return tracker.update(
            supervision.Detections(
                xyxy=found.boxes_px, confidence=found.scores, class_id=found.class_ids.astype(np.int64)
            )
        )

    return step


def main() -> None:
    warnings.simplefilter("ignore")
    for n, limit_ms in LIMITS_MS.items():
        frames = frames_of(n)
        values_ms, peers_ms = [], []
        for _ in range(5):  # in turns, and the best of each: the machine is seldom ours alone
            values_ms.append(median_ms(frames, ours(LINES[:1])))
            peers_ms.append(median_ms(frames, byte_track()))
        value_ms, peer_ms = min(values_ms), min(peers_ms)
        report.limit(f"tracking + crossing, {n} objects, 1 line", value_ms, limit_ms, "ms/frame")
        report.peer(
            f"frames per ms against ByteTrack, {n} objects", 1 / value_ms, 1 / peer_ms, "frames/ms", at_least=1.0
        )
        report.plain(f"tracking + crossing, {n} objects, 2 lines", median_ms(frames, ours(LINES)), "ms/frame")
    flood = frames_of(1000, n_frames=20)
    report.plain("tracking + crossing, 1000 boxes a frame", median_ms(flood, ours(LINES[:1])), "ms/frame")


if __name__ == "__main__":
    main()
