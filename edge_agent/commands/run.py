"""Count at this junction, and deliver what was counted, until stopped.

Everything that was counted is kept on this machine until the collector has it. SIGTERM or Ctrl-C stops in good
order.
"""

import argparse
import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from edge_agent.commands.options import Subparsers, add_command, add_config_option
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.config.settings import AgentConfig
from edge_agent.enrol import IdentityError
from edge_agent.exit_codes import EXIT_BUSY, EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from edge_agent.lookups import PatientLoop
from edge_agent.outbox import OutboxBusy
from edge_agent.rfid.keys import EpcKeyError
from edge_agent.runtime import set_up_agent_logging, stay_small

if TYPE_CHECKING:
    from edge_agent.app import Producer

logger = logging.getLogger(__name__)


def add(subparsers: Subparsers) -> None:
    """Add `run` to the command line."""
    parser = add_command(subparsers, "run", __doc__, run)
    add_config_option(parser)


def run(options: argparse.Namespace) -> int:
    """The ladder from what can go wrong to exit codes: this is the one place that catches everything."""
    try:
        config = load_config(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    set_up_agent_logging(config.log)
    stay_small()
    return in_daemon(config)


def in_daemon(config: AgentConfig, produce: "Producer | None" = None) -> int:
    """Run the agent, and whatever else makes records; the exit code of how it ended."""
    # Only now, since it loads HTTP and cryptography, which a configuration with mistakes has no need of.
    from edge_agent.app import run_agent

    try:
        with asyncio.Runner(loop_factory=PatientLoop) as runner:
            runner.run(run_agent(config, produce=produce))
    except OutboxBusy as error:
        logger.critical("%s", error, extra={"action": "outbox_busy"})
        return EXIT_BUSY
    except IdentityError as error:
        logger.critical("%s", error, extra={"action": "identity_unusable"})
        return EXIT_FAILED
    except EpcKeyError as error:
        logger.critical("%s", error, extra={"action": "epc_key_unusable"})
        return EXIT_FAILED
    except Exception:
        logger.critical("the agent failed", exc_info=True, extra={"action": "failed"})
        return EXIT_FAILED
    return EXIT_OK
