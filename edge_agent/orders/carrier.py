"""Carries one order after the other to the lights, each once, and tells what became of it.

What may go wrong, and what is told then:

* it came too late: `expired`; the lights are not asked.
* the lights' daemon is away, or refuses: `refused`, with its own words.
* it was given, and there is no answer; or this process died in between: `failed`. It is not given again.
* the disk cannot remember it: `refused`. What is not remembered could be given twice.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import msgspec

from common.clock import Stamp
from common.commands import Order, OrderResult
from common.records import CommandResult, Record
from common.remote import MAX_KNOWN, CommandStatus
from edge_agent.link.client import LightsAbsent
from edge_agent.orders.journal import Entry, Journal
from edge_agent.sync.exchange import Offered

logger = logging.getLogger(__name__)

LIGHTS_PATIENCE_S = 5.0
"""So long an order waits for lights that are away: as when their daemon is started anew."""
_LOOK_S = 0.1
_DETAIL_CHARS = 2000
_RESTARTED = (
    "the agent was restarted while the lights were being asked, and does not know whether they took it; look at "
    "the lights, then order again"
)
_IN_DOUBT = (
    "the agent's memory of orders was damaged: it may have been carried out before; look at the lights, then "
    "order again"
)
_TOO_LATE = "it came too late, and was not given to the lights"
_FROM = " (collector)"
_BY_CHARS = 60


class OrderTaker(Protocol):
    """The lights; `edge_agent.link.client.LightsLink` is one."""

    @property
    def is_connected(self) -> bool:
        """Whether their daemon is there."""

    async def order(self, order: Order) -> OrderResult:
        """Give an order; what became of it.

        Raises:
            LightsAbsent: nobody is there to carry it out, or it is not known whether it was.
        """


class Teller(Protocol):
    """Where results go; `edge_agent.outbox.writer.OutboxWriter` is one."""

    async def put(self, record: Record, stamp: Stamp) -> None:
        """Take in a record."""

    async def flush(self) -> bool:
        """Make durable what was put."""


class StampClock(Protocol):
    """The machine's clocks; `edge_agent.clock_source.Clock` is one."""

    def stamp(self) -> Stamp:
        """The present moment."""


class Carrier:
    """Call `recover` first, then `carry` for each order, one at a time.

    Args:
        hurry: is called when a result is in the outbox, so that it is delivered at once.

    Attributes:
        known: the orders that this process need not be given again, oldest first.
        last: what became of the last one, in words; empty: there was none.
    """

    def __init__(
        self, journal: Journal, lights: OrderTaker, teller: Teller, clock: StampClock, hurry: Callable[[], None]
    ) -> None:
        self._journal, self._lights, self._teller = journal, lights, teller
        self._clock, self._hurry = clock, hurry
        self.known: dict[UUID, None] = {}
        self.last = ""

    async def recover(self) -> None:
        """Tell what an earlier process did not come to tell."""
        await asyncio.to_thread(self._journal.load)
        for entry in self._journal.untold:
            if entry.status is None:
                entry = Entry(entry.id, CommandStatus.FAILED, _RESTARTED, self._clock.stamp())
                await self._note(entry)
            await self._tell(entry)

    async def carry(self, offered: Offered, sent: Stamp) -> None:
        """Have an order carried out, unless it was begun before. Returns when its end is told.

        Args:
            sent: when the collector gave it out, at the earliest; its time runs from then.
        """
        before = self._journal[offered.id]
        if before is not None:
            # Told before, and the collector has not got it: its database or our outbox was lost.
            await self._tell(before)
            return
        status, detail = await self._judge(offered, sent)
        entry = Entry(offered.id, status, detail[:_DETAIL_CHARS], self._clock.stamp())
        await self._note(entry)
        await self._tell(entry)

    def doubt_is_over(self) -> None:
        """All that was open when this process began has been told."""
        self._journal.in_doubt = False

    async def _judge(self, offered: Offered, sent: Stamp) -> tuple[CommandStatus, str]:
        """Give an order to the lights, if it may be."""
        if self._journal.in_doubt:
            return CommandStatus.FAILED, _IN_DOUBT
        try:
            order: Order = msgspec.json.decode(offered.order, type=Order)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return CommandStatus.REFUSED, f"the agent does not know this order; update it ({error})"
        if not await self._lights_in_time(self._left_s(offered, sent)):
            if self._left_s(offered, sent) > 0.0:
                return CommandStatus.REFUSED, "the lights' daemon is not there; look at the lights, and at its log"
            return CommandStatus.EXPIRED, _TOO_LATE
        if not await self._note(Entry(offered.id)):
            return CommandStatus.REFUSED, "the agent's disk cannot be written, so that orders cannot be remembered"
        if self._left_s(offered, sent) <= 0.0:
            # A worn SD card may take its time.
            return CommandStatus.EXPIRED, _TOO_LATE
        if not order.by.endswith(_FROM):
            # The lights' log is to tell them from those of somebody beside the junction.
            order = msgspec.structs.replace(order, by=f"{order.by[:_BY_CHARS]}{_FROM}")
        return await self._give(order)

    async def _give(self, order: Order) -> tuple[CommandStatus, str]:
        try:
            result = await self._lights.order(order)
        except LightsAbsent as error:
            if error.was_given:
                return CommandStatus.FAILED, f"{error}: it is not known whether they took it; look at the lights"
            return CommandStatus.REFUSED, str(error)
        return CommandStatus.APPLIED if result.accepted else CommandStatus.REFUSED, result.reason

    async def _lights_in_time(self, left_s: float) -> bool:
        """Whether there is time left, and the lights are there, or come soon."""
        if left_s <= 0.0:
            return False
        try:
            async with asyncio.timeout(min(left_s, LIGHTS_PATIENCE_S)):
                while not self._lights.is_connected:
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return False
        return True

    def _left_s(self, offered: Offered, sent: Stamp) -> float:
        """How long it may still be given to the lights. Boot time goes on while a machine sleeps."""
        return offered.expires_in_s - (self._clock.stamp().boottime_ns - sent.boottime_ns) / 1e9

    async def _note(self, entry: Entry) -> bool:
        """Whether it is on the disk."""
        try:
            await asyncio.to_thread(self._journal.note, entry)
        except OSError as error:
            logger.log(
                logging.ERROR, "orders cannot be remembered: %s", error, extra={"action": "orders_unwritable"}
            )
            return False
        return True

    async def _tell(self, entry: Entry) -> None:
        """Put what became of it into the outbox. Twice is no harm: the collector takes the first word."""
        self.known[entry.id] = None
        if len(self.known) > MAX_KNOWN:
            del self.known[next(iter(self.known))]
        status = entry.status or CommandStatus.FAILED
        stamp = entry.stamp or self._clock.stamp()
        record = CommandResult(1, 0, 0, str(entry.id), status, entry.detail or None)
        await self._teller.put(record, stamp)
        is_durable = await self._teller.flush()
        self._hurry()
        self.last = f"{status}{f': {entry.detail}' if entry.detail else ''}"
        logger.info("order %s: %s", entry.id, self.last, extra={"action": "order_carried"})
        if is_durable and not entry.told:
            await self._note(msgspec.structs.replace(entry, told=True))
