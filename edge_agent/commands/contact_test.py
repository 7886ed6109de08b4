"""Tell what each contact of the lights' Pi says, and each change: buttons, loops, keys, emergency inputs.

Only while the lights' daemon does not run. No lamp is touched, and nothing is ordered.
"""

from edge_agent.commands.options import Subparsers, add_command
from edge_agent.signals.cli import add_contact_test, contact_test


def add(subparsers: Subparsers) -> None:
    """Add `contact-test` to the command line."""
    parser = add_command(subparsers, "contact-test", __doc__, contact_test)
    add_contact_test(parser)
    parser.description = __doc__
