"""From the bytes of a request to records, under bounds that hold before any memory is spent.

Nothing here touches the database or the clock. What concerns a whole batch raises ApiProblem; what concerns one
record makes it a `Refused` in the place of that record, and the records around it live on.
"""

import json
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import zstandard

from collector.errors import ApiProblem, device_problem
from common.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, PROTOCOL_VERSION, Batch
from common.codes import ProblemCode, RejectCode
from common.records import KINDS, Frames, Gap, Record, first_covered_seq

MAX_SPAN_MS = 24 * 3600 * 1000
"""Longest time that one block of frames may cover: each of its minutes is marked for the rollups."""
_ZSTD_WINDOW_BYTES = MAX_BATCH_BYTES
_FROM_SEQ_INDEX = 1 + Gap.__struct_fields__.index("from_seq")


class _Version(msgspec.Struct):
    v: int = PROTOCOL_VERSION


_BATCH = msgspec.json.Decoder(Batch)
_VERSION = msgspec.json.Decoder(_Version)
_RECORDS = msgspec.json.Decoder(list[Record])
_RECORD = msgspec.json.Decoder(Record)
_ANY_ARRAY = msgspec.json.Decoder(list[Any])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Stands in the place of a record that cannot be stored; covers `first_seq..seq` of its stream."""

    first_seq: int
    seq: int
    code: RejectCode
    detail: str


Item = Record | Refused


async def read_body(
    chunks: AsyncIterator[bytes], declared: str | None, limit_bytes: int = MAX_BATCH_BYTES
) -> bytes:
    """The whole body; ApiProblem `batch_too_large` as soon as it is known to be longer than `limit_bytes`.

    `declared` is the header `Content-Length`, if there was one.
    """
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(f"its body has {declared} bytes, at most {limit_bytes} are taken")
    parts: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise _too_large(f"its body has more than {limit_bytes} bytes")
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Decompressor:
    """Takes `Content-Encoding` off, and never makes more than `limit_bytes` + 1 bytes. Used by one thread.

    What it needs to do so is made once: for a small batch that would cost more than the decompression itself.
    """

    def __init__(self, limit_bytes: int = MAX_BATCH_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)

    def decompress(self, body: bytes, encoding: str | None) -> bytes:
        """`body` as it was before it was encoded. Raises ApiProblem."""
        match (encoding or "identity").strip().lower():
            case "zstd":
                plain = self._unzstd(body)
            case "gzip" | "x-gzip":
                plain = self._gunzip(body)
            case "identity":
                plain = body
            case other:
                detail = f"Content-Encoding {other[:40]!r} is not known: use zstd or gzip"
                raise device_problem(ProblemCode.ENCODING_UNKNOWN, detail)
        if len(plain) > self._limit_bytes:
            raise _too_large(f"it has more than {self._limit_bytes} bytes when decompressed")
        return plain

    def _unzstd(self, body: bytes) -> bytes:
        """All at once where the frame tells a size that is allowed; else as a stream, up to the limit."""
        try:
            told_bytes = zstandard.frame_content_size(body)
            if 0 <= told_bytes <= self._limit_bytes:
                return self._zstd.decompress(body, allow_extra_data=False)
            with self._zstd.stream_reader(body, read_across_frames=True) as reader:
                return reader.read(self._limit_bytes + 1)
        except zstandard.ZstdError as error:
            raise _malformed(f"the zstd data cannot be read: {error}") from error

    def _gunzip(self, body: bytes) -> bytes:
        decompressor = zlib.decompressobj(wbits=31)
        try:
            plain = decompressor.decompress(body, self._limit_bytes + 1)
        except zlib.error as error:
            raise _malformed(f"the gzip data cannot be read: {error}") from error
        if len(plain) <= self._limit_bytes and (not decompressor.eof or decompressor.unused_data):
            raise _malformed("something follows the gzip data" if decompressor.eof else "the gzip data is cut off")
        return plain


def decode_batch(body: bytes) -> Batch:
    """The envelope; its records stay raw."""
    batch = _decode_envelope(body)
    if batch.v != PROTOCOL_VERSION:
        raise _unknown_version(batch.v)
    if len(batch.records) > MAX_BATCH_RECORDS:
        raise _too_large(f"it has {len(batch.records)} records, at most {MAX_BATCH_RECORDS} are taken")
    if not _is_storable(batch.stream):
        raise _malformed("the name of its stream holds what is no character")
    return batch


def _is_storable(name: str) -> bool:
    """Whether PostgreSQL takes a text; half a surrogate pair gets through `_decode_leniently`."""
    return "\x00" not in name and not any("\ud800" <= letter <= "\udfff" for letter in name)


def _decode_envelope(body: bytes) -> Batch:
    try:
        return _BATCH.decode(body)
    except msgspec.ValidationError as error:
        version = _version(body)
        if version != PROTOCOL_VERSION:
            raise _unknown_version(version) from error
        raise _malformed(str(error)) from error
    except _UNREADABLE as error:
        return _decode_leniently(body, error)


def _decode_leniently(body: bytes, strict: Exception) -> Batch:
    """An envelope in which single records are not quite JSON: `NaN`, half a surrogate pair, bytes of no UTF-8.

    Python's own parser takes these. Written out again they are ASCII, and fail one by one in `decode_records`.
    """
    try:
        loose = json.loads(body.decode(errors="surrogateescape"))
        loose["records"] = [msgspec.Raw(json.dumps(record).encode()) for record in loose["records"]]
        return msgspec.convert(loose, Batch)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _malformed(f"it is not JSON: {strict}") from error


def _version(body: bytes) -> int:
    try:
        return _VERSION.decode(body).v
    except _UNREADABLE:
        return PROTOCOL_VERSION


def decode_records(raws: Sequence[msgspec.Raw], first_seq: int) -> list[Item]:
    """The records of a batch that begins with `first_seq`; what is no record becomes a `Refused`.

    All at once when all are good, which is the rule; one by one otherwise. A NUL character cannot be stored by
    PostgreSQL, and is only visible after decoding; its escape cannot be overlooked before.
    """
    joined = b"[" + b",".join(raws) + b"]"
    if b"\\u0000" not in joined:
        try:
            records: list[Item] = _RECORDS.decode(joined)  # type: ignore[assignment]
        except _UNREADABLE:
            pass
        else:
            doubtful = _CHECKED.intersection(map(type, records))
            if not doubtful or not any(map(_fault, records)):
                return records
    return _decode_singly(raws, first_seq)


def _decode_singly(raws: Sequence[msgspec.Raw], first_seq: int) -> list[Item]:
    items: list[Item] = []
    expected_seq = first_seq
    for raw in raws:
        item = _decode_one(raw, expected_seq)
        items.append(item)
        expected_seq = item.seq + 1
    return items


def _decode_one(raw: msgspec.Raw, expected_seq: int) -> Item:
    try:
        record: Record = _RECORD.decode(raw)
    except _UNREADABLE as error:
        return _refuse(raw, expected_seq, str(error))
    fault = _fault(record)
    if fault is None and b"\\u0000" in bytes(raw) and _has_nul(msgspec.to_builtins(record)):
        fault = "a text holds a NUL character, which cannot be stored"
    if fault is not None:
        first_seq = min(first_covered_seq(record), record.seq)
        return Refused(first_seq, record.seq, RejectCode.MALFORMED, fault)
    return record


def _fault(record: Item) -> str | None:
    """What the shape of a record alone does not tell."""
    if type(record) is Gap and record.from_seq is not None and record.from_seq > record.seq:
        return f"from_seq {record.from_seq} comes after seq {record.seq}"
    if type(record) is Frames and record.span_ms > MAX_SPAN_MS:
        return f"span_ms {record.span_ms} is longer than a day ({MAX_SPAN_MS})"
    return None


_CHECKED = frozenset({Gap, Frames})
"""Kinds that `_fault` looks at."""


def _refuse(raw: msgspec.Raw, expected_seq: int, detail: str) -> Refused:
    """Put aside what is no record. It counts for the place where it stands; a broken gap may stand for several."""
    fields = _fields(raw)
    kind = fields[0] if fields else None
    seq = expected_seq
    if kind == "gap" and len(fields) > _FROM_SEQ_INDEX and fields[_FROM_SEQ_INDEX] == expected_seq:
        seq = fields[1] if _is_seq(fields[1]) and fields[1] > expected_seq else expected_seq
    if isinstance(kind, str) and kind not in KINDS:
        return Refused(expected_seq, seq, RejectCode.UNKNOWN_KIND, f"kind {kind[:100]!r} is not known here")
    return Refused(expected_seq, seq, RejectCode.MALFORMED, detail)


def _fields(raw: msgspec.Raw) -> list[Any]:
    try:
        return _ANY_ARRAY.decode(raw)
    except _UNREADABLE:
        return []


def _is_seq(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 2**62


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_has_nul(item) for item in value)


def raw_text(raw: msgspec.Raw) -> str:
    """The text of a record as it came, fit to be stored; bytes that are no UTF-8 are written as escapes."""
    return bytes(raw).decode(errors="backslashreplace").replace("\x00", "\\u0000")


def _malformed(why: str) -> ApiProblem:
    return device_problem(ProblemCode.BATCH_MALFORMED, f"the batch cannot be read: {why}")


def _too_large(why: str) -> ApiProblem:
    return device_problem(ProblemCode.BATCH_TOO_LARGE, f"the batch is too large: {why}")


def _unknown_version(version: int) -> ApiProblem:
    return device_problem(
        ProblemCode.VERSION_UNKNOWN, f"protocol version {version} is not known here; {PROTOCOL_VERSION} is spoken"
    )
