"""Tries the collector: does it answer, does it know this device, do the clocks agree?"""

from uuid import uuid4

from common.clock import Anchor, Resolved
from edge_agent.checks.findings import Finding, Verdict
from edge_agent.clock_source import Clock
from edge_agent.config.settings import AgentConfig, CollectorSettings
from edge_agent.enrol import DEVICE_FILE, IDENTITY_FILE, IdentityError, load_or_create
from edge_agent.outbox import STREAM
from edge_agent.sync import SyncSettings
from edge_agent.sync.exchange import Exchange, Refusal
from edge_agent.sync.trouble import SyncTrouble

_CLOCK_APART_S = 2.0


async def check_collector(config: AgentConfig, collector: CollectorSettings, clock: Clock) -> Finding:
    """Whether it answers, knows this device, and agrees about the time."""
    what = "collector"
    mend = f"make one: stopline-agent identity; then carry {config.state_dir / DEVICE_FILE} to the collector"
    if not (config.state_dir / IDENTITY_FILE).exists():
        return Finding(Verdict.FAIL, what, f"this device has no identity yet; {mend}")
    anchors: list[Anchor] = []
    ca_file = str(collector.ca_file) if collector.ca_file else None
    settings = SyncSettings(collector.url, ca_file=ca_file, allow_plain_http=collector.allow_plain_http)
    try:
        identity = load_or_create(config.state_dir, config.name, config.junction)
        exchange = Exchange(settings, identity, clock, anchors.append)
        try:
            answer = await exchange.ask(STREAM, uuid4(), Resolved(clock.stamp().wall_ms, 0))
        finally:
            await exchange.close()
    except IdentityError as error:
        return Finding(Verdict.FAIL, what, str(error))
    except SyncTrouble as trouble:
        return Finding(Verdict.FAIL, what, f"{trouble.trouble.what}; {trouble.trouble.mend}")
    if isinstance(answer, Refusal):
        return Finding(Verdict.FAIL, what, f"{answer.trouble.what}; {answer.trouble.mend}")
    return _clocks_compared(collector, anchors, clock)


def _clocks_compared(collector: CollectorSettings, anchors: list[Anchor], clock: Clock) -> Finding:
    text = f"{collector.url} knows this device"
    if not anchors:
        return Finding(Verdict.OK, "collector", text)
    now, told = clock.stamp(), anchors[-1]
    ahead_ms = now.wall_ms - told.wall_ms - (now.boottime_ns - told.boottime_ns) // 1_000_000
    text += f"; our clock is {abs(ahead_ms) / 1000:.2f} s {'ahead' if ahead_ms > 0 else 'behind'}"
    if abs(ahead_ms) > _CLOCK_APART_S * 1000 + told.error_ms:
        return Finding(
            Verdict.NOTE, "collector", f"{text}: check NTP on both; times follow the collector's till then"
        )
    return Finding(Verdict.OK, "collector", text)
