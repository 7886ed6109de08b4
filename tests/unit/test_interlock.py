"""The interlock: each rule by itself, and whatever is wanted, nothing unsafe is shown."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from common.codes import Aspect
from common.junction import Junction, Preemption, Recall
from edge_agent.domain.signals.controller import Controller
from edge_agent.domain.signals.interlock import (
    PEDESTRIAN_TRANSITIONS,
    QUIET_S,
    STARVED_S,
    TRANSITIONS,
    Interlock,
    Limits,
)
from edge_agent.domain.signals.steps import FaultCode
from tests.junctions import crossroads, with_people
from tests.lights import GO, Judge, junctions

RED, YELLOW, GREEN = Aspect.RED, Aspect.YELLOW, Aspect.GREEN
FLASH, AMBER, DARK = Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW, Aspect.DARK
STEP_S = 0.1
START_S = 6.0


class Bench:
    """An interlock that is stepped on time. `shows` holds what it allowed last."""

    def __init__(self, junction: Junction | None = None, limits: Limits | None = None) -> None:
        self.junction = junction or crossroads()
        self.interlock = Interlock(self.junction, 100.0, limits or Limits())
        self.n_steps = 0
        self.shows: Mapping[str, Aspect] = {}

    @property
    def now_s(self) -> float:
        return 100.0 + self.n_steps * STEP_S

    def want(
        self,
        for_s: float = 0.0,
        *names: str,
        go: Aspect = GREEN,
        preempting: bool = False,
        rest: Aspect = RED,
        **heads: Aspect,
    ) -> None:
        """Want this in the next step, and for so long after it."""
        wanted = {movement.name: rest for movement in self.junction.movements} | dict.fromkeys(names, go)
        wanted |= {name.replace("_", "-"): aspect for name, aspect in heads.items()}
        for _ in range(1 + round(for_s / STEP_S)):
            self.n_steps += 1
            self.shows = self.interlock.allow(wanted, self.now_s, preempting=preempting)

    def start(self) -> None:
        self.want(START_S)
        assert self.fault is None

    @property
    def fault(self) -> FaultCode | None:
        fault = self.interlock.fault
        assert (fault is None) or set(self.shows.values()) == {FLASH} or self.shows == {}
        return None if fault is None else fault.code

    def read_back(self, for_s: float, **heads: set[Aspect]) -> float | None:
        """Look at the lamps every step, all else as it should be; after how long there was a fault."""
        names = [movement.name for movement in self.junction.movements]
        for i in range(round(for_s / STEP_S) + 1):
            lit = {name: frozenset(heads.get(name, {self.shows[name]})) for name in names}
            self.interlock.read_back(lit, self.now_s)
            if self.interlock.fault is not None:
                return i * STEP_S
            self.n_steps += 1
            self.interlock.allow(self.shows, self.now_s)
        return None


def test_a_round_as_described_is_shown_as_it_is_wanted() -> None:
    bench = Bench()
    bench.start()
    for pair in (("north", "south"), ("east", "west"), ("north", "south")):
        bench.want(7.0, *pair)
        assert {name for name, aspect in bench.shows.items() if aspect is GREEN} == set(pair)
        bench.want(2.9, *pair, go=YELLOW)
        bench.want(2.0)
    assert bench.fault is None


def test_green_before_start_up_is_over() -> None:
    bench = Bench()
    bench.want(START_S - 0.2)
    bench.want(north=GREEN)
    assert bench.fault is FaultCode.SHORT_CLEARANCE


def test_conflicting_greens() -> None:
    bench = Bench()
    bench.start()
    bench.want(north=GREEN, east=GREEN)
    assert bench.fault is FaultCode.CONFLICT


def test_green_while_the_other_is_yellow() -> None:
    bench = Bench()
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want(1.0, north=YELLOW)
    bench.want(north=YELLOW, east=GREEN)
    assert bench.fault is FaultCode.CONFLICT


@pytest.mark.parametrize(("red_s", "code"), [(1.7, FaultCode.SHORT_CLEARANCE), (2.0, None)])
def test_the_clearance_before_green(red_s: float, code: FaultCode | None) -> None:
    bench = Bench()
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want(2.9, north=YELLOW)
    bench.want(red_s - STEP_S)
    bench.want(east=GREEN)
    assert bench.fault is code


@pytest.mark.parametrize(
    ("held_up", "code"),
    [
        ("start-up", FaultCode.SHORT_CLEARANCE),
        ("green", FaultCode.SHORT_GREEN),
        ("yellow", FaultCode.SHORT_YELLOW),
        ("clearance", FaultCode.SHORT_CLEARANCE),
        ("", None),
    ],
)
def test_all_lasts_from_when_the_heads_were_told(held_up: str, code: FaultCode | None) -> None:
    bench = Bench()
    for what, for_s, names, go in (
        ("start-up", START_S, (), RED),
        ("green", 7.0, ("north",), GREEN),
        ("yellow", 3.0, ("north",), YELLOW),
        ("clearance", 2.0, (), RED),
        ("end", 2 * STEP_S, ("east",), GREEN),
    ):
        bench.want(0.0, *names, go=go)
        if what == held_up:
            bench.interlock.lit(bench.now_s, bench.now_s + 0.3)
        bench.want(for_s - 2 * STEP_S, *names, go=go)
    assert bench.fault is code


def test_the_clearance_begins_with_red_and_not_with_yellow() -> None:
    bench = Bench()
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want(2.9, north=YELLOW)
    bench.want(east=GREEN)
    assert bench.fault is FaultCode.SHORT_CLEARANCE


@pytest.mark.parametrize(
    ("yellow_s", "described_s", "code"),
    [
        (2.8, 3.0, FaultCode.SHORT_YELLOW),
        (3.0, 3.0, None),
        (3.0, 4.0, FaultCode.SHORT_YELLOW),
        (2.6, 2.0, FaultCode.SHORT_YELLOW),
        (3.4, 3.0, None),
        (3.7, 3.0, FaultCode.LONG_YELLOW),
    ],
)
def test_yellow(yellow_s: float, described_s: float, code: FaultCode | None) -> None:
    bench = Bench(crossroads(yellow_s=described_s))
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want(yellow_s - STEP_S, north=YELLOW)
    bench.want()
    assert bench.fault is code


def test_green_to_red_without_yellow() -> None:
    bench = Bench()
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want()
    assert bench.fault is FaultCode.ILLEGAL_CHANGE


def test_people_have_no_yellow() -> None:
    bench = Bench(with_people())
    bench.want(8.0)
    bench.want(7.0, walk_over_east=GREEN)
    bench.want()
    assert bench.fault is None
    bench.want(walk_over_east=YELLOW)
    assert bench.fault is FaultCode.ILLEGAL_CHANGE


@pytest.mark.parametrize(
    ("green_s", "preempting", "code"),
    [
        (6.8, False, FaultCode.SHORT_GREEN),
        (7.0, False, None),
        (2.0, True, None),
        (1.8, True, FaultCode.SHORT_GREEN),
    ],
)
def test_the_least_green_and_what_a_preemption_may_cut(
    green_s: float, preempting: bool, code: FaultCode | None
) -> None:
    bench = Bench(structs.replace(crossroads(), preemptions=(Preemption(name="fire", stage="ns", number=1),)))
    bench.start()
    bench.want(green_s - STEP_S, north=GREEN)
    bench.want(north=YELLOW, preempting=preempting)
    assert bench.fault is code


def test_without_preemptions_nothing_is_cut() -> None:
    bench = Bench()
    bench.start()
    bench.want(3.0, north=GREEN)
    bench.want(north=YELLOW, preempting=True)
    assert bench.fault is FaultCode.SHORT_GREEN


def test_flash_may_come_at_any_time_and_is_left_through_all_red() -> None:
    bench = Bench()
    bench.start()
    bench.want(1.0, north=GREEN)
    bench.want(3.0, rest=FLASH)
    bench.want(START_S - STEP_S)
    assert bench.fault is None
    bench.want(north=GREEN)
    assert bench.fault is None


@pytest.mark.parametrize("before", [FLASH, DARK])
def test_green_right_after_flash_or_dark(before: Aspect) -> None:
    bench = Bench()
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want(3.0, rest=FLASH)
    bench.want(3.0, rest=before)
    bench.want(START_S - 0.3)
    bench.want(north=GREEN)
    assert bench.fault is FaultCode.SHORT_CLEARANCE


def test_dark_comes_through_flash_only() -> None:
    bench = Bench()
    bench.start()
    bench.want(rest=DARK)
    assert bench.fault is FaultCode.ILLEGAL_CHANGE


def test_flashing_yellow_needs_a_steady_one_before_red() -> None:
    bench = Bench()
    bench.want(5.0, rest=FLASH)
    bench.want(3.0, rest=FLASH, north=AMBER, south=AMBER)
    assert bench.fault is None
    bench.want(2.9, north=YELLOW, south=YELLOW)
    bench.want(START_S)
    assert bench.fault is None
    bench.want(5.0, rest=FLASH)
    bench.want(1.0, rest=FLASH, north=AMBER)
    bench.want()
    assert bench.fault is FaultCode.ILLEGAL_CHANGE


@pytest.mark.parametrize(("flash_s", "code"), [(4.7, FaultCode.SHORT_CLEARANCE), (5.0, None)])
def test_flash_that_cuts_a_green_off_clears_before_others_go_by_flashing_yellow(
    flash_s: float, code: FaultCode | None
) -> None:
    """3 s for its yellow and 2 s of clearance: who saw green is on the junction still."""
    bench = Bench()
    bench.start()
    bench.want(7.0, north=GREEN)
    bench.want(flash_s - STEP_S, rest=FLASH)
    bench.want(rest=FLASH, east=AMBER)
    bench.want(rest=FLASH, east=AMBER)
    assert bench.fault is code


def test_flashing_yellow_of_two_that_conflict() -> None:
    bench = Bench()
    bench.want(1.0, rest=FLASH)
    bench.want(rest=FLASH, north=AMBER, east=AMBER)
    assert bench.fault is FaultCode.CONFLICT


def test_some_flash_while_others_are_steady() -> None:
    bench = Bench()
    bench.start()
    bench.want(north=FLASH)
    assert bench.fault is FaultCode.ILLEGAL_CHANGE


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"north": RED},
        dict.fromkeys(("north", "east", "south", "nowhere"), RED),
        dict.fromkeys(("north", "east", "south", "west", "more"), RED),
        dict.fromkeys(("north", "east", "south", "west"), "blue"),
        {name: ["red"] for name in ("north", "east", "south", "west")},
        None,
    ],
)
def test_what_is_no_aspect_of_each_movement(wanted: Mapping[str, Aspect]) -> None:
    bench = Bench()
    bench.start()
    assert set(bench.interlock.allow(wanted, bench.now_s).values()) == {FLASH}
    assert bench.interlock.fault is not None
    assert bench.interlock.fault.code is FaultCode.UNKNOWN_MOVEMENT


@pytest.mark.parametrize("now_s", [99.0, -1e9, math.nan, math.inf, -math.inf])
def test_a_clock_that_goes_back_or_is_none(now_s: float) -> None:
    bench = Bench()
    bench.start()
    bench.shows = bench.interlock.allow(bench.shows, now_s)
    assert bench.fault is FaultCode.CLOCK_WENT_BACK
    bench.want(2.0)
    assert not bench.interlock.clear(bench.now_s).accepted
    bench.want(10.0)
    assert bench.interlock.clear(bench.now_s).accepted


def test_a_late_step() -> None:
    bench = Bench()
    bench.start()
    bench.n_steps += 5
    bench.want()
    assert bench.fault is FaultCode.LATE_STEP


def test_a_late_step_in_flash_is_none() -> None:
    bench = Bench()
    bench.want(1.0, rest=FLASH)
    bench.n_steps += 100
    bench.want(rest=FLASH)
    assert bench.fault is None


def test_what_is_allowed_cannot_be_changed_by_others() -> None:
    bench = Bench()
    wanted = dict.fromkeys(("north", "east", "south", "west"), RED)
    shown = bench.interlock.allow(wanted, 100.0)
    wanted["north"] = GREEN
    assert shown["north"] is RED
    with pytest.raises(TypeError):
        shown["north"] = GREEN  # type: ignore[index]


def hang(bench: Bench, for_s: float) -> None:
    """North stays green, in long steps."""
    for _ in range(round(for_s / 10.0)):
        bench.n_steps += 99
        bench.want(0.0, "north")


def test_a_controller_that_hangs_starves_others_and_has_to_flash() -> None:
    bench = Bench(limits=Limits(late_step_s=20.0))
    bench.start()
    bench.want(0.0, "north")
    hang(bench, 130.0)
    assert bench.fault is None
    assert bench.interlock.starving == {"east", "south", "west"}
    hang(bench, 2 * 120.0 + STARVED_S - 120.0)
    assert bench.fault is FaultCode.STARVED


def test_who_has_no_recall_does_not_starve_here() -> None:
    base = crossroads()
    movements = tuple(structs.replace(one, recall=Recall.NONE) for one in base.movements)
    bench = Bench(structs.replace(base, movements=movements), Limits(late_step_s=20.0))
    bench.start()
    bench.want(0.0, "north")
    hang(bench, 1000.0)
    assert bench.fault is None
    assert bench.interlock.starving == frozenset()


def test_a_fault_is_latched_and_the_first_one_told() -> None:
    bench = Bench()
    bench.start()
    bench.interlock.report(FaultCode.DRIVER_FAILED, "no answer from the relays", bench.now_s)
    bench.want(10.0)
    bench.interlock.report(FaultCode.EXCEPTION, "something else", bench.now_s)
    assert bench.fault is FaultCode.DRIVER_FAILED
    assert set(bench.shows.values()) == {FLASH}


def test_a_lost_link_which_is_cleared_by_itself_hides_no_other_fault() -> None:
    bench = Bench()
    bench.start()
    bench.interlock.report(FaultCode.LINK_LOST, "not heard: north", bench.now_s)
    bench.want(3.0)
    bench.interlock.report(FaultCode.EXCEPTION, "the controller", bench.now_s)
    bench.want(3.0)
    bench.interlock.report(FaultCode.LINK_LOST, "not heard: north", bench.now_s)
    bench.n_steps += 20
    bench.want(3.0)
    assert bench.fault is FaultCode.EXCEPTION


def test_a_late_step_while_a_lost_link_flashes_is_nothing_to_look_at() -> None:
    bench = Bench()
    bench.start()
    bench.interlock.report(FaultCode.LINK_LOST, "not heard: north", bench.now_s)
    bench.want(3.0)
    bench.n_steps += 20
    bench.want(3.0)
    assert bench.fault is FaultCode.LINK_LOST


def test_a_fault_that_nobody_has_looked_at_is_not_cleared_with_another() -> None:
    bench = Bench()
    bench.start()
    interlock = bench.interlock
    interlock.report(FaultCode.DRIVER_FAILED, "relay 3", bench.now_s)
    bench.want(1.0, rest=FLASH)
    interlock.report(FaultCode.LAMP_MISMATCH, "north is green", bench.now_s)
    interlock.report(FaultCode.LATE_STEP, "late", bench.now_s)
    bench.want(10.0, rest=FLASH)
    answer = interlock.clear(bench.now_s, "driver_failed")
    assert not answer.accepted
    assert "it is not driver_failed that came last, but lamp_mismatch: north is green" in answer.reason
    assert bench.fault is FaultCode.DRIVER_FAILED
    assert interlock.clear(bench.now_s, "lamp_mismatch").accepted
    interlock.report(FaultCode.DRIVER_FAILED, "relay 4", bench.now_s)
    bench.want(10.0, rest=FLASH)
    assert interlock.clear(bench.now_s, "driver_failed").accepted, "what was cleared is forgotten"


def test_clearing_waits_for_the_flash_and_for_the_cause_to_end() -> None:
    bench = Bench()
    bench.start()
    assert "no fault" in bench.interlock.clear(bench.now_s).reason
    bench.interlock.report(FaultCode.DRIVER_FAILED, "no answer", bench.now_s)
    bench.want(5.8)
    assert "flash" in bench.interlock.clear(bench.now_s).reason
    bench.interlock.report(FaultCode.DRIVER_FAILED, "no answer", bench.now_s)
    bench.want(QUIET_S - 0.2)
    assert "no answer" in bench.interlock.clear(bench.now_s).reason
    bench.want(0.2)
    assert bench.interlock.clear(bench.now_s).accepted
    bench.want(START_S - STEP_S)
    bench.want(north=GREEN)
    assert bench.fault is None


@pytest.mark.parametrize(
    ("lit", "code", "within_s"),
    [
        ({"north": {GREEN}, "east": {RED, GREEN}}, FaultCode.CONFLICT, 0.3),
        ({"south": {GREEN}}, FaultCode.LAMP_MISMATCH, 0.3),
        ({"east": {YELLOW}}, FaultCode.CONFLICT, 0.3),
        ({"north": set()}, FaultCode.DARK_HEAD, 0.8),
        ({"east": set()}, FaultCode.DARK_HEAD, 0.8),
        ({"north": {GREEN, RED}}, FaultCode.LAMP_MISMATCH, 0.8),
        ({"north": {RED}}, FaultCode.LAMP_MISMATCH, 0.8),
    ],
)
def test_lamps_that_are_not_as_told(lit: dict[str, set[Aspect]], code: FaultCode, within_s: float) -> None:
    bench = Bench()
    bench.start()
    bench.want(1.0, north=GREEN)
    assert bench.read_back(2.0) is None
    after_s = bench.read_back(2.0, **lit)
    assert after_s is not None
    assert 0.0 < after_s <= within_s - STEP_S + 1e-9
    assert bench.interlock.fault is not None
    assert bench.interlock.fault.code is code


def test_a_short_lag_of_a_lamp_is_no_fault() -> None:
    bench = Bench()
    bench.start()
    bench.want(8.0, north=GREEN)
    assert bench.read_back(0.1, north={RED}) is None
    assert bench.read_back(0.1, north=set()) is None
    assert bench.read_back(1.0) is None


def test_a_conflict_that_flickers_adds_up() -> None:
    bench = Bench()
    bench.start()
    bench.want(1.0, north=GREEN)
    found = [bench.read_back(0.0, east={GREEN}) or bench.read_back(0.0) for _ in range(4)]
    assert bench.interlock.fault is not None, found


def test_a_lamp_that_stays_wrong_keeps_the_fault() -> None:
    bench = Bench()
    bench.start()
    bench.want(1.0, north=GREEN)
    bench.read_back(1.0, east={GREEN})
    bench.shows = bench.interlock.allow({}, bench.now_s)
    for _ in range(100):
        bench.want()
        bench.interlock.read_back(dict.fromkeys(bench.shows, frozenset({GREEN})), bench.now_s)
    answer = bench.interlock.clear(bench.now_s)
    assert not answer.accepted
    assert "lit" in answer.reason


def test_a_red_lamp_that_never_lights_in_flash_is_a_fault() -> None:
    bench = Bench()
    lit = {name: frozenset({RED}) for name in ("north", "east", "south")} | {"west": frozenset[Aspect]()}
    dark = dict.fromkeys(lit, frozenset[Aspect]())
    for i in range(40):
        bench.want(rest=FLASH)
        bench.interlock.read_back(lit if i % 10 < 6 else dark, bench.now_s)
    assert bench.fault is FaultCode.DARK_HEAD
    assert "west" in bench.interlock.fault.detail  # type: ignore[union-attr]


def test_hardware_that_cannot_tell_is_no_fault() -> None:
    bench = Bench()
    bench.start()
    bench.interlock.read_back(None, bench.now_s)
    assert bench.fault is None


def test_the_table_of_changes_is_whole() -> None:
    """What the tables permit besides staying and flashing; the formal model is compared with the same data."""
    assert TRANSITIONS.keys() == PEDESTRIAN_TRANSITIONS.keys() == set(Aspect)
    for table in (TRANSITIONS, PEDESTRIAN_TRANSITIONS):
        assert all(FLASH in following for following in table.values())
        assert table[RED] - {RED, FLASH} == {GREEN}
        assert table[DARK] - {DARK, FLASH} == {RED}
    assert TRANSITIONS[GREEN] - {GREEN, FLASH} == {YELLOW}
    assert TRANSITIONS[YELLOW] - {YELLOW, FLASH} == {RED}
    assert TRANSITIONS[AMBER] - {AMBER, FLASH} == {YELLOW}
    assert PEDESTRIAN_TRANSITIONS[GREEN] - {GREEN, FLASH} == {RED}


@given(junction=junctions(6), seed=st.integers(0, 2**32), share=st.sampled_from([0.0, 0.02, 0.1, 0.5]))
def test_whatever_is_wanted_nothing_unsafe_is_shown(junction: Junction, seed: int, share: float) -> None:
    """A controller whose wishes are garbled, held back or replaced; steps that are late; clocks that jump."""
    rng = random.Random(seed)
    interlock = Interlock(junction, 0.0)
    controller = Controller(junction, 0.0, choose=lambda situation: rng.randrange(len(junction.stages)))
    judge, now_s = Judge(junction, 0.5), 0.0
    wanted: dict[str, Aspect] = {}
    for _ in range(300):
        now_s += rng.choice([0.1, 0.3, 0.5, 0.5]) if rng.random() > share / 10.0 else rng.uniform(-2.0, 5.0)
        asked = controller.step(now_s, None, None, interlock.fault).aspects
        if rng.random() >= share or not wanted:
            wanted = dict(asked)
        if rng.random() < share:
            wanted[rng.choice(list(wanted))] = rng.choice(list(Aspect))
        if rng.random() < share / 5.0:
            wanted = dict.fromkeys(wanted, rng.choice(list(Aspect)))
        shown = interlock.allow(wanted, now_s)
        judge.look(shown, now_s, judges_waiting=False)
        if interlock.fault is not None:
            assert set(shown.values()) == {FLASH}
            interlock.clear(now_s)


@given(junction=junctions(5), seed=st.integers(0, 2**32))
def test_wild_wishes_never_make_two_that_conflict_go(junction: Junction, seed: int) -> None:
    """Each head goes its own way, mostly along the table, at any time."""
    rng = random.Random(seed)
    interlock, judge, now_s = Interlock(junction, 0.0), Judge(junction, 0.5), 0.0
    shown: Mapping[str, Aspect] = {movement.name: DARK for movement in junction.movements}
    for _ in range(300):
        now_s += 0.5
        whole = rng.random() < 0.3
        following = rng.choice(list(TRANSITIONS[next(iter(shown.values()))]))
        wanted = {
            name: following if whole else rng.choice(list(TRANSITIONS[aspect])) if rng.random() < 0.1 else aspect
            for name, aspect in shown.items()
        }
        shown = interlock.allow(wanted, now_s)
        judge.look(shown, now_s, judges_waiting=False)
        going = {name for name, aspect in shown.items() if aspect in GO}
        assert not any(a in going and b in going for a, b in junction.conflicts)
        interlock.clear(now_s)
