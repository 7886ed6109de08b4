"""The values that pass from one part of a junction's control to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from common.codes import Aspect, SignalMode


class Interval(StrEnum):
    """Where in its order the controller is."""

    START_UP = "start_up"
    GREEN = "green"
    YELLOW = "yellow"
    RED_CLEARANCE = "red_clearance"
    FLASH = "flash"
    OFF = "off"


class Termination(StrEnum):
    """Why a green ended."""

    GAP_OUT = "gap_out"
    """Nobody came any more."""
    MAX_OUT = "max_out"
    """It had its maximum while others waited."""
    FORCE_OFF = "force_off"
    """The plan's time, an order or a preemption ended it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What is known of one lane at a moment. None: not measured, which is never the same as nobody there.

    Attributes:
        n_crossed: vehicles over the stop line since the daemon started; None without a trusted stop line detector.
        headway_s: since the last crossing; `inf` where none yet.
        n_near: vehicles on the approach, as far as the camera sees (`reach_m`), standing or moving.
        n_moving: how many of them move.
        is_waiting: a vehicle stands at the red, or a button was pressed: a call.
        usual_vps: vehicles per second that are usual at this time of day, where its sensors are doubtful; None
            where they are trusted, or where nothing is known.
    """

    n_crossed: int | None = None
    headway_s: float | None = None
    n_near: int | None = None
    n_moving: int | None = None
    is_waiting: bool | None = None
    usual_vps: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What a green-time algorithm decides on. Stages and lanes by their index in the junction's description.

    Attributes:
        now_s: monotonic.
        stage: green now.
        green_s: for how long.
        red_s: of each stage, since it was last green; 0 for the one that is.
        lanes: what each tells; after the junction's own, one for each of its `walks`.
        plan: in force, by its index; only its stages may be chosen, and it names the algorithm to begin with.
    """

    now_s: float
    stage: int
    green_s: float
    red_s: tuple[float, ...]
    lanes: tuple[Lane, ...]
    plan: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a chooser may answer instead of a bare stage, where it has more to tell.

    Attributes:
        stage: that is to be green; None, or the one that is: go on.
        algorithm: which decided, where it is not the plan's own.
        note: why, for people.
        by_plan: `stage` is ignored; the plan's own times decide.
    """

    stage: int | None
    algorithm: str = ""
    note: str = ""
    by_plan: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What the controller wants to be shown, and why. One a step.

    Attributes:
        aspects: of every movement, by name.
        stage: that is green, or is being cleared for `next_stage`; None in flash, off and start-up.
        plan: the plan in force.
        algorithm: the one that decided, which is lower on the ladder than the plan's while sensors fail.
        ended: movements whose green ends in this step, and why.
        note: what people should know, such as why a lower algorithm decides; empty: nothing.
        coordination: the state of coordination, in the numbers of hi-res code 150; None: the plan is free.
        zero_s: when the coordinated plan's cycle begins, monotonic, in this green or just before; None: not in it.
        preemption: the number of the one that holds the junction.
    """

    aspects: Mapping[str, Aspect]
    mode: SignalMode
    interval: Interval
    stage: str | None = None
    next_stage: str | None = None
    plan: str | None = None
    algorithm: str = ""
    ended: Mapping[str, Termination] = field(default_factory=dict)
    note: str = ""
    coordination: int | None = None
    zero_s: float | None = None
    preemption: int | None = None


class FaultCode(StrEnum):
    """Why the lights flash red. Latched until cleared."""

    CONFLICT = "conflict"
    ILLEGAL_CHANGE = "illegal_change"
    SHORT_YELLOW = "short_yellow"
    SHORT_CLEARANCE = "short_clearance"
    SHORT_GREEN = "short_green"
    UNKNOWN_MOVEMENT = "unknown_movement"
    LAMP_MISMATCH = "lamp_mismatch"
    DARK_HEAD = "dark_head"
    LATE_STEP = "late_step"
    STARVED = "starved"
    PLAN_LOST = "plan_lost"
    DRIVER_FAILED = "driver_failed"
    EXCEPTION = "exception"
    LINK_LOST = "link_lost"
    """Several Pis: a lane's head cannot be reached."""
    LONG_YELLOW = "long_yellow"
    CLOCK_WENT_BACK = "clock_went_back"
    """The monotonic clock did; nothing timed by it can be believed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, for people and the log. `since_s` is monotonic."""

    code: FaultCode
    detail: str
    since_s: float

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
