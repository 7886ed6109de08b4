"""The camera of a preview in a process of its own: `python -m edge_agent.preview.camera`.

Drivers can hang, and models take all of a core; the page goes on meanwhile. Started by `edge_agent.preview.child`.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import BinaryIO

import cv2

from common.codes import Direction
from edge_agent.cameras.messages import CameraJob, Shape, ZoneShape, decode_job
from edge_agent.cameras.process import make_detector, make_source
from edge_agent.counting import FrameResult, Pipeline, PipelineParams, params_of_score
from edge_agent.domain.frames import Frame
from edge_agent.domain.pacing import Pacer
from edge_agent.domain.shapes import Anchor, Line, Zone, check_inside
from edge_agent.domain.suggest import suggest
from edge_agent.domain.trails import TrailBook, moving
from edge_agent.drivers.base import Detector, DetectorError, FrameSource, SourceError, SourceStalled
from edge_agent.preview.drawing import Counts, Painter, as_jpeg, fitted
from edge_agent.preview.messages import (
    Count,
    HeatMap,
    LineNow,
    News,
    Order,
    Picture,
    Proposal,
    Proposals,
    Propose,
    Report,
    Show,
    Trouble,
    ZoneNow,
    decode_order,
    encode_news,
)
from edge_agent.process_manners import die_with_parent, give_way

SHOW_FPS = 8.0
"""Pictures a second that are drawn and coded at most."""
_WIDTH_PX = 960
_READ_S = 0.4
_REPORT_S = 0.5
_HEAT_S = 2.0
_AGAIN_S = 3.0
_SILENCE_S = 15.0
"""A source that gives no picture for so long is opened again."""


class Ended(Exception):
    """Nobody is there any more to whom anything could be told."""


class Orders:
    """What comes over standard input, read by a thread. Its end is the end of us."""

    def __init__(self, stream: BinaryIO) -> None:
        self._queue: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(stream,), name="orders", daemon=True).start()

    def waiting(self, wait_s: float = 0.0) -> list[Order]:
        """All that came, after waiting for the first one as long as that.

        Raises:
            Ended: no more will come.
        """
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait())
            while True:
                found.append(self._queue.get_nowait())
        if None in found:
            raise Ended
        return [order for order in found if order is not None]

    def _read(self, stream: BinaryIO) -> None:
        for line in stream:
            self._queue.put(decode_order(line))
        self._queue.put(None)


class Counting:
    """The lines and zones that are tried, and what they counted. What did not change keeps its count."""

    def __init__(self, detector: Detector, params: PipelineParams) -> None:
        self._detector, self._params = detector, params
        self._shapes: dict[str, Line | Zone] = {}
        self._totals: dict[str, list[int]] = {}
        self.fault: str | None = None
        self.change((), ())

    def change(self, lines: Sequence[Line], zones: Sequence[Zone]) -> None:
        """Count at these from now on."""
        drawn: list[Line | Zone] = [*lines, *zones]
        shapes = {shape.name: shape for shape in drawn}
        kept = {name: total for name, total in self._totals.items() if self._shapes.get(name) == shapes.get(name)}
        self._totals = {line.name: kept.get(line.name, [0, 0]) for line in lines}
        self._shapes = shapes
        self._pipeline = Pipeline(self._detector, lines, zones, self._params)

    def look(self, frame: Frame) -> FrameResult:
        """Take in one frame.

        Raises:
            DetectorError: the model failed.
        """
        result = self._pipeline.process(frame)
        for crossing in result.crossings:
            self._totals[crossing.line][crossing.direction is not Direction.IN] += 1
        return result

    def restart(self) -> None:
        """The source begins anew: what was in the picture is not to be tracked into it."""
        self._pipeline = Pipeline(self._detector, self.lines, self.zones, self._params)

    @property
    def lines(self) -> list[Line]:
        return [shape for shape in self._shapes.values() if isinstance(shape, Line)]

    @property
    def zones(self) -> list[Zone]:
        return [shape for shape in self._shapes.values() if isinstance(shape, Zone)]

    @property
    def totals(self) -> dict[str, tuple[int, int]]:
        return {name: (n_in, n_out) for name, (n_in, n_out) in self._totals.items()}

    @property
    def occupancy(self) -> dict[str, int]:
        return self._pipeline.occupancy()


class Looking:
    """Everything that lasts as long as the process: the counting, the trails, and who wants to see what."""

    def __init__(self, job: CameraJob, detector: Detector, orders: Orders, send: Callable[[News], None]) -> None:
        self._job, self._orders, self._send = job, orders, send
        self._counting = Counting(detector, params_of_score(job.birth_score, job.focus.scores))
        self._wanted = job.lines, job.zones
        self._painter = Painter()
        self._book: TrailBook | None = None
        self._size_px = 0, 0
        self._showing = False
        self._last_s = time.monotonic()
        self._times_s: deque[float] = deque(maxlen=30)
        self._latest: FrameResult | None = None
        self._show_due_s = self._report_due_s = self._heat_due_s = 0.0

    def run(self, source: FrameSource) -> None:
        """Look at pictures until the source breaks.

        Raises:
            SourceError, DetectorError: it broke.
            Ended: nobody listens.
        """
        source.open()
        opened_s = time.monotonic()
        pacer = Pacer(self._job.fps)
        while True:
            self._obey(self._orders.waiting())
            try:
                frame = source.read(_READ_S)
            except SourceStalled:
                if time.monotonic() - max(opened_s, self._last_s) > _SILENCE_S:
                    raise
            else:
                self._last_s = time.monotonic()
                if pacer.takes(frame.index):
                    self._look(frame, self._last_s)
                    pacer.frame(frame.t_s, frame.index, time.monotonic() - self._last_s)
            self._tell()

    def wait(self, seconds: float) -> None:
        """Nothing to look at for a while; orders are taken all the same."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._obey(self._orders.waiting(left_s))

    def begin_again(self) -> None:
        """The source is opened again."""
        self._counting.restart()
        self._painter = Painter()
        if self._book is not None:
            self._book.restart_tracks()

    def _look(self, frame: Frame, now_s: float) -> None:
        size_px = frame.image.shape[1], frame.image.shape[0]
        if size_px != self._size_px:
            self._size_px, self._book = size_px, TrailBook(size_px)
            self._count_at(*self._wanted)
        result = self._counting.look(frame)
        self._latest = result
        self._times_s.append(now_s)
        assert self._book is not None
        self._book.update(result.tracks, frame.t_s)
        self._painter.note(result.tracks, frame.t_s)
        if self._showing and now_s >= self._show_due_s:
            self._show_due_s = max(self._show_due_s, now_s - 1 / SHOW_FPS) + 1 / SHOW_FPS
            picture, scale = fitted(frame.image, _WIDTH_PX)
            # Lines and zones are the page's to draw, since they can be dragged there.
            self._painter.paint(picture, result.tracks, frame.t_s, Counts(), scale=scale)
            self._send(Picture(as_jpeg(picture)))

    def _obey(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case Show(on):
                    self._showing = on
                case Propose():
                    self._propose()
                case Count(lines, zones):
                    self._wanted = lines, zones
                    self._count_at(lines, zones)

    def _count_at(self, lines: Sequence[Shape], zones: Sequence[ZoneShape]) -> None:
        """Count at what fits into the picture; of the rest is told why not."""
        if self._size_px == (0, 0):
            return
        shapes: list[Line | Zone] = [Line(name, points, Anchor(anchor)) for name, points, anchor in lines]
        shapes += [
            Zone(name, points, Anchor(anchor), capacity, parked_after_s)
            for name, points, anchor, capacity, parked_after_s in zones
        ]
        fitting, faults = [], []
        for shape in shapes:
            try:
                check_inside(shape, self._size_px)
                fitting.append(shape)
            except ValueError as error:
                faults.append(str(error))
        self._counting.change(
            [shape for shape in fitting if isinstance(shape, Line)],
            [shape for shape in fitting if isinstance(shape, Zone)],
        )
        self._counting.fault = "; ".join(faults) or None
        if self._book is not None:
            self._book.restart_tracks()

    def _propose(self) -> None:
        trails = self._book.trails() if self._book else []
        found = suggest(trails, self._size_px) if self._book else []
        lines = tuple(Proposal(one.line.points_px, one.share, one.why) for one in found)
        self._send(Proposals(lines, len(moving(trails))))

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._report_due_s:
            self._report_due_s = now_s + _REPORT_S
            self._send(self._report(now_s - self._last_s))
        if now_s >= self._heat_due_s and self._book is not None:
            self._heat_due_s = now_s + _HEAT_S
            self._send(heat_map(self._book))

    def _report(self, silent_s: float) -> Report:
        times_s, latest = self._times_s, self._latest
        span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
        return Report(
            *self._size_px,
            fps=round((len(times_s) - 1) / span_s, 1) if span_s > 0 else 0.0,
            model_ms=round(latest.latency_s * 1000, 1) if latest else None,
            n_tracks=sum(latest.seen_by_class.values()) if latest else 0,
            n_trails=self._book.n_trails if self._book else 0,
            silent_s=round(silent_s, 1),
            lines=tuple(LineNow(name, *total) for name, total in self._counting.totals.items()),
            zones=tuple(ZoneNow(name, n) for name, n in self._counting.occupancy.items()),
            fault=self._counting.fault,
        )


def heat_map(book: TrailBook) -> HeatMap:
    """The map of a book as it is sent."""
    heat = book.heat()
    rows, columns = heat.passes.shape
    cells = tuple(
        (column, row, int(heat.passes[row, column]), *(round(float(v), 2) for v in heat.ways[row, column]))
        for row, column in zip(*heat.passes.nonzero(), strict=True)
    )
    return HeatMap(columns, rows, tuple((int(c), int(r), n, x, y) for c, r, n, x, y in cells))


def work(job: CameraJob, orders: Orders, send: Callable[[News], None]) -> None:
    """Look until nobody listens; what breaks is told and tried again."""
    cv2.setNumThreads(job.threads)
    while True:
        try:
            with contextlib.closing(make_detector(job)) as detector:
                looking = Looking(job, detector, orders, send)
                _look_again_and_again(job, looking, send)
        except DetectorError as error:
            send(Trouble(f"the model does not work: {error}"))
        orders.waiting(_AGAIN_S)


def _look_again_and_again(job: CameraJob, looking: Looking, send: Callable[[News], None]) -> None:
    while True:
        try:
            with contextlib.closing(make_source(job)) as source:
                looking.run(source)
        except SourceError as error:
            send(Trouble(str(error)))
        looking.wait(_AGAIN_S)
        looking.begin_again()


def main(argv: Sequence[str]) -> int:
    """Do the job that stands on standard input, tell about it on the file descriptor in `argv`."""
    pipe = int(argv[0])
    os.set_inheritable(pipe, False)
    die_with_parent()
    give_way()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    job = decode_job(sys.stdin.buffer.readline())

    def send(news: News) -> None:
        view = memoryview(encode_news(news))
        while view:
            view = view[os.write(pipe, view) :]

    with contextlib.suppress(Ended, BrokenPipeError):
        work(job, Orders(sys.stdin.buffer), send)
    # The thread that waits for orders holds standard input; an orderly end would wait for it.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
