"""Loads libraries without what they import and the lights' daemon does not need of them: it has 30 MB."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(name: str, *, stand_in: bool = False) -> Iterator[None]:
    """What is imported meanwhile does not find the module `name`; where it is loaded already, it does.

    Args:
        stand_in: it finds an empty one.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name) if stand_in else None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
