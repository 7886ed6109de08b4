"""One camera in a process of its own: `python -m edge_agent.cameras.process`.

Codecs and drivers can hang or crash, and must not take the agent with them. The process reads pictures, counts,
and sends ready-made facts over a pipe; it knows nothing of the outbox or the network.
`edge_agent.cameras.supervisor` starts it. It dies with the agent, and gives way to it when the machine is short of
processor time or memory.
"""

import contextlib
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence

import cv2

from common.codes import GapReason
from edge_agent.cameras.messages import (
    SNAPSHOT_SIGNAL,
    CameraJob,
    Failed,
    Finished,
    Message,
    Probed,
    Ready,
    Snapshot,
    decode_job,
    encode,
)
from edge_agent.cameras.replay import Replay
from edge_agent.cameras.snapshot import snapshot_jpeg
from edge_agent.cameras.worker import READ_S, CameraWorker, boottime_ns
from edge_agent.counting import Pipeline, params_of_score
from edge_agent.domain.calibration import calibrate
from edge_agent.domain.classes import unknown_classes
from edge_agent.domain.frames import Frame
from edge_agent.domain.shapes import Anchor, Line, Zone, check_inside
from edge_agent.domain.turn_rules import Turn
from edge_agent.drivers.base import Detector, DetectorError, FrameSource, SourceError, SourceStalled
from edge_agent.drivers.detectors.choices import ModelOptions
from edge_agent.drivers.detectors.focused import focused
from edge_agent.drivers.detectors.onnx import DEFAULT_SCORE, load_detector
from edge_agent.drivers.sim.source import SceneSource
from edge_agent.drivers.sources.opening import is_camera, open_source
from edge_agent.drivers.sources.prepared import as_drawn
from edge_agent.process_manners import die_with_parent, give_way

FIRST_PICTURE_S = 30.0
"""How long a source may take for its first picture."""
_PROBE_S = 3.0


