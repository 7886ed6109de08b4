"""Reading an event log: what is wrong with it, and rows for other programs."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from common.junction import Detector, DetectorKind, Movement
from edge_agent.domain.signals.hires import Recorder
from edge_agent.domain.signals.lint import lint
from edge_agent.domain.signals.log_rows import (
    LogError,
    LogRow,
    conflicting_phases,
    detector_rows,
    read_event_rows,
    to_event_rows,
    to_log_rows,
)
from tests.junctions import crossroads
from tests.signal_steps import run_plan

CONFLICTS = frozenset({frozenset({2, 4})})


def phase(number: int, from_s: float, *, yellow_s: float = 3.0, codes: Sequence[int] = ()) -> list[LogRow]:
    """One sound service of a phase: 10 s of green, yellow, 2 s of clearance; or those of its codes."""
    end_s = from_s + 10.0 + yellow_s
    rows = [
        *[(from_s, 0), (from_s, 1), (from_s + 10.0, 4), (from_s + 10.0, 7), (from_s + 10.0, 8)],
        *[(end_s, 9), (end_s, 10), (end_s + 2.0, 11), (end_s + 2.0, 12)],
    ]
    return [LogRow(at_s, code, number) for at_s, code in rows if not codes or code in codes]


def rules(rows: Sequence[LogRow]) -> list[tuple[float, str]]:
    return [(one.at_s, one.rule) for one in lint(rows, CONFLICTS)]


def test_a_sound_log_has_no_findings() -> None:
    assert rules(phase(2, 0.0) + phase(4, 15.0) + phase(2, 30.0)) == []


def test_what_the_recorder_writes_is_sound() -> None:
    recorder, events = Recorder(crossroads()), []
    for one in run_plan(crossroads(), 600.0):
        events += recorder.step(one.now_s, one.decision, one.shown, None)
    assert not lint(to_log_rows(events), conflicting_phases(crossroads()))


@pytest.mark.parametrize("missing", [1, 4, 7, 8, 9, 10, 11])
def test_a_row_that_is_missing_breaks_the_order(missing: int) -> None:
    rows = phase(2, 0.0, codes=[code for code in (0, 1, 4, 7, 8, 9, 10, 11, 12) if code != missing])
    assert "order" in {rule for _, rule in rules(rows)}


@pytest.mark.parametrize(("yellow_s", "is_wrong"), [(2.6, True), (2.7, False), (6.0, False), (6.1, True)])
def test_a_yellow_has_bounds(yellow_s: float, is_wrong: bool) -> None:
    assert ("yellow" in {rule for _, rule in rules(phase(2, 0.0, yellow_s=yellow_s))}) == is_wrong


def test_a_green_beside_a_conflicting_yellow_is_found() -> None:
    rows = sorted(phase(2, 0.0) + phase(4, 12.9), key=lambda row: row.at_s)
    assert rules(rows) == [(12.9, "conflict")]
    assert rules(sorted(phase(2, 0.0) + phase(6, 1.0), key=lambda row: row.at_s)) == []


def test_flash_may_cut_a_green_and_nothing_else_may() -> None:
    cut = [LogRow(0.0, 0, 2), LogRow(0.0, 1, 2), LogRow(5.0, 6, 2), LogRow(5.0, 7, 2), LogRow(5.0, 12, 2)]
    assert rules(cut) == [(5.0, "order")]
    assert rules([*cut[:2], LogRow(5.0, 173, 6), *cut[2:]]) == []
    assert rules([*cut[:2], LogRow(5.0, 173, 2), *cut[2:]]) == [(5.0, "order")]


def test_detectors_come_and_go_in_turn() -> None:
    rows = [LogRow(float(n), code, 5) for n, code in enumerate([82, 81, 81, 82, 82])]
    assert rules(rows) == [(2.0, "pair"), (4.0, "pair")]


def test_moments_and_values() -> None:
    rows = [LogRow(0.0, 43, 2), LogRow(0.0, 43, 2), LogRow(121.0, 44, 2), LogRow(120.0, 200, 40_000)]
    assert rules(rows) == [(0.0, "twice"), (121.0, "silence"), (120.0, "time"), (120.0, "range")]


def test_rows_with_dates_keep_the_millisecond() -> None:
    rows = to_event_rows([LogRow(0.1, 82, 1), LogRow(3600.0014, 81, 1)], "7", datetime(2026, 5, 4, tzinfo=UTC))
    assert [(str(row.at), *row[1:]) for row in rows] == [
        ("2026-05-04 00:00:00.100000", "7", 82, 1),
        ("2026-05-04 01:00:00.001000", "7", 81, 1),
    ]


def test_what_each_detector_is_to_each_phase() -> None:
    base = crossroads()
    junction = replace(
        base,
        movements=(*base.movements, Movement(name="north-left", phase=5, lanes=("north",))),
        detectors=(
            base.detectors[0],
            base.detectors[4],
            Detector(channel=9, lane="east", kind=DetectorKind.ADVANCE, sensor="c", source="far", reach_m=100.0),
            Detector(channel=10, lane="east", kind=DetectorKind.BUTTON, sensor="c", source="b"),
        ),
    )
    assert [tuple(row) for row in detector_rows(junction, "7")] == [
        ("7", 2, 1, "Yellow_Red"),
        ("7", 5, 1, "Yellow_Red"),
        ("7", 2, 101, "Presence"),
        ("7", 5, 101, "Presence"),
        ("7", 4, 9, "Advance"),
    ]


def test_a_file_of_events_is_read_whatever_its_columns_are_called() -> None:
    table = [
        ["Signal ID", "note", "time_stamp", "Event Code", "EventParam"],
        ["7", "x", "2026-05-04 00:00:00.1", "82", "1"],
    ]
    (row,) = read_event_rows(table)
    assert (str(row.at), *row[1:]) == ("2026-05-04 00:00:00.100000", "7", 82, 1)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ([], "empty"),
        ([["TimeStamp", "DeviceId", "EventId"]], "no column Parameter"),
        ([["TimeStamp", "DeviceId", "EventId", "Parameter"], ["2026-05-04", "7", "green", "2"]], "line 2"),
        ([["TimeStamp", "DeviceId", "EventId", "Parameter"], ["2026-05-04", "7"]], "line 2"),
    ],
)
def test_a_file_that_is_no_log_says_where(table: list[list[str]], told: str) -> None:
    with pytest.raises(LogError, match=told):
        list(read_event_rows(table))
