"""Try everything that a configuration names: folder, clock, outbox, cameras, models, tag readers, the collector.

One line each: ok, note, FAIL or skip, and what to mend. The exit code is 0 if nothing failed.
"""

import argparse
import asyncio
import logging
import sys

from edge_agent.checks.agent import check_all
from edge_agent.checks.findings import Verdict
from edge_agent.commands.options import Subparsers, add_command, add_config_option
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.config.settings import AgentConfig
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK


def add(subparsers: Subparsers) -> None:
    """Add `check` to the command line."""
    parser = add_command(subparsers, "check", __doc__, run)
    add_config_option(parser)
    parser.add_argument("--offline", action="store_true", help="leave out cameras, readers and the collector")


def run(options: argparse.Namespace) -> int:
    """Print the findings as they come."""
    try:
        config = load_config(options.config)
    except ConfigError as error:
        for fault in error.faults:
            print(f"FAIL  config: {fault}")
        return EXIT_CONFIG
    # What goes wrong is told by the findings; what drivers write would stand between them.
    logging.basicConfig(stream=sys.stderr, level=logging.CRITICAL)
    print(f"ok    config: {options.config}: {_summary(config)}")
    return asyncio.run(_check(config, offline=options.offline))


async def _check(config: AgentConfig, *, offline: bool) -> int:
    code = EXIT_OK
    async for finding in check_all(config, offline=offline):
        print(f"{finding.verdict:<4}  {finding.what}: {finding.text}", flush=True)
        if finding.verdict is Verdict.FAIL:
            code = EXIT_FAILED
    return code


def _summary(config: AgentConfig) -> str:
    n_lines = sum(len(camera.lines) for camera in config.cameras)
    n_zones = sum(len(camera.zones) for camera in config.cameras)
    n_turns = sum(len(camera.turns) for camera in config.cameras)
    turns = f", turns {n_turns}" if n_turns else ""
    turns += f", readers {len(config.readers)}" if config.readers else ""
    return f"{config.name}; cameras {len(config.cameras)}, lines {n_lines}, zones {n_zones}{turns}"
