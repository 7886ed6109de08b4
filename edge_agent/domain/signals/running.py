"""When a green ends, and what comes next: by a chooser or by the program's own times, within all bounds.

What binds any choice, in this order: a stage's shortest green; that nobody waits for longer than `max_red_s` (see
`needs`); the program's least green; its most, once somebody waits for the stage's end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.codes import SignalMode
from common.hires import Coordination
from common.schedule import Local
from edge_agent.domain.signals.coordination import Planned, planned_green
from edge_agent.domain.signals.layout import Layout
from edge_agent.domain.signals.needs import LOOK_S, Needs
from edge_agent.domain.signals.program import Program
from edge_agent.domain.signals.stages import StageMachine
from edge_agent.domain.signals.steps import Chosen, Lane, Situation, Termination

Choose = Callable[[Situation], int | Chosen | None]
"""Which stage is to be green, by its index in the description; None or the present one: go on.

Asked once a second while a stage is green and past its minimum, but not in a coordinated plan, whose times are
the plan's; where its coordination is actuated, any other stage only says that nobody comes any more. Minimum and
maximum green, `max_red_s` and recalls are kept whatever it answers; where it raises, or answers what makes no
sense, the plan's own times decide, and `Decision.note` says so."""

OWN_TIMES = "fixed"
_TOLERANCE_S = 1e-6


@dataclass(frozen=True, slots=True)
class Regime:
    """Whose times rule.

    Attributes:
        asks: the chooser decides, where there is one and the program is not coordinated.
    """

    program: Program
    mode: SignalMode
    asks: bool


