"""The event log: codes, their order, and that it is told from a silence that nobody logged."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.codes import Aspect, SignalMode
from common.hires import Code
from common.junction import Detector, DetectorKind, Junction, Preemption, Stage
from common.records import SignalEvent
from edge_agent.domain.signals.event_codes import (
    ClockSet,
    Crossing,
    DetectorHealth,
    Event,
    PreemptCall,
    Presence,
    Told,
    Trouble,
    to_record,
)
from edge_agent.domain.signals.hires import HEARTBEAT_S, Recorder
from edge_agent.domain.signals.lint import lint
from edge_agent.domain.signals.log_rows import conflicting_phases, to_log_rows
from edge_agent.domain.signals.steps import Decision, Fault, FaultCode, Interval, Lane, Termination
from tests.junctions import crossroads, four_stages, with_people
from tests.signal_steps import G, R, Step, Y, decision, run_plan

NS_GREEN = {"north": G, "south": G, "east": R, "west": R}
ALL_RED = dict.fromkeys(NS_GREEN, R)
FLASH = dict.fromkeys(NS_GREEN, Aspect.FLASHING_RED)
LAMPS = range(24)


def rows(events: Sequence[Event], codes: Sequence[int] | range | None = None) -> list[tuple[float, int, int]]:
    return [(e.at_s, int(e.code), e.parameter) for e in events if codes is None or e.code in codes]


def log(junction: Junction, steps: Sequence[Step]) -> list[Event]:
    recorder = Recorder(junction)
    return [event for step in steps for event in recorder.step(step.now_s, step.decision, step.shown, None)]


def test_a_phase_goes_through_the_standard_order_with_exact_moments() -> None:
    events = log(crossroads(), list(run_plan(crossroads(), 61.0, dt_s=0.5)))
    assert [row for row in rows(events, LAMPS) if row[2] == 2] == [
        (0.0, 0, 2),
        (0.0, 1, 2),
        (7.0, 3, 2),
        (25.0, 6, 2),
        (25.0, 7, 2),
        (25.0, 8, 2),
        (28.0, 9, 2),
        (28.0, 10, 2),
        (30.0, 11, 2),
        (30.0, 12, 2),
        (55.0, 0, 2),
        (55.0, 1, 2),
    ]


def test_a_green_that_an_emergency_cuts_never_completes_its_minimum() -> None:
    steps = [(0.0, decision(NS_GREEN), NS_GREEN, None), (6.9, decision(ALL_RED), ALL_RED, None)]
    assert rows(step_all(crossroads(), steps), (1, 3, 7)) == [(0.0, 1, 2), (0.0, 1, 6), (6.9, 7, 2), (6.9, 7, 6)]


def test_a_red_clearance_of_nothing_is_told_all_the_same() -> None:
    events = log(crossroads(red_clearance_s=0.0), list(run_plan(crossroads(red_clearance_s=0.0), 40.0)))
    assert [row for row in rows(events, (9, 10, 11, 12)) if row[2] == 2] == [(28.0, n, 2) for n in (9, 10, 11, 12)]


def test_a_clearance_that_ends_between_two_steps_ends_at_its_own_moment() -> None:
    junction = crossroads(red_clearance_s=1.25)
    yellow, red = {**NS_GREEN, "north": Y, "south": Y}, ALL_RED
    steps = [
        Step(0.0, decision(NS_GREEN), NS_GREEN),
        Step(10.0, decision(yellow), yellow),
        Step(13.0, decision(red), red),
        Step(14.0, decision(red), red),
        Step(15.0, decision(red), red),
    ]
    assert rows(log(junction, steps), (11,)) == [(14.25, 11, 2), (14.25, 11, 6)]


def test_flash_ends_a_clearance_that_runs() -> None:
    yellow = {**NS_GREEN, "north": Y, "south": Y}
    steps = [(0.0, NS_GREEN), (10.0, yellow), (13.0, ALL_RED), (14.0, FLASH), (20.0, FLASH)]
    events = log(crossroads(), [Step(now_s, decision(shown), shown) for now_s, shown in steps])
    assert rows(events, (11, 12)) == [(14.0, code, phase) for phase in (2, 6) for code in (11, 12)]


def test_a_step_tells_all_of_its_events_in_order_of_time() -> None:
    """A clearance of nothing is over in the step that begins it; what is told late stands before what is now."""
    junction = crossroads(red_clearance_s=0.0)
    yellow = {**NS_GREEN, "north": Y, "south": Y}
    recorder = Recorder(junction)
    for now_s, shown in [(0.0, NS_GREEN), (10.0, yellow)]:
        recorder.step(now_s, decision(shown), shown, None)
    told = [Crossing(2, 12.9), Crossing(1, 12.4)]
    manual = decision(ALL_RED, mode=SignalMode.MANUAL_OVERRIDE)
    found = rows(recorder.step(13.0, manual, ALL_RED, None, told=told))
    assert found == sorted(found, key=lambda row: row[0])
    assert [code for _, code, phase in found if phase == 2 and code < 80] == [9, 10, 11, 12]
    recorder = Recorder(crossroads(red_clearance_s=1.5))
    for now_s, shown in [(0.0, NS_GREEN), (10.0, yellow), (13.0, ALL_RED)]:
        recorder.step(now_s, decision(shown), shown, None)
    found = rows(recorder.step(15.0, manual, ALL_RED, None))
    assert [(at_s, code) for at_s, code, _ in found] == [*[(14.5, 11), (14.5, 12)] * 2, (15.0, 155), (15.0, 178)]


def test_the_reason_of_one_green_is_not_that_of_the_next() -> None:
    yellow = {**NS_GREEN, "north": Y, "south": Y}
    events = log(
        crossroads(),
        [
            Step(0.0, decision(NS_GREEN), NS_GREEN),
            Step(10.0, decision(yellow, ended={"north": Termination.GAP_OUT}), yellow),
            Step(13.0, decision(ALL_RED), ALL_RED),
            Step(20.0, decision(NS_GREEN), NS_GREEN),
            Step(30.0, decision(FLASH), FLASH),
        ],
    )
    assert [row for row in rows(events, (4, 5, 6)) if row[2] == 2] == [(10.0, 4, 2), (30.0, 6, 2)]


@pytest.mark.parametrize(
    ("why", "code"), [(Termination.GAP_OUT, 4), (Termination.MAX_OUT, 5), (Termination.FORCE_OFF, 6)]
)
def test_why_a_green_ended(why: Termination, code: int) -> None:
    junction = crossroads()
    steps = list(run_plan(junction, 40.0, why=lambda stage, now_s: why))
    assert rows(log(junction, steps), (4, 5, 6)) == [(25.0, code, 2), (25.0, code, 6)]


def test_a_reason_that_comes_before_the_interlock_lets_the_lamps_follow() -> None:
    held = {**NS_GREEN, "north": Y, "south": Y}
    steps = [
        Step(0.0, decision(NS_GREEN), NS_GREEN),
        Step(7.0, decision(held, ended={"north": Termination.GAP_OUT}), NS_GREEN),
        Step(8.0, decision(held), held),
    ]
    assert rows(log(crossroads(), steps), (4, 6)) == [(8.0, 4, 2), (8.0, 6, 6)]


def test_people_have_walk_change_and_do_not_walk_and_no_yellow() -> None:
    junction = with_people()
    events = log(junction, list(run_plan(junction, 80.0)))
    # North and south get green for 25 s; the people over the east road need 8 s from then on.
    assert [row for row in rows(events, LAMPS) if row[2] == 10] == [
        (0.0, 21, 10),
        (25.0, 22, 10),
        (33.0, 23, 10),
        (33.0 + 20.0 + 8.0, 21, 10),
    ]


def test_what_is_green_in_two_stages_is_one_green() -> None:
    base = four_stages()
    junction = replace(
        base,
        stages=(base.stages[0], Stage(name="east", movements=("east", "north")), *base.stages[2:]),
        conflicts=tuple(pair for pair in base.conflicts if pair != ("north", "east")),
    )
    events = log(junction, list(run_plan(junction, 39.0)))
    assert [row for row in rows(events, (1, 7)) if row[2] == 2] == [(0.0, 1, 2), (30.0, 7, 2)]


def step_all(
    junction: Junction, steps: Sequence[tuple[float, Decision, dict[str, Aspect], Fault | None]]
) -> list[Event]:
    recorder = Recorder(junction)
    return [event for step in steps for event in recorder.step(*step)]


def test_a_fault_in_green_ends_what_was_begun_and_says_what_it_was() -> None:
    fault = Fault(FaultCode.LAMP_MISMATCH, "south is dark", 9.0)
    events = step_all(
        crossroads(),
        [
            (0.0, decision(NS_GREEN), NS_GREEN, None),
            (9.0, decision(NS_GREEN), FLASH, fault),
            (20.0, decision(ALL_RED, Interval.START_UP), ALL_RED, None),
        ],
    )
    number = list(FaultCode).index(FaultCode.LAMP_MISMATCH) + 1
    assert rows(events, (1, 6, 7, 8, 10, 12)) == [
        *[(0.0, 1, phase) for phase in (2, 6)],
        *[(9.0, code, phase) for phase in (2, 6) for code in (6, 7, 12)],
    ]
    assert rows(events, (173, 174, 200, 201)) == [
        *[(0.0, 173, 2), (0.0, 174, 0)],
        *[(9.0, 200, number), (9.0, 173, 6), (9.0, 174, 16)],
        *[(20.0, 201, number), (20.0, 173, 2), (20.0, 174, 0)],
    ]
    assert not lint(to_log_rows(events), conflicting_phases(crossroads()))


@pytest.mark.parametrize(
    ("mode", "interval", "fault", "flash", "alarm"),
    [
        (SignalMode.FLASH, Interval.FLASH, None, 4, 32),
        (SignalMode.AUTOMATIC, Interval.START_UP, None, 7, 0),
        (SignalMode.AUTOMATIC, Interval.GREEN, FaultCode.CONFLICT, 6, 16),
        (SignalMode.AUTOMATIC, Interval.GREEN, FaultCode.EXCEPTION, 5, 16),
        (SignalMode.AUTOMATIC, Interval.GREEN, FaultCode.STARVED, 5, 17),
    ],
)
def test_why_the_lights_flash(
    mode: SignalMode, interval: Interval, fault: FaultCode | None, flash: int, alarm: int
) -> None:
    told = None if fault is None else Fault(fault, "", 0.0)
    events = step_all(crossroads(), [(0.0, decision(FLASH, interval, mode=mode), FLASH, told)])
    assert rows(events, (173, 174)) == [(0.0, 173, flash), (0.0, 174, alarm)]


def test_who_decides() -> None:
    modes = [SignalMode.AUTOMATIC, SignalMode.MANUAL_OVERRIDE, SignalMode.PREEMPT, SignalMode.FIXED]
    steps = [(float(n), decision(NS_GREEN, mode=mode), NS_GREEN, None) for n, mode in enumerate(modes)]
    events = step_all(crossroads(), steps)
    assert rows(events, (155, 178)) == [(0.0, 155, 6), (1.0, 155, 5), (1.0, 178, 1), (2.0, 178, 0), (3.0, 155, 2)]


def test_plans_and_their_coordination() -> None:
    recorder = Recorder(crossroads(offset_s=12.0))
    found = []
    for now_s, zero_s, state in [
        (0.0, 0.0, 2),
        (30.0, None, 2),
        (60.0, 60.0, 1),
        (90.0, 115.0, 1),
        (115.0, 115.0, 1),
        (116.0, 115.0, 1),
    ]:
        found += recorder.step(now_s, decision(ALL_RED, zero_s=zero_s, coordination=state), ALL_RED, None)
    assert rows(found, (131, 132, 133)) == [(0.0, 131, 1), (0.0, 132, 55), (0.0, 133, 12)]
    assert rows(found, (150,)) == [
        *[(0.0, 150, 2), (0.0, 150, 5)],
        *[(60.0, 150, 1), (60.0, 150, 5), (115.0, 150, 5)],
    ]
    assert rows(found, (174,)) == [(0.0, 174, 128)]
    splits = [(0.0, 135, 30), (0.0, 137, 25), (0.0, 139, 30), (0.0, 141, 25)]
    assert rows(found, range(134, 150)) == splits, "green, yellow and clearance of phases 2, 4, 6, 8"
    held = decision(ALL_RED, mode=SignalMode.PREEMPT, coordination=1, preemption=1)
    assert rows(recorder.step(120.0, held, ALL_RED, None), (150,)) == [(120.0, 150, 0)], "an emergency is free"
    assert rows(recorder.step(125.0, dataclasses.replace(held, zero_s=125.0), ALL_RED, None), (150,)) == []
    found = recorder.step(126.0, decision(ALL_RED, coordination=3, zero_s=125.0), ALL_RED, None)
    assert rows(found, (150,)) == [(126.0, 150, 3)], "a zero that passed meanwhile is not told afterwards"


def test_a_free_plan_has_no_cycle_length() -> None:
    events = log(crossroads(), list(run_plan(crossroads(), 10.0)))
    assert rows(events, (131, 132, 133, 150)) == [(0.0, 131, 1), (0.0, 132, 0), (0.0, 150, 0)]


def preempted() -> Junction:
    return replace(crossroads(), preemptions=(Preemption(name="fire", stage="ew", number=3, max_presence_s=30.0),))


def test_a_preemption_from_its_call_to_its_exit() -> None:
    found, recorder = [], Recorder(preempted())
    for now_s, interval, stage, number, told in [
        (0.0, Interval.GREEN, "ns", None, []),
        (5.0, Interval.GREEN, "ns", 3, [PreemptCall("fire", 4.7, True)]),
        (9.0, Interval.RED_CLEARANCE, "ns", 3, []),
        (10.0, Interval.GREEN, "ew", 3, []),
        (20.0, Interval.GREEN, "ew", None, [PreemptCall("fire", 19.9, False)]),
    ]:
        mode = SignalMode.PREEMPT if number else SignalMode.AUTOMATIC
        wanted = decision(ALL_RED, interval, mode=mode, stage=stage, preemption=number)
        found += recorder.step(now_s, wanted, ALL_RED, None, told=told)
    assert rows(found, range(101, 112)) == [
        *[(4.7, 102, 3), (5.0, 105, 3), (10.0, 107, 3)],
        *[(19.9, 104, 3), (20.0, 111, 3)],
    ]


def test_a_stuck_preemption_is_told_as_such() -> None:
    recorder = Recorder(preempted())
    held = decision(ALL_RED, stage="ew", mode=SignalMode.PREEMPT, preemption=3)
    found = recorder.step(0.0, held, ALL_RED, None, told=[PreemptCall("fire", 0.0, True)])
    found += recorder.step(30.0, decision(ALL_RED, stage="ew"), ALL_RED, None)
    late = [PreemptCall("fire", 31.0, False)]
    found += recorder.step(31.0, decision(ALL_RED, stage="ew"), ALL_RED, None, told=late)
    assert rows(found, range(101, 112)) == [
        *[(0.0, 102, 3), (0.0, 105, 3), (0.0, 107, 3)],
        *[(30.0, 110, 3), (30.0, 104, 3), (30.0, 111, 3)],
    ]


def test_a_preemption_that_nobody_called_is_called_when_it_is_served() -> None:
    recorder = Recorder(preempted())
    held = decision(ALL_RED, stage="ew", mode=SignalMode.PREEMPT, preemption=3)
    assert rows(recorder.step(2.0, held, ALL_RED, None), (102, 105)) == [(2.0, 102, 3), (2.0, 105, 3)]


def detected(
    told: Sequence[Told], until_s: float = 100.0, junction: Junction | None = None
) -> list[tuple[float, int, int]]:
    recorder = Recorder(junction or crossroads())
    recorder.step(0.0, decision(ALL_RED), ALL_RED, None)
    found = recorder.step(50.0, decision(ALL_RED), ALL_RED, None, told=told)
    found += recorder.step(until_s, decision(ALL_RED), ALL_RED, None)
    return rows(found, range(81, 93))


def in_ms(found: Sequence[tuple[float, int, int]]) -> list[tuple[int, int, int]]:
    return [(round(at_s * 1000), code, parameter) for at_s, code, parameter in found]


def test_a_crossing_is_on_and_off() -> None:
    assert in_ms(detected([Crossing(1, 49.2)])) == [(49_200, 82, 1), (49_300, 81, 1)]


def test_a_crossing_just_now_is_off_in_a_later_step() -> None:
    recorder = Recorder(crossroads())
    found = recorder.step(50.0, decision(ALL_RED), ALL_RED, None, told=[Crossing(1, 49.95)])
    assert in_ms(rows(found, (81, 82))) == [(49_950, 82, 1)]
    found = recorder.step(50.1, decision(ALL_RED), ALL_RED, None)
    assert in_ms(rows(found, (81, 82))) == [(50_050, 81, 1)]


def test_two_crossings_of_one_moment_stay_two() -> None:
    found = detected([Crossing(1, 49.0), Crossing(1, 49.0)])
    assert [row[1] for row in found] == [82, 81, 82, 81]
    assert all(round(a[0], 3) < round(b[0], 3) for a, b in pairwise(found))


def test_presence_comes_and_goes_once() -> None:
    told = [
        Presence(101, 41.0, True),
        Presence(101, 42.0, True),
        Presence(101, 43.0, False),
        Presence(101, 44.0, False),
    ]
    assert detected(told) == [(41.0, 82, 101), (43.0, 81, 101)]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (Trouble.OTHER, 84),
        (Trouble.SILENT, 85),
        (Trouble.UNREACHABLE, 86),
        (Trouble.STUCK, 87),
        (Trouble.CHATTER, 88),
    ],
)
def test_a_detector_in_trouble_and_well_again(trouble: Trouble, code: int) -> None:
    told: list[Told] = [
        Presence(101, 40.0, True),
        DetectorHealth(101, 45.0, trouble),
        DetectorHealth(101, 46.0, trouble),
        DetectorHealth(101, 49.0, None),
    ]
    assert detected(told) == [(40.0, 82, 101), (45.0, 81, 101), (45.0, code, 101), (49.0, 83, 101)]


def test_a_button_has_codes_of_its_own_and_an_unknown_channel_none() -> None:
    button = Detector(channel=7, lane="north", kind=DetectorKind.BUTTON, sensor="pole", source="b")
    junction = replace(crossroads(), detectors=(button,))
    told: list[Told] = [Presence(7, 1.0, True), Presence(7, 2.0, False), Crossing(99, 3.0)]
    assert detected(told, junction=junction) == [(1.0, 90, 7), (2.0, 89, 7)]
    troubles = (Trouble.OTHER, Trouble.STUCK, None)
    told = [Presence(7, 1.0, True), *(DetectorHealth(7, 2.0 + n, one) for n, one in enumerate(troubles))]
    found = detected(told, junction=junction)
    assert found == [(1.0, 90, 7), (2.0, 89, 7), (2.0, 91, 7), (4.0, 92, 7)], "failed is failed, whatever ails it"


def calls(
    waiting: Sequence[tuple[float, bool | None, dict[str, Aspect]]], junction: Junction | None = None
) -> list[tuple[float, int, int]]:
    """What is told of calls where the west lane waits so at these moments."""
    recorder = Recorder(junction or crossroads())
    found = []
    for now_s, is_waiting, shown in waiting:
        lanes = (Lane(), Lane(), Lane(), Lane(is_waiting=is_waiting))
        found += recorder.step(now_s, decision(shown), shown, None, lanes=lanes)
    return rows(found, (43, 44, 45))


def test_a_call_lasts_until_green() -> None:
    green = {**ALL_RED, "west": G}
    assert calls([(0.0, False, ALL_RED), (3.0, True, ALL_RED), (9.0, True, green), (9.5, False, green)]) == [
        (3.0, 43, 8),
        (9.0, 44, 8),
    ]


def test_a_call_is_dropped_when_nobody_has_stood_for_a_while() -> None:
    creeping = [(1.0, True), (2.0, False), (3.0, True), (4.0, False), (4.9, False), (5.0, False)]
    assert calls([(now_s, waits, ALL_RED) for now_s, waits in creeping]) == [(1.0, 43, 8), (5.0, 44, 8)]


def test_a_blind_detector_neither_makes_nor_ends_a_call() -> None:
    assert calls([(1.0, None, ALL_RED), (2.0, True, ALL_RED), (9.0, None, ALL_RED)]) == [(2.0, 43, 8)]


def test_a_clock_that_was_set_is_told_by_how_much() -> None:
    recorder = Recorder(crossroads())
    found = recorder.step(1.0, decision(ALL_RED), ALL_RED, None, told=[ClockSet(0.9, -12.4), ClockSet(0.95, 1e9)])
    assert rows(found, (181,)) == [(0.9, 181, 12), (0.95, 181, 32767)]


def test_a_start_after_a_power_failure() -> None:
    recorder = Recorder(crossroads())
    assert rows(recorder.started(12.0, lost_power=True, last_alive_s=-3600.0)) == [
        (-3600.0, 182, 0),
        (12.0, 184, 0),
    ]
    assert rows(recorder.started(12.0, lost_power=True)) == [(12.0, 184, 0)]
    assert recorder.started(12.0, lost_power=False) == []


def test_a_quiet_night_has_a_heartbeat() -> None:
    recorder = Recorder(crossroads())
    first = recorder.step(0.0, decision(NS_GREEN), NS_GREEN, None)
    beats = [event for k in range(1, 3001) for event in recorder.step(k / 10, decision(NS_GREEN), NS_GREEN, None)]
    assert first
    last_s = rows(beats, (3,))[-1][0]
    assert last_s == 7.0
    told = rows(beats, (155,))
    assert [one[1:] for one in told] == [(155, 6)] * 4
    assert [one[0] for one in told] == pytest.approx([last_s + k * HEARTBEAT_S for k in range(1, 5)], abs=0.11)


def test_the_record_for_the_collector() -> None:
    record = to_record("crossroads", Event(Code.BEGIN_GREEN, 2, 7.5))
    assert record == SignalEvent(1, 0, 0, "crossroads", 1, 2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    NS_GREEN,
                    ALL_RED,
                    FLASH,
                    {**NS_GREEN, "north": Y, "south": Y},
                    dict.fromkeys(NS_GREEN, Aspect.DARK),
                ]
            ),
            st.floats(0.05, 40.0),
            st.sampled_from([None, FaultCode.CONFLICT, FaultCode.STARVED]),
            st.lists(
                st.tuples(st.sampled_from([1, 2, 101]), st.floats(-2.0, 0.0), st.sampled_from([None, True, False]))
            ),
        ),
        max_size=40,
    )
)
def test_whatever_happens_the_log_is_sound(
    history: list[tuple[dict[str, Aspect], float, FaultCode | None, list[tuple[int, float, bool | None]]]],
) -> None:
    """Lamps may do what no interlock would let through, and detectors talk nonsense: pairs stay pairs, and nothing
    stays open."""
    recorder, now_s, events = Recorder(crossroads()), 0.0, []
    for shown, span_s, fault, edges in history:
        now_s += span_s
        told: list[Told] = [
            Crossing(channel, now_s + ago_s) if on is None else Presence(channel, now_s + ago_s, on)
            for channel, ago_s, on in edges
        ]
        events += recorder.step(
            now_s, decision(shown), shown, None if fault is None else Fault(fault, "", now_s), told=told
        )
    events += recorder.step(now_s + 60.0, decision(ALL_RED), ALL_RED, None)
    wrong = [one for one in lint(to_log_rows(events)) if one.rule in ("pair", "range", "twice", "silence")]
    assert not wrong
    greens = [e for e in events if e.code in (Code.BEGIN_GREEN, Code.END_GREEN)]
    assert len([e for e in greens if e.code is Code.BEGIN_GREEN]) == len(
        [e for e in greens if e.code is Code.END_GREEN]
    )
