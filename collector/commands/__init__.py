"""The commands of `stopline-collector`.

A command's module has `add(subparsers)`, which makes its parser and sets `run`: a function from the parsed options
to an exit code. To add a command, write its module and name it in `COMMANDS`.
"""

from collector.commands import demo, device, doctor, export, junction, maintain, migrate, serve, user

COMMANDS = (serve, demo, user, junction, device, export, maintain, doctor, migrate)
"""In the order of the help."""
