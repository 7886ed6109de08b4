"""A new configuration while the lights run: sequences that once led to danger, or to no end."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from common.codes import SignalMode
from common.commands import (
    FixedPlan,
    ManualOverride,
    Order,
    Preempt,
)
from common.junction import Junction, Preemption
from common.junction_times import late_plans
from edge_agent.config.faults import ConfigError, Fault
from edge_agent.domain.signals.steps import FaultCode
from edge_agent.drivers.heads.simulated import SimulatedHeads
from edge_agent.safe_file import write_safely
from edge_agent.signals import app
from edge_agent.signals.config import (
    HeadSettings,
    HeadsSettings,
    LampSettings,
    SignalsConfig,
)
from edge_agent.signals.lamp_test import light_each
from edge_agent.signals.memory import (
    LAST_GOOD_NAME,
)
from edge_agent.signals.reloading import needs_restart
from tests.junctions import crossroads
from tests.unit.test_actuated_coordination import held_up_arterial
from tests.unit.test_signals_dangers import GREEN, NAMES, RED, Bench, kept, order, running, shown


def with_greens(green_s: float) -> Junction:
    (plan,) = (junction := crossroads()).plans
    stages = tuple(structs.replace(stage, green_s=green_s) for stage in plan.stages)
    return structs.replace(junction, plans=(structs.replace(plan, stages=stages),))


def test_many_reloads_are_read_one_after_the_other_and_the_last_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many threads would make steps late, and the file that was read first could come last."""
    reads, most = [0], [0]

    with running(tmp_path) as bench:

        def load() -> SignalsConfig:
            reads[0] += 1
            most[0] = max(most[0], reads[0])
            time.sleep(0.002)
            reads[0] -= 1
            return bench.loaded

        monkeypatch.setattr(bench.daemon._reloading, "_load", load)
        for green_s in range(10, 30):
            bench.loaded = structs.replace(bench.config, junction=with_greens(green_s))
            bench.step(1, signal.SIGHUP)
        bench.until(lambda: bench.daemon._config == bench.loaded, 100_000)
    assert most == [1]


OVERRIDE = ManualOverride(by="ada", cycle_s=70.0, lane_green_s={"north": 40.0}, expires_s=150.0)


@pytest.mark.parametrize(
    ("order_", "most_s", "goes_on"),
    [(OVERRIDE, 50.0, True), (OVERRIDE, 30.0, False), (FixedPlan(by="ada", plan="day"), 30.0, True)],
)
def test_an_override_outlives_new_plans_where_it_fits_them(
    tmp_path: Path, order_: Order, most_s: float, goes_on: bool
) -> None:
    described = with_greens(15.0)
    movements = tuple(structs.replace(one, max_green_s=most_s) for one in described.movements)
    mode = SignalMode.FIXED if isinstance(order_, FixedPlan) else SignalMode.MANUAL_OVERRIDE
    with running(tmp_path) as bench:
        bench.until_green()
        assert order(bench, order_).accepted
        bench.until(lambda: shown(bench).mode is mode)
        ordered_s = bench.now_s
        new = structs.replace(bench.config, junction=structs.replace(described, movements=movements))
        bench.daemon._reloading._loaded.put(new)
        bench.until(lambda: bench.daemon._config == new)
        bench.until_green()
        assert shown(bench).mode is (mode if goes_on else SignalMode.AUTOMATIC)
        assert ("the last order has ended: it does not fit" in shown(bench).note) is not goes_on
        if goes_on and order_ is OVERRIDE:
            bench.until(lambda: shown(bench).mode is SignalMode.AUTOMATIC, 10_000)
            assert bench.now_s - ordered_s < 150.0 + 75.0, "it has the time that it had left"


def siren(bench: Bench, *, on: bool) -> None:
    """Between two steps: over the socket, minutes of the bench may go by, and the input be taken for stuck."""
    assert bench.daemon._driving is not None
    assert bench.daemon._driving.order(Preempt(by="siren", preemption="fire", on=on), bench.now_s).accepted


