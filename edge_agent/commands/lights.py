"""Look at the junction's lights, or give them an order, from beside them.

Their daemon does what is ordered only as far as is safe, and says why where it does not; then the lights go on as
before. Only root, the daemon's own user, and members of its socket's group may give orders. Who gave which is
written into the log, and told to the collector.
"""

import argparse
import json
import math
import os
import pwd
import sys
import tomllib
from pathlib import Path

from common.codes import Aspect
from common.commands import (
    Automatic,
    ClearFault,
    FixedPlan,
    Flash,
    ManualOverride,
    Off,
    Order,
    Preempt,
)
from edge_agent.commands.options import DEFAULT_CONFIG, Subparsers, add_command, seconds
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from edge_agent.link import DEFAULT_SOCKET
from edge_agent.link.asking import Asking, LightsUnreachable
from edge_agent.link.messages import Shown

_OVERRIDES = ("STOPLINE_SIGNALS__SOCKET", "STOPLINE_LIGHTS__SOCKET")
"""Of the agent's configuration, and of the lights'."""
_EXAMPLES = """examples:
  stopline-agent lights status
  stopline-agent lights override --cycle 90 --lane north=30 --lane south=30   (the last lane's is computed)
  stopline-agent lights preempt fire-north on
"""


def add(subparsers: Subparsers) -> None:
    """Add `lights` to the command line."""
    parser = add_command(subparsers, "lights", __doc__, run)
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _action(actions, "status", "what they show, and why").add_argument(
        "--json", action="store_true", help="as JSON, in the words of the link"
    )
    _action(actions, "watch", "the same, at every change, until Ctrl-C")
    _order(actions, "automatic", "back to the schedule and its algorithm")
    override = _order(actions, "override", "a fixed cycle with a green for each lane")
    override.add_argument("--cycle", type=seconds, required=True, metavar="S", help="length of the cycle")
    override.add_argument(
        "--lane", type=_lane, action="append", default=[], metavar="NAME=S",
        help="green of a lane; for all lanes but those of the last stage, whose is computed",
    )  # fmt: skip
    override.add_argument(
        "--expires", type=seconds, default=3600.0, metavar="S", help="then automatic again (default: 3600)"
    )
    fixed = _order(actions, "fixed", "a plan with its own times, without sensors")
    fixed.add_argument("plan", metavar="PLAN", help="its name in the junction's description")
    fixed.add_argument("--expires", type=seconds, metavar="S", help="then automatic again (default: never)")
    _order(actions, "flash", "flashing red everywhere, until another order")
    _order(actions, "off", "dark, as for work on the heads")
    preempt = _order(actions, "preempt", "an emergency vehicle comes, or has passed")
    preempt.add_argument("preemption", metavar="NAME", help="its name in the junction's description")
    preempt.add_argument("state", choices=("on", "off"))
    clear = _order(actions, "clear-fault", "somebody has looked: leave the flashing that a fault latched")
    clear.add_argument(
        "--fault", metavar="CODE", help="the fault that was looked at; refused if another came since"
    )


def _action(actions: Subparsers, name: str, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=what)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config", type=Path, metavar="F",
        help=f"the agent's or the lights' configuration, which names the socket (default: {DEFAULT_CONFIG})",
    )  # fmt: skip
    where.add_argument("--socket", type=Path, metavar="S", help=f"the socket (default: {DEFAULT_SOCKET})")
    return parser


def _order(actions: Subparsers, name: str, what: str) -> argparse.ArgumentParser:
    parser = _action(actions, name, what)
    parser.add_argument("--why", default="", metavar="TEXT", help="for the log")
    return parser


def _overridden(named: str) -> str:
    return next((os.environ[name] for name in _OVERRIDES if name in os.environ), named)


def _lane(text: str) -> tuple[str, float]:
    name, mark, green = text.rpartition("=")
    try:
        green_s = float(green)
    except ValueError:
        green_s = -1.0
    if not mark or not name or not 0 <= green_s < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no lane and its green in seconds; write it as north=30")
    return name, green_s


def run(options: argparse.Namespace) -> int:
    """Ask, and print the answer."""
    try:
        socket = _socket(options)
    except (OSError, ValueError) as error:
        return _fail(f"{options.config or DEFAULT_CONFIG} cannot be read: {error}", EXIT_CONFIG)
    try:
        order = make_order(options)
    except ValueError as error:
        return _fail(str(error), EXIT_USAGE)
    try:
        with Asking(socket) as asking:
            if order is not None:
                return _give(asking, order)
            return _look(asking, options)
    except LightsUnreachable as error:
        return _fail(str(error), EXIT_FAILED)


