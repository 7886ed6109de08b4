"""`stopline-agent`: finds the command, loads it alone, and runs it. Help must not take a Pi seconds."""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence

from common import __version__
from edge_agent.exit_codes import EXIT_BUSY, EXIT_CONFIG, EXIT_USAGE
from edge_agent.process_manners import tell_nobody

PROGRAM = "stopline-agent"
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("edge_agent.commands.run", "count, and deliver what was counted, until stopped"),
    "count": (
        "edge_agent.commands.count",
        "count in a video, pictures, a camera or a simulated street, and print it",
    ),
    "tags": ("edge_agent.commands.tags", "show tags as they pass a reader, to try it"),
    "preview": ("edge_agent.commands.preview", "show the picture on a page, and draw lines and zones there"),
    "suggest-lines": ("edge_agent.commands.suggest", "watch where vehicles go, and propose counting lines"),
    "init": ("edge_agent.commands.init", "write a new configuration, asking for what it needs"),
    "check": ("edge_agent.commands.check", "try everything a configuration names, and say what to mend"),
    "identity": ("edge_agent.commands.identity", "print the device's id; make it and its key at first need"),
    "models": ("edge_agent.commands.models", "fetch models, take in your own, and see what they can do here"),
    "simulate": ("edge_agent.commands.simulate", "send made-up counts, to try a collector or a network"),
    "snapshot": ("edge_agent.commands.snapshot", "save what a camera sees, with nobody recognisable in it"),
    "signals": ("edge_agent.commands.signals", "drive the lights of a junction until stopped"),
    "lamp-test": ("edge_agent.commands.lamp_test", "light each lamp of each head in turn"),
    "contact-test": ("edge_agent.commands.contact_test", "tell what each contact says, as it is pressed"),
    "lights": ("edge_agent.commands.lights", "look at the junction's lights, or give them an order"),
    "timing": (
        "edge_agent.commands.timing",
        "work out clearances, greens and green waves; look into a log of lights",
    ),
    "outbox": ("edge_agent.commands.outbox", "look into what waits for the collector: status, export, verify"),
}
"""Name of a command -> its module, with `add(subparsers)`, and what it does."""

_EPILOG = f"""exit codes:
  0   done
  1   failed, or found something to mend; the message tells what
  {EXIT_USAGE}   the command line is wrong
  {EXIT_BUSY}  another agent runs on the same state folder
  {EXIT_CONFIG}  the configuration cannot be used

`{PROGRAM} COMMAND --help` tells more about each.
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line without its commands' own options."""
    listed = "\n".join(f"  {name:<13} {what}" for name, (_, what) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND ...",
        description=f"Counts vehicles and people at a junction.\n\ncommands:\n{listed}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stopline {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    tell_nobody()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments[0] if arguments else "--help"
    if name not in COMMANDS:
        parser = make_parser()
        if name.startswith("-"):
            parser.parse_args(arguments or ["--help"])
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"
        parser.error(f"there is no command {name!r}{hint}")
    parser = make_parser()
    importlib.import_module(COMMANDS[name][0]).add(parser.add_subparsers(prog=PROGRAM, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output, `head` for instance, has seen enough.
        sys.stderr.close()
        return 0
    return code
