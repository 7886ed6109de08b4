"""What a junction is, as its lights tell when they start: a `log` record with the description in its context.

It is stored like any other log; what it describes is kept with the junction as well, so that pages can draw it and
name its phases.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from common.junction import DESCRIBED_ACTION, Junction
from common.records import Log


@dataclass(frozen=True, slots=True)
class Described:
    """A description and when it was told, in ms since 1970."""

    at_ms: int
    junction: Junction

    def as_parameters(self) -> dict[str, Any]:
        """For `describe_junction`."""
        return {"at_ms": self.at_ms, "description": msgspec.json.encode(self.junction).decode()}


def described_in(log: Log) -> Described | None:
    """The description that a log holds; None where it holds none, or none that can be read here."""
    if log.action != DESCRIBED_ACTION:
        return None
    junction = read_description(log.context.get("description"))
    return None if junction is None else Described(log.at, junction)


def read_description(text: object) -> Junction | None:
    """A junction from JSON; None where it is none, as one of a later version may be.

    Nor is it where a name holds a NUL, which PostgreSQL does not take.
    """
    if not isinstance(text, str) or "\\u0000" in text:
        return None
    try:
        return msgspec.json.decode(text, type=Junction)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
