"""How true the counts are: on a real junction whose truth was read by eye, and on made-up traffic.

Every frame rate is tried from every first frame that it can have, so that no lucky phase passes for skill; the
figures of the rule are moved up and down to show that the counts do not hang on them.
"""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np

from common.codes import Direction
from edge_agent.domain.crossing import CrossingCounter, CrossingParams
from edge_agent.domain.frames import Detections
from edge_agent.domain.shapes import Line
from edge_agent.domain.tracking import Tracker, TrackerParams
from tests.bench import report
from tests.traffic import Scene, random_world
from tests.weak_detector import Weakness

Frames = list[tuple[float, Detections]]
Counts = tuple[int, int]

LINE = Line("line", ((0, 180), (640, 180)))
SIZE_PX = (640, 360)
TRUTH = (21, 24)
SOURCE_FPS = 30
STEPS = (1, 2, 3, 5, 6, 10)
VEHICLES = ("car", "bus", "truck", "motorbike", "motorcycle")


def junction(folder: Path, detector: str) -> Frames:
    """The boxes that a detector gave for the junction clip."""
    raw = json.loads((folder / f"tracks/junction_{detector}_detections.json").read_text())
    return [(one["frame_id"] / SOURCE_FPS, _boxes(one["objects"])) for one in raw]


def _boxes(objects: list[dict]) -> Detections:  # type: ignore[type-arg]
    vehicles = [one for one in objects if one["name"] in VEHICLES]
    places = [one["relative_coordinates"] for one in vehicles]
    table = np.array(
        [[p["center_x"], p["center_y"], p["width"], p["height"]] for p in places], np.float64
    ).reshape(-1, 4)
    table *= [*SIZE_PX, *SIZE_PX]
    corners = np.concatenate([table[:, :2] - table[:, 2:] / 2, table[:, :2] + table[:, 2:] / 2], axis=1)
    scores = np.array([one["confidence"] for one in vehicles], np.float32)
    classes = np.array([VEHICLES.index(one["name"]) for one in vehicles], np.int32)
    return Detections(corners.astype(np.float32), scores, classes, VEHICLES)


def count(
    frames: Frames,
    tracking: TrackerParams | None = None,
    crossing: CrossingParams | None = None,
    line: Line = LINE,
    size_px: tuple[int, int] = SIZE_PX,
) -> Counts:
    """How many crossed: in, out."""
    tracker, counter = Tracker(tracking), CrossingCounter([line], size_px, crossing)
    crossings = []
    for t_s, found in frames:
        crossings += counter.update(tracker.update(found, t_s), t_s)
    crossings += counter.finish(t_s)
    n_in = sum(one.direction is Direction.IN for one in crossings)
    return n_in, len(crossings) - n_in


def count_byte_track(frames: Frames) -> Counts:
    """ByteTrack of `trackers` at its defaults, and a simple rule: a track's first change of side of its middle."""
    # Only where they are needed: tests take other parts of this file, and these two load for a second.
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=1 / max(frames[1][0] - frames[0][0], 1e-3))
    sides: dict[int, bool] = {}
    counted: dict[int, bool] = {}
    for _, found in frames:
        tracked = tracker.update(
            supervision.Detections(
                xyxy=found.boxes_px, confidence=found.scores, class_id=found.class_ids.astype(np.int64)
            )
        )
        for box, track in zip(tracked.xyxy, np.asarray(tracked.tracker_id), strict=True):
            below = bool((box[1] + box[3]) / 2 >= LINE.points_px[0][1])
            if track >= 0 and sides.setdefault(int(track), below) != below:
                counted.setdefault(int(track), below)
    n_in = sum(counted.values())
    return n_in, len(counted) - n_in


def phases(frames: Frames, step: int, how: Callable[[Frames], Counts]) -> list[Counts]:
    return [how(frames[first::step]) for first in range(step)]


def wrong(counts: Counts) -> int:
    """By how much the two directions are off, together."""
    return abs(counts[0] - TRUTH[0]) + abs(counts[1] - TRUTH[1])


