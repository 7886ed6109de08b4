"""Send made-up counts, as a busy junction would, through the real outbox and sync, until stopped.

For trying a collector, a network or an SD card. The cameras of the configuration stay off; its outbox and its
device are used, so take a configuration of its own for this.
"""

import argparse
import sys
from pathlib import Path

from edge_agent.commands.options import Subparsers, add_command, add_config_option
from edge_agent.commands.run import in_daemon
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED
from edge_agent.runtime import set_up_agent_logging, stay_small


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


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10000")
    return rate


def run(options: argparse.Namespace) -> int:
    """Its exit code."""
    try:
        config = load_config(options.config, files_must_exist=False)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    set_up_agent_logging(config.log)
    stay_small()
    from edge_agent.simulation import Simulation, open_journal

    alone = config.model_copy(update={"cameras": ()})
    try:
        with open_journal(options.journal) as journal:
            return in_daemon(alone, Simulation(options.rate, journal).run)
    except OSError as error:
        # Of the journal: what goes wrong in the daemon ends there.
        print(f"stopline-agent simulate: --journal {options.journal}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