class CameraFailed(Exception):
    """The process cannot go on."""

    def __init__(self, reason: GapReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# --- setting up --------------------------------------------------------------------------------------------------


def make_source(job: CameraJob) -> FrameSource:
    """The source of a job, live whatever it is.

    Raises:
        SourceUnusable: with what to do about it.
    """
    # Of a camera's own pictures the worker chooses: all pass by it, and it takes them at even steps.
    fps = None if is_camera(job.source) else job.fps
    source = open_source(job.source, fps=fps, options=job.options)
    return source if source.live else Replay(source)


def make_detector(job: CameraJob) -> Detector:
    """The detector of a job.

    Raises:
        DetectorError: with what to do about it.
    """
    # The tracker follows known vehicles by weaker scores than it takes to make a new one.
    threshold = min(DEFAULT_SCORE, job.birth_score or DEFAULT_SCORE)
    options = ModelOptions(job.decoder, job.normalisation, job.input_size_px, job.provider, job.threads)
    detector = load_detector(job.model, classes=job.classes, score_threshold=threshold, options=options)
    return focused(detector, job.focus)


def make_shapes(job: CameraJob, source: FrameSource) -> tuple[tuple[Line, ...], tuple[Zone, ...]]:
    """Lines and zones of a job. A simulated street brings its own line where none is asked for."""
    lines = tuple(Line(name, points, Anchor(anchor)) for name, points, anchor in job.lines)
    zones = tuple(
        Zone(name, points, Anchor(anchor), capacity, parked_after_s)
        for name, points, anchor, capacity, parked_after_s in job.zones
    )
    scene = as_drawn(source)
    if not lines and not zones and isinstance(scene, SceneSource):
        lines = tuple(scene.lines)
    return lines, zones


def make_pipeline(job: CameraJob, detector: Detector, lines: Sequence[Line], zones: Sequence[Zone]) -> Pipeline:
    """What counts the camera of a job.

    Raises:
        ValueError: two lines, zones or turns share a name; a turn names no line.
    """
    params, turns = params_of_score(job.birth_score, job.focus.scores), [Turn(*rule) for rule in job.turns]
    return Pipeline(detector, lines, zones, params, turns=turns, ground_points=job.ground_points)


def calibration_in_words(job: CameraJob, size_px: tuple[int, int]) -> str | None:
    """How well the camera of a job is calibrated; None: it is not.

    Raises:
        CameraFailed: its points do not fit the picture as it really is, (width, height).
    """
    if not job.ground_points:
        return None
    try:
        return calibrate(job.ground_points, size_px).in_words()
    except ValueError as error:
        raise CameraFailed(GapReason.CAMERA_DOWN, str(error)) from error


def first_picture(source: FrameSource) -> Frame:
    """Open the source and wait for a picture.

    Raises:
        SourceError: none came.
    """
    source.open()
    until_s = time.monotonic() + FIRST_PICTURE_S
    while True:
        try:
            return source.read(READ_S)
        except SourceStalled:
            if time.monotonic() > until_s:
                raise


def check_shapes(shapes: Iterable[Line | Zone], size_px: tuple[int, int]) -> None:
    """Refuse lines and zones that do not fit the picture as it really is, (width, height).

    Raises:
        CameraFailed: naming each that is outside.
    """
    faults = []
    for shape in shapes:
        try:
            check_inside(shape, size_px)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise CameraFailed(GapReason.CAMERA_DOWN, "; ".join(faults))


def check_size(job: CameraJob, size_px: tuple[int, int]) -> None:
    """Refuse pictures of another size than before, if anything was drawn on those.

    Raises:
        CameraFailed: naming both sizes.
    """
    drawn = (
        job.lines or job.zones or job.ground_points or job.options.masks or job.focus.regions or job.focus.crop_px
    )
    if drawn and job.size_px not in (None, size_px):
        assert job.size_px is not None
        (was_x, was_y), (width, height) = job.size_px, size_px
        raise CameraFailed(
            GapReason.CAMERA_DOWN,
            f"its picture has changed from {was_x}x{was_y} to {width}x{height}, and its lines, zones and masks "
            "were drawn on the former; set the camera back, or draw them anew and start the agent again",
        )


# --- the process -------------------------------------------------------------------------------------------------


def do_job(
    job: CameraJob,
    send: Callable[[Message], None],
    stopping: Callable[[], bool],
    snapshot_wanted: Callable[[], bool] = lambda: False,
) -> None:
    """Do a job until asked to stop.

    Raises:
        CameraFailed: it cannot go on, with the reason.
    """
    cv2.setNumThreads(job.threads)
    try:
        with contextlib.closing(make_detector(job)) as detector, contextlib.closing(make_source(job)) as source:
            _work(job, source, detector, send, stopping, snapshot_wanted)
    except DetectorError as error:
        raise CameraFailed(GapReason.MODEL_FAILED, str(error)) from error
    except SourceError as error:
        raise CameraFailed(GapReason.CAMERA_DOWN, str(error)) from error


def _work(
    job: CameraJob,
    source: FrameSource,
    detector: Detector,
    send: Callable[[Message], None],
    stopping: Callable[[], bool],
    snapshot_wanted: Callable[[], bool],
) -> None:
    lines, zones = make_shapes(job, source)
    first = first_picture(source)
    height_px, width_px = first.image.shape[:2]
    check_size(job, (width_px, height_px))
    check_shapes((*lines, *zones), (width_px, height_px))
    calibration = calibration_in_words(job, (width_px, height_px))
    began_s = time.perf_counter()
    detector.detect(first.image)
    warm_up_ms = (time.perf_counter() - began_s) * 1000
    # That took its time: what is measured begins with a fresh picture.
    fresh = source.read(FIRST_PICTURE_S)
    fresh_ns = boottime_ns()
    unknown = unknown_classes(job.classes, detector.class_names)
    counted_at = _names(lines), _names(zones), tuple(rule[0] for rule in job.turns)
    send(Ready(fresh_ns, width_px, height_px, round(warm_up_ms, 1), calibration, unknown, *counted_at))
    if job.probe or job.snapshot:
        for told in _probe(source, detector, with_picture=job.snapshot):
            send(told)
        return
    scene = as_drawn(source)
    truth = scene if isinstance(scene, SceneSource) else None
    pipeline = make_pipeline(job, detector, lines, zones)
    worker = CameraWorker(
        job, source, pipeline, fresh, fresh_ns, send, truth=truth, snapshot_wanted=snapshot_wanted
    )
    try:
        worker.run(stopping)
    finally:
        # A camera that breaks off takes nothing away from what was measured before.
        worker.finish()
    send(Finished())


def _names(shapes: Sequence[Line] | Sequence[Zone]) -> tuple[str, ...]:
    return tuple(shape.name for shape in shapes)


def _probe(source: FrameSource, detector: Detector, *, with_picture: bool) -> list[Message]:
    """How fast pictures come while nothing is done with them, and how long the model takes for one."""
    began_s = time.monotonic()
    frames: list[Frame] = []
    while time.monotonic() < began_s + _PROBE_S:
        with contextlib.suppress(SourceStalled):
            frames = [*frames[-4:], source.read(READ_S)]
    first, last = frames[0], frames[-1]
    fps = (last.index - first.index) / (last.t_s - first.t_s) if last.t_s > first.t_s else 0.0
    began_s = time.perf_counter()
    for frame in frames:
        found = detector.detect(frame.image)
    probed = Probed(round(fps, 2), round((time.perf_counter() - began_s) / len(frames) * 1000, 2))
    return [probed, Snapshot(snapshot_jpeg(last.image, found))] if with_picture else [probed]


def main(argv: Sequence[str]) -> int:
    """Do the job that stands on standard input, tell about it on the file descriptor in `argv`."""
    pipe = int(argv[0])
    os.set_inheritable(pipe, False)
    faulthandler.enable()
    die_with_parent()
    give_way()
    stop: list[int] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    asked: list[int] = []
    signal.signal(SNAPSHOT_SIGNAL, lambda number, _: asked.append(number))
    job = decode_job(sys.stdin.buffer.read())

    def send(message: Message) -> None:
        view = memoryview(encode(message))
        while view:
            view = view[os.write(pipe, view) :]

    def snapshot_wanted() -> bool:
        wanted = bool(asked)
        asked.clear()
        return wanted

    try:
        do_job(job, send, lambda: bool(stop), snapshot_wanted)
    except CameraFailed as error:
        send(Failed(error.reason, str(error)))
        return 1
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
