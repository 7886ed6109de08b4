"""What the agent and the lights' daemon say to each other: one msgspec JSON value per line.

Moments are CLOCK_BOOTTIME in ns, which both read from one kernel; no wall clock is needed to understand them.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from common.clock import Stamp
from common.codes import Aspect, Direction, SignalMode
from common.commands import Order, OrderResult
from common.junction import Name
from common.records import Cycle, Gap, Log, SignalEvent

BootNs = Annotated[int, Meta(ge=0)]
Tally = Annotated[int, Meta(ge=0, le=2**53)]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A line on the link."""


class Crossing(_Message, frozen=True, tag="crossing"):
    """A vehicle or person crossed a line, or a tag passed a reader."""

    sensor: Name
    source: Name
    at_ns: BootNs
    cls: Name = "object"
    epc: Name | None = None
    direction: Direction = Direction.NONE
    """Across a line. A stop line's own lane goes one way only, so both may be counted."""
    is_new: bool = True
    """False: it was told before, and now its tag is known as well."""


class Presence(_Message, frozen=True, tag="presence"):
    """What is in a zone now: sent when it changes, and once a second."""

    sensor: Name
    zone: Name
    at_ns: BootNs
    n: Tally
    n_standing: Tally


class SensorState(_Message, frozen=True, tag="sensor"):
    """Whether a sensor measures: sent when it changes, and once a second. Silence means that it does not."""

    sensor: Name
    at_ns: BootNs
    measures: bool
    why_not: str = ""


class Ask(_Message, frozen=True, tag="ask"):
    """An order; `OrderAnswer` has the same `id`."""

    id: Name
    order: Order
    until_ns: BootNs | None = None
    """Who asked waits no longer: what is read later is not carried out. None: it is, whenever it is read."""

    def is_late(self, boot_ns: int) -> bool:
        """Whether it must not be carried out any more."""
        return self.until_ns is not None and self.until_ns < boot_ns


TOO_LATE = OrderResult(accepted=False, reason="it was read too late; order it again")


class Taken(_Message, frozen=True, tag="taken"):
    """Records up to this one of this spool are durable at the agent, and may be forgotten."""

    spool: Name
    up_to: Tally


class TakeRecords(_Message, frozen=True, tag="take_records"):
    """The sender keeps records: send it those that wait, oldest first, and what is made from now on.

    Before it come the sender's `Taken`, one for each spool that it knows. One peer at a time is given records.
    """


class OrderAnswer(_Message, frozen=True, tag="answer"):
    """What became of an order."""

    id: Name
    result: OrderResult


class Shown(_Message, frozen=True, tag="shown"):
    """What the lights show: sent at every change, and once a second."""

    junction: Name
    at_ns: BootNs
    aspects: dict[Name, Aspect]
    mode: SignalMode
    stage: Name | None
    next_stage: Name | None
    plan: Name | None
    algorithm: str
    since_ns: BootNs
    """When the aspects began to be as they are."""
    fault: str = ""
    note: str = ""


class Spooled(_Message, frozen=True, tag="spooled"):
    """A record for the collector. `(spool, no)` is its identity: gapless from 1; a new spool has a new name."""

    spool: Name
    no: Tally
    stamp: Stamp
    record: Cycle | SignalEvent | Log | Gap
    covers: Annotated[int, Meta(ge=1)] = 1
    """It accounts for so many numbers, its own the last: more than one where a gap tells what was dropped."""


class Refused(_Message, frozen=True, tag="refused"):
    """A line was not understood, or not allowed. The rest of the connection goes on."""

    reason: str


ToSignals = Crossing | Presence | SensorState | Ask | Taken | TakeRecords
ToAgent = OrderAnswer | Shown | Spooled | Refused
