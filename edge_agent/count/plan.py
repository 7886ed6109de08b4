"""`stopline-agent count`: what crosses lines in a video, a folder of pictures, a camera or a simulated street."""

import argparse
import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.codes import Direction
from edge_agent.domain.classes import ANY, VEHICLES, parse_classes
from edge_agent.domain.ground_points import GroundPoint
from edge_agent.domain.measuring import LEAST_FPS
from edge_agent.domain.shapes import Line, Zone
from edge_agent.drivers.detectors.choices import (
    DECODERS,
    NORMALISATIONS,
    ModelOptions,
    parse_input_size,
)
from edge_agent.models.known import ModelError
from edge_agent.models.store import VARIABLE, is_name, model_path, user_folder

if TYPE_CHECKING:
    from edge_agent.config.settings import AgentConfig
from edge_agent.domain.focus import Focus
from edge_agent.domain.turn_rules import Turn
from edge_agent.drivers.sources.options import SourceOptions

OK, NOT_ALL_MEASURED, UNUSABLE = 0, 1, 2
_WITHIN_S = 60.0

_EPILOG = """\
a line is directed from its first point to its last: "in" crosses it from its left side to its right (for a line
drawn from left to right in the picture: downwards), "out" the other way. Points are pixels of the picture, from
its top left corner.

exit status: 0 all was measured; 1 a part could not be measured, see "gaps"; 2 it could not begin.

examples:
  stopline-agent count clip.mp4 --model yolox_nano.onnx --line main:0,180,640,180
  stopline-agent count pictures/ --model yolox_nano.onnx --line main:0,180,640,180 --fps 30 --frames 16-452
  stopline-agent count above.mp4 --model motion --line gate:0,216,768,216 --preview out.mp4
  stopline-agent count sim:road --frames 1-1800
  stopline-agent count clip.mp4 --line north:0,180,640,180 --line east:600,0,600,360 --turn 'left:north>east:40'"""


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
    model_options: ModelOptions = field(default_factory=ModelOptions)
    black_after_s: float = 5.0
    frozen_after_s: float = 30.0
    turns: tuple[Turn, ...] = ()
    ground_points: tuple[GroundPoint, ...] = ()
    options: SourceOptions = field(default_factory=SourceOptions)
    focus: Focus = field(default_factory=Focus)


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
    add_model_options(parser)
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
    add(
        "--turn", action="append", default=[], metavar="NAME:FROM>TO[:S]",
        help="count who comes in over the line FROM and leaves over TO within S seconds (default 60); FROM/out "
        "and TO/in tell other directions than in and out. In quotation marks: a shell takes > for itself",
    )  # fmt: skip
    add(
        "--ground", action="append", default=[], metavar="X_PX,Y_PX,X_M,Y_M",
        help="a point whose place on the ground is known, in metres as on a map; four or more tell speeds",
    )  # fmt: skip
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
    add("--score", type=float, metavar="S", help="score that makes a detection a vehicle, 0 to 1 (default 0.3)")
    add(
        "--preview", type=Path, metavar="OUT.mp4", help="write a video with boxes, tracks, lines, zones and counts"
    )
    add("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model finds the objects, and how it is run."""
    add = parser.add_argument
    add(
        "--model", metavar="M",
        help="path of an .onnx file, the name of a pulled model, bundled, or motion, which needs none "
        "(default: motion)",
    )  # fmt: skip
    add(
        "--models-dir", type=Path, metavar="DIR",
        help="where pulled models lie (default: $STOPLINE_MODELS_DIR, the configuration's state folder, or "
        "~/.local/share/stopline/models)",
    )  # fmt: skip
    add("--decoder", choices=DECODERS, help="how the model is read, where its outputs do not tell")
    add("--normalisation", choices=NORMALISATIONS, help="how the model wants its pixels, if not as is usual")
    add("--input-size", metavar="WxH", help="what a model sees that leaves its size open, as 416x416")
    add("--provider", metavar="P", help="what runs the model: cpu, or another that onnxruntime has here")
    add("--threads", type=int, metavar="N", help="threads for the model (default: all cores but one, at most 4)")


def run(args: argparse.Namespace) -> int:
    """Do it: prints the result, or says on stderr what stood in the way. Returns the exit status."""
    # Only here, so that the command line starts without OpenCV and numpy.
    from edge_agent.count.run import DriverError, Outcome, as_json, as_table, count

    try:
        plan = plan_from_options(args)
        outcome: Outcome = count(plan, preview_path=args.preview)
    except (UsageError, DriverError, ValueError, OSError) as error:
        print(f"stopline-agent count: {error}", file=sys.stderr)
        return UNUSABLE
    print(json.dumps(as_json(outcome)) if args.json else as_table(outcome))
    if outcome.unknown_classes:
        names = ", ".join(outcome.unknown_classes)
        told = f"the model does not know {names}: none of these was counted"
        if plan.model == "motion":
            told = "motion tells no classes: all that moves was counted; give a --model to choose"
        print(f"stopline-agent count: {told}", file=sys.stderr)
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


def parse_turn(text: str) -> Turn:
    """A turn from `NAME:FROM>TO` or `NAME:FROM>TO:SECONDS`, each line with `/in` or `/out` behind it if need be.

    Raises:
        UsageError: showing the form.
    """
    left, arrow, right = text.partition(">")
    name, colon, entry = left.rpartition(":")
    end, _, limit = right.rpartition(":")
    try:
        within_s = float(limit) if end else _WITHIN_S
    except ValueError:
        end, within_s = right, _WITHIN_S
    if not (arrow and colon and name and entry and (end or right)):
        raise UsageError(
            f"--turn {text}: write NAME:FROM>TO or NAME:FROM>TO:SECONDS, with the names of two lines, and in "
            "quotation marks, since a shell takes > for itself"
        )
    return Turn(name, _way(entry, Direction.IN), _way(end or right, Direction.OUT), within_s)


def _way(text: str, usual: Direction) -> tuple[str, Direction]:
    line, slash, direction = text.rpartition("/")
    if slash and direction in (Direction.IN, Direction.OUT):
        return line, Direction(direction)
    return text, usual


def parse_ground_point(text: str) -> GroundPoint:
    """A point from `X_PX,Y_PX,X_M,Y_M`.

    Raises:
        UsageError: showing the form.
    """
    try:
        x_px, y_px, x_m, y_m = (float(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"--ground {text}: write X_PX,Y_PX,X_M,Y_M, four numbers") from error
    return x_px, y_px, x_m, y_m


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
        # Turns of a configuration are of its own lines.
        plan = replace(plan, lines=lines, zones=zones, turns=())
    if args.turn:
        plan = replace(plan, turns=tuple(map(parse_turn, args.turn)))
    if args.ground:
        plan = replace(plan, ground_points=tuple(map(parse_ground_point, args.ground)))
    fps = plan.fps if args.fps is None else args.fps
    if fps is not None and not fps > 0:
        raise UsageError(f"--fps {fps:g}: write a number above 0")
    if fps is not None and fps / every < LEAST_FPS:
        raise UsageError(
            f"{fps / every:g} pictures a second are too few to follow anybody; {LEAST_FPS:g} is the least, and 5 "
            "count well"
        )
    return replace(
        plan,
        source=args.source or plan.source,
        model=_model(args) or plan.model,
        classes=parse_classes(args.classes) if args.classes else plan.classes,
        fps=fps,
        frames=frames,
        every=every,
        score=_checked_score(args.score) if args.score is not None else plan.score,
        model_options=_options(args, plan.model_options),
    )


def _model(args: argparse.Namespace) -> str | None:
    """What `--model` says, with the file instead of a name."""
    model: str | None = args.model
    if model is None or not is_name(model):
        return model
    folder = args.models_dir
    if folder is None and args.config and not os.environ.get(VARIABLE):
        folder = _load(args.config).models_dir
    try:
        return str(model_path(model, folder or user_folder()))
    except ModelError as error:
        raise UsageError(str(error)) from error


def _options(args: argparse.Namespace, base: ModelOptions) -> ModelOptions:
    """How the model is run: the command line before the configuration."""
    return ModelOptions(
        decoder=args.decoder or base.decoder,
        normalisation=args.normalisation or base.normalisation,
        input_size_px=parse_input_size(args.input_size) if args.input_size else base.input_size_px,
        provider=args.provider or base.provider,
        threads=args.threads or base.threads,
    )


def _checked_score(score: float) -> float:
    if not 0 < score <= 1:
        raise UsageError(f"--score {score:g}: write a number above 0, up to 1")
    return score


def _load(path: Path) -> "AgentConfig":
    from edge_agent.config.loading import ConfigError, load_config

    try:
        return load_config(path)
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _from_config(path: Path, camera_name: str | None, source: str | None) -> Plan:
    """What the configuration says about one of its cameras, for another source or its own."""
    cameras = _load(path).cameras
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
        score=camera.birth_score,
        model_options=ModelOptions(
            camera.decoder, camera.normalisation, camera.input_size, camera.execution_provider, camera.threads
        ),
        black_after_s=camera.black_after_s,
        frozen_after_s=camera.frozen_after_s,
        turns=tuple(turn.rule() for turn in camera.turns),
        ground_points=camera.ground_points,
        options=camera.source_options,
        focus=camera.focus,
    )
