"""The agent's end of the link: tells the lights what sensors see, takes their records, and gives orders.

The lights' daemon may be absent, be restarted, or hang; counting goes on whatever it does. What sensors see is
told at once or not at all: it is of no use a second later. Records are another matter. One that comes over the
link is put into the outbox together with its number, in one transaction, and only when that is on the disk is the
lights' daemon told that it may forget it. So neither a kill of this process nor one of the other loses or doubles
any.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import msgspec

from common.clock import Stamp
from common.codes import DropClass, GapReason
from common.commands import Order, OrderResult
from common.records import Gap, Record
from edge_agent.link.asking import why_unreachable
from edge_agent.link.messages import (
    Ask,
    Crossing,
    OrderAnswer,
    Presence,
    Refused,
    SensorState,
    Shown,
    Spooled,
    Taken,
    TakeRecords,
    ToAgent,
    ToSignals,
)

logger = logging.getLogger(__name__)

ORDER_PATIENCE_S = 5.0
_LINE_BYTES = 1024 * 1024
_UNREAD_BYTES = 256 * 1024
"""What the lights' daemon has not read. Reports of sensors that wait so long tell lies about the present."""
_GATHER_S = 0.2
"""Records that come within so short a time are made durable together, which spares an SD card."""
_REFUSED_RETRY_S = 5.0
_RETRY_FIRST_S, _RETRY_CAP_S = 0.2, 5.0
_STEADY_S = 5.0
"""A connection that lasted so long was a good one."""


class LightsAbsent(Exception):
    """The lights' daemon is not there, or does not answer.

    Attributes:
        was_given: the order may have reached it; nobody knows what became of it.
    """

    def __init__(self, why: str, *, was_given: bool) -> None:
        super().__init__(why)
        self.was_given = was_given


class RecordKeeper(Protocol):
    """Where records go; `edge_agent.outbox.writer.OutboxWriter` is one."""

    async def take_in(self, source: str, numbered: Sequence[tuple[int, Record, Stamp]]) -> bool:
        """Take in what `source` numbered; True: it is durable. False: it must be offered again."""

    async def known_sources(self) -> dict[str, int]:
        """How far each source is durable."""


@dataclass(slots=True)
class LightsView:
    """What is known of the lights, for people. Kept by the link, read by others.

    Attributes:
        connected: whether their daemon is there.
        trouble: why not, or what it refused last; empty: nothing.
        shown: what they showed last; it may be old, see `shown_at_s`.
        shown_at_s: when that was heard, monotonic.
        n_records: taken over from them since the start.
        n_unsent: reports of sensors that could not be told.
    """

    connected: bool = False
    trouble: str = "not connected yet"
    shown: Shown | None = None
    shown_at_s: float | None = None
    n_records: int = 0
    n_unsent: int = 0

    def age_s(self, now_s: float | None = None) -> float | None:
        """How old `shown` is; None: nothing was heard."""
        if self.shown_at_s is None:
            return None
        return (time.monotonic() if now_s is None else now_s) - self.shown_at_s


