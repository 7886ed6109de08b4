"""What the parts of a junction's description must be to each other. All faults are told at once."""

from dataclasses import dataclass
from typing import Any

from common.junction import Junction


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: where, as in the file: `movements[2].yellow_s`.
        value: what stands there.
        message: what is wrong with it, and what would be right.
    """

    path: str
    value: object
    message: str

    def __str__(self) -> str:
        return f"{self.path} = {self.value!r}: {self.message}"


def faults(junction: Junction) -> list[Fault]:
    """All that is wrong with a junction; empty: it may be driven."""
    raise NotImplementedError


def read_junction(data: bytes | str | dict[str, Any]) -> tuple[Junction | None, list[Fault]]:
    """A junction from JSON or from a table (of a TOML file), with all that is wrong with it.

    The junction is None where its very shape is wrong; else it is there, and may be driven only if the list is
    empty.
    """
    raise NotImplementedError
