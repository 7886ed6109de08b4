"""How the lights are, by their event log."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from collector.junctions.description import described_in, read_description
from collector.junctions.lights import LoggedEvent, read_lights
from common.clock import Stamp
from common.codes import Aspect, SignalMode
from common.hires import Code, UnitFlash
from common.junction import DESCRIBED_ACTION, Junction
from common.records import Cycle, Log, SignalEvent
from edge_agent.clock_source import Clock
from edge_agent.signals.recording import Recording
from tests.junctions import EW, NS, crossroads, with_people

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
G, Y, R = Aspect.GREEN, Aspect.YELLOW, Aspect.RED
CROSSROADS = crossroads()
NORTH, EAST, SOUTH = 2, 4, 6

Told = tuple[float, int, int]
"""Seconds since the start, code, parameter."""


def at(t_s: float) -> datetime:
    return START + timedelta(seconds=t_s)


def log(*told: Told) -> list[LoggedEvent]:
    return [LoggedEvent(at(t_s), code, parameter) for t_s, code, parameter in told]


def aspects(*told: Told, junction: Junction | None = CROSSROADS) -> dict[str | None, Aspect | None]:
    return {head.name: head.aspect for head in read_lights(log(*told), junction).heads}


BEGUN = ((0, Code.UNIT_FLASH, UnitFlash.NONE), (0, Code.UNIT_CONTROL, 6), (0, Code.PATTERN, 1))


def test_each_movement_shows_what_its_phase_was_last_told_to() -> None:
    told = (
        *BEGUN,
        (6, Code.BEGIN_GREEN, NORTH),
        (6, Code.BEGIN_GREEN, SOUTH),
        (30, 7, NORTH),
        (30, Code.BEGIN_YELLOW, NORTH),
        (33, 9, NORTH),
        (33, Code.BEGIN_RED_CLEARANCE, NORTH),
    )
    assert aspects(*told) == {"north": R, "east": R, "south": G, "west": R}
    assert aspects(*told[:-2]) == {"north": Y, "east": R, "south": G, "west": R}
    lights = read_lights(log(*told), CROSSROADS)
    assert [head.since for head in lights.heads] == [at(33), at(0), at(6), at(0)]
    assert (lights.mode, lights.stage, lights.plan, lights.flash) == (SignalMode.AUTOMATIC, "ns", "day", None)
    assert read_lights(log(*BEGUN), CROSSROADS).stage is None, "nobody goes"


def test_what_was_never_told_is_not_known() -> None:
    lights = read_lights([], CROSSROADS)
    assert {head.aspect for head in lights.heads} == {None}
    assert (lights.mode, lights.stage, lights.plan, lights.flash) == (None, None, None, None)
    assert read_lights([], None).heads == []
    assert aspects((0, Code.BEGIN_GREEN, 4), junction=None) == {None: G}


@pytest.mark.parametrize(
    ("flash", "aspect", "mode", "why"),
    [
        (UnitFlash.ORDER, Aspect.FLASHING_RED, SignalMode.FLASH, "order"),
        (UnitFlash.FAULT, Aspect.FLASHING_RED, SignalMode.FLASH, "fault"),
        (UnitFlash.MONITOR, Aspect.FLASHING_RED, SignalMode.FLASH, "monitor"),
        (3, Aspect.FLASHING_RED, SignalMode.FLASH, "fault"),
        (UnitFlash.START_UP, Aspect.FLASHING_RED, SignalMode.AUTOMATIC, "start_up"),
        (UnitFlash.DARK, Aspect.DARK, SignalMode.OFF, "dark"),
    ],
)
def test_flash_and_dark_are_everywhere_and_end_in_all_red(
    flash: int, aspect: Aspect, mode: SignalMode, why: str
) -> None:
    told = (
        *BEGUN,
        (6, Code.BEGIN_GREEN, NORTH),
        (6, Code.BEGIN_GREEN, SOUTH),
        (20, Code.UNIT_FLASH, flash),
        (20, Code.PHASE_INACTIVE, NORTH),
    )
    lights = read_lights(log(*told), CROSSROADS)
    assert {head.aspect for head in lights.heads} == {aspect}
    assert {head.since for head in lights.heads} == {at(20)}
    assert (lights.mode, lights.flash, lights.stage) == (mode, why, None)
    after = (*told, (60, Code.UNIT_FLASH, UnitFlash.NONE))
    assert set(aspects(*after).values()) == {R}
    assert aspects(*after, (66, Code.BEGIN_GREEN, EAST))["east"] is G


@pytest.mark.parametrize(
    ("control", "mode"),
    [
        (1, SignalMode.OFF),
        (2, SignalMode.FIXED),
        (5, SignalMode.MANUAL_OVERRIDE),
        (6, SignalMode.AUTOMATIC),
        (9, None),
    ],
)
def test_who_decides(control: int, mode: SignalMode | None) -> None:
    assert read_lights(log(*BEGUN, (5, Code.UNIT_CONTROL, control)), CROSSROADS).mode is mode


def test_a_preemption_lasts_until_its_exit_or_a_new_start() -> None:
    told = (*BEGUN, (5, Code.PREEMPT_ENTRY, 1))
    assert read_lights(log(*told), CROSSROADS).mode is SignalMode.PREEMPT
    assert read_lights(log(*told, (9, Code.PREEMPT_EXIT, 2)), CROSSROADS).mode is SignalMode.PREEMPT
    assert read_lights(log(*told, (9, Code.PREEMPT_EXIT, 1)), CROSSROADS).mode is SignalMode.AUTOMATIC
    assert read_lights(log(*told, (9, Code.UNIT_FLASH, UnitFlash.NONE)), CROSSROADS).mode is SignalMode.AUTOMATIC


def test_people_have_codes_of_their_own() -> None:
    junction = with_people()
    walk = next(one for one in junction.movements if one.name == "walk-over-east")
    told = (*BEGUN, (6, Code.BEGIN_GREEN, NORTH), (6, Code.BEGIN_WALK, walk.phase))
    assert aspects(*told, junction=junction)["walk-over-east"] is G
    assert read_lights(log(*told), junction).stage == "ns"
    done = (*told, (12, Code.BEGIN_WALK_CLEARANCE, walk.phase))
    assert aspects(*done, junction=junction)["walk-over-east"] is R


def test_a_plan_that_is_not_described_has_no_name() -> None:
    assert read_lights(log(*BEGUN, (5, Code.PATTERN, 7)), CROSSROADS).plan is None
    assert read_lights(log(*BEGUN, (5, Code.PATTERN, 0)), CROSSROADS).plan is None


def test_both_stages_of_a_crossroads_are_told_apart() -> None:
    phases = {movement.name: movement.phase for movement in CROSSROADS.movements}
    for names, stage in ((NS, "ns"), (EW, "ew")):
        told = tuple((6, Code.BEGIN_GREEN, phases[name]) for name in names)
        assert read_lights(log(*BEGUN, *told), CROSSROADS).stage == stage
    conflicting = tuple((6, Code.BEGIN_GREEN, phase) for phase in phases.values())
    assert read_lights(log(*BEGUN, *conflicting), CROSSROADS).stage is None


def test_a_description_comes_in_a_log() -> None:
    text = msgspec.json.encode(CROSSROADS).decode()
    described = described_in(Log(1, 77, 0, "info", DESCRIBED_ACTION, "crossroads: 4 lanes", {"description": text}))
    assert described is not None
    assert (described.at_ms, described.junction) == (77, CROSSROADS)
    assert described_in(Log(1, 77, 0, "info", "started", "x", {"description": text})) is None


def test_lights_that_begin_tell_what_they_are() -> None:
    class Sink:
        def __init__(self) -> None:
            self.records: list[Cycle | SignalEvent | Log] = []

        def put(self, record: Cycle | SignalEvent | Log, stamp: Stamp) -> None:
            self.records.append(record)

    sink = Sink()
    Recording(CROSSROADS, Clock(), sink, 5.0, began=False)
    [log] = sink.records
    assert isinstance(log, Log)
    assert log.message == "crossroads: lanes 4, movements 4"
    described = described_in(log)
    assert described is not None
    assert described.junction == CROSSROADS


@pytest.mark.parametrize(
    "text", [None, 7, "", "{}", "[", '{"name": "\\u0000"}', '{"name": "\ud800"}', "[" * 100_000]
)
def test_what_is_no_description_is_none(text: object) -> None:
    assert read_description(text) is None


def test_a_name_that_the_database_cannot_hold_makes_it_none() -> None:
    renamed = msgspec.structs.replace(CROSSROADS, name="a\0b")
    assert read_description(msgspec.json.encode(renamed).decode()) is None
