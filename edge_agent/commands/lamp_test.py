"""Light each lamp of each head in turn, all other heads red, and say what is read back.

Only while the lights' daemon does not run. Close the road first: greens are lit too, one at a time.
"""

from edge_agent.commands.options import Subparsers, add_command
from edge_agent.signals.cli import add_lamp_test, lamp_test


def add(subparsers: Subparsers) -> None:
    """Add `lamp-test` to the command line."""
    parser = add_command(subparsers, "lamp-test", __doc__, lamp_test)
    add_lamp_test(parser)
    parser.description = __doc__
