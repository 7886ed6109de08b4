"""Watch where vehicles go, and propose counting lines across their ways, where they move and are tracked well.

Ctrl-C ends the watching early; what was seen until then is made use of. `preview` shows the same in the picture.
"""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.commands.options import Subparsers, add_command, refuse_picture
from edge_agent.count.plan import add_model_options
from edge_agent.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE

_MINUTES = 60.0


def add(subparsers: Subparsers) -> None:
    """Add `suggest-lines` to the command line."""
    parser = add_command(subparsers, "suggest-lines", __doc__, run)
    option = parser.add_argument
    option("source", nargs="?", metavar="SOURCE", help="as for count; without it, that of the camera in --config")
    option("--config", type=Path, metavar="F", help="take source, model and classes from this configuration")
    option("--camera", metavar="NAME", help="which camera of the configuration; needed if it has several")
    option("--minutes", type=float, default=_MINUTES, help=f"watch so long at most (default: {_MINUTES:g})")
    add_model_options(parser)
    option("--classes", metavar="A,B", help="what to watch, as for count")
    option("--fps", type=float, metavar="N", help="pictures a second, as for count")
    option("--frames", metavar="A-B[:K]", help="from picture A to picture B, as for count")
    option("--score", type=float, metavar="S", help="score that makes a detection a vehicle, 0 to 1")
    option("--picture", type=Path, metavar="OUT.jpg", help="write a picture with the tracks and the lines")
    option("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Watch, then print. 1: nothing to propose."""
    # Only here, so that the command line starts without OpenCV and numpy.
    from edge_agent.count.plan import UsageError
    from edge_agent.preview.watching import DriverError, as_json, as_text, plan_of, watch, write_picture

    try:
        if not options.minutes > 0:
            raise UsageError(f"--minutes {options.minutes:g}: write a number above 0")
        if options.picture:
            refuse_picture(options.picture, ".jpg", ".jpeg", ".png")
        watched = watch(plan_of(options), span_s=options.minutes * 60.0)
        if options.picture:
            write_picture(options.picture, watched)
    except (UsageError, DriverError, ValueError, OSError) as error:
        print(f"stopline-agent suggest-lines: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(json.dumps(as_json(watched)) if options.json else as_text(watched))
    return EXIT_OK if watched.suggestions else EXIT_FAILED
