"""Several Pis at one junction: who may show green, and until when. Pure.

One Pi, the *coordinator*, decides; each *head* hangs at a lane's Pi. No message can be relied on: it may be lost,
late, doubled or overtaken, any program may be restarted at any moment, and no two clocks agree. What does hold:

* A head is red unless it has a *lease*. The lease counts on the head's own clock from the moment it **asked**,
  shortened by how far that clock may run slow. When it ends, yellow and red follow by the head's own clock.
* Of all answers a head takes only those to its newest ask, so an old one can never open a lane.
* After each grant the coordinator treats all that conflicts as taken: for the lease, the yellow, the clearance and
  a guard, by its own clock. Only the head itself can shorten that, by an ask that says: I am red, I hold nothing.
  To send one voids every earlier ask, so whatever is still under way to that head is worthless by then.
* A coordinator that was started anew knows nothing. It waits as long as after a grant; and each head counts as
  taken until that head says that it obeys this start of this coordinator, and then as long as after a grant,
  unless it also says that it is red. A head that obeys a newer term never obeys an older one again: whom it obeys
  is written to disk before the next ask.
* Who hears nothing goes to red by itself, and flashes red after `lost_after_s`.

Here are the words and the two tables: what a head does with an event (`HEAD`), and what the coordinator believes
of a head (`HOLD`). The machines are in `lease_head` and `lease_coordinator`. The model that is checked
exhaustively (`model/leases.pml`) runs on the same tables.

All times are monotonic seconds of the party's own clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from common.codes import Aspect
from edge_agent.domain.signals.interlock import TOLERANCE_S


class HeadState(StrEnum):
    """What a head is doing."""

    RED = "red"
    GREEN = "green"
    """Under a lease that has not ended."""
    YELLOW = "yellow"
    FLASH = "flash"
    """Flashing red."""
    DARK = "dark"


class HeadEvent(StrEnum):
    """What can happen to a head."""

    GRANTED = "granted"
    """The newest ask is answered by a lease that has time left, and red has lasted long enough."""
    REFUSED = "refused"
    """It is answered by no: red is wanted. So is the word of a newer coordinator, whatever it says."""
    EXPIRED = "expired"
    """The lease is over."""
    YELLOW_OVER = "yellow_over"
    FLASH_TOLD = "flash_told"
    DARK_TOLD = "dark_told"
    LOST = "lost"
    """The coordinator was not heard for longer than `lost_after_s`."""
    FAULT = "fault"
    """The lane's own interlock or lamps."""


HEAD: Mapping[HeadState, Mapping[HeadEvent, HeadState]] = {
    HeadState.RED: {
        HeadEvent.GRANTED: HeadState.GREEN,
        HeadEvent.FLASH_TOLD: HeadState.FLASH,
        HeadEvent.DARK_TOLD: HeadState.FLASH,
        HeadEvent.LOST: HeadState.FLASH,
        HeadEvent.FAULT: HeadState.FLASH,
    },
    HeadState.GREEN: {
        HeadEvent.REFUSED: HeadState.YELLOW,
        HeadEvent.EXPIRED: HeadState.YELLOW,
        HeadEvent.FLASH_TOLD: HeadState.FLASH,
        HeadEvent.DARK_TOLD: HeadState.FLASH,
        HeadEvent.LOST: HeadState.FLASH,
        HeadEvent.FAULT: HeadState.FLASH,
    },
    HeadState.YELLOW: {
        HeadEvent.YELLOW_OVER: HeadState.RED,
        HeadEvent.FLASH_TOLD: HeadState.FLASH,
        HeadEvent.DARK_TOLD: HeadState.FLASH,
        HeadEvent.FAULT: HeadState.FLASH,
    },
    HeadState.FLASH: {
        HeadEvent.GRANTED: HeadState.RED,
        HeadEvent.REFUSED: HeadState.RED,
        HeadEvent.DARK_TOLD: HeadState.DARK,
    },
    HeadState.DARK: {
        HeadEvent.GRANTED: HeadState.RED,
        HeadEvent.REFUSED: HeadState.RED,
        HeadEvent.FLASH_TOLD: HeadState.FLASH,
        HeadEvent.LOST: HeadState.FLASH,
        HeadEvent.FAULT: HeadState.FLASH,
    },
}
"""What follows; an event that is not listed changes nothing."""

HELD_IN = frozenset(HeadState) - {HeadState.RED}
"""States in which a head cannot say that it holds nothing: flash and darkness may have cut a green off, and who
was on the way then clears as after a yellow."""


