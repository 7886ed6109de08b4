"""Send made-up counts, as a busy junction would, through the real outbox and sync, until stopped.

For trying a collector, a network or an SD card. The cameras of the configuration stay off; its outbox and its
device are used, so take a configuration of its own for this.

With --junction, vehicles drive up to the lights that the configuration names, obey what they show, and are seen by
the sensors of the junction's description: for trying lights on a bench.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.commands.options import Subparsers, add_command, add_config_option
from edge_agent.commands.run import in_daemon
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.config.settings import AgentConfig
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED
from edge_agent.runtime import set_up_agent_logging, stay_small

if TYPE_CHECKING:
    import asyncio

    from common.junction import Junction
    from edge_agent.app import Parts

MAX_VPH = 3_000.0


def add(subparsers: Subparsers) -> None:
    """Add `simulate` to the command line."""
    parser = add_command(subparsers, "simulate", __doc__, run)
    add_config_option(parser)
    parser.add_argument(
        "--rate", type=_rate, default=2.0, metavar="N", help="counts per second, on average; 0: none (default: 2)"
    )
    parser.add_argument(
        "--journal", type=Path, metavar="F", help="append to this file what was made, and what was durable when"
    )
    parser.add_argument(
        "--junction",
        type=Path,
        metavar="F",
        help="the junction's description (.json); traffic before its lights instead of made-up counts",
    )
    parser.add_argument(
        "--vph",
        type=_vph,
        default=450.0,
        metavar="N",
        help="with --junction: vehicles per hour on a lane, on average (default: 450)",
    )
    parser.add_argument(
        "--cameras", action="store_true", help="let the cameras of the configuration count as well"
    )


def _rate(text: str) -> float:
    return _number(text, 10_000.0)


def _vph(text: str) -> float:
    return _number(text, MAX_VPH)


def _number(text: str, most: float) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {most:.0f}")
    return rate


def run(options: argparse.Namespace) -> int:
    """Its exit code."""
    try:
        config = load_config(options.config, files_must_exist=options.cameras)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    set_up_agent_logging(config.log)
    stay_small()
    shown = config if options.cameras else config.model_copy(update={"cameras": ()})
    if options.junction is not None:
        return _before_lights(shown, options.junction, options.vph)
    return _counts(shown, options)


def _counts(config: AgentConfig, options: argparse.Namespace) -> int:
    from edge_agent.simulation import Simulation, open_journal

    try:
        with open_journal(options.journal) as journal:
            simulation = Simulation(options.rate, journal)
            return in_daemon(config, lambda parts, stop: simulation.run(parts.writer, parts.clock, stop))
    except OSError as error:
        # Of the journal: what goes wrong in the daemon ends there.
        print(f"stopline-agent simulate: --journal {options.journal}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED


def _before_lights(config: AgentConfig, path: Path, vph: float) -> int:
    junction = _read_junction(path)
    if junction is None:
        return EXIT_CONFIG
    if config.signals is None:
        print(
            "stopline-agent simulate: the configuration has no [signals] section; name the lights' socket there",
            file=sys.stderr,
        )
        return EXIT_CONFIG

    async def produce(parts: "Parts", stop: "asyncio.Event") -> None:
        await _drive(junction, vph, parts, stop)

    return in_daemon(config, produce)


def _read_junction(path: Path) -> "Junction | None":
    """The description; None: it cannot be used, which has been said."""
    from common.junction_checks import read_junction

    try:
        junction, faults = read_junction(path.read_bytes())
    except OSError as error:
        print(f"stopline-agent simulate: --junction {path}: {error.strerror}", file=sys.stderr)
        return None
    for fault in faults:
        print(f"stopline-agent simulate: --junction {path}: {fault}", file=sys.stderr)
    return None if faults else junction


async def _drive(junction: "Junction", vph: float, parts: "Parts", stop: "asyncio.Event") -> None:
    from edge_agent.drivers.sim.junction_traffic import JunctionTraffic
    from edge_agent.link.messages import Shown
    from edge_agent.simulated_traffic import SimulatedTraffic, demand_of

    link = parts.lights
    assert link is not None, "the configuration names the lights"
    view = link.view

    def shown() -> tuple[Shown, float] | None:
        age_s = view.age_s()
        return None if view.shown is None or age_s is None or not view.connected else (view.shown, age_s)

    seed = parts.clock.stamp().boottime_ns
    traffic = JunctionTraffic(junction, demand_of(junction, vph), seed=seed)
    await SimulatedTraffic(junction, traffic, link, shown, parts.writer).run(parts.clock.stamp, stop)
