"""Controller, interlock, event log and cycles together, through every mode there is."""

import msgspec
from msgspec.structs import replace

from common.codes import Aspect
from common.commands import (
    Automatic,
    ClearFault,
    FixedPlan,
    Flash,
    ManualOverride,
    Off,
    Order,
    Preempt,
)
from common.hires import Code
from common.junction import Preemption
from common.records import Cycle, SignalEvent
from common.schedule import Local
from edge_agent.domain.signals.cycles import CycleMaker
from edge_agent.domain.signals.event_codes import Event, PreemptCall, to_record
from edge_agent.domain.signals.hires import Recorder
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.lint import lint
from edge_agent.domain.signals.log_rows import conflicting_phases, to_log_rows
from edge_agent.domain.signals.steps import FaultCode, Lane
from tests.junctions import with_people

JUNCTION = replace(with_people(), preemptions=(Preemption(name="fire", stage="ew", number=3),))
FAULT_S = 600.0
ORDERS: dict[float, Order] = {
    60.0: ManualOverride(by="kim", cycle_s=80.0, lane_green_s={"north": 30.0, "south": 30.0}),
    200.0: Automatic(by="kim"),
    300.0: Preempt(by="radio", preemption="fire", on=True),
    330.0: Preempt(by="radio", preemption="fire", on=False),
    400.0: Flash(by="kim"),
    450.0: Automatic(by="kim"),
    640.0: ClearFault(by="kim"),
    800.0: Off(by="kim"),
    900.0: Automatic(by="kim"),
    1000.0: FixedPlan(by="kim", plan="day"),
}


def live() -> tuple[list[Event], list[Cycle], dict[str, float]]:
    """Twenty minutes with all orders and a fault: the log, the cycles, and how long each movement was green."""
    lights, recorder, maker = Lights(JUNCTION, 0.0), Recorder(JUNCTION), CycleMaker(JUNCTION)
    events: list[Event] = []
    cycles: list[Cycle] = []
    green_s = dict.fromkeys((movement.name for movement in JUNCTION.movements), 0.0)
    for tick in range(12_000):
        now_s, told = tick / 10, []
        order = ORDERS.get(now_s)
        if order is not None:
            assert lights.order(order, now_s).accepted
            if isinstance(order, Preempt):
                told = [PreemptCall(order.preemption, now_s, order.on)]
        if now_s == FAULT_S:
            lights.interlock.report(FaultCode.LAMP_MISMATCH, "south is dark", now_s)
        step = lights.step(now_s, Local(1, now_s), None)
        events += recorder.step(now_s, step.decision, step.aspects, step.fault, told=told)
        cycle = maker.step(now_s, step.decision, step.aspects, (Lane(),) * len(JUNCTION.lanes))
        cycles += [cycle] if cycle is not None else []
        for name, aspect in step.aspects.items():
            green_s[name] += 0.1 * (aspect is Aspect.GREEN)
    return events, cycles, green_s


def test_a_life_with_everything_in_it_is_logged_soundly() -> None:
    events, cycles, green_s = live()
    assert not lint(to_log_rows(events), conflicting_phases(JUNCTION))
    told = [(int(e.code), e.parameter) for e in events if e.code >= Code.PREEMPT_CALL_ON]
    number = list(FaultCode).index(FaultCode.LAMP_MISMATCH) + 1
    assert [row for row in told if row[0] in (155, 178)] == [
        *[(155, 6), (155, 5), (178, 1), (155, 6), (178, 0)],
        *[(155, 5), (155, 6), (155, 5), (155, 1), (155, 1), (155, 6), (155, 2)],
    ]
    assert [row for row in told if 102 <= row[0] <= 111] == [(102, 3), (105, 3), (107, 3), (104, 3), (111, 3)]
    assert [value for code, value in told if code == 173] == [2, 4, 2, 6, 2, 4, 1, 2]
    assert [row for row in told if row[0] in (200, 201)] == [(200, number), (201, number)]
    assert list(dict.fromkeys(cycle.mode for cycle in cycles)) == [
        *("automatic", "manual_override", "preempt", "fixed"),
    ]
    running_s = sum(one.lanes[0].green_s for one in cycles)
    assert green_s["north"] - 61.0 < running_s <= green_s["north"] + 1e-6
    assert all(cycle.length_s >= 8.0 for cycle in cycles)


def test_what_is_made_is_what_the_wire_takes() -> None:
    events, cycles, _ = live()
    records = [*cycles, *(to_record(JUNCTION.name, event) for event in events)]
    assert msgspec.json.decode(msgspec.json.encode(records), type=list[Cycle | SignalEvent]) == records
