"""Work out times for a junction's lights, and look into what a log of lights tells. Nothing is changed anywhere.

clearance   yellow and all-red of an approach (ITE), and the way of people across
splits      cycle and greens from flows (Webster), with floors
wave        offsets along a road for the widest green bands both ways, and their picture
log         what is wrong with a log of hi-res events (CSV), and what it measures

stopline-agent timing WHAT --help tells more about each.
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from edge_agent.commands.options import Subparsers, add_command
from edge_agent.commands.timing_log import add_log
from edge_agent.commands.timing_wave import add_wave
from edge_agent.domain.signals.log_rows import LogError
from edge_agent.domain.signals.timing import (
    VEHICLE_M,
    WALK_MPS,
    TimingError,
    clearance,
    walk_clearance_s,
    webster,
)
from edge_agent.exit_codes import EXIT_OK, EXIT_USAGE


def add(subparsers: Subparsers) -> None:
    """Add `timing` to the command line."""
    parser = add_command(subparsers, "timing", __doc__, run)
    ways = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    _add_clearance(ways)
    _add_splits(ways)
    add_wave(ways)
    add_log(ways)


def run(options: argparse.Namespace) -> int:
    """Work it out and print it. 2: what was given makes no sense, and the message tells why."""
    way: Callable[[argparse.Namespace], int] = options.way
    try:
        return way(options)
    except (TimingError, LogError, OSError) as error:
        print(f"stopline-agent timing {options.what}: {error}", file=sys.stderr)
        return EXIT_USAGE


def _add_clearance(ways: Subparsers) -> None:
    text = "Yellow and red clearance of an approach by ITE's formula, rounded up; yellow is 3 to 6 s."
    parser = ways.add_parser("clearance", description=text, help="yellow, all-red, and the way of people across")
    option = parser.add_argument
    option("--speed-kmh", type=float, required=True, metavar="V", help="speed limit, or what 85 %% keep below")
    option(
        "--width-m",
        type=float,
        required=True,
        metavar="W",
        help="from the stop line to the far end of the conflict",
    )
    option("--grade-percent", type=float, default=0.0, metavar="G", help="uphill above 0 (default: 0)")
    option(
        "--vehicle-m", type=float, default=VEHICLE_M, metavar="L", help="length of vehicles (default: %(default)g)"
    )
    option("--crossing-m", type=float, metavar="M", help="also: the clearance of people on a way of this length")
    option(
        "--walk-mps", type=float, default=WALK_MPS, metavar="V", help="how fast people walk (default: %(default)g)"
    )
    option("--round-s", type=float, default=0.1, metavar="S", help="round up to multiples of this (default: 0.1)")
    option("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(way=_clearance)


def _clearance(options: argparse.Namespace) -> int:
    found = clearance(
        options.speed_kmh,
        options.width_m,
        grade_percent=options.grade_percent,
        vehicle_m=options.vehicle_m,
        step_s=options.round_s,
    )
    told: dict[str, Any] = {
        "yellow_s": found.yellow_s,
        "red_clearance_s": found.red_clearance_s,
        "yellow_by_formula_s": round(found.yellow_by_formula_s, 3),
        "red_by_formula_s": round(found.red_by_formula_s, 3),
    }
    lines = [
        f"yellow_s = {found.yellow_s:g}   # {found.yellow_by_formula_s:.2f} by the formula",
        f"red_clearance_s = {found.red_clearance_s:g}   # {found.red_by_formula_s:.2f} by the formula",
    ]
    if options.crossing_m is not None:
        walk_s = walk_clearance_s(options.crossing_m, walk_mps=options.walk_mps, step_s=options.round_s)
        told["walk_clearance_s"] = walk_s
        lines.append(f"red_clearance_s = {walk_s:g}   # of the people's movement")
    print(json.dumps(told) if options.json else "\n".join(lines))
    return EXIT_OK


def _add_splits(ways: Subparsers) -> None:
    text = (
        "Webster's cycle and greens. Each stage is FLOW:SATURATION[:MIN], the flow of its fullest lane and what "
        "that lane sends at green, in vehicles an hour, and its minimum green in s (7 if not given): 420:1800:10."
    )
    parser = ways.add_parser("splits", description=text, help="cycle and greens from flows")
    option = parser.add_argument
    option("stages", nargs="+", metavar="STAGE", help="a stage, as FLOW:SATURATION[:MIN]")
    option("--lost-s", type=float, required=True, metavar="S", help="all intergreens of a cycle together")
    option("--least-s", type=float, default=30.0, metavar="S", help="shortest cycle (default: %(default)g)")
    option("--most-s", type=float, default=120.0, metavar="S", help="longest cycle (default: %(default)g)")
    option("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(way=_splits)


def _splits(options: argparse.Namespace) -> int:
    stages = [_stage(text) for text in options.stages]
    found = webster(
        [ratio for ratio, _ in stages],
        options.lost_s,
        [least_s for _, least_s in stages],
        least_s=options.least_s,
        most_s=options.most_s,
    )
    if options.json:
        told = [
            {"green_s": round(g, 1), "saturation": round(x, 3), "delay_s": round(d, 1)}
            for g, x, d in zip(found.greens_s, found.saturation, found.delays_s, strict=True)
        ]
        print(json.dumps({"cycle_s": found.cycle_s, "stages": told}))
        return EXIT_OK
    print(f"cycle {found.cycle_s:g} s")
    for text, g, x, d in zip(options.stages, found.greens_s, found.saturation, found.delays_s, strict=True):
        full = "; more come than can go" if x > 1.0 else ""
        print(f"{text:<16} green {g:5.1f} s   saturation {x:.2f}   mean delay {d:.1f} s{full}")
    return EXIT_OK


def _stage(text: str) -> tuple[float, float]:
    """Flow ratio and minimum green."""
    parts = text.split(":")
    try:
        flow, saturation, *rest = [float(part) for part in parts]
    except ValueError:
        raise TimingError(f"{text!r} is no stage; write FLOW:SATURATION[:MIN], as 420:1800:10") from None
    if not saturation > 0.0 or len(rest) > 1:
        raise TimingError(f"{text!r} is no stage; write FLOW:SATURATION[:MIN], as 420:1800:10")
    return flow / saturation, rest[0] if rest else 7.0