def test_new_plans_wait_until_an_emergency_vehicle_has_passed(tmp_path: Path) -> None:
    fire = Preemption(name="fire", stage="ew", number=1)
    with running(tmp_path, junction=structs.replace(crossroads(), preemptions=(fire,))) as bench:
        bench.until_green()
        siren(bench, on=True)
        new = structs.replace(bench.config, junction=structs.replace(with_greens(30.0), preemptions=(fire,)))
        bench.daemon._reloading._loaded.put(new)
        bench.until_green("east")
        assert bench.daemon._config != new
        siren(bench, on=False)
        bench.until(lambda: bench.daemon._config == new)


def test_new_plans_come_though_the_old_ones_are_never_all_red(tmp_path: Path) -> None:
    """As where a clearance is 0 s: one green begins in the step in which the other's yellow ends."""
    fire = Preemption(name="fire", stage="ew", number=1)
    old = structs.replace(crossroads(red_clearance_s=0.0), preemptions=(fire,))
    with running(tmp_path, junction=old) as bench:
        bench.until_green()
        new = structs.replace(bench.config, junction=structs.replace(with_greens(30.0), preemptions=(fire,)))
        bench.daemon._reloading._loaded.put(new)
        bench.step(1150)
        assert bench.daemon._config != new
        siren(bench, on=True)
        bench.until_green("east")
        bench.step(300)
        assert bench.heads.lit["east"] == {GREEN}, "an emergency vehicle comes first"
        assert bench.daemon._config != new
        siren(bench, on=False)
        bench.until(lambda: bench.daemon._config == new)
        bench.until_green()
        assert bench.daemon._driving is not None
        assert bench.daemon._driving.lights.interlock.fault is None


def test_who_set_out_under_the_old_description_clears_by_it(tmp_path: Path) -> None:
    with running(tmp_path, junction=crossroads(red_clearance_s=6.0)) as bench:
        bench.until_green()
        junction = crossroads(red_clearance_s=0.0)
        quicker = structs.replace(junction, startup=structs.replace(junction.startup, all_red_s=3.0))
        bench.daemon._reloading._loaded.put(structs.replace(bench.config, junction=quicker))
        bench.until(lambda: bench.daemon._junction == quicker)
        red_s = bench.now_s
        bench.until_green()
        assert bench.now_s - red_s >= 6.0


@pytest.mark.parametrize("makes_way", [False, True])
def test_new_plans_that_are_taken_back_before_they_begin_do_not_begin(tmp_path: Path, makes_way: bool) -> None:
    """The file is as before, so the lights go on by it: also those that were ending greens for the new plans."""
    old = crossroads(red_clearance_s=0.0) if makes_way else crossroads()
    with running(tmp_path, junction=old) as bench:
        bench.until_green()
        assert bench.daemon._driving is not None
        controller = bench.daemon._driving.lights._controller
        new = structs.replace(bench.config, junction=with_greens(30.0))
        bench.daemon._reloading._loaded.put(new)
        bench.step()
        bench.until(lambda: controller._makes_way or not makes_way)
        bench.daemon._reloading._loaded.put(structs.replace(bench.config))
        bench.step(300)
        assert bench.daemon._config == bench.config
        bench.until_green("east")
        bench.until_green("north")


