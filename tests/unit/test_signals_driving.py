"""Lights on heads: every failure ends in flashing red or red; what must be remembered is; the rest goes on."""

import itertools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from common.codes import Aspect
from common.commands import Automatic, ClearFault, Flash, Off
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.steps import FaultCode
from edge_agent.drivers.heads.simulated import SimulatedHeads
from edge_agent.signals.aside import RETRY_S, Aside
from edge_agent.signals.changes import Changes
from edge_agent.signals.driving import Driven, Driving
from edge_agent.signals.memory import NOTHING, DaemonRuns, HeadsLock, Kept, KeptFault, Memory
from tests.junctions import crossroads

RED, GREEN = Aspect.RED, Aspect.GREEN
NAMES = ("north", "east", "south", "west")
STEP_S = 0.1


class Bench:
    """The crossroads on simulated heads, in simulated time."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.heads = SimulatedHeads(NAMES)
        self.lights = Lights(crossroads(), self.now_s)
        self.driving = Driving(self.lights, self.heads, NAMES)
        self.driven = self.step()

    def step(self, n: int = 1) -> Driven:
        for _ in range(n):
            self.now_s += STEP_S
            self.driven = self.driving.step(self.now_s, None, None)
        return self.driven

    def until(self, condition: Callable[[], bool], most: int = 2000) -> None:
        for _ in range(most):
            if condition():
                return
            self.step()
        pytest.fail("in vain")

    def until_green(self, name: str = "north") -> None:
        self.until(lambda: self.heads.lit[name] == {GREEN})

    def assert_flashes(self) -> None:
        """From the next step on, and never green again."""
        seen = set()
        for _ in range(40):
            self.step()
            seen |= {frozenset(lit) for lit in self.heads.lit.values()}
        assert seen == {frozenset({RED}), frozenset()}
        assert self.driven.fault is not None


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.until_green()
    return made


def test_it_serves_all(bench: Bench) -> None:
    for name in ("east", "north", "west"):
        bench.until_green(name)
    assert bench.driven.fault is None
    assert bench.driven.heads_took_it


@pytest.mark.parametrize("flash_s", [0.0, 5.0])
def test_a_green_a_yellow_and_a_clearance_last_from_when_the_heads_were_told(flash_s: float) -> None:
    """The machine may stand still within a step, for less than is a fault."""
    junction = crossroads()
    startup = msgspec.structs.replace(junction.startup, flash_s=flash_s)
    junction = msgspec.structs.replace(junction, startup=startup)
    rules = {one.name: one for one in junction.movements}
    stages = {one.name: one for one in junction.stages}
    planned_s = {name: one.green_s for one in junction.plans[0].stages for name in stages[one.stage].movements}
    now_s = seen_s = 1000.0
    held_up_s, changes = itertools.cycle((0.38, 0.0, 0.21, 0.05)), list[tuple[float, str, Aspect]]()

    class SlowHeads(SimulatedHeads):
        """Seen at once, or some time after the step began."""

        shown: Mapping[str, Aspect] = MappingProxyType({})

        def show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
            nonlocal seen_s
            if aspects != self.shown:
                seen_s += next(held_up_s)
                changes.extend((seen_s, name, one) for name, one in aspects.items() if one != self.shown.get(name))
                self.shown = dict(aspects)
            super().show(aspects, now_s)

    driving = Driving(Lights(junction, now_s), SlowHeads(NAMES), NAMES, lambda: seen_s)
    while now_s < 1200.0:
        now_s = seen_s = max(now_s + STEP_S, seen_s)
        assert driving.step(now_s, None, None).fault is None
    since, n_yellow, n_cleared = dict.fromkeys(NAMES, (0.0, RED)), 0, 0
    for at_s, name, aspect in changes:
        if since[name][1] is Aspect.YELLOW:
            n_yellow += 1
            assert at_s - since[name][0] >= rules[name].yellow_s - 1e-6
        elif since[name][1] is GREEN:
            assert at_s - since[name][0] >= planned_s[name] - 1e-6
        for rival in NAMES:
            if aspect is GREEN and {name, rival} in [{*pair} for pair in junction.conflicts]:
                n_cleared += 1
                assert since[rival][1] is RED
                assert at_s - since[rival][0] >= rules[rival].red_clearance_s - 1e-6
        since[name] = at_s, aspect
    assert min(n_yellow, n_cleared) > 10


def test_who_waits_too_long_and_what_went_wrong_is_told_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = Changes()
    changes.step(bench.step())
    decision = bench.driven.decision
    # A controller that hangs.
    monkeypatch.setattr(type(bench.lights._controller), "step", lambda *_: decision)
    told = [change for _ in range(1250) for change in changes.step(bench.step())]
    assert bench.driven.starving == {"east", "west"}
    assert [(one.level, one.action, one.context) for one in told] == [
        ("warning", "lights_starving", {"movement": name}) for name in ("east", "west")
    ]
    assert told[0].text == "east has been red for longer than its max_red_s"
    bench.heads.stuck["east", GREEN] = True
    told = [change for _ in range(20) for change in changes.step(bench.step())]
    assert [(one.level, one.action) for one in told] == [("critical", "lights_fault")]
    assert told[0].text == str(bench.driven.fault)
    assert bench.driven.starving == frozenset()


def test_heads_that_fail_are_red_at_once_and_flash_when_they_are_back(bench: Bench) -> None:
    bench.heads.broken = "no supply"
    driven = bench.step()
    assert set(bench.heads.lit.values()) == {frozenset({RED})}
    assert driven.heads_took_it is False
    assert bench.step(5).heads_took_it is False, "nobody is to tell systemd that all is well"
    bench.heads.broken = ""
    bench.assert_flashes()
    assert bench.driven.fault is not None
    assert bench.driven.fault.code is FaultCode.DRIVER_FAILED
    assert bench.driven.heads_took_it


def test_a_stuck_lamp_flashes(bench: Bench) -> None:
    bench.heads.stuck["east", GREEN] = True
    bench.step(8)
    assert bench.driven.fault is not None
    bench.heads.stuck.clear()
    bench.assert_flashes()


def test_an_interlock_that_raises_is_never_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(type(bench.lights.interlock), "allow", broken)
    bench.step()
    monkeypatch.undo()
    bench.assert_flashes()
    assert not bench.driving.order(Automatic(by="x"), bench.now_s).accepted
    assert not bench.driving.is_red


def test_an_order_that_raises_flashes_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(bench.lights, "order", broken)
    result = bench.driving.order(Automatic(by="x"), bench.now_s)
    assert not result.accepted
    assert "the lights flash" in result.reason
    bench.assert_flashes()


def test_a_fault_is_cleared_by_order_once_its_cause_is_gone(bench: Bench) -> None:
    bench.driving.report(FaultCode.EXCEPTION, "a test", bench.now_s)
    bench.step(3)
    assert not bench.driving.order(ClearFault(by="x"), bench.now_s).accepted
    bench.step(100)
    assert bench.driving.order(ClearFault(by="x"), bench.now_s).accepted
    bench.until_green()


def test_lights_may_be_replaced_only_while_all_is_red(bench: Bench) -> None:
    in_green = bench.driving.is_red
    bench.until(lambda: set(bench.heads.lit.values()) == {frozenset({RED})})
    assert (in_green, bench.driving.is_red) == (False, True)
    bench.driving.lights = Lights(crossroads(), bench.now_s)
    began_s = bench.now_s
    bench.until_green()
    assert bench.now_s - began_s >= 6.0, "start-up is all red"


def test_what_fails_aside_is_left_out_for_a_while_and_tried_again() -> None:
    aside = Aside("the log")
    calls: list[float] = []

    def work(now_s: float, *, fails: bool) -> str:
        calls.append(now_s)
        if fails:
            raise OSError("disk")
        return "done"

    assert aside.do(0.0, "nothing", work, 0.0, fails=False) == "done"
    assert aside.do(1.0, "nothing", work, 1.0, fails=True) == "nothing"
    assert aside.trouble == "the log: OSError: disk"
    assert aside.do(1.0 + RETRY_S / 2, "nothing", work, 2.0, fails=False) == "nothing"
    assert calls == [0.0, 1.0]
    assert aside.do(1.0 + RETRY_S, "nothing", work, 3.0, fails=False) == "done"
    assert aside.trouble == ""


FAULT = KeptFault(FaultCode.CONFLICT, "north and east")


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    for kept in (Kept(FAULT), Kept(order=Off(by="technician")), Kept(FAULT, Flash(by="x", why="y")), NOTHING):
        memory = Memory(tmp_path)
        memory.load()
        memory.keep(Kept(order=Flash(by="before")))
        memory.keep(kept)
        memory.close()
        assert Memory(tmp_path).load() == kept


def test_nothing_was_kept_at_the_first_start(tmp_path: Path) -> None:
    assert Memory(tmp_path).load() == NOTHING


@pytest.mark.parametrize("left", [b"", b"{", b'{"fault": {"code": "none such", "detail": ""}}', b"\x00" * 100])
def test_what_cannot_be_read_is_a_fault(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "state.json").write_bytes(left)
    kept = Memory(tmp_path).load()
    assert kept.fault is not None
    assert "cannot be read" in kept.fault.detail


def test_a_disk_that_refuses_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(tmp_path / "none")
    memory.keep(Kept(FAULT))
    memory.close()
    assert "cannot be written" in caplog.text
    assert memory.kept == Kept(FAULT)


def test_only_one_has_the_heads(tmp_path: Path) -> None:
    first, second = HeadsLock(tmp_path / "state"), HeadsLock(tmp_path / "state")
    first.take()
    with pytest.raises(DaemonRuns, match="systemctl stop stopline-signals"):
        second.take()
    first.release()
    first.release()
    second.take()
    second.release()


def test_no_thread_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    n_before = threading.active_count()
    memory = Memory(tmp_path)
    memory.load()
    memory.keep(NOTHING)
    assert threading.active_count() == n_before
    memory.close()