def _socket(options: argparse.Namespace) -> Path:
    """Where to connect. Of a configuration only the socket is read: who has to change the lights has no time for
    faults of a camera.

    Raises:
        OSError, ValueError: the configuration cannot be read.
    """
    if options.socket is not None:
        return Path(options.socket)
    config = options.config
    if config is None and os.access(DEFAULT_CONFIG, os.R_OK):
        config = DEFAULT_CONFIG
    if config is None:
        return Path(_overridden(str(DEFAULT_SOCKET)))
    tree = tomllib.loads(config.read_text("utf-8"))
    signals = tree.get("signals")
    named = (signals if isinstance(signals, dict) else tree).get("socket", DEFAULT_SOCKET)
    return Path(config.parent / _overridden(str(named)))


def make_order(options: argparse.Namespace) -> Order | None:
    """The order on the command line; None: it is none.

    Raises:
        ValueError: a lane is named twice.
    """
    if options.action in ("status", "watch"):
        return None
    by, why = user_name(), options.why[:1000]
    match options.action:
        case "automatic":
            return Automatic(by=by, why=why)
        case "override":
            return _override(options, by, why)
        case "fixed":
            return FixedPlan(by=by, why=why, plan=options.plan, expires_s=options.expires)
        case "flash":
            return Flash(by=by, why=why)
        case "off":
            return Off(by=by, why=why)
        case "preempt":
            return Preempt(by=by, why=why, preemption=options.preemption, on=options.state == "on")
        case _:
            return ClearFault(by=by, why=why, fault=options.fault)


def _override(options: argparse.Namespace, by: str, why: str) -> ManualOverride:
    greens = dict(options.lane)
    if len(greens) < len(options.lane):
        raise ValueError("a lane is named twice; give each lane one green")
    return ManualOverride(by=by, why=why, cycle_s=options.cycle, lane_green_s=greens, expires_s=options.expires)


def user_name() -> str:
    """Who gives the order, behind sudo too."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _give(asking: Asking, order: Order) -> int:
    result = asking.order(order)
    if not result.accepted:
        return _fail(f"refused: {result.reason or 'no reason was given; see the log of the lights'}", EXIT_FAILED)
    print(f"accepted{f': {result.reason}' if result.reason else ''}")
    return EXIT_OK


def _look(asking: Asking, options: argparse.Namespace) -> int:
    before: Shown | None = None
    for shown in asking.shown():
        if options.action == "status":
            print(_as_json(shown) if options.json else "\n".join(describe(shown)))
            return EXIT_FAILED if shown.fault else EXIT_OK
        if before is None or _changed(before, shown):
            print("\n".join([*describe(shown), ""]), flush=True)
        before = shown
    return EXIT_OK


def _changed(before: Shown, shown: Shown) -> bool:
    parts = ("aspects", "mode", "stage", "plan", "algorithm", "fault", "note")
    return any(getattr(before, part) != getattr(shown, part) for part in parts)


def _as_json(shown: Shown) -> str:
    import msgspec

    return json.dumps(msgspec.to_builtins(shown))


def describe(shown: Shown) -> list[str]:
    """What the lights show, for people."""
    since_s = (shown.at_ns - shown.since_ns) / 1e9
    going = f", then {shown.next_stage}" if shown.next_stage and shown.next_stage != shown.stage else ""
    width = max(map(len, shown.aspects), default=0)
    lines = [
        f"{shown.junction}: {shown.mode.value.replace('_', ' ')}",
        f"stage {shown.stage or 'none'}{going}, as it is for {since_s:.0f} s",
        f"plan {shown.plan or 'none'}, decided by {shown.algorithm or 'nothing'}",
        *(f"  {name:<{width}}  {_word(aspect)}" for name, aspect in sorted(shown.aspects.items())),
    ]
    if shown.fault:
        lines.append(f"FAULT: {shown.fault}. When it is mended: stopline-agent lights clear-fault")
    if shown.note:
        lines.append(f"note: {shown.note}")
    return lines


def _word(aspect: Aspect) -> str:
    return aspect.value.replace("_", " ")


def _fail(message: str, code: int) -> int:
    print(f"stopline-agent lights: {message}", file=sys.stderr)
    return code