def show_junction(folder: Path) -> None:
    frames = junction(folder, "yolox_nano")
    for step in STEPS:
        name, most = f"junction {SOURCE_FPS // step} FPS", 5 if step == 10 else 2
        ours = phases(frames, step, count)
        off = [abs(sum(one) - sum(TRUTH)) for one in ours]
        report.limit(f"{name}: total off, first phase", off[0], most, "vehicles")
        if step != 10:
            worse = max(abs(ours[0][0] - TRUTH[0]), abs(ours[0][1] - TRUTH[1]))
            report.limit(f"{name}: worse direction off, first phase", worse, most, "vehicles")
        report.limit(f"{name}: total off, mean of phases", fmean(off), most, "vehicles")
        peer = fmean(sum(one) for one in phases(frames, step, count_byte_track))
        told = " ".join(f"{n_in}+{n_out}" for n_in, n_out in ours)
        report.plain(
            f"{name}: phases", fmean(map(sum, ours)), "mean", f"{told}; ByteTrack + simple rule {peer:.1f}"
        )
    poor = junction(folder, "darknet")
    for step in STEPS:
        told = " ".join(f"{n_in}+{n_out}" for n_in, n_out in phases(poor, step, count))
        report.plain(
            f"junction, poor doubled boxes, {SOURCE_FPS // step} FPS", wrong(count(poor[::step])), "off", told
        )


def show_robustness(folder: Path) -> None:
    """Both directions' error with each figure of the rule moved, mean of all phases from 30 to 5 FPS."""
    frames = junction(folder, "yolox_nano")
    tracking, crossing = TrackerParams(), CrossingParams()
    moved: dict[str, tuple[TrackerParams, CrossingParams]] = {"as shipped": (tracking, crossing)}
    for name in ("birth_score", "keep_score", "confirm_s", "lost_s"):
        for factor in (0.75, 1.33):
            moved[f"{name} x {factor}"] = (replace(tracking, **{name: getattr(tracking, name) * factor}), crossing)
    for name in ("dead_zone", "confirm_s", "gone_s", "infer_s", "double_s"):
        for factor in (0.5, 2.0):
            moved[f"crossing {name} x {factor}"] = (
                tracking,
                replace(crossing, **{name: getattr(crossing, name) * factor}),
            )
    for name, (some, other) in moved.items():
        errors = [
            fmean(wrong(one) for one in phases(frames, step, lambda taken: count(taken, some, other)))  # noqa: B023
            for step in STEPS[:-1]
        ]
        report.plain(
            f"robustness: {name}", fmean(errors), "off of 45", " ".join(f"{error:.1f}" for error in errors)
        )


def show_traffic(n_scenes: int = 24) -> None:
    worlds = [random_world(seed) for seed in range(1000, 1000 + n_scenes)]
    _show_scenes("made-up traffic", [Scene(world) for world in worlds])
    weak = [replace(world, weakness=Weakness(), drive_s=15.0) for world in worlds]
    _show_scenes("the same, weak detector", [Scene(world) for world in weak])


def _show_scenes(name: str, scenes: list[Scene]) -> None:
    for fps in (30, 10, 5, 3):
        more = fewer = total = 0
        for number, scene in enumerate(scenes):
            size_px = (scene.world.width_px, scene.world.height_px)
            frames = list(scene.frames(fps, number % round(30 / fps), clock_jitter_s=0.01))
            counted = count(frames, line=scene.line(), size_px=size_px)
            for one, true in zip(counted, scene.counts(), strict=True):
                more, fewer = more + max(one - true, 0), fewer + max(true - one, 0)
            total += sum(scene.counts())
        report.plain(f"{name} {fps} FPS, of {total}", more + fewer, "wrong", f"+{more} -{fewer}")


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(os.environ.get("STOPLINE_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
    if folder.is_dir():
        show_junction(folder)
        show_robustness(folder)
    else:
        print(f"NOT MEASURED: no real clips at {folder}; set STOPLINE_TEST_DATA")
    show_traffic()


if __name__ == "__main__":
    main()
