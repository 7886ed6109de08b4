"""`stopline-agent count`: what crosses lines in a video, a folder of pictures, a camera or a simulated street."""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.domain.classes import ANY, VEHICLES, parse_classes
from edge_agent.domain.shapes import Line, Zone

OK, NOT_ALL_MEASURED, UNUSABLE = 0, 1, 2

_EPILOG = """\
a line is directed from its first point to its last: "in" crosses it from its left side to its right (for a line
drawn from left to right in the picture: downwards), "out" the other way. Points are pixels of the picture, from
its top left corner.

exit status: 0 all was measured; 1 a part could not be measured, see "gaps"; 2 it could not begin.

examples:
  stopline-agent count clip.mp4 --model yolox_nano.onnx --line main:0,180,640,180
  stopline-agent count pictures/ --model yolox_nano.onnx --line main:0,180,640,180 --fps 30 --frames 16-452
  stopline-agent count above.mp4 --model motion --line gate:0,216,768,216 --preview out.mp4
  stopline-agent count sim:road --frames 1-1800"""


class UsageError(Exception):
    """The command line asks for something that cannot be done; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to count, and how: the command line and the configuration, put together."""

    source: str
    model: str
    lines: tuple[Line, ...]
    zones: tuple[Zone, ...]
    classes: tuple[str, ...] | None
    fps: float | None
    frames: tuple[int, int] | None
    every: int
    score: float | None
    threads: int | None = None
    black_after_s: float = 5.0
    frozen_after_s: float = 30.0


def add_count_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `count` to a command line; its namespace goes to `run`."""
    parser = subparsers.add_parser(
        "count", help="count in a video, pictures, a camera or a simulated street", description=__doc__,
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("source", metavar="SOURCE", help="video, folder of pictures, device, rtsp:// or http:// address, sim:NAME")
    add("--config", type=Path, metavar="F", help="take model, lines, zones and classes from this configuration")
    add("--camera", metavar="NAME", help="which camera of the configuration; needed if it has several")
    add("--model", metavar="M", help="path of an .onnx file, or motion, which needs none (default: motion)")
    add(
        "--line", action="append", default=[], metavar="NAME:X1,Y1,X2,Y2[,...]", help="count here; may be repeated"
    )
    add(
        "--zone",
        action="append",
        default=[],
        metavar="NAME:X,Y,X,Y,X,Y[,...]",
        help="watch this polygon; likewise",
    )
    add("--classes", metavar="A,B", help=f"what to count, or {ANY} (default: {','.join(VEHICLES)})")
    add(
        "--fps", type=float, metavar="N",
        help="a folder: the rate at which its pictures were taken (default 30). A simulated street: its rate. All "
        "others: look at N pictures a second only, as a slow computer would",
    )  # fmt: skip
    add(
        "--frames", metavar="A-B[:K]",
        help="from picture A to picture B, both included. The first is 1; in a folder they are numbered by their "
        "place in the order of names. With :K, every K-th of them only",
    )  # fmt: skip
    add("--score", type=float, metavar="S", help="score that makes a detection a vehicle, 0 to 1 (default 0.25)")
    add("--threads", type=int, metavar="N", help="threads for the model (default: all cores but one, at most 4)")
    add(
        "--preview", type=Path, metavar="OUT.mp4", help="write a video with boxes, tracks, lines, zones and counts"
    )
    add("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it: prints the result, or says on stderr what stood in the way. Returns the exit status."""
    # Only here, so that the command line starts without OpenCV and numpy.
    from edge_agent.count.run import DriverError, Outcome, as_json, as_table, count

    try:
        outcome: Outcome = count(plan_from_options(args), preview_path=args.preview)
    except (UsageError, DriverError, ValueError, OSError) as error:
        print(f"stopline-agent count: {error}", file=sys.stderr)
        return UNUSABLE
    print(json.dumps(as_json(outcome)) if args.json else as_table(outcome))
    if outcome.problem:
        print(f"stopline-agent count: not all was measured: {outcome.problem}", file=sys.stderr)
    return NOT_ALL_MEASURED if outcome.gaps else OK


