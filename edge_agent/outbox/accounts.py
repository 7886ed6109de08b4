"""How far it is told which of a sensor's time was measured, so that the run after a crash can tell the rest. Pure.

A sensor's time is told in pieces, `frames` and gaps of some seconds. A run that is killed leaves one of them
untold. What it had measured by then stands in a note, which is written in the transaction of the records
themselves: so no second lies between what was measured and what was not, and no count outside of what was.
"""

from collections.abc import Mapping

import msgspec

from common.clock import Stamp
from common.codes import GapReason
from common.records import Frames, Gap, Record

NOTE = "accounts"
"""The name that they are kept under."""
_MAX_DOWNTIMES = 32
_NS_PER_MS = 1_000_000
_UNTOLD = "the agent ended before it told what this time was"


class Account(msgspec.Struct, frozen=True, array_like=True):
    """One sensor: up to `reached` its time is told, or will be by `block`."""

    reached: Stamp
    block: Frames | None = None
    """What was measured until `reached` and is not told yet."""


class Downtime(msgspec.Struct, frozen=True, array_like=True):
    """The agent did not run from `end`, of the run before, to `start`."""

    end: Stamp
    start: Stamp


class Ledger(msgspec.Struct, frozen=True):
    """All that a run after this one has to tell in its stead.

    Attributes:
        run: of which run this is. A note that a later run without accounts left lying there is not believed.
        downtimes: before this run, and not told yet, since the clock is not set.
    """

    run: str = ""
    sensors: Mapping[str, Account] = {}
    downtimes: tuple[Downtime, ...] = ()


_decoder = msgspec.json.Decoder(Ledger)


def decode(text: str | None) -> Ledger:
    """The ledger in a note. Nothing is known by one that is unreadable."""
    try:
        return _decoder.decode(text or "{}")
    except msgspec.MsgspecError:
        return Ledger()


def encode(ledger: Ledger) -> str:
    """The note of a ledger."""
    return msgspec.json.encode(ledger).decode()


def told(record: Record, stamp: Stamp) -> dict[str, Account]:
    """How far a record tells the time of a sensor; empty: it does not."""
    if isinstance(record, Frames) or (isinstance(record, Gap) and record.sensor is not None):
        assert record.sensor is not None
        return {record.sensor: Account(stamp)}
    return {}


def last_of(ledger: Ledger, last: Stamp | None) -> Stamp | None:
    """The latest that is known of a run: `last`, or what was measured since."""
    for account in ledger.sensors.values():
        reached = account.reached
        if last is not None and reached.boot_id == last.boot_id and reached.boottime_ns > last.boottime_ns:
            last = _at(reached, reached.boottime_ns)
    return last


def rest(ledger: Ledger, last: Stamp) -> list[tuple[Record, Stamp]]:
    """What a run that ended at `last` did not come to tell: the block in the making, and the time after it."""
    records: list[tuple[Record, Stamp]] = []
    for sensor, account in ledger.sensors.items():
        if account.reached.boot_id != last.boot_id:
            continue
        if account.block is not None:
            records.append((account.block, account.reached))
        left_ms = last.boottime_ns // _NS_PER_MS - account.reached.boottime_ns // _NS_PER_MS
        if left_ms > 0:
            gap = Gap(1, 0, 0, GapReason.AGENT_DOWN, left_ms, sensor=sensor, detail=_UNTOLD)
            records.append((gap, _at(account.reached, last.boottime_ns)))
    return records


def with_downtime(ledger: Ledger, end: Stamp, start: Stamp) -> Ledger:
    """One more that is to be told; of very many the newest."""
    downtimes = (*ledger.downtimes, Downtime(end, start))[-_MAX_DOWNTIMES:]
    return msgspec.structs.replace(ledger, downtimes=downtimes)


def _at(stamp: Stamp, boottime_ns: int) -> Stamp:
    """Another moment of the same boot."""
    wall_ms = stamp.wall_ms + (boottime_ns - stamp.boottime_ns) // _NS_PER_MS
    return Stamp(stamp.boot_id, boottime_ns, wall_ms, stamp.synced)
