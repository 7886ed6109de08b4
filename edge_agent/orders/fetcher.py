"""Fetches orders from the collector: one question that waits until there are some, then the next."""

import asyncio
import logging
import time
from pathlib import Path
from random import Random

import msgspec

from common.clock import Anchor, Stamp
from common.codes import ProblemCode
from edge_agent.clock_source import Clock
from edge_agent.enrol import Identity
from edge_agent.link.client import LightsLink
from edge_agent.orders.carrier import Carrier
from edge_agent.orders.journal import JOURNAL_FILE, Journal
from edge_agent.outbox.writer import OutboxWriter
from edge_agent.sync.exchange import Exchange, Offer, Refusal, SyncSettings
from edge_agent.sync.pacing import backoff_s, spread_s
from edge_agent.sync.syncer import Phase, Syncer
from edge_agent.sync.trouble import SyncTrouble, Trouble

logger = logging.getLogger(__name__)

WAIT_S = 45.0
"""At most, and less at random, so that a fleet does not ask all at once. Shorter than what most proxies allow."""
_LEAST = 0.7
_CAP_S = 60.0
"""Of the wait after a failure: whoever gives an order stands before a screen."""
_PAUSE_S = 1.0
"""After an answer that came early and empty: who answers so does it again."""
HELD_UP_S = 5.0
"""An answer that was longer on its way is asked for anew: a later order may have taken the place of one in it."""
_ANEW = 2
"""So often: where each answer takes as long, an order is better carried out late than not at all."""


class OrdersState(msgspec.Struct, frozen=True):
    """How it stands, for the status page."""

    phase: Phase = Phase.STARTING
    trouble: Trouble | None = None
    retry_in_s: float | None = None
    last: str = ""
    """What became of the last order."""


class OrderFetcher:
    """Run `run()` as a task beside the link's and the syncer's; cancel it to stop."""

    def __init__(
        self,
        settings: SyncSettings,
        identity: Identity,
        clock: Clock,
        writer: OutboxWriter,
        lights: LightsLink,
        syncer: Syncer,
        state_dir: Path,
        *,
        wait_s: float = WAIT_S,
        rng: Random | None = None,
    ) -> None:
        self._writer, self._clock, self._wait_s = writer, clock, wait_s
        self._rng = rng or Random()
        # A question that waits tells nothing about the time between its two ends.
        self._exchange = Exchange(settings, identity, clock, _forget)
        self._carrier = Carrier(Journal(state_dir / JOURNAL_FILE), lights, writer, clock, syncer.hurry)
        self._failures = 0
        self.state = OrdersState()

    async def run(self) -> None:
        """Fetch and carry until cancelled."""
        try:
            await self._carrier.recover()
            while True:
                await asyncio.sleep(await self._round())
        finally:
            await self._exchange.close()

    async def _round(self) -> float:
        """One question, and all that it brings; gives the pause before the next."""
        asked_s = time.monotonic()
        wait_s = self._wait_s * self._rng.uniform(_LEAST, 1.0)
        try:
            offer, sent = await self._ask(wait_s)
            for _ in range(_ANEW):
                if not self._is_held_up(offer, sent):
                    break
                offer, sent = await self._ask(0.0)
        except SyncTrouble as trouble:
            return self._wait_after(trouble)
        for offered in offer.commands:
            await self._carrier.carry(offered, sent)
        self._carrier.doubt_is_over()
        self._succeeded()
        is_early = not offer.commands and time.monotonic() - asked_s < wait_s / 2
        return self._rng.uniform(_PAUSE_S, 2 * _PAUSE_S) if is_early else 0.0

    def _is_held_up(self, offer: Offer, sent: Stamp) -> bool:
        """Whether something in it would be given to the lights that may not stand any more."""
        way_s = (self._clock.stamp().boottime_ns - sent.boottime_ns) / 1e9
        return way_s > HELD_UP_S and any(one.expires_in_s > way_s for one in offer.commands)

    async def _ask(self, wait_s: float) -> tuple[Offer, Stamp]:
        """The answer, and when it was sent, at the earliest. Raises SyncTrouble."""
        now, asked = await self._writer.now(), self._clock.stamp()
        answer = await self._exchange.wait_for_commands(self._carrier.known, wait_s, now)
        if not isinstance(answer, Refusal):
            return answer, self._clock.stamp() if answer.waited_s is None else _after(asked, answer.waited_s)
        problem = answer.problem
        if problem is not None and problem.code is ProblemCode.TOKEN_TIME:
            # The sync asks as well, and learns the time from its answers.
            self._exchange.forget_token()
        slow = answer.status in (400, 401, 403, 404) and answer.retry_after_s is None
        raise SyncTrouble(answer.trouble, slow=slow, wait_s=answer.retry_after_s)

    def _wait_after(self, trouble: SyncTrouble) -> float:
        self._failures += 1
        if trouble.wait_s is not None:
            pause_s = spread_s(trouble.wait_s, self._rng)
        else:
            pause_s = backoff_s(self._failures, self._rng, slow=trouble.slow)
            if pause_s > _CAP_S:
                pause_s = self._rng.uniform(_CAP_S / 2, _CAP_S)
        if self.state.trouble != trouble.trouble:
            what, mend = trouble.trouble.what, trouble.trouble.mend
            logger.warning("no orders from the collector: %s; %s", what, mend, extra={"action": "orders_trouble"})
        self.state = OrdersState(Phase.TROUBLED, trouble.trouble, pause_s, self._carrier.last)
        return pause_s

    def _succeeded(self) -> None:
        self._failures = 0
        if self.state.phase is not Phase.CONNECTED:
            logger.info("orders from the collector are taken", extra={"action": "orders_taken"})
        self.state = OrdersState(Phase.CONNECTED, last=self._carrier.last)


def _after(asked: Stamp, waited_s: float) -> Stamp:
    """When an answer was sent, at the earliest: it may have been held up on its way, or this process stopped."""
    return msgspec.structs.replace(asked, boottime_ns=asked.boottime_ns + round(waited_s * 1e9))


def _forget(anchor: Anchor) -> None:
    """See `OrderFetcher`."""