def parse_line(text: str) -> Line:
    """A line from `NAME:X1,Y1,X2,Y2`, with more points if it bends.

    Raises:
        UsageError: showing the form.
    """
    name, points = _shape(text, "--line", "NAME:X1,Y1,X2,Y2")
    return Line(name, points)


def parse_zone(text: str) -> Zone:
    """A zone from `NAME:X,Y,X,Y,X,Y`, with as many corners as it has.

    Raises:
        UsageError: showing the form.
    """
    name, points = _shape(text, "--zone", "NAME:X,Y,X,Y,X,Y")
    return Zone(name, points)


def parse_frames(text: str) -> tuple[tuple[int, int], int]:
    """First and last picture, and every how many-th, from `A-B` or `A-B:K`.

    Raises:
        UsageError: showing the form.
    """
    span, _, step = text.partition(":")
    first, dash, last = span.partition("-")
    numbers = [part.strip() for part in (first, last, step or "1")]
    if not dash or not all(number.isdigit() for number in numbers):
        raise UsageError(f"--frames {text}: write A-B or A-B:K, as in 16-452 or 16-452:3")
    a, b, k = (int(number) for number in numbers)
    if not 1 <= a <= b or k < 1:
        raise UsageError(
            f"--frames {text}: the first picture is 1, the last not before the first, and K at least 1"
        )
    return (a, b), k


def _shape(text: str, option: str, form: str) -> tuple[str, tuple[tuple[float, float], ...]]:
    name, colon, numbers = text.rpartition(":")
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if not colon or not name or len(values) < 4 or len(values) % 2:
        raise UsageError(f"{option} {text}: write {form}, with x and y of each point in pixels")
    return name, tuple(zip(values[::2], values[1::2], strict=True))


def plan_from_options(args: argparse.Namespace) -> Plan:
    """What the command line asks for.

    Raises:
        UsageError: it cannot be done.
    """
    base = _from_config(args.config, args.camera, args.source) if args.config else None
    if args.camera and not args.config:
        raise UsageError("--camera names a camera of a configuration; give --config too")
    frames, every = parse_frames(args.frames) if args.frames else (None, 1)
    lines, zones = tuple(map(parse_line, args.line)), tuple(map(parse_zone, args.zone))
    plan = base or Plan(args.source, "motion", (), (), VEHICLES, None, None, 1, None)
    if lines or zones:
        plan = replace(plan, lines=lines, zones=zones)
    return replace(
        plan,
        source=args.source or plan.source,
        model=args.model or plan.model,
        classes=parse_classes(args.classes) if args.classes else plan.classes,
        fps=args.fps or plan.fps,
        frames=frames,
        every=every,
        score=_checked_score(args.score) if args.score is not None else plan.score,
        threads=args.threads or plan.threads,
    )


def _checked_score(score: float) -> float:
    if not 0 < score <= 1:
        raise UsageError(f"--score {score:g}: write a number above 0, up to 1")
    return score


def _from_config(path: Path, camera_name: str | None, source: str | None) -> Plan:
    """What the configuration says about one of its cameras, for another source or its own."""
    from edge_agent.config.loading import ConfigError, load_config

    try:
        cameras = load_config(path).cameras
    except ConfigError as error:
        raise UsageError(str(error)) from error
    chosen = [camera for camera in cameras if camera_name in (None, camera.name)]
    if len(chosen) != 1:
        names = ", ".join(camera.name for camera in cameras) or "none"
        raise UsageError(f"{path}: name one camera with --camera; there is {names}")
    camera = chosen[0]
    return Plan(
        source=source or camera.source,
        model=camera.model,
        lines=tuple(line.shape() for line in camera.lines),
        zones=tuple(zone.shape() for zone in camera.zones),
        classes=camera.wanted_classes,
        fps=camera.fps,
        frames=None,
        every=1,
        score=camera.score_threshold,
        threads=camera.threads,
        black_after_s=camera.black_after_s,
        frozen_after_s=camera.frozen_after_s,
    )