class Runner:
    """Takes one junction from stage to stage.

    Attributes:
        machine: the heads.
        regime: in force.
        pending: takes over at the next safe point: when a green has had its minimum.
        coming_from: the stage that is being cleared for the machine's; None: it is green, or nothing was.
        algorithm: which decided last.
        note: why, or what is wrong with the chooser.
        coordination: None: the program is free.
        zero_s: when the plan's cycle begins, in the first stage's green; None: that is not known yet, or over.
    """

    def __init__(self, layout: Layout, regime: Regime, now_s: float, choose: Choose | None) -> None:
        self._layout = layout
        self._choose = choose
        self._needs = Needs(layout)
        self._grain_s = 0.0
        self._last_s = now_s
        self._no_lanes = (Lane(),) * layout.n_lanes
        self.pending: Regime | None = None
        self.restart(regime, now_s)

    def restart(self, regime: Regime, now_s: float) -> None:
        """All red, and nothing is remembered."""
        self.machine = StageMachine(self._layout, now_s)
        self._needs.restart()
        self._left_s = [now_s] * self._layout.n_stages
        self._position: int | None = None
        self._begun_s: float | None = None
        self._may_end_s: float | None = None
        self._needs_s = self._look_s = self._end_s = now_s
        self.coming_from: int | None = None
        self.rule(regime)

    def step(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None, *, is_held: bool) -> None:
        """Let time pass.

        Args:
            is_held: the stage stays, whoever else waits.
        """
        self._grain_s = max(0.9 * self._grain_s, min(now_s - self._last_s, LOOK_S))
        self._last_s = now_s
        if now_s >= self._needs_s - _TOLERANCE_S:
            self._needs.update(now_s, self.machine, lanes)
            self._needs_s = now_s + LOOK_S
        if self.machine.green_from_s is not None and not is_held:
            self._decide(now_s, local, lanes)
        self.machine.step(now_s)
        if self.machine.green_from_s is not None:
            self.coming_from = None

    def overdue_s(self, now_s: float) -> list[float]:
        """Since when those are red who are served without a call, and have been so for longer than they may."""
        layout = self._layout
        since_s = [
            self.machine.red_since_s(i) if layout.is_recalled[i] else None for i in range(layout.n_movements)
        ]
        return [
            one_s
            for one_s, most_s in zip(since_s, layout.max_red_s, strict=True)
            if one_s is not None and now_s - one_s > most_s
        ]

    def go(self, stage: int | None, now_s: float, why: Termination, *, cut_s: float | None = None) -> None:
        """Make way for a stage at once; None: all red. Running greens have their minimum, or `cut_s`."""
        present = self.machine.stage
        if present is not None and present != stage:
            self._left_s[present] = now_s
            if self.machine.green_from_s is not None:
                self.coming_from = present
        self.machine.go(stage, why, cut_s=cut_s)
        self._position = None if stage is None else self.regime.program.find(stage, self._position)
        self._begun_s = None

    def release(self, stage: int | None, now_s: float, *, otherwise: int) -> None:
        """An emergency vehicle has passed, or flash was called off: go on.

        Args:
            stage: None: with that which has waited longest,
            otherwise: or with this, where none waits and none is green.
        """
        if stage is None:
            present = self.machine.stage
            stage = self._needs.first(self.regime.program, present)
            if stage is None:
                stage = otherwise if present is None else present
        self.go(stage, now_s, Termination.FORCE_OFF)

    def rule(self, regime: Regime) -> None:
        """Another regime takes over at once, as before the first green."""
        self.regime, self.pending = regime, None
        self.algorithm, self.note = OWN_TIMES, ""
        self.coordination = None if regime.program.offset_s is None else Coordination.FREE
        self.zero_s: float | None = None

    def _decide(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None) -> None:
        """Look whether the green is over."""
        machine, stage = self.machine, self.machine.stage
        if stage is None or machine.green_from_s is None:
            return
        if self._begun_s != machine.green_from_s:
            self._begin(machine.green_from_s, now_s, local)
        if now_s < self._look_s - _TOLERANCE_S:
            return
        self._look_s = now_s + LOOK_S
        green_s = now_s - machine.green_from_s + _TOLERANCE_S
        if green_s < self._layout.least_s[stage]:
            self._look_s = machine.green_from_s + self._layout.least_s[stage]
            return
        self._needs.update(now_s, machine, lanes)
        if self.pending is not None:
            self._take_over(self.pending, machine.green_from_s, now_s, local)
        following = self._following(stage, green_s, now_s, lanes)
        if following is not None:
            self._leave(*following, now_s)

    def _begin(self, green_from_s: float, now_s: float, local: Local | None) -> None:
        """A green has begun, or another program has taken it over: plan it."""
        self._begun_s = green_from_s
        program, stage = self.regime.program, self.machine.stage
        least_s = 0.0 if stage is None else self._layout.least_s[stage]
        self.zero_s = self._may_end_s = None
        if self._position is None:
            self._end_s = self._look_s = green_from_s + least_s
            return
        if local is not None:
            local = Local(local.weekday, local.second_s - (now_s - green_from_s))
        self._plan(planned_green(program, self._position, local), green_from_s)
        self._look_s = max(now_s, green_from_s + least_s)

    def _plan(self, planned: Planned, green_from_s: float) -> None:
        self.coordination = None if self.regime.program.offset_s is None else planned.state
        self._end_s = green_from_s + planned.green_s
        if planned.may_end_s is not None:
            self._may_end_s = green_from_s + planned.may_end_s
        if planned.zero_s is not None:
            self.zero_s = green_from_s + planned.zero_s

    def _take_over(self, regime: Regime, green_from_s: float, now_s: float, local: Local | None) -> None:
        """A safe point: another regime goes on from the present stage, if it has it."""
        self.rule(regime)
        self._position = None if self.machine.stage is None else regime.program.find(self.machine.stage, None)
        self._begin(green_from_s, now_s, local)
        if self.zero_s is not None and self.zero_s < now_s:
            self.zero_s = None
        self._look_s = now_s + LOOK_S

    def _following(
        self, stage: int, green_s: float, now_s: float, lanes: Sequence[Lane] | None
    ) -> tuple[int, Termination] | None:
        """The stage that is to come now, and why the present one ends; None: it goes on."""
        program, needs = self.regime.program, self._needs
        first = needs.first(program, stage)
        if self._position is None:
            return (program.steps[0].stage if first is None else first), Termination.FORCE_OFF
        if first is not None and not needs.can_keep(program, now_s, stage, self._grain_s):
            return first, Termination.MAX_OUT
        if green_s < program.steps[self._position].least_s:
            return None
        wanted = self._wanted(stage, green_s, now_s, lanes, first)
        if wanted is None or wanted[0] == stage or first is None:
            return wanted
        if needs.can_keep(program, now_s, stage, self._grain_s, wanted[0]):
            return wanted
        return first, wanted[1]

    def _wanted(
        self, stage: int, green_s: float, now_s: float, lanes: Sequence[Lane] | None, first: int | None
    ) -> tuple[int, Termination] | None:
        """What the chooser or the program wants."""
        program = self.regime.program
        choice = self._ask(stage, green_s, now_s, lanes)
        if choice.by_plan or program.offset_s is not None:
            return self._by_plan(stage, choice, now_s)
        if choice.stage is not None and choice.stage != stage:
            return choice.stage, Termination.GAP_OUT
        call_s = self._needs.conflicting_call_s(stage)
        if call_s is None or self._position is None:
            return None
        most_s = program.steps[self._position].most_s
        left_s = most_s - min(green_s, now_s - call_s)
        if left_s <= _TOLERANCE_S:
            following = program.steps[program.next_position(self._position)].stage
            return (following if first is None else first), Termination.MAX_OUT
        self._look_s = min(self._look_s, now_s + left_s)
        return None

    def _by_plan(self, stage: int, choice: Chosen, now_s: float) -> tuple[int, Termination] | None:
        """The end of the plan's own time; or before it, where coordination is actuated and nobody comes."""
        program = self.regime.program
        following = program.steps[program.next_position(self._position)].stage
        if now_s >= self._end_s - _TOLERANCE_S:
            return following, Termination.FORCE_OFF
        is_over = not choice.by_plan and choice.stage is not None and choice.stage != stage
        if is_over and self._may_end_s is not None and now_s >= self._may_end_s - _TOLERANCE_S:
            return following, Termination.GAP_OUT
        self._look_s = min(self._look_s, self._end_s)
        return None

    def _ask(self, stage: int, green_s: float, now_s: float, lanes: Sequence[Lane] | None) -> Chosen:
        """The chooser's answer, or that the program's own times decide."""
        regime = self.regime
        keeps_times = regime.program.offset_s is not None and regime.program.left_s == 0.0
        if self._choose is None or not regime.asks or keeps_times:
            self.algorithm, self.note = OWN_TIMES, ""
            return Chosen(None, by_plan=True)
        situation = Situation(
            now_s=now_s,
            stage=stage,
            green_s=green_s,
            red_s=tuple(0.0 if i == stage else now_s - left_s for i, left_s in enumerate(self._left_s)),
            lanes=self._no_lanes if lanes is None else tuple(lanes),
            plan=regime.program.plan,
        )
        try:
            answer = self._choose(situation)
        except Exception as error:  # noqa: BLE001  whatever it is, the lights go on by the plan
            return self._own_times(f"choosing green times failed: {type(error).__name__}: {error}")
        choice = answer if isinstance(answer, Chosen) else Chosen(answer)
        if not choice.by_plan and choice.stage is not None and choice.stage not in regime.program.stages:
            return self._own_times(f"green times: {choice.stage!r} was chosen, which is no stage of the plan")
        self.algorithm, self.note = choice.algorithm or str(regime.program.algorithm), choice.note
        if choice.by_plan:
            self.algorithm = choice.algorithm or OWN_TIMES
        return choice

    def _own_times(self, note: str) -> Chosen:
        self.algorithm, self.note = OWN_TIMES, note
        return Chosen(None, by_plan=True)

    def _leave(self, stage: int, why: Termination, now_s: float) -> None:
        """To the next stage. Where that is the present one, as in a plan of one stage, its time begins again."""
        self.go(stage, now_s, why)
        if stage == self.machine.stage and self.machine.green_from_s is not None:
            self.machine.green_from_s = now_s
