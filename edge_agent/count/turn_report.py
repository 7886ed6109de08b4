"""What `stopline-agent count` says of turns, as JSON and in words. Nothing, if no turn is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.domain.turns import Turned, Unpaired

Turns = Mapping[str, Sequence[Turned]] | None
Lonely = Sequence[Unpaired] | None


def turns_as_json(turns: Turns, unpaired: Lonely) -> dict[str, Any]:
    """The parts of the object that `--json` prints: turns by name, and by line what they do not account for."""
    if turns is None or unpaired is None:
        return {}
    by_line: dict[str, dict[str, int]] = {}
    for one in unpaired:
        n = by_line.setdefault(one.line, {"entries": 0, "exits": 0})
        n["entries" if one.entry else "exits"] += 1
    return {"turns": {name: _turn_as_json(events) for name, events in turns.items()}, "unpaired": by_line}


def turns_in_rows(turns: Turns, unpaired: Lonely) -> list[str]:
    """The rows of the table for people."""
    told = turns_as_json(turns, unpaired)
    rows = []
    for name, turn in told.get("turns", {}).items():
        classes = ", ".join(f"{n} {cls}" for cls, n in turn["by_class"].items())
        rows.append(f"turn {name:<20} {turn['total']:>5}   {classes}")
    for line, n in told.get("unpaired", {}).items():
        rows.append(f"line {line}: {n['entries']} came and were not seen leaving, {n['exits']} left unseen coming")
    return rows


def _turn_as_json(events: Sequence[Turned]) -> dict[str, Any]:
    by_class: dict[str, int] = {}
    for one in events:
        by_class[one.cls] = by_class.get(one.cls, 0) + 1
    return {
        "total": len(events),
        "by_class": dict(sorted(by_class.items())),
        "events": [
            {
                "entered_s": round(one.entered_s, 3),
                "left_s": round(one.left_s, 3),
                "class": one.cls,
                "track": one.track,
            }
            for one in events
        ],
    }
