"""Drive the lights of a junction until stopped: the same as `stopline-signals run`, which loads less.

SIGTERM or Ctrl-C ends the greens, yellow and clearance included, and leaves red. SIGHUP reads the configuration
again.
"""

from edge_agent.commands.options import Subparsers, add_command
from edge_agent.signals.cli import add_run, run


def add(subparsers: Subparsers) -> None:
    """Add `signals` to the command line."""
    parser = add_command(subparsers, "signals", __doc__, run)
    add_run(parser)
    parser.description = __doc__