class Hold(StrEnum):
    """What the coordinator believes of a head."""

    UNKNOWN = "unknown"
    """It has not said that it obeys: anything may be lit there."""
    HELD = "held"
    """It may have a lease, be yellow, or have been red for less than the clearance."""
    CLEARING = "clearing"
    """It has said that it is red without a lease; the clearance runs."""
    FREE = "free"
    """It is red, and has been for the clearance."""


class HoldEvent(StrEnum):
    """What changes that belief."""

    ACCEPTED = "accepted"
    """It obeys this start of this coordinator."""
    ESTRANGED = "estranged"
    """It obeys another, or none."""
    GRANTED = "granted"
    RELEASED = "released"
    """It is red, holds nothing, and has voided all earlier asks."""
    OVER = "over"
    """The time has run out."""


HOLD: Mapping[Hold, Mapping[HoldEvent, Hold]] = {
    Hold.UNKNOWN: {HoldEvent.ACCEPTED: Hold.HELD},
    Hold.HELD: {
        HoldEvent.ESTRANGED: Hold.UNKNOWN,
        HoldEvent.GRANTED: Hold.HELD,
        HoldEvent.RELEASED: Hold.CLEARING,
        HoldEvent.OVER: Hold.FREE,
    },
    Hold.CLEARING: {
        HoldEvent.ESTRANGED: Hold.UNKNOWN,
        HoldEvent.GRANTED: Hold.HELD,
        HoldEvent.OVER: Hold.FREE,
    },
    Hold.FREE: {
        HoldEvent.ESTRANGED: Hold.UNKNOWN,
        HoldEvent.GRANTED: Hold.HELD,
    },
}
"""What follows; an event that is not listed changes nothing."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The protocol's durations, the same on all Pis of a junction but for the guard.

    Attributes:
        lease_s: how long a grant holds from the ask on.
        ask_every_s: from an answered ask to the next.
        patience_s: from an ask without an answer to the next. Only the newest ask can be answered, so a way there
            and back may not take longer.
        guard_s: for what comes late at a head: that its lease is over is seen up to a late step after it, yellow
            is lit up to one after that, and with red it is the same again.
        lost_after_s: so long without word from the other side, and it counts as lost.
        drift: by how much the rate of a clock may be off; 0.0005 is five times what a Pi's crystal does.
    """

    lease_s: float = 2.0
    ask_every_s: float = 0.25
    patience_s: float = 0.6
    guard_s: float = 2.04
    lost_after_s: float = 3.0
    drift: float = 0.0005

    def ending_s(self, yellow_s: float) -> float:
        """How long after its lease it may be until a head is red, by the head's clock."""
        return yellow_s + self.guard_s

    def hold_s(self, ending_s: float, clearance_s: float) -> float:
        """How long a head counts as taken after a grant, by the coordinator's clock."""
        return (self.lease_s + ending_s / (1.0 - self.drift) + clearance_s) * (1.0 + self.drift)

    def clearing_s(self, clearance_s: float) -> float:
        """How long it does after it was heard to say that it is red. Late steps are no matter: red came before."""
        return clearance_s * (1.0 + self.drift)


LEASE_TIMES = LeaseTimes()


def lease_times(late_step_s: float) -> LeaseTimes:
    """The protocol's durations where a step that comes so long after the last one is no fault yet."""
    return replace(LEASE_TIMES, guard_s=4.0 * (late_step_s + TOLERANCE_S))


@dataclass(frozen=True, slots=True)
class Obeyed:
    """The coordinator that a head obeys: its term, and which start of its program."""

    epoch: int
    boot: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A head asks for green, and tells how it is. Its `seq` counts up within a `boot` of the head."""

    head: str
    boot: str
    seq: int
    nonce: str
    obeys: Obeyed | None
    holds: bool
    aspect: Aspect
    heard: int = 0
    """`seq` of the newest answer it took from the coordinator that it obeys."""
    ending_s: float = 0.0
    """How long after its lease it may be until it is red, as it has been told itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The coordinator's answer to the ask with that nonce. `seq` counts up within a `boot` of the coordinator."""

    head: str
    coordinator: Obeyed
    seq: int
    answers: str
    granted_s: float
    """0: refused."""
    aspect: Aspect = Aspect.RED
    """What to show without a lease: red, flashing red or dark."""


@dataclass(frozen=True, slots=True)
class HeadTimes:
    """One head's own durations: of its movement, and of the junction's start-up."""

    yellow_s: float
    min_green_s: float = 0.0
    """As far as the lease reaches, a green that is taken away lasts so long."""
    red_first_s: float = 3.0
    """Red at least so long after a start, flash or darkness."""
