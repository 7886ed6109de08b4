"""The commands of `stopline-collector`.

A command's module has `add(subparsers)`, which makes its parser and sets `run`: a function from the parsed options
to an exit code. To add a command, write its module and name it in `COMMANDS`.
"""

from importlib import import_module
from types import ModuleType

COMMANDS = ("serve", "demo", "user", "junction", "device", "export", "maintain", "doctor", "migrate")
"""In the order of the help."""


def load(name: str) -> ModuleType:
    """A command's module. Loading all takes a small machine seconds, so whoever needs one loads one."""
    return import_module(f"{__name__}.{name}")
