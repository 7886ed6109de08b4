"""`stopline-agent timing wave`: a road from a file or from the command line, its offsets, and their picture."""

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent.commands.options import Subparsers
from edge_agent.domain.signals.green_wave import Aim, Green, Stop, Wave, green_wave
from edge_agent.domain.signals.time_space import time_space_svg
from edge_agent.domain.signals.timing import TimingError
from edge_agent.exit_codes import EXIT_OK

_HELP = """\
Offsets along a road, so that the bands of green are as wide as can be both ways.

The road is a file:

  title = "Main Street"
  cycle_s = 90
  out_kmh = 50              # from the first junction to the last
  back_kmh = 50             # the other way; out_kmh if not given
  balance = 0.5             # each band at least half of the other, as if not given; 0: the widest sum of both

  [[junctions]]
  name = "Harbour Bridge"
  at_m = 0                  # from wherever you like, growing in the way out
  out_green_s = 42
  back_green_s = 38         # out_green_s if not given
  out_start_s = 0           # after the first stage's green begins; 0 if not given
  back_start_s = 6          # the same, the other way
  out_kmh = 60              # from the junction before; the road's if not given

or is given on the command line, a junction as NAME:AT_M:OUT_GREEN_S[:BACK_GREEN_S]:

  stopline-agent timing wave --cycle-s 90 --speed-kmh 50 --junction A:0:42:38 --junction B:320:36 --svg wave.svg
"""

_BALANCE = 0.5

Positive = Annotated[float, Meta(gt=0.0)]
Start = Annotated[float, Meta(ge=-600.0, le=600.0)]


class _Junction(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    at_m: float
    out_green_s: Positive
    back_green_s: Positive | None = None
    out_start_s: Start = 0.0
    back_start_s: Start = 0.0
    out_kmh: Positive | None = None
    back_kmh: Positive | None = None


class _Road(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    junctions: list[_Junction]
    cycle_s: Positive
    out_kmh: Positive = 50.0
    back_kmh: Positive | None = None
    balance: Annotated[float, Meta(ge=0.0, le=1.0)] = _BALANCE
    title: str = "Green wave"


def add_wave(ways: Subparsers) -> None:
    """Add `wave` to `timing`."""
    parser = ways.add_parser(
        "wave",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="offsets along a road, and their picture",
    )
    option = parser.add_argument
    option("file", nargs="?", type=Path, metavar="FILE.toml", help="the road")
    option("--cycle-s", "--cycle", type=float, metavar="S", help="cycle of all junctions; over that of the file")
    option("--speed-kmh", type=float, metavar="V", help="speed both ways; over those of the file")
    option(
        "--junction", action="append", default=[], metavar="NAME:AT_M:OUT[:BACK]", help="a junction on the road"
    )
    option(
        "--balance",
        type=float,
        metavar="B",
        help=f"each band at least this share of the other, where that can be; 0 to 1 (default: {_BALANCE:g})",
    )
    option("--svg", type=Path, metavar="OUT.svg", help="write the time-space diagram")
    option("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(way=_wave)


def _wave(options: argparse.Namespace) -> int:
    road = _road(options)
    stops = _stops(road)
    wave = green_wave(stops, road.cycle_s, Aim(balance=road.balance))
    if options.svg is not None:
        options.svg.write_text(time_space_svg(wave, road.title), encoding="utf-8")
    print(json.dumps(_as_json(wave)) if options.json else _as_text(wave, green_wave(stops, road.cycle_s)))
    return EXIT_OK


def _road(options: argparse.Namespace) -> _Road:
    if options.file is not None and options.junction:
        raise TimingError("give the junctions in the file, or on the command line; not in both")
    if options.file is None and not (options.junction and options.cycle_s):
        raise TimingError("name a FILE.toml, or give --cycle-s and each --junction; --help shows both")
    if options.file is None:
        road = _Road(junctions=[_junction(text) for text in options.junction], cycle_s=options.cycle_s)
    else:
        road = _from_file(options.file)
    if options.cycle_s is not None:
        road.cycle_s = options.cycle_s
    if options.balance is not None:
        road.balance = options.balance
    if options.speed_kmh is not None:
        road.out_kmh, road.back_kmh = options.speed_kmh, None
        for one in road.junctions:
            one.out_kmh, one.back_kmh = None, None
    return road


def _from_file(path: Path) -> _Road:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Road)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TimingError(f"{path} is no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise TimingError(f"{path}: {error}; --help shows a file as it should be") from error


def _junction(text: str) -> _Junction:
    parts = text.split(":")
    try:
        at_m, out_s, *rest = [float(part) for part in parts[1:]]
        (back_s,) = rest or [out_s]
    except ValueError:
        raise TimingError(f"{text!r} is no junction; write NAME:AT_M:OUT_GREEN_S[:BACK_GREEN_S]") from None
    return _Junction(name=parts[0], at_m=at_m, out_green_s=out_s, back_green_s=back_s)


def _stops(road: _Road) -> Sequence[Stop]:
    back_kmh = road.back_kmh or road.out_kmh
    return [
        Stop(
            one.name,
            one.at_m,
            Green(one.out_green_s, one.out_start_s),
            Green(one.back_green_s or one.out_green_s, one.back_start_s),
            one.out_kmh or road.out_kmh,
            one.back_kmh or back_kmh,
        )
        for one in road.junctions
    ]


def _as_json(wave: Wave) -> dict[str, object]:
    return {
        "cycle_s": wave.cycle_s,
        "out_s": wave.out_s,
        "back_s": wave.back_s,
        "efficiency": round(wave.efficiency, 4),
        "attainability": round(wave.attainability, 4),
        "offsets_s": {stop.name: offset_s for stop, offset_s in zip(wave.stops, wave.offsets_s, strict=True)},
    }


def _as_text(wave: Wave, widest: Wave) -> str:
    width = max(len(stop.name) for stop in wave.stops)
    lines = [
        f"{stop.name:<{width}}  {stop.at_m:7g} m   offset_s = {offset_s:g}"
        for stop, offset_s in zip(wave.stops, wave.offsets_s, strict=True)
    ]
    lines.append(
        f"bands: {wave.out_s:.1f} s out, {wave.back_s:.1f} s back, of a cycle of {wave.cycle_s:g} s; "
        f"efficiency {wave.efficiency:.0%}, attainability {wave.attainability:.0%}"
    )
    if min(wave.out_s, wave.back_s) <= 0.0:
        way = "back" if wave.back_s <= 0.0 else "out"
        lines.append(f"the way {way} has no band at all; try another cycle or another speed")
    if widest.out_s + widest.back_s > wave.out_s + wave.back_s + 0.1:
        lines.append(f"the widest sum is {widest.out_s:.1f} s out and {widest.back_s:.1f} s back: --balance 0")
    return "\n".join(lines)
