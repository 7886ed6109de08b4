"""How long the agent was away, over restarts, reboots and wrong clocks."""

import anyio
import pytest

from common.clock import UNKNOWN_ERROR_MS, Resolved, Stamp
from common.codes import GapReason
from common.records import Gap
from edge_agent.downtime import make_downtime, tell_downtime
from edge_agent.outbox.accounts import Downtime

pytestmark = pytest.mark.anyio
NOW_MS = 1_800_000_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def stamp(boot: str, boottime_s: float) -> Stamp:
    return Stamp(boot, int(boottime_s * 1e9), 0, False)


class Outbox:
    """Knows the end of the run before, and learns the time at the third question about the start."""

    def __init__(self, end: Stamp | None, start_errors_ms: list[int]) -> None:
        self.end = end
        self.in_memory_for = 0
        self.start_errors_ms = start_errors_ms
        self.older: tuple[Downtime, ...] = ()
        self.told: list[tuple[Gap, Stamp]] = []

    async def downtimes(self, start: Stamp) -> tuple[Downtime, ...]:
        if self.in_memory_for or self.end is None:
            return ()
        return (*self.older, Downtime(self.end, start))

    async def tell_downtime(self, downtime: Downtime, gap: Gap) -> None:
        self.told.append((gap, downtime.start))

    async def in_memory(self) -> bool:
        self.in_memory_for = max(0, self.in_memory_for - 1)
        return self.end is not None

    async def resolve(self, stamp: Stamp) -> Resolved:
        if stamp == self.end:
            return Resolved(NOW_MS - 600_000, 0)
        errors_ms = self.start_errors_ms
        return Resolved(NOW_MS, errors_ms.pop(0) if len(errors_ms) > 1 else errors_ms[0])


def test_within_a_boot_it_is_exact_whatever_the_clocks_say() -> None:
    unknown = Resolved(NOW_MS, UNKNOWN_ERROR_MS)
    gap = make_downtime(stamp("a", 100.0), stamp("a", 112.5), unknown, unknown)
    assert (gap.reason, gap.duration_ms, gap.sensor, gap.detail) == (GapReason.AGENT_DOWN, 12_500, None, None)


def test_over_a_reboot_the_clocks_tell_and_their_errors_are_said() -> None:
    gap = make_downtime(stamp("a", 100.0), stamp("b", 5.0), Resolved(NOW_MS - 60_000, 2000), Resolved(NOW_MS, 0))
    assert (gap.duration_ms, gap.detail) == (60_000, "give or take 2 s")


def test_it_is_never_negative() -> None:
    gap = make_downtime(stamp("a", 100.0), stamp("b", 5.0), Resolved(NOW_MS, 0), Resolved(NOW_MS - 5000, 0))
    assert gap.duration_ms == 0


async def test_a_first_start_has_none() -> None:
    outbox = Outbox(None, [0])
    await tell_downtime(outbox, stamp("a", 5.0))
    assert outbox.told == []


async def test_what_a_disk_knows_that_cannot_be_read_yet_is_waited_for() -> None:
    outbox = Outbox(stamp("a", 100.0), [0])
    outbox.in_memory_for = 3
    await tell_downtime(outbox, stamp("a", 105.0), look_s=0.0)
    ((gap, at),) = outbox.told
    assert (gap.reason, gap.duration_ms, at) == (GapReason.AGENT_DOWN, 5_000, stamp("a", 105.0))


async def test_after_a_reboot_the_right_time_is_waited_for() -> None:
    outbox = Outbox(stamp("a", 100.0), [UNKNOWN_ERROR_MS, 90_000, 3])
    await tell_downtime(outbox, stamp("b", 5.0), look_s=0.0)
    ((gap, at),) = outbox.told
    assert (gap.duration_ms, gap.detail) == (600_000, None)
    assert at == stamp("b", 5.0), "it ended when the agent started, not when that was known"


async def test_but_not_for_ever() -> None:
    outbox = Outbox(stamp("a", 100.0), [90_000])
    await tell_downtime(outbox, stamp("b", 5.0), look_s=0.0, patience_s=0.05)
    ((gap, _),) = outbox.told
    assert (gap.duration_ms, gap.detail) == (600_000, "give or take 90 s")


async def test_while_nothing_is_known_it_is_left_to_the_next_run() -> None:
    outbox = Outbox(stamp("a", 100.0), [UNKNOWN_ERROR_MS])
    with anyio.move_on_after(0.05):
        await tell_downtime(outbox, stamp("b", 5.0), look_s=0.0, patience_s=0.0)
    assert outbox.told == []


async def test_what_runs_before_left_is_told_after_the_present_one() -> None:
    outbox = Outbox(stamp("b", 100.0), [3])
    outbox.older = (Downtime(stamp("a", 50.0), stamp("a", 57.0)),)
    await tell_downtime(outbox, stamp("c", 5.0), look_s=0.0)
    assert [(gap.duration_ms, at) for gap, at in outbox.told] == [
        (600_000, stamp("c", 5.0)),
        (7_000, stamp("a", 57.0)),
    ]
