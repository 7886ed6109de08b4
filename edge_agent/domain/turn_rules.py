"""Turning movements as they are asked for: in over one line, out over another, within a time.

Only the standard library is needed here, so that a configuration can be checked where numpy is not loaded.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.codes import Direction

Way = tuple[str, Direction]
"""A line, and which way it is crossed."""

NO_EXIT = "no exit seen"
NO_ENTRY = "no entry seen"
MOST_NAME_LENGTH = 100
"""Of whatever counts, on the wire."""
MOST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A movement through a junction.

    Attributes:
        entry, exit: the way in, the way out; two lines, or one line both ways, which is a U-turn.
        within_s: a vehicle that takes longer did something else in between.

    Raises:
        ValueError: naming the turn and what is wrong with it.
    """

    name: str
    entry: Way
    exit: Way
    within_s: float

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("a turn needs a name")
        for line, direction in (self.entry, self.exit):
            if direction is Direction.NONE:
                raise ValueError(f"turn {self.name!r}: a line is crossed in or out; say which way for {line!r}")
        if self.entry == self.exit:
            raise ValueError(
                f"turn {self.name!r} begins and ends with the same: {_told(self.entry)}; name another line as its "
                "end, or the other direction for a U-turn"
            )
        if not (math.isfinite(self.within_s) and 0 < self.within_s <= MOST_S):
            raise ValueError(
                f"turn {self.name!r}: within_s is {self.within_s:g}; give the most seconds that it takes, up to "
                f"{MOST_S:g}"
            )


def check_turns(turns: Sequence[Turn], lines: Iterable[str], taken: Iterable[str]) -> None:
    """Refuse turns that do not fit the lines, or each other.

    Args:
        lines: the names of the lines that there are.
        taken: all names that a turn must not have; those of lines and zones.

    Raises:
        ValueError: naming the turn, and what would be right.
    """
    for turn in turns:
        for line, _ in (turn.entry, turn.exit):
            fault = line_fault(line, lines)
            if fault:
                raise ValueError(f"turn {turn.name!r}: {fault}")
    taken = {*taken}
    told = {told for turn in turns for told in unpaired_names(turn)}
    ways: dict[tuple[Way, Way], str] = {}
    for turn in turns:
        if turn.name in taken or turn.name in told:
            raise ValueError(f"the name {turn.name!r} is used twice; give each line, zone and turn its own")
        taken.add(turn.name)
        twin = ways.setdefault((turn.entry, turn.exit), turn.name)
        if twin != turn.name:
            raise ValueError(
                f"turns {twin!r} and {turn.name!r} are the same, {_told(turn.entry)} to {_told(turn.exit)}; "
                "take one away"
            )


def line_fault(line: str, lines: Iterable[str]) -> str | None:
    """What is wrong with a line that a turn names; None: nothing."""
    known = list(lines)
    if line not in known:
        return f"there is no line {line!r}; there is {', '.join(map(repr, known)) or 'none'}"
    room = MOST_NAME_LENGTH - len(f": {NO_ENTRY}")
    if len(line) > room:
        return f"the name of line {line!r} is too long for a turn; shorten it to {room} characters"
    return None


def unpaired_name(line: str, *, entry: bool) -> str:
    """What counts the vehicles that came over a line and never left, or left over it and never came."""
    return f"{line}: {NO_EXIT if entry else NO_ENTRY}"


def unpaired_names(turn: Turn) -> tuple[str, str]:
    """The names under which what does not fit this turn is told."""
    return unpaired_name(turn.entry[0], entry=True), unpaired_name(turn.exit[0], entry=False)


def _told(way: Way) -> str:
    line, direction = way
    return f"{line!r} {direction}"