@pytest.mark.parametrize("why", ["a mistake", "another pin", "a defect"])
def test_a_reload_that_is_refused_takes_back_what_had_not_begun(
    tmp_path: Path, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lights go on as they were: not by plans that stand in no file any more."""
    with running(tmp_path) as bench:
        bench.until_green()
        accepted = structs.replace(bench.config, junction=with_greens(30.0))
        bench.daemon._reloading._loaded.put(accepted)
        bench.step()
        assert bench.daemon._pending == accepted

        def load() -> SignalsConfig:
            if why == "a defect":
                raise ZeroDivisionError("in the reader")
            if why == "a mistake":
                raise ConfigError([Fault("signals.toml", 3, "yellow_s", "2.0", "is too short")])
            return structs.replace(accepted, state_dir="/elsewhere")

        monkeypatch.setattr(bench.daemon._reloading, "_load", load)
        bench.step(1, signal.SIGHUP)
        # Steps are quick here, and must not come to the next all red before the file is read.
        reads = bench.daemon._reloading._reads
        assert reads is not None
        reads.join()
        bench.step()
        bench.until(lambda: bench.daemon._pending is None, 1)
        bench.step(300)
        assert bench.daemon._config == bench.config
        bench.until_green("east")
        bench.until_green("north")
    (told,) = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "config_refused"]
    assert "what was accepted before, and was to come with the next all red" in told


def test_a_plan_that_cannot_be_kept_is_told_when_the_lights_begin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path, junction=held_up_arterial()) as bench:
        bench.until_green()
    told = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "plan_late"]
    assert told == late_plans(held_up_arterial())


def test_new_plans_do_not_forget_an_emergency_vehicle_that_comes_during_start_up(tmp_path: Path) -> None:
    fire = Preemption(name="fire", stage="ew", number=1)
    with running(tmp_path, junction=structs.replace(crossroads(), preemptions=(fire,))) as bench:
        bench.until(lambda: bench.daemon._link is not None)
        siren(bench, on=True)
        new = structs.replace(bench.config, junction=structs.replace(with_greens(30.0), preemptions=(fire,)))
        bench.daemon._reloading._loaded.put(new)
        assert bench.daemon._config != new
        bench.until(lambda: shown(bench).mode is SignalMode.PREEMPT)
        siren(bench, on=False)
        bench.until(lambda: bench.daemon._config == new)


def test_a_fault_found_just_before_new_plans_begin_is_theirs_too(tmp_path: Path) -> None:
    with running(tmp_path) as bench:
        bench.until_green()
        assert bench.daemon._driving is not None
        bench.until(lambda: set(bench.heads.lit.values()) == {frozenset({RED})})
        new = structs.replace(bench.config, junction=with_greens(30.0))
        bench.daemon._reloading._loaded.put(new)
        bench.daemon._driving.report(FaultCode.DRIVER_FAILED, "a relay", bench.now_s)
        bench.step()
        assert bench.daemon._config == new
        assert bench.daemon._driving.lights.interlock.fault is not None
        assert kept(bench).fault is not None


@pytest.mark.parametrize("driver", ["lanes", "gpio"])
@pytest.mark.parametrize(
    "changed",
    [
        {"conflicts": (("north", "east"),)},
        {"movements": tuple(structs.replace(one, yellow_s=6.0) for one in crossroads().movements)},
    ],
)
def test_what_leases_are_held_by_needs_a_new_start(driver: Any, changed: dict[str, Any]) -> None:
    """The coordinator would hold the old conflicts for the old times, and lanes' Pis show the old yellow."""
    old = SignalsConfig(state_dir="s", heads=HeadsSettings(driver=driver), junction=crossroads())
    new = structs.replace(old, junction=structs.replace(crossroads(), **changed))
    assert needs_restart(new, old) == (driver == "lanes")
    plans = structs.replace(old, junction=with_greens(30.0))
    assert not needs_restart(plans, old)


def test_the_newest_configuration_is_the_one_that_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write hangs at a slow disk; what follows waits for it."""
    goes_on = threading.Event()

    def slowly(path: Path, data: bytes) -> None:
        if path.name == LAST_GOOD_NAME and not path.exists():
            goes_on.wait()
        write_safely(path, data)

    monkeypatch.setattr(app, "write_safely", slowly)
    with running(tmp_path) as bench:
        bench.until_green()
        newest = structs.replace(bench.config, junction=with_greens(30.0))
        bench.daemon._config = newest
        bench.daemon._remember_good()
        goes_on.set()
        assert bench.daemon._remembers is not None
        bench.daemon._remembers.join()
        assert msgspec.json.decode((tmp_path / LAST_GOOD_NAME).read_bytes(), type=SignalsConfig) == newest


def test_a_lamp_test_claims_no_more_than_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A head without read-back pins is taken at its word beside those with them, which proves nothing."""
    lamps = {
        name: HeadSettings(red=LampSettings(pin=2, read_back=3 if name == "north" else None), green=9, yellow=4)
        for name in NAMES
    }
    config = SignalsConfig(
        state_dir=str(tmp_path), heads=HeadsSettings(driver="gpio", lamps=lamps), junction=crossroads()
    )
    assert light_each(config, lambda _: SimulatedHeads(NAMES), 0.0) == 0
    read = {line.split()[1] for line in capsys.readouterr().out.splitlines() if "read back so" in line}
    assert read == {"north"}
