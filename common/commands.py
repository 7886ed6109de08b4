"""Orders to a junction's lights: from a technician beside it, or from an operator through the collector.

An order is refused whole, with the reason, or carried out whole; lights go on as before when it is refused. It
passes the same interlock as everything else. Frozen, tagged, unknown members refused.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from common.junction import Name, Seconds


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="order"):
    """What all orders hold."""

    by: Name
    """Who gives it, as the log shall name them."""
    why: Annotated[str, Meta(max_length=1000)] = ""


class Automatic(_Order, frozen=True, tag="automatic"):
    """Back to the schedule's plan and its algorithm."""


class ManualOverride(_Order, frozen=True, tag="manual_override"):
    """A fixed cycle with a green for each lane; the last lane's is computed.

    Lanes that get green in the same stage share one time. All lanes but those of one stage are given: what is left
    of the cycle after greens, yellows and clearances is the last one's.
    """

    cycle_s: Seconds
    lane_green_s: dict[Name, Seconds]
    expires_s: Annotated[float, Meta(ge=10.0, le=86_400.0)] = 3_600.0
    """Then automatic again, by itself."""


class FixedPlan(_Order, frozen=True, tag="fixed"):
    """This plan with its own times, without schedule or sensors."""

    plan: Name
    expires_s: Annotated[float, Meta(ge=10.0, le=604_800.0)] | None = None


class Flash(_Order, frozen=True, tag="flash"):
    """Flashing red everywhere, until another order."""


class Off(_Order, frozen=True, tag="off"):
    """Dark, as for work on the heads: through flash only, and left through start-up."""


class Preempt(_Order, frozen=True, tag="preempt"):
    """An emergency vehicle is coming, or has passed."""

    preemption: Name
    on: bool


class ClearFault(_Order, frozen=True, omit_defaults=True, tag="clear_fault"):
    """Somebody looked: leave the latched flash, through start-up. Refused while the fault persists."""

    fault: Name | None = None
    """Its code, as who clears it saw it: refused if another has come since, which nobody has looked at."""


Order = Automatic | ManualOverride | FixedPlan | Flash | Off | Preempt | ClearFault


def with_time_left(order: ManualOverride | FixedPlan, left_s: float | None) -> ManualOverride | FixedPlan:
    """The same order, which expires after so long. None: never."""
    return msgspec.structs.replace(order, expires_s=left_s)


class OrderResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order. `reason` says why it was refused, and what would be accepted."""

    accepted: bool
    reason: str = ""
