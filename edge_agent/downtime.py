"""Tells when the agent did not run: from the last that is known of the run before to the start of this one."""

import asyncio
import logging
from typing import Protocol

from common.clock import UNKNOWN_ERROR_MS, Resolved, Stamp
from common.codes import GapReason
from common.records import Gap
from edge_agent.outbox.accounts import Downtime

logger = logging.getLogger(__name__)

_LOOK_S = 10.0
_PATIENCE_S = 600.0
"""For so long a better time is waited for, where one is known to within some seconds or days."""


class Chronicler(Protocol):
    """Who knows of the runs before; `edge_agent.outbox.writer.OutboxWriter` is one."""

    async def downtimes(self, start: Stamp) -> tuple[Downtime, ...]:
        """When the agent did not run before `start`, as far as it is not told yet, the latest at the end."""

    async def tell_downtime(self, downtime: Downtime, gap: Gap) -> None:
        """Take in the gap that it is."""

    async def in_memory(self) -> bool:
        """Whether the disk, which knows of it, cannot be read yet."""

    async def resolve(self, stamp: Stamp) -> Resolved:
        """When `stamp` was, as far as is known by now."""


def make_downtime(end: Stamp, start: Stamp, end_at: Resolved, start_at: Resolved) -> Gap:
    """The gap from `end` to `start`. Within one boot its length is exact, whatever the clocks say."""
    if end.boot_id == start.boot_id:
        duration_ms, error_ms = (start.boottime_ns - end.boottime_ns) // 1_000_000, 0
    else:
        duration_ms = start_at.at_ms - end_at.at_ms
        error_ms = end_at.at_error_ms + start_at.at_error_ms
    detail = f"give or take {error_ms / 1000:.0f} s" if error_ms >= 1000 else None
    return Gap(1, 0, 0, GapReason.AGENT_DOWN, max(0, duration_ms), detail=detail)


async def tell_downtime(
    outbox: Chronicler, start: Stamp, *, look_s: float = _LOOK_S, patience_s: float = _PATIENCE_S
) -> None:
    """Write the gap, as soon as its length can be told: over a reboot that takes a clock that is right, and where
    the disk could not be used, a disk that can. What cannot be told before the agent ends is left to its next
    run."""
    while not (untold := await outbox.downtimes(start)):
        if not await outbox.in_memory():
            return
        await asyncio.sleep(look_s)
    # The latest first: it is known first, and with it the others.
    for downtime in reversed(untold):
        gap = await _measure(outbox, downtime.end, downtime.start, look_s, patience_s)
        logger.info("the agent was down for %.1f s", gap.duration_ms / 1000, extra={"action": "downtime"})
        await outbox.tell_downtime(downtime, gap)


async def _measure(outbox: Chronicler, end: Stamp, start: Stamp, look_s: float, patience_s: float) -> Gap:
    """The gap, once both of its ends are known well; after `patience_s`, once they are known at all."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + patience_s
    while True:
        start_at, end_at = await outbox.resolve(start), await outbox.resolve(end)
        enough_ms = 1000 if loop.time() < until_s else UNKNOWN_ERROR_MS
        if end.boot_id == start.boot_id or start_at.at_error_ms < enough_ms:
            return make_downtime(end, start, end_at, start_at)
        await asyncio.sleep(look_s)
