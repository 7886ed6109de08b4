"""Several Pis, one junction: conflicting heads never go together, whatever messages, programs and clocks do."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from common.codes import Aspect
from edge_agent.domain.signals.lease_coordinator import Coordinator, Lane
from edge_agent.domain.signals.lease_head import Head
from edge_agent.domain.signals.leases import (
    HEAD,
    HELD_IN,
    HOLD,
    Answer,
    Ask,
    HeadEvent,
    HeadState,
    HeadTimes,
    Hold,
    LeaseTimes,
    Obeyed,
)
from tests.lease_world import HEADS, STAGES, TIMES, Unsafe, Weather, World, live_through
from tests.verify.leases import MODEL, TABLES, tables

PATIENT = replace(TIMES, patience_s=20.0, lost_after_s=60.0)
"""Lets answers come late; that new asks come soon is a second line of defence."""
DEAF = replace(TIMES, lost_after_s=60.0)
ME = Obeyed(7, "coordinator-1")
OWN = HeadTimes(yellow_s=3.0, min_green_s=5.0, red_first_s=1.0)
PERCENT = st.sampled_from((0.0, 0.1, 0.5, 0.9))


class Misfortunes(RuleBasedStateMachine):
    """All that may go wrong, in any order; the judge raises `Unsafe`."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.world = World(Random(seed))
        self.world.run(8_000)

    @rule(stage=st.sampled_from(STAGES), span_ms=st.integers(50, 9_000))
    def go_on(self, stage: set[str] | None, span_ms: int) -> None:
        self.world.stage = stage
        self.world.run(span_ms)

    @rule(loss=PERCENT, doubles=PERCENT, slow=PERCENT, slow_ms=st.sampled_from((300, 2_000, 20_000)))
    def turn_weather(self, loss: float, doubles: float, slow: float, slow_ms: int) -> None:
        self.world.weather = Weather(loss, doubles, slow, slow_ms)

    @rule(head=st.sampled_from(HEADS), down_ms=st.integers(0, 4_000))
    def restart_lane(self, head: str, down_ms: int) -> None:
        self.world.kill_lane(head)
        self.world.run(down_ms)
        self.world.start_lane(head)

    @rule(head=st.sampled_from(HEADS))
    def kill_lane(self, head: str) -> None:
        self.world.kill_lane(head)

    @rule(down_ms=st.integers(0, 10_000))
    def restart_coordinator(self, down_ms: int) -> None:
        self.world.kill_coordinator(0)
        self.world.run(down_ms)
        self.world.start_coordinator(0)

    @rule()
    def start_a_second_coordinator(self) -> None:
        if len(self.world.coordinators) < 2:
            self.world.add_coordinator()

    @rule(which=st.integers(0, 1), head=st.sampled_from(HEADS))
    def cut_or_mend(self, which: int, head: str) -> None:
        self.world.cut ^= {(which, head)}

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.weather = Weather()
            self.world.stage = {"c"}
            self.world.run(4_000)


def test_no_misfortune_opens_conflicting_lanes() -> None:
    run_state_machine_as_test(Misfortunes, settings=settings(max_examples=60, stateful_step_count=25))


@pytest.mark.parametrize("times", [TIMES, PATIENT, replace(TIMES, drift=0.05)], ids=["usual", "patient", "drift"])
def test_long_histories_are_safe_and_lanes_do_get_green(times: LeaseTimes) -> None:
    n_greens = 0
    for seed in range(8):
        world = World(Random(seed), times=times, drift=times.drift)
        if seed % 2:
            world.add_coordinator()
        live_through(world, 60)
        n_greens += world.judge.n_greens
    assert n_greens > 20


class FromReceipt(Head):
    """A lease counts from when it came."""

    def _granted(self, nominal_end_s: float, now_s: float) -> HeadEvent | None:
        return super()._granted(now_s + self._times.lease_s, now_s)


class TakesAnyAnswer(Head):
    """An answer to an old ask is as good."""

    def hear(self, answer: Answer, now_s: float) -> None:
        super().hear(replace(answer, answers=self._nonce()), now_s)


class SaysItIsRed(Head):
    """What a head says of itself is not what it does."""

    def _ask(self, now_s: float) -> Ask:
        return replace(super()._ask(now_s), holds=False)


class CountsFromTheStep(Head):
    """Whenever the lamps were lit."""

    def lit(self, step_s: float, at_s: float) -> None:
        pass


