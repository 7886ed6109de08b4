"""What `stopline-agent suggest-lines` does: follows everything that moves for a while, and proposes lines."""

import argparse
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_agent.count.plan import Plan, UsageError, plan_from_options
from edge_agent.count.run import detector_of, hush_libraries
from edge_agent.counting import Pipeline, params_of_score
from edge_agent.domain.frames import Image
from edge_agent.domain.suggest import MIN_TRAILS, Suggestion, suggest
from edge_agent.domain.tracking import Tracks
from edge_agent.domain.trails import Trail, TrailBook, moving
from edge_agent.drivers.base import DriverError, FrameSource, SourceEnded, SourceStalled, SourceUnusable
from edge_agent.drivers.sources.opening import open_source
from edge_agent.preview.drawing import Counts, Painter, draw_ways

__all__ = ["DriverError", "Watched", "as_json", "as_text", "plan_of", "watch", "write_picture"]

logger = logging.getLogger(__name__)

_READ_TIMEOUT_S = 5.0
_MAX_STALLS = 6


@dataclass(slots=True)
class Watched:
    """What was seen, and what is proposed.

    Attributes:
        image, tracks: the last picture, and what was in it.
        span_s: how long was watched, in seconds of the source.
        problem: why it ended early, if it did.
    """

    image: Image
    tracks: Tracks
    size_px: tuple[int, int]
    span_s: float
    trails: list[Trail]
    suggestions: list[Suggestion]
    problem: str | None = None


def plan_of(options: argparse.Namespace) -> Plan:
    """What to watch, by the command line.

    Raises:
        UsageError: it cannot be done.
    """
    if options.source is None and options.config is None:
        raise UsageError("name a SOURCE, or a --config with the --camera to watch")
    # The options that only count has.
    drawn: dict[str, object] = {name: [] for name in ("line", "zone", "turn", "ground")}
    return plan_from_options(argparse.Namespace(**{**drawn, **vars(options)}))


def watch(plan: Plan, *, span_s: float) -> Watched:
    """Follow what moves for `span_s` of the source's time, to its end, or to Ctrl-C.

    Raises:
        DriverError: the source or the model cannot be used at all.
    """
    hush_libraries()
    source = open_source(
        plan.source, fps=plan.fps, frames=plan.frames, every=plan.every, realtime=False, options=plan.options
    )
    detector = detector_of(plan)
    watching = _Watching(Pipeline(detector, (), (), params_of_score(plan.score, plan.focus.scores)))
    problem = None
    try:
        source.open()
        watching.run(source, span_s)
    except KeyboardInterrupt:
        logger.info("stopped by the user", extra={"action": "watching_stopped"})
    except DriverError as error:
        if watching.book is None:
            raise
        problem = str(error)
    finally:
        source.close()
        detector.close()
    return replace(watching.result(), problem=problem)


class _Watching:
    """One run over a source."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.book: TrailBook | None = None
        self._latest: tuple[Image, Tracks] | None = None
        self._from_s = self._to_s = 0.0

    def run(self, source: FrameSource, span_s: float) -> None:
        n_stalls = 0
        while True:
            try:
                frame = source.read(_READ_TIMEOUT_S)
            except SourceEnded:
                return
            except SourceStalled as stall:
                n_stalls += 1
                if n_stalls >= _MAX_STALLS:
                    raise SourceUnusable(f"no picture came for {n_stalls * _READ_TIMEOUT_S:.0f} s") from stall
                continue
            n_stalls = 0
            if self.book is None:
                self.book = TrailBook((frame.image.shape[1], frame.image.shape[0]))
                self._from_s = frame.t_s
            result = self._pipeline.process(frame)
            self.book.update(result.tracks, frame.t_s)
            self._latest, self._to_s = (frame.image, result.tracks), frame.t_s
            if frame.t_s - self._from_s >= span_s:
                return

    def result(self) -> Watched:
        if self.book is None or self._latest is None:
            raise SourceUnusable("it was stopped before the first picture came")
        image, tracks = self._latest
        size_px = image.shape[1], image.shape[0]
        trails = self.book.trails()
        return Watched(image, tracks, size_px, self._to_s - self._from_s, trails, suggest(trails, size_px))


def as_json(watched: Watched) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "size_px": list(watched.size_px),
        "watched_s": round(watched.span_s, 3),
        "tracks": len(moving(watched.trails)),
        "lines": [
            {
                "name": one.line.name,
                "points": [list(point) for point in one.line.points_px],
                "share": one.share,
                "in": one.n_in,
                "out": one.n_out,
                "score": one.score,
                "why": list(one.why),
            }
            for one in watched.suggestions
        ],
        "problem": watched.problem,
    }


def as_text(watched: Watched) -> str:
    """The same for people, ready to be copied into a configuration or onto a command line."""
    n_moving = len(moving(watched.trails))
    width, height = watched.size_px
    rows = [f"# {n_moving} moving tracks in {watched.span_s:.0f} s, in a picture of {width}x{height}"]
    if watched.problem:
        rows.append(f"# it ended early: {watched.problem}")
    if not watched.suggestions:
        need = (
            f"at least {MIN_TRAILS} vehicles must pass"
            if n_moving < MIN_TRAILS
            else "no line is crossed by enough"
        )
        rows.append(f"# no line to propose: {need}. Watch longer, or give a --model that finds them")
    for one in watched.suggestions:
        points = ", ".join(f"[{x:g}, {y:g}]" for x, y in one.line.points_px)
        flat = ",".join(f"{value:g}" for point in one.line.points_px for value in point)
        rows += ["", f"# {one.share:.0%} of all: --line '{one.line.name}:{flat}'"]
        rows += [f"# - {reason}" for reason in one.why]
        rows += ["[[cameras.lines]]", f'name = "{one.line.name}"', f"points = [{points}]"]
    return "\n".join(rows)


def write_picture(path: Path, watched: Watched) -> None:
    """The last picture with all trails and the proposed lines in it.

    Raises:
        DriverError: it cannot be written.
    """
    picture = watched.image.copy()
    draw_ways(picture, [trail.middles_px for trail in moving(watched.trails)])
    totals = {one.line.name: (one.n_in, one.n_out) for one in watched.suggestions}
    nothing = watched.tracks
    hidden = replace(nothing, seen=np.zeros(len(nothing), np.bool_))
    Painter([one.line for one in watched.suggestions]).paint(picture, hidden, 0.0, Counts(totals))
    try:
        written = cv2.imwrite(str(path), picture)
    except cv2.error as error:
        raise DriverError(f"the picture {path} cannot be written: it must end in .jpg or .png") from error
    if not written:
        raise DriverError(f"the picture {path} cannot be written; is its folder there?")
