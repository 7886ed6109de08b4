"""What becomes of one batch, given where its stream stands. Pure: no database, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from collector.errors import device_problem
from collector.identity.device_tokens import Device
from collector.ingest.decode import Item, Refused, decode_records
from common.batch import Batch, Rejection
from common.codes import ProblemCode, RejectCode
from common.records import Gap, Record

EARLIEST_MS = 1_704_067_200_000
"""2024-01-01 UTC: Stopline did not exist before."""
LATEST_AHEAD_MS = 5 * 60 * 1000
"""How far ahead of the collector's clock `at` may be."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where a stream stands in the database. `status` None: no such device; `no` None: the stream is new."""

    status: str | None
    public_key: bytes | None
    junction: UUID | None
    no: int | None
    watermark: int


@dataclass(frozen=True, slots=True)
class Advance:
    """By how much a transaction moves one stream."""

    stream_no: int
    from_seq: int
    to_seq: int
    stored: int
    rejected: int
    lost: int
    last_at_ms: int | None

    def then(self, after: "Advance") -> "Advance":
        """This, and then `after`, which goes on where this ends."""
        ats_ms = [at_ms for at_ms in (self.last_at_ms, after.last_at_ms) if at_ms is not None]
        return Advance(
            self.stream_no,
            self.from_seq,
            after.to_seq,
            self.stored + after.stored,
            self.rejected + after.rejected,
            self.lost + after.lost,
            max(ats_ms, default=None),
        )


_SPECIAL = frozenset({Refused, Gap})
"""What may cover more than its own sequence number. Without any, a batch is settled many records at a time."""


class _Head(msgspec.Struct, array_like=True):
    """The beginning of any record; what follows is not looked at."""

    kind: str
    seq: int


_HEAD = msgspec.json.Decoder(_Head)


@dataclass(slots=True)
class Settled:
    """The new part of a batch: what is stored of it, and what that makes of the stream's account."""

    from_seq: int
    """The watermark that it goes on from."""
    items: list[Item]
    raws: list[msgspec.Raw]
    to_seq: int = 0
    stored: int = 0
    rejected: int = 0
    lost: int = 0
    n_duplicates: int = 0
    last_at_ms: int | None = None
    rejections: list[Rejection] = field(default_factory=list)

    def account(self) -> None:
        """Count the items. Call it again when one of them was replaced."""
        if self.items and _SPECIAL.isdisjoint(map(type, self.items)):
            records: list[Record] = self.items  # type: ignore[assignment]
            self.stored = len(records)
            self.to_seq = records[-1].seq
            self.last_at_ms = max([record.at for record in records])
            return
        self.stored = self.rejected = self.lost = 0
        self.rejections = []
        self.to_seq = self.from_seq
        self.last_at_ms = None
        for item in self.items:
            self._count(item)
            self.to_seq = item.seq

    def advance(self, stream_no: int) -> "Advance":
        """What this does to the stream's row."""
        return Advance(
            stream_no, self.from_seq, self.to_seq, self.stored, self.rejected, self.lost, self.last_at_ms
        )

    def _count(self, item: Item) -> None:
        if isinstance(item, Refused):
            self.rejected += 1
            self.lost += item.seq - item.first_seq
            self.rejections.append(Rejection(item.seq, item.code, item.detail))
            return
        if isinstance(item, Gap) and item.from_seq is not None:
            self.lost += item.seq - item.from_seq + 1
        else:
            self.stored += 1
        if self.last_at_ms is None or item.at > self.last_at_ms:
            self.last_at_ms = item.at


def check_device(device: Device, state: StreamState) -> None:
    """ApiProblem if `device` may not send (any more)."""
    if state.status is None:
        raise device_problem(ProblemCode.DEVICE_UNKNOWN, f"device {device.id} is not enrolled here")
    if state.status != "active":
        raise device_problem(ProblemCode.DEVICE_REVOKED, f"device {device.id} was revoked")
    if state.public_key != device.public_key:
        raise device_problem(ProblemCode.TOKEN_INVALID, f"device {device.id} was enrolled anew with another key")


def is_resend(batch: Batch, watermark: int) -> bool:
    """Whether all of a batch is known already. Looks at its last record alone; False where that cannot be read."""
    if batch.first_seq > watermark:
        return False
    try:
        return _HEAD.decode(batch.records[-1]).seq <= watermark
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def settle(batch: Batch, watermark: int, now_ms: int) -> Settled:
    """Sort a batch's records into new ones and ones the stream has already; put aside what cannot be stored.

    Raises ApiProblem: `sequence_gap` if records are missing before the batch, `batch_malformed` if within it.
    """
    if batch.first_seq > watermark + 1:
        raise device_problem(
            ProblemCode.SEQUENCE_GAP,
            f"the batch begins with {batch.first_seq}; the next record of this stream is {watermark + 1}",
            expected_seq=watermark + 1,
        )
    items = decode_records(batch.records, batch.first_seq)
    n_known = _check_sequence(items, batch.first_seq, watermark)
    fresh = items[n_known:]
    if fresh:
        fresh[0] = _clip(fresh[0], watermark)
    _refuse_implausible(fresh, now_ms)
    settled = Settled(watermark, fresh, batch.records[n_known:], n_duplicates=n_known)
    settled.account()
    return settled


def _refuse_implausible(items: list[Item], now_ms: int) -> None:
    latest_ms = now_ms + LATEST_AHEAD_MS
    for index, item in enumerate(items):
        if not isinstance(item, Refused) and not EARLIEST_MS <= item.at <= latest_ms:
            items[index] = _implausible(item, now_ms)


def _check_sequence(items: Sequence[Item], first_seq: int, watermark: int) -> int:
    """How many of the items are known already; ApiProblem unless each goes on where the one before ended."""
    seqs = [item.seq for item in items]
    if seqs == list(range(first_seq, first_seq + len(seqs))) and _SPECIAL.isdisjoint(map(type, items)):
        return min(max(watermark + 1 - first_seq, 0), len(seqs))
    expected_seq = first_seq
    n_known = 0
    for index, item in enumerate(items):
        first = _first_seq(item)
        if first != expected_seq:
            raise device_problem(
                ProblemCode.BATCH_MALFORMED,
                f"records[{index}] covers {first} and on, but {expected_seq} comes next in this batch",
            )
        if item.seq <= watermark:
            n_known += 1
        expected_seq = item.seq + 1
    return n_known


def _first_seq(item: Item) -> int:
    if isinstance(item, Refused):
        return item.first_seq
    if isinstance(item, Gap) and item.from_seq is not None:
        return item.from_seq
    return item.seq


def _clip(item: Item, watermark: int) -> Item:
    """A gap may reach back over records that were stored after all: it stands for those above the watermark."""
    if isinstance(item, Refused):
        return Refused(max(item.first_seq, watermark + 1), item.seq, item.code, item.detail)
    if isinstance(item, Gap) and item.from_seq is not None and item.from_seq <= watermark:
        return msgspec.structs.replace(item, from_seq=watermark + 1)
    return item


def _implausible(record: Record, now_ms: int) -> Refused:
    where = "before 2024" if record.at < EARLIEST_MS else f"{(record.at - now_ms) / 1000:.0f} s ahead"
    detail = f"at {record.at} is {where} by the collector's clock ({now_ms})"
    return Refused(_first_seq(record), record.seq, RejectCode.TIME_IMPLAUSIBLE, detail)


def refuse(item: Item, detail: str) -> Refused:
    """Put a record aside that the database does not take."""
    return Refused(_first_seq(item), item.seq, RejectCode.NOT_STORABLE, detail[:1000].replace("\x00", ""))
