"""The sync protocol: what an agent posts and what a collector answers.

`POST /api/ingest/batches`
    Body: a `Batch` as JSON, `Content-Encoding: zstd`, `gzip` or none. `Authorization: Bearer <device token>`
    (see `common.tokens`). Answers 200 with an `Ack`, or an RFC 9457 problem (`Problem`):

    ====  =======================================================================================
    400   `batch_malformed`, `encoding_unknown`, `version_unknown`: nothing was stored; do not resend as it is
    401   `token_missing`, `token_invalid`, `token_time`: keep everything, slow down, say so. On `token_time`
          sign again with `server_time`
    403   `device_unknown`, `device_revoked`, `device_mismatch`, `streams_exhausted`: likewise
    409   `sequence_gap`: `expected_seq` is the one to send next
    413   `batch_too_large`: send half
    429   `overloaded`, 503 `store_unavailable`: wait `Retry-After` seconds
    ====  =======================================================================================

`GET /api/ingest/streams/{stream}?epoch=UUID`
    What the collector has of a stream: an `Ack` without rejections. An agent asks once when it starts, before it
    sends: it learns the time, and whether its outbox or the collector's database was put back to an older state.

A batch is one contiguous run of its stream: each record covers the sequence number after the previous one's
(`first_covered_seq`), beginning with `first_seq`. Records at or below the collector's watermark are skipped. The
acknowledgement comes only after the records, the watermark and the marks for the rollups are committed together.
"""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from common.codes import ProblemCode, RejectCode
from common.records import DurationMs, Name, Seq, UnixMs

PROTOCOL_VERSION = 1
BATCHES_PATH = "/api/ingest/batches"
STREAMS_PATH = "/api/ingest/streams"
MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Largest decompressed batch a collector takes in."""
MAX_BATCH_RECORDS = 5000


class ClockState(msgspec.Struct, frozen=True):
    """The agent's clock when the batch was sent."""

    synced: bool
    error_ms: DurationMs | None = None
    boot_id: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """A run of one stream's records; each is kept raw, so that one that does not parse harms no other."""

    device: UUID
    stream: Name
    epoch: UUID
    first_seq: Seq
    sent_at: UnixMs
    clock: ClockState
    records: Annotated[list[msgspec.Raw], Meta(min_length=1)]
    v: int = PROTOCOL_VERSION


class Rejection(msgspec.Struct, frozen=True):
    """One record that was put aside. It counts as delivered: the collector keeps its raw text."""

    seq: int
    code: RejectCode
    detail: str


class Pace(msgspec.Struct, frozen=True):
    """How the collector wants to be served next, so that a fleet does not return all at once."""

    max_records: int
    max_bytes: int
    pause_ms: int


class Ack(msgspec.Struct, frozen=True):
    """All records up to `watermark` are stored, rejected or known to be lost. They may be deleted."""

    epoch: UUID
    watermark: int
    server_time: UnixMs
    pace: Pace
    rejected: list[Rejection] = []
    v: int = PROTOCOL_VERSION


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details, with Stopline's members."""

    type: str
    title: str
    status: int
    detail: str
    code: ProblemCode
    server_time: UnixMs
    expected_seq: int | None = None
    retry_after_s: float | None = None
