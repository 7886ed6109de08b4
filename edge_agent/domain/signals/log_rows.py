"""The event log as other programs read it: rows for the public `atspm` package and its like, and back."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from common.junction import DetectorKind, Junction
from edge_agent.domain.signals.event_codes import Event

EVENT_COLUMNS = ("TimeStamp", "DeviceId", "EventId", "Parameter")
DETECTOR_COLUMNS = ("DeviceId", "Phase", "Parameter", "Function")

_FUNCTIONS = {
    DetectorKind.APPROACH: "Presence",
    DetectorKind.ADVANCE: "Advance",
    DetectorKind.STOP_LINE: "Yellow_Red",
}
_OTHER_NAMES = {
    "timestamp": 0,
    **dict.fromkeys(("deviceid", "device", "signal", "signalid", "location", "intersection", "name"), 1),
    **dict.fromkeys(("eventid", "eventcode", "code"), 2),
    **dict.fromkeys(("parameter", "eventparameter", "eventparam", "param"), 3),
}


class LogError(Exception):
    """A file is no event log; the message names line and column, and what is wanted."""


class LogRow(NamedTuple):
    """One row of a log. Seconds since whatever the log's reader chose."""

    at_s: float
    code: int
    parameter: int


class EventRow(NamedTuple):
    """One row of a file of events, in the order of `EVENT_COLUMNS`. The time is local to the junction, or UTC,
    and naive, as readers want it."""

    at: datetime
    device: str
    code: int
    parameter: int


class DetectorRow(NamedTuple):
    """What one detector is to one phase, in the order of `DETECTOR_COLUMNS`."""

    device: str
    phase: int
    channel: int
    function: str


def to_log_rows(events: Iterable[Event]) -> list[LogRow]:
    """`events` in order of their moments; of one moment, in the order in which they were made."""
    return sorted((LogRow(e.at_s, int(e.code), e.parameter) for e in events), key=lambda row: row.at_s)


def to_event_rows(rows: Iterable[LogRow], device: str, zero: datetime) -> list[EventRow]:
    """`rows` as dates, to the millisecond, in the time zone of `zero`, from which their seconds count."""
    naive = zero.replace(tzinfo=None)
    return [
        EventRow(naive + timedelta(milliseconds=round(row.at_s * 1000)), device, row.code, row.parameter)
        for row in rows
    ]


def detector_rows(junction: Junction, device: str) -> list[DetectorRow]:
    """What each detector is, for each phase that its lane belongs to. Buttons are told by their events alone."""
    phases: dict[str, list[int]] = {}
    for movement in junction.movements:
        for lane in movement.lanes:
            phases.setdefault(lane, []).append(movement.phase)
    return [
        DetectorRow(device, phase, one.channel, _FUNCTIONS[one.kind])
        for one in junction.detectors
        if one.kind in _FUNCTIONS
        for phase in phases.get(one.lane, ())
    ]


def conflicting_phases(junction: Junction) -> frozenset[frozenset[int]]:
    """Pairs of phases that must never go together."""
    numbers = {movement.name: movement.phase for movement in junction.movements}
    return frozenset(frozenset((numbers[a], numbers[b])) for a, b in junction.conflicts)


def read_event_rows(table: Iterable[Sequence[str]]) -> Iterator[EventRow]:
    """The rows of a file of events, its first one being the names of the columns; other columns are left out.

    Raises:
        LogError: a column is missing, or a value is not what it must be.
    """
    lines = iter(table)
    heading = next(lines, None)
    if heading is None:
        raise LogError(f"the file is empty; its first line must name the columns {', '.join(EVENT_COLUMNS)}")
    columns = _columns(heading)
    for number, line in enumerate(lines, 2):
        if line:
            yield _event_row(line, columns, number)


def _columns(heading: Sequence[str]) -> list[int]:
    found: dict[int, int] = {}
    for index, name in enumerate(heading):
        plain = name.strip().lstrip("\ufeff").replace(" ", "").replace("_", "").lower()
        if plain in _OTHER_NAMES:
            found.setdefault(_OTHER_NAMES[plain], index)
    missing = [name for number, name in enumerate(EVENT_COLUMNS) if number not in found]
    if missing:
        raise LogError(f"line 1 names no column {', '.join(missing)}; it names {', '.join(heading)}")
    return [found[number] for number in range(len(EVENT_COLUMNS))]


def _event_row(line: Sequence[str], columns: Sequence[int], number: int) -> EventRow:
    try:
        at, device, code, parameter = (line[column] for column in columns)
        moment = datetime.fromisoformat(at)
        return EventRow(moment.replace(tzinfo=None), device, int(code), int(parameter))
    except (IndexError, ValueError) as error:
        raise LogError(
            f"line {number}: {error}; a row is a time as 2026-05-01 12:00:00.1, a device, and two whole numbers"
        ) from error