class LightsLink:
    """Runs as a task of the agent; all else is called in the event loop's thread."""

    def __init__(
        self,
        path: Path,
        keeper: RecordKeeper,
        view: LightsView,
        *,
        on_shown: Callable[[Shown], None] | None = None,
    ) -> None:
        """
        Args:
            on_shown: is told all that the lights show, at every change and once a second; must not block or raise.
        """
        self._path, self._keeper, self._view = path, keeper, view
        self._on_shown = on_shown
        self._writer: asyncio.StreamWriter | None = None
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(ToAgent)
        self._answers: dict[str, asyncio.Future[OrderResult]] = {}
        self._ids = count(1)
        self._incoming: list[Spooled] = []
        self._something = asyncio.Event()
        self._marks: dict[str, int] = {}

    # For others in the agent

    @property
    def view(self) -> LightsView:
        """What is known of the lights."""
        return self._view

    @property
    def is_connected(self) -> bool:
        """Whether the lights' daemon is there."""
        return self._view.connected

    def tell(self, message: Crossing | Presence | SensorState) -> bool:
        """Say what a sensor sees. False: the lights' daemon is not there, or does not listen."""
        if self._writer is None:
            self._view.n_unsent += 1
            return False
        if self._writer.transport.get_write_buffer_size() > _UNREAD_BYTES:
            self._view.n_unsent += 1
            self._view.trouble = "the lights' daemon does not read what it is told"
            self._writer.transport.abort()
            return False
        self._send(message)
        return True

    async def order(self, order: Order, patience_s: float = ORDER_PATIENCE_S) -> OrderResult:
        """Give an order; what became of it. After `patience_s` it is not carried out any more.

        Raises:
            LightsAbsent: nobody is there to carry it out, or it is not known whether it was.
        """
        if self._writer is None:
            raise LightsAbsent(f"the lights' daemon is not connected: {self._view.trouble}", was_given=False)
        number = f"{next(self._ids)}"
        answer: asyncio.Future[OrderResult] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + round(patience_s * 1e9)
            self._send(Ask(id=number, order=order, until_ns=until_ns))
            async with asyncio.timeout(patience_s):
                return await answer
        except TimeoutError as error:
            why = f"the lights' daemon did not answer within {patience_s:.0f} s"
            raise LightsAbsent(why, was_given=True) from error
        finally:
            self._answers.pop(number, None)

    # The task

    async def run(self) -> None:
        """Be connected, whenever the lights' daemon is there, until cancelled."""
        loop = asyncio.get_running_loop()
        failures, told = 0, ""
        while True:
            began_s = loop.time()
            why = await self._connect()
            self._view.connected, self._view.trouble = False, why
            failures = 1 if loop.time() - began_s > _STEADY_S else failures + 1
            if failures == 1 or why != told:
                extra = {"action": "lights_absent"}
                logger.warning("lights: %s. It is tried again until it works", why, extra=extra)
                told = why
            # Jitter, no secret.
            wait_s = min(_RETRY_CAP_S, _RETRY_FIRST_S * 2.0 ** min(failures - 1, 10))
            await asyncio.sleep(wait_s * (0.5 + 0.5 * random.random()))

    async def _connect(self) -> str:
        """One connection, if it can be had, from its first line to its end; why it ended."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path), limit=_LINE_BYTES)
        except OSError as error:
            return why_unreachable(error, self._path)
        try:
            await self._talk(reader, writer)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            return f"the link to their daemon broke: {error}"
        finally:
            self._writer = None
            writer.transport.abort()
            for answer in self._answers.values():
                if not answer.done():
                    why = "the lights' daemon hung up before it answered"
                    answer.set_exception(LightsAbsent(why, was_given=True))
        return "their daemon hung up"

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._incoming.clear()
        self._marks = await self._keeper.known_sources()
        self._writer = writer
        for spool, up_to in self._marks.items():
            self._send(Taken(spool=spool, up_to=up_to))
        self._send(TakeRecords())
        self._view.connected, self._view.trouble = True, ""
        logger.info("lights: connected to %s", self._path, extra={"action": "lights_connected"})
        keeping = asyncio.create_task(self._keep_records(), name="lights' records")
        try:
            while not keeping.done() and (line := await reader.readline()):
                self._take(self._decoder.decode(line))
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    def _take(self, message: ToAgent) -> None:
        match message:
            case Spooled():
                self._incoming.append(message)
                self._something.set()
            case Shown():
                self._view.shown, self._view.shown_at_s = message, time.monotonic()
                if self._on_shown is not None:
                    self._on_shown(message)
            case OrderAnswer():
                answer = self._answers.get(message.id)
                if answer is not None and not answer.done():
                    answer.set_result(message.result)
            case Refused():
                if message.reason != self._view.trouble:
                    logger.error("lights: %s", message.reason, extra={"action": "lights_refused"})
                self._view.trouble = message.reason

    def _send(self, message: ToSignals) -> None:
        if self._writer is not None:
            self._writer.write(self._encoder.encode(message) + b"\n")

    # Records

    async def _keep_records(self) -> None:
        """Make what came durable, and say so, until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            await asyncio.sleep(_GATHER_S)
            while self._incoming:
                spool = self._incoming[0].spool
                batch = [one for one in self._incoming if one.spool == spool]
                self._incoming = [one for one in self._incoming if one.spool != spool]
                while not await self._kept(spool, batch):
                    await asyncio.sleep(_REFUSED_RETRY_S)

    async def _kept(self, spool: str, batch: Sequence[Spooled]) -> bool:
        """Whether these are durable now, which the lights' daemon has then been told."""
        before = self._marks.get(spool)
        if not await self._keeper.take_in(spool, numbered(batch, before)):
            return False
        self._view.n_records += sum(before is None or one.no > before for one in batch)
        self._marks[spool] = max(before or 0, batch[-1].no)
        self._send(Taken(spool=spool, up_to=self._marks[spool]))
        return True


def numbered(batch: Sequence[Spooled], reached: int | None) -> list[tuple[int, Record, Stamp]]:
    """Records with their numbers; where numbers are missing that nothing accounts for, a gap says so.

    Args:
        reached: up to here is durable; None: the spool is heard of for the first time.
    """
    items: list[tuple[int, Record, Stamp]] = []
    for one in batch:
        missing = 0 if reached is None else one.no - one.covers - reached
        if missing > 0:
            detail = (
                f"the lights' records: {missing} numbers of {one.spool} are missing up to {one.no - one.covers}"
            )
            gap = Gap(
                *(1, 0, 0), reason=GapReason.OUTBOX_CORRUPT, duration_ms=0, detail=detail,
                dropped={DropClass.CYCLES: missing},
            )  # fmt: skip
            items.append((one.no - one.covers, gap, one.stamp))
        items.append((one.no, one.record, one.stamp))
        reached = max(reached or 0, one.no)
    return items