class SaysItIsClear(Head):
    """A green that flash cut off is no matter."""

    def _ask(self, now_s: float) -> Ask:
        return replace(super()._ask(now_s), holds=self.state in (HeadState.GREEN, HeadState.YELLOW))


class ForgetsWhomItObeys(Head):
    """Nothing is on the disk: after a restart an old coordinator is as good as a newer one."""

    def __init__(self, name: str, boot: str, times: LeaseTimes, own: HeadTimes, now_s: float, _: object) -> None:
        super().__init__(name, boot, times, own, now_s, None)


class DoesNotWait(Coordinator):
    """Grants at once after its own start."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._not_before_s = 0.0
        for known in self._known.values():
            known.hold = Hold.FREE


class HoldsTheLeaseOnly(Coordinator):
    """Forgets that yellow and clearance follow."""

    def _hold_s(self, name: str) -> tuple[float, float]:
        return self._times.lease_s, 0.0


def fortune(world: World) -> None:
    live_through(world, 40)


def answers_come_after_the_hold(world: World) -> None:
    """A grant is under way for longer than the coordinator waits for its end."""
    world.stage = {"a"}
    world.run(12_000)
    world.stage = set()
    world.run(8_000)
    world.weather = Weather(slow=1.0, slow_ms=18_000)
    for _ in range(8):
        world.stage = world.random.choice(STAGES)
        world.run(world.random.randrange(4_000, 12_000))


def a_lane_is_cut_off(world: World) -> None:
    """Nobody hears how its green ends: only clocks tell."""
    world.stage = {"a"}
    world.run(14_000)
    world.cut = {(0, "a")}
    world.stage = {"c"}
    world.run(12_000)


def a_lane_is_not_heard_after_a_start(world: World) -> None:
    """The coordinator is started anew while a lane is green, and does not hear that one."""
    world.stage = {"a"}
    world.run(14_000)
    world.kill_coordinator(0)
    world.cut = {(0, "a")}
    world.stage = {"c"}
    world.start_coordinator(0)
    world.run(12_000)


def flash_is_short(world: World) -> None:
    """It cuts a green off, and the next one is to come at once."""
    world.stage = {"a"}
    world.run(14_000)
    world.stage = None
    world.run(1_000)
    world.stage = {"c"}
    world.run(12_000)


def two_coordinators(world: World) -> None:
    """The first one loses all lanes to a second one, then finds one again, which was started anew."""
    world.run(12_000)
    world.cut = {(0, head) for head in HEADS}
    world.add_coordinator()
    world.run(12_000)
    world.cut = {(0, "b"), (0, "c"), (1, "a")}
    world.start_lane("a")
    world.run(12_000)
    world.stage = {"a", "c"}
    world.run(12_000)


Scene = Callable[[World], None]
WORSE: dict[str, tuple[Scene, dict[str, Any]]] = {
    "lease counted from receipt": (answers_come_after_the_hold, {"head": FromReceipt, "times": PATIENT}),
    "old answers taken": (answers_come_after_the_hold, {"head": TakesAnyAnswer, "times": DEAF}),
    "a head that lies": (fortune, {"head": SaysItIsRed}),
    "times counted from the step": (fortune, {"head": CountsFromTheStep}),
    "no yellow for who was cut off": (flash_is_short, {"head": SaysItIsClear}),
    "no guard for late steps": (a_lane_is_cut_off, {"times": replace(DEAF, guard_s=0.0)}),
    "obedience forgotten": (two_coordinators, {"head": ForgetsWhomItObeys}),
    "lamps outlive the program": (fortune, {"lamps_outlive": True}),
    "no wait after the start": (a_lane_is_not_heard_after_a_start, {"coordinator": DoesNotWait}),
    "hold without yellow": (fortune, {"coordinator": HoldsTheLeaseOnly}),
    "no drift guard": (a_lane_is_cut_off, {"times": replace(DEAF, drift=0.0, guard_s=0.0), "drift": 0.05}),
}


@pytest.mark.parametrize(("scene", "worse"), WORSE.values(), ids=WORSE.keys())
def test_each_part_of_the_protocol_is_needed(scene: Scene, worse: dict[str, Any]) -> None:
    """Without it the same misfortunes do open conflicting lanes, and the judge sees it."""
    with pytest.raises(Unsafe):
        play(scene, 100, worse)


@pytest.mark.parametrize(
    "scene", [answers_come_after_the_hold, a_lane_is_cut_off, two_coordinators, flash_is_short]
)
def test_with_all_parts_the_scenes_are_safe(scene: Scene) -> None:
    play(scene, 5, {"times": PATIENT})
    play(scene, 5, {})


def play(scene: Scene, n_times: int, options: dict[str, Any]) -> None:
    for seed in range(n_times):
        scene(World(Random(seed), **options))


def shown(head: Head) -> Aspect:
    return head.aspect


def state(head: Head) -> HeadState:
    return head.state


def ask_of(head: Head, now_s: float) -> Ask:
    head.step(now_s)
    ask = head.ask(now_s)
    assert ask is not None
    return ask


def answer(ask: Ask, seq: int, granted_s: float = 2.0, aspect: Aspect = Aspect.RED, me: Obeyed = ME) -> Answer:
    return Answer(ask.head, me, seq, ask.nonce, granted_s, aspect)


def green_head() -> Head:
    """Asked at 4.0 s, granted 2 s."""
    head = Head("a", "head-boot", TIMES, OWN, 2.0, ME)
    head.hear(answer(ask_of(head, 4.0), 1), 4.1)
    assert state(head) is HeadState.GREEN
    return head


def test_a_lease_counts_from_the_asking() -> None:
    head = Head("a", "head-boot", PATIENT, OWN, 2.0, ME)
    ask = ask_of(head, 4.0)
    head.hear(answer(ask, 1), 5.9)
    head.step(5.99)
    assert shown(head) is Aspect.GREEN
    head.step(6.0)
    assert shown(head) is Aspect.YELLOW
    head.step(8.99)
    assert shown(head) is Aspect.YELLOW
    head.step(9.0)
    assert shown(head) is Aspect.RED


def test_what_is_taken_away_ends_after_the_minimum_and_never_after_the_lease() -> None:
    head = green_head()
    ask = ask_of(head, 4.3)
    head.hear(answer(ask, 2, 0.0), 4.4)
    ask = ask_of(head, 5.9)
    assert shown(head) is Aspect.GREEN, "the minimum of 5 s is not over, and the lease holds until 6"
    head.hear(answer(ask, 3), 5.97)
    head.step(6.0)
    assert shown(head) is Aspect.YELLOW, "an end that has begun is not taken back"


def test_a_later_word_holds_and_an_earlier_one_that_comes_after_it_does_not() -> None:
    head = Head("a", "head-boot", TIMES, OWN, 2.0, ME)
    ask = ask_of(head, 4.0)
    head.hear(answer(ask, 2, 0.0), 4.1)
    head.hear(answer(ask, 1), 4.2)
    assert state(head) is HeadState.RED
    head.hear(answer(ask, 3), 4.3)
    assert state(head) is HeadState.GREEN


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"head": "b"}, "another head's"),
        ({"answers": "head-boot.0"}, "to an older ask"),
        ({"coordinator": Obeyed(7, "coordinator-2")}, "of another coordinator with the same term"),
        ({"coordinator": Obeyed(6, "coordinator-0")}, "of an older term"),
        ({"granted_s": 0.0}, "no"),
        ({"granted_s": 0.05}, "over before it came"),
    ],
)
def test_an_answer_that_opens_nothing(change: dict[str, Any], why: str) -> None:
    head = Head("a", "head-boot", TIMES, OWN, 2.0, ME)
    head.hear(replace(answer(ask_of(head, 4.0), 1), **change), 4.1)
    assert state(head) is HeadState.RED, why


def test_a_newer_coordinator_is_obeyed_and_opens_nothing_with_its_first_word() -> None:
    head = green_head()
    newer = Obeyed(8, "coordinator-2")
    ask = ask_of(head, 4.3)
    head.hear(answer(ask, 1, me=newer), 4.4)
    assert (state(head), head.obeys) == (HeadState.YELLOW, newer)
    head.hear(answer(ask_of(head, 4.5), 9), 4.6)
    assert head.obeys == newer


def test_red_comes_first_after_a_start_and_after_flash() -> None:
    head = Head("a", "head-boot", TIMES, OWN, 2.0, ME)
    head.hear(answer(ask_of(head, 2.8), 1), 2.9)
    assert state(head) is HeadState.RED
    head = Head("a", "head-boot", TIMES, OWN, 2.0, ME)
    ask = ask_of(head, 5.1)
    assert shown(head) is Aspect.FLASHING_RED, "nothing heard"
    head.hear(answer(ask, 1), 5.2)
    assert shown(head) is Aspect.RED
    head.hear(answer(ask_of(head, 5.9), 2), 6.0)
    assert shown(head) is Aspect.RED, "not long enough"
    head.hear(answer(ask_of(head, 6.2), 3), 6.3)
    assert shown(head) is Aspect.GREEN


def test_a_fault_of_the_lane_flashes_until_it_is_mended() -> None:
    head = green_head()
    head.fail(4.2)
    assert shown(head) is Aspect.FLASHING_RED
    ask = ask_of(head, 4.3)
    assert (ask.holds, ask.aspect) == (True, Aspect.FLASHING_RED), "who had its green is on the way"
    head.hear(answer(ask, 2, 0.0), 4.4)
    assert shown(head) is Aspect.FLASHING_RED
    head.mend()
    head.hear(answer(ask_of(head, 5.0), 3, 0.0), 5.1)
    assert shown(head) is Aspect.RED


LANES = {name: Lane(name, 3.0, 2.0) for name in ("a", "c")}


def coordinator(lanes: Mapping[str, Lane] = LANES) -> Coordinator:
    made = Coordinator(lanes, [("a", "c")], ME, TIMES, 0.0)
    made.want({"a": Aspect.GREEN, "c": Aspect.RED}, 0.0)
    return made


def ask(head: str, seq: int, **changes: Any) -> Ask:
    return replace(Ask(head, f"boot-of-{head}", seq, f"boot-of-{head}.{seq}", ME, False, Aspect.RED, 0), **changes)


def granted(got: Answer | None) -> bool:
    assert got is not None
    return got.granted_s > 0.0


def test_a_coordinator_waits_after_its_start() -> None:
    made = coordinator()
    made.hear(ask("c", 1), 1.0)
    full_s = TIMES.hold_s(TIMES.ending_s(3.0), 2.0)
    assert full_s == pytest.approx(9.05, abs=0.01)
    assert not granted(made.hear(ask("a", 1), full_s - 0.1))
    assert granted(made.hear(ask("a", 2), full_s + 0.1))


def test_who_does_not_say_that_it_obeys_blocks_all_that_conflicts() -> None:
    made = coordinator()
    made.hear(ask("c", 1, obeys=Obeyed(6, "old")), 9.0)
    assert not granted(made.hear(ask("a", 1), 100.0))
    made.hear(ask("c", 2), 100.1)
    assert not granted(made.hear(ask("a", 2), 102.0)), "its clearance has to pass"
    assert granted(made.hear(ask("a", 3), 102.2))


def test_a_granted_head_is_taken_for_the_full_time_or_until_it_says_that_it_is_red() -> None:
    made = coordinator()
    made.hear(ask("c", 1), 1.0)
    assert granted(made.hear(ask("a", 1), 10.0))
    made.want({"a": Aspect.RED, "c": Aspect.GREEN}, 10.5)
    made.hear(ask("a", 1), 11.0)
    made.hear(ask("a", 2, boot="an earlier boot"), 11.0)
    assert not granted(made.hear(ask("c", 2), 18.9)), "a doubled ask and one of another boot free nothing"
    assert granted(made.hear(ask("c", 3), 19.1))

    made = coordinator()
    made.hear(ask("c", 1), 1.0)
    assert granted(made.hear(ask("a", 1), 10.0))
    made.want({"a": Aspect.RED, "c": Aspect.GREEN}, 10.5)
    made.hear(ask("a", 2), 12.0)
    assert not granted(made.hear(ask("c", 2), 13.9))
    assert granted(made.hear(ask("c", 3), 14.1))


def test_a_head_that_was_told_a_longer_yellow_is_taken_for_as_long() -> None:
    """Its Pi has an older description, or lets steps be later."""
    made = coordinator()
    made.hear(ask("c", 1), 1.0)
    assert granted(made.hear(ask("a", 1, ending_s=8.0), 10.0))
    made.want({"a": Aspect.RED, "c": Aspect.GREEN}, 10.5)
    assert not granted(made.hear(ask("c", 2), 21.9))
    assert granted(made.hear(ask("c", 3), 22.1))
    assert ask_of(Head("a", "head-boot", TIMES, OWN, 2.0, ME), 4.0).ending_s == OWN.yellow_s + TIMES.guard_s


def test_a_change_is_told_at_once_and_only_once() -> None:
    made = coordinator()
    made.hear(ask("c", 1), 1.0)
    assert granted(made.hear(ask("a", 1), 10.0))
    told = made.want({"a": Aspect.RED, "c": Aspect.RED}, 10.1)
    assert [(one.head, one.granted_s, one.answers) for one in told] == [("a", 0.0, "boot-of-a.1")]
    assert made.want({"a": Aspect.RED, "c": Aspect.RED}, 10.2) == []
    told = made.want(dict.fromkeys("ac", Aspect.FLASHING_RED), 10.3)
    assert {one.aspect for one in told} == {Aspect.FLASHING_RED}
    assert len(told) == 2


@pytest.mark.parametrize("other", [Obeyed(8, "newer"), Obeyed(7, "the same term, another start")])
def test_a_coordinator_that_is_superseded_grants_nothing_any_more(other: Obeyed) -> None:
    made = coordinator()
    made.hear(ask("c", 1), 1.0)
    made.hear(ask("c", 2, obeys=other), 9.0)
    assert made.superseded_by == other.epoch
    assert not made.ready(9.0)
    made.hear(ask("c", 3), 10.0)
    assert not granted(made.hear(ask("a", 1), 100.0))


def test_who_does_not_hear_us_is_lost_though_we_hear_it() -> None:
    made = coordinator()
    for second in range(1, 12):
        told = made.hear(ask("a", second, heard=second - 1), float(second))
        made.hear(ask("c", second, heard=0), float(second))
        assert told is not None
    assert made.lost(11.0) == ("c",)
    assert made.lit(11.0) == {"a": frozenset({Aspect.RED}), "c": frozenset()}
    assert made.lost(13.0) == ("c",)
    assert made.lost(13.1) == ("a", "c")


def test_conflicting_heads_that_say_that_they_go_are_told_of() -> None:
    made = coordinator()
    for second in range(1, 4):
        made.hear(ask("a", second, aspect=Aspect.YELLOW, holds=True, heard=second - 1), float(second))
        made.hear(ask("c", second, aspect=Aspect.RED, heard=second - 1), float(second))
    assert made.clash(3.0) == ()
    made.hear(ask("c", 4, aspect=Aspect.GREEN, holds=True, heard=3), 3.5)
    assert made.clash(3.5) == ("a", "c")
    assert made.clash(9.0) == (), "they are lost"


def test_what_a_head_said_before_its_rival_was_let_go_is_no_conflict() -> None:
    made = coordinator({name: Lane(name, 3.0, 0.0) for name in ("a", "c")})
    for second in range(1, 10):
        made.hear(ask("a", second, heard=second - 1), float(second))
        made.hear(ask("c", second, heard=second - 1), float(second))
    assert granted(made.hear(ask("a", 10, heard=9), 10.0))
    made.want({"a": Aspect.RED, "c": Aspect.GREEN}, 14.0)
    made.hear(ask("a", 11, aspect=Aspect.YELLOW, holds=True, heard=11), 14.5)
    made.hear(ask("a", 12, aspect=Aspect.YELLOW, holds=True, heard=12), 15.5)
    # What it says after that is lost; its lease, its yellow and the guard are over.
    made.hear(ask("c", 10, heard=9), 15.5)
    assert granted(made.hear(ask("c", 11, heard=10), 17.1))
    made.hear(ask("c", 12, aspect=Aspect.GREEN, holds=True, heard=11), 17.3)
    assert made.clash(17.3) == ()
    made.hear(ask("a", 13, aspect=Aspect.YELLOW, holds=True, heard=13), 17.5)
    assert made.clash(17.5) == ("a", "c")


def test_the_tables_are_whole() -> None:
    assert set(HEAD) == set(HeadState)
    assert set(HOLD) == set(Hold)
    assert all(after is not before for before, row in HEAD.items() for after in row.values())
    into_green = {
        (before, event) for before, row in HEAD.items() for event, after in row.items() if after == "green"
    }
    assert into_green == {(HeadState.RED, HeadEvent.GRANTED)}
    assert set(HEAD[HeadState.GREEN].values()) == {HeadState.YELLOW, HeadState.FLASH}
    assert frozenset(HeadState) - {HeadState.RED} == HELD_IN


def test_the_model_runs_on_the_codes_tables() -> None:
    assert TABLES.read_text() == tables(), "run python -m tests.verify.leases --write, and make verify"
    assert f'#include "{TABLES.name}"' in MODEL.read_text()
