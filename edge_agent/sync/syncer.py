"""Brings the outbox to the collector: one batch under way per stream, oldest first, until all is acknowledged.

Whatever the collector answers, and whether it answers at all, nothing is deleted before it said that it is stored.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from random import Random
from typing import NoReturn

import msgspec

from common.batch import Ack
from common.clock import Resolved
from common.codes import GapReason, ProblemCode
from edge_agent.clock_source import Clock
from edge_agent.enrol import Identity
from edge_agent.outbox import STREAM, Contact, OutboxUnavailable, OutgoingBatch
from edge_agent.outbox.writer import OutboxWriter
from edge_agent.sync.exchange import Exchange, Refusal, SyncSettings
from edge_agent.sync.pacing import BatchSize, backoff_s, spread_s
from edge_agent.sync.trouble import SyncTrouble, Trouble

logger = logging.getLogger(__name__)

Send = Callable[[Resolved], Awaitable[Ack | Refusal]]


class Phase(StrEnum):
    """What the syncer does at the moment."""

    STARTING = "starting"
    CONNECTED = "connected"
    """The last exchange went well."""
    TROUBLED = "troubled"
    """It did not, and is tried again."""


class SyncState(msgspec.Struct, frozen=True):
    """How the sync stands, for the status page and the health record."""

    phase: Phase = Phase.STARTING
    last_success_ms: int | None = None
    """When the collector last acknowledged something (UTC)."""
    trouble: Trouble | None = None
    """What is wrong now, and what to do about it."""
    failures: int = 0
    """In a row."""
    retry_in_s: float | None = None
    delivered: int = 0
    """Sequence numbers acknowledged since the agent started."""
    rejected: int = 0
    """Of these, records that the collector put aside."""


class Syncer:
    """Run `run()` as a task beside the writer's; cancel it to stop."""

    def __init__(
        self,
        writer: OutboxWriter,
        settings: SyncSettings,
        identity: Identity,
        clock: Clock,
        *,
        streams: Sequence[str] = (STREAM,),
        rng: Random | None = None,
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._streams = streams
        self._rng = rng or Random()
        self._exchange = Exchange(settings, identity, clock, writer.add_anchor)
        self.state = SyncState()
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """What was put last is urgent: the next batch goes as soon as the collector allows."""
        self._hurry.set()

    async def run(self) -> None:
        """Sync until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for stream in self._streams:
                    tasks.create_task(self._serve(stream), name=f"sync-{stream}")
        finally:
            await self._exchange.close()

    async def _serve(self, stream: str) -> None:
        """One stream for ever."""
        size = BatchSize()
        failures = 0
        while True:
            try:
                pause_s = await self._round(stream, size)
                failures = 0
            except SyncTrouble as trouble:
                failures += 1
                pause_s = self._wait_after(trouble, failures)
            await asyncio.sleep(pause_s)

    async def _round(self, stream: str, size: BatchSize) -> float:
        """One exchange, if there is something to say; gives the pause before the next. Raises SyncTrouble."""
        n_commits = self._writer.n_commits
        try:
            epoch = await self._writer.contact_due(stream)
            if epoch is not None:
                answer = await self._signed(lambda now: self._exchange.ask(stream, epoch, now))
                if isinstance(answer, Refusal):
                    self._raise(answer)
                contact = await self._writer.reconcile(epoch, answer.watermark)
                self._succeeded(answer, 0)
                self._report_contact(contact)
                return 0.0
            batch = await self._writer.next_batch(size.max_records, size.max_bytes, stream)
            if batch is None:
                await self._writer.wait_for_commit(n_commits)
                return 0.0
            return await self._bring(batch, size)
        except OutboxUnavailable as error:
            raise SyncTrouble(Trouble(str(error), "check the disk: is it full, read-only or broken?")) from error

    async def _bring(self, batch: OutgoingBatch, size: BatchSize) -> float:
        """Post one batch and do what the collector answers. Raises SyncTrouble, OutboxUnavailable."""
        answer = await self._signed(lambda now: self._exchange.post(batch, now))
        if isinstance(answer, Refusal):
            return await self._refused(batch, answer, size)
        if answer.epoch != batch.epoch:
            raise SyncTrouble(
                Trouble(
                    f"{self._settings.host} acknowledges another epoch than the one sent",
                    "a proxy answers from a cache: have it pass requests under /api/ingest/ on",
                )
            )
        contact = await self._writer.ack(batch.epoch, answer.watermark, answer.rejected)
        self._report_contact(contact)
        self._succeeded(answer, max(0, answer.watermark - batch.first_seq + 1))
        was_full = len(batch.records) >= size.max_records
        size.follow(answer.pace)
        pause_s = answer.pace.pause_ms / 1000
        if not was_full:
            await self._wait_for_more(self._settings.send_interval_s - pause_s)
        return pause_s

    async def _wait_for_more(self, pause_s: float) -> None:
        """A pause that somebody who hurries cuts short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
        self._hurry.clear()

    async def _refused(self, batch: OutgoingBatch, answer: Refusal, size: BatchSize) -> float:
        """The collector did not take a batch."""
        problem = answer.problem
        if answer.status == 409 and problem is not None and problem.expected_seq is not None:
            self._report_contact(await self._writer.reconcile(batch.epoch, problem.expected_seq - 1))
            return self._settings.send_interval_s
        if answer.status == 413 and len(batch.records) > 1:
            size.halve(len(batch.records))
            return 0.0
        if answer.status == 413 and problem is not None and problem.code is ProblemCode.BATCH_TOO_LARGE:
            await self._writer.give_up_on(batch.epoch, batch.last_seq, GapReason.TOO_LARGE, problem.detail)
            logger.error(
                "record %d is too large for the collector and was put aside",
                batch.last_seq,
                extra={"action": "record_too_large"},
            )
            return 0.0
        self._raise(answer)

    async def _signed(self, send: Send) -> Ack | Refusal:
        """Send; where the token's time was refused, once more with the time that the collector told."""
        answer = await send(await self._writer.now())
        if (
            isinstance(answer, Refusal)
            and answer.problem is not None
            and answer.problem.code is ProblemCode.TOKEN_TIME
        ):
            self._exchange.forget_token()
            answer = await send(await self._writer.now())
        return answer

    def _raise(self, answer: Refusal) -> NoReturn:
        slow = answer.status in (400, 401, 403, 404) and answer.retry_after_s is None
        raise SyncTrouble(answer.trouble, slow=slow, wait_s=answer.retry_after_s)

    def _wait_after(self, trouble: SyncTrouble, failures: int) -> float:
        if trouble.wait_s is not None:
            pause_s = spread_s(trouble.wait_s, self._rng)
        else:
            pause_s = backoff_s(failures, self._rng, slow=trouble.slow)
        if self.state.trouble != trouble.trouble:
            logger.warning(
                "cannot deliver: %s; %s",
                trouble.trouble.what,
                trouble.trouble.mend,
                extra={"action": "sync_trouble"},
            )
        self.state = msgspec.structs.replace(
            self.state, phase=Phase.TROUBLED, trouble=trouble.trouble, failures=failures, retry_in_s=pause_s
        )
        return pause_s

    def _succeeded(self, ack: Ack, n_delivered: int) -> None:
        if self.state.trouble is not None:
            logger.info("delivering again", extra={"action": "sync_recovered"})
        if ack.rejected:
            logger.warning(
                "the collector put %d records aside, the first with %s: %s",
                len(ack.rejected),
                ack.rejected[0].code,
                ack.rejected[0].detail,
                extra={"action": "sync_rejected"},
            )
        self.state = SyncState(
            phase=Phase.CONNECTED,
            last_success_ms=ack.server_time,
            delivered=self.state.delivered + n_delivered,
            rejected=self.state.rejected + len(ack.rejected),
        )

    def _report_contact(self, contact: Contact) -> None:
        if contact is not Contact.AS_EXPECTED:
            logger.warning(
                "the collector and the outbox differed: %s", contact.value, extra={"action": "sync_contact"}
            )
