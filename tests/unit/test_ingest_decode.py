"""Reading batches under bounds, and records that fail alone."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ApiProblem
from collector.ingest.decode import (
    MAX_SPAN_MS,
    Decompressor,
    Refused,
    decode_batch,
    decode_records,
    raw_text,
    read_body,
)
from common.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from common.codes import ProblemCode, RejectCode
from common.records import Count

DEVICE, EPOCH = uuid4(), uuid4()
COUNT = ["count", 1, 1_767_225_600_000, 0, "north", "line", "camera", "car", "in"]


def count(seq: int) -> list[Any]:
    return ["count", seq, *COUNT[2:]]


def raws(*texts: bytes) -> list[msgspec.Raw]:
    return [msgspec.Raw(text) for text in texts]


def encoded(*records: Any) -> list[msgspec.Raw]:
    return raws(*(json.dumps(record).encode() for record in records))


def envelope(records: str = "[]", **changed: Any) -> bytes:
    members = {"v": 1, "device": str(DEVICE), "stream": "agent", "epoch": str(EPOCH), "first_seq": 1, "sent_at": 5}
    members |= {"clock": {"synced": True}} | changed
    return (json.dumps(members)[:-1] + f', "records": {records}}}').encode()


def code_of(problem: pytest.ExceptionInfo[ApiProblem]) -> str:
    return problem.value.code


# Decompression ------------------------------------------------------------------------------------------------


def zstd_stream(data: bytes) -> bytes:
    """A frame that does not tell its size."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("zstd", zstandard.compress),
        ("zstd", zstd_stream),
        (" ZSTD", zstandard.compress),
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        (None, bytes),
        ("identity", bytes),
    ],
)
def test_known_encodings_are_taken_off(encoding: str | None, encode: Callable[[bytes], bytes]) -> None:
    assert Decompressor().decompress(encode(b"hello" * 1000), encoding) == b"hello" * 1000


@pytest.mark.parametrize(
    ("encoding", "encode", "n_mb"),
    [
        ("zstd", lambda data: zstandard.compress(data, 1), 512),
        ("zstd", zstd_stream, 512),
        ("gzip", lambda data: gzip.compress(data, 1), 64),
    ],
    ids=["zstd-told", "zstd-untold", "gzip"],
)
def test_a_bomb_costs_next_to_nothing(encoding: str, encode: Callable[[bytes], bytes], n_mb: int) -> None:
    body = encode(bytes(n_mb << 20))
    assert len(body) < 500_000
    tracemalloc.start()
    try:
        with pytest.raises(ApiProblem) as problem:
            Decompressor().decompress(body, encoding)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert code_of(problem) == ProblemCode.BATCH_TOO_LARGE
    assert peak_bytes < 3 * MAX_BATCH_BYTES


def test_a_batch_of_just_the_limit_is_taken() -> None:
    plain = bytes(1000)
    for encoding, body in (
        ("zstd", zstandard.compress(plain)),
        ("zstd", zstd_stream(plain)),
        ("gzip", gzip.compress(plain, mtime=0)),
    ):
        assert Decompressor(1000).decompress(body, encoding) == plain
        with pytest.raises(ApiProblem):
            Decompressor(999).decompress(body, encoding)


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("br", b"x", ProblemCode.ENCODING_UNKNOWN),
        ("zstd, gzip", b"x", ProblemCode.ENCODING_UNKNOWN),
        ("zstd", b"", ProblemCode.BATCH_MALFORMED),
        ("zstd", b"garbage", ProblemCode.BATCH_MALFORMED),
        ("zstd", zstandard.compress(b"hello") + b"more", ProblemCode.BATCH_MALFORMED),
        ("zstd", zstandard.compress(b"hello" * 100)[:-3], ProblemCode.BATCH_MALFORMED),
        ("gzip", b"garbage", ProblemCode.BATCH_MALFORMED),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-3], ProblemCode.BATCH_MALFORMED),
        ("gzip", gzip.compress(b"hello", mtime=0) + b"more", ProblemCode.BATCH_MALFORMED),
    ],
)
def test_what_cannot_be_decompressed_is_told(encoding: str, body: bytes, code: ProblemCode) -> None:
    with pytest.raises(ApiProblem) as problem:
        Decompressor().decompress(body, encoding)
    assert code_of(problem) == code


def read(chunks: list[bytes], declared: str | None) -> tuple[bytes, int]:
    """What `read_body` makes of chunks, and how many it took."""
    taken = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal taken
        for chunk in chunks:
            taken += 1
            yield chunk

    return asyncio.run(read_body(source(), declared, 10)), taken


def test_a_body_is_read_up_to_the_limit_and_no_further() -> None:
    assert read([b"12345", b"67890"], "10") == (b"1234567890", 2)
    with pytest.raises(ApiProblem):
        read([b"12345"] * 1000, None)
    with pytest.raises(ApiProblem):
        read([], "11")


# The envelope -------------------------------------------------------------------------------------------------


def test_an_envelope_keeps_its_records_raw() -> None:
    batch = decode_batch(envelope('[["count",1], {"any": "thing"}, 7]'))
    assert batch.device == DEVICE
    assert [bytes(raw) for raw in batch.records] == [b'["count",1]', b'{"any": "thing"}', b"7"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"{}",
        envelope("[]"),
        envelope("[1]", device="me"),
        envelope("[1]", stream=""),
        envelope("[1]", stream="x" * 101),
        envelope("[1]", first_seq=0),
        envelope("[1]", first_seq=2**63),
        envelope("[1]")[:-1],
        envelope("[" * 50_000 + "]" * 50_000),
    ],
)
def test_an_envelope_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(ApiProblem) as problem:
        decode_batch(body)
    assert code_of(problem) == ProblemCode.BATCH_MALFORMED


@pytest.mark.parametrize("body", [envelope("[1]", v=2), b'{"v": 2, "all": "else changed"}'])
def test_another_version_is_told_whatever_its_shape(body: bytes) -> None:
    with pytest.raises(ApiProblem) as problem:
        decode_batch(body)
    assert code_of(problem) == ProblemCode.VERSION_UNKNOWN


def test_too_many_records_are_too_large() -> None:
    with pytest.raises(ApiProblem) as problem:
        decode_batch(envelope("[" + "1," * MAX_BATCH_RECORDS + "1]"))
    assert code_of(problem) == ProblemCode.BATCH_TOO_LARGE


@pytest.mark.parametrize(
    "bad",
    [
        '["count", 2, NaN]',
        '["log", 2, 1767225600000, 0, "info", "a", "\\ud800"]',
        '["log", 2, 1767225600000, 0, "info", "a", "\\udc00 tail"]',
        '["log", 2, 1767225600000, 0, "info", "a", "m", {"x": Infinity}]',
    ],
)
def test_a_record_that_is_not_quite_json_harms_no_other(bad: str) -> None:
    batch = decode_batch(envelope(f"[{json.dumps(count(1))}, {bad}, {json.dumps(count(3))}]"))
    first, second, third = decode_records(batch.records, 1)
    assert isinstance(first, Count)
    assert isinstance(third, Count)
    assert isinstance(second, Refused)
    assert (second.seq, second.code) == (2, RejectCode.MALFORMED)


# Records ------------------------------------------------------------------------------------------------------


def refused(record: Any, expected_seq: int = 2) -> Refused:
    """The refusal of a record that stands between two good ones."""
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    items = decode_records(
        [*encoded(count(expected_seq - 1)), msgspec.Raw(text), *encoded(count(expected_seq + 1))], 1
    )
    assert [type(item) for item in items] == [Count, Refused, Count]
    assert isinstance(items[1], Refused)
    return items[1]


@pytest.mark.parametrize(
    "record",
    [
        7,
        None,
        [],
        {},
        "count",
        [5, 2, 3],
        ["count"],
        ["count", "two"],
        ["count", 2.5, *COUNT[2:]],
        ["count", 2, 2**60, *COUNT[3:]],
        ["count", 2, *COUNT[2:8], "sideways"],
        ["count", 2, *COUNT[2:7], "", "in"],
        ["count", 2, *COUNT[2:], 1.5],
        ["count", 2, *COUNT[2:], 0.5, "x" * 8001],
        ["occupancy", 2, 5, 0, "north", "zone", -1, 0, 0, 0],
        ["frames", 2, 5, 0, "north", MAX_SPAN_MS + 1, 5, 1, 0],
        ["gap", 2, 5, 0, "no such reason", 5],
        b'["log", 2, 5, 0, "info", "a", "\xff"]',
        b'["log", 2, 5, 0, "info", "a", "\\u0000"]',
        b'["log", 2, 5, 0, "info", "a", "m", {"\\u0000": 1}]',
        b'["log", 2, 5, 0, "info", "a", "m", {"x": 1e999}]',
        b'["detections", 2, 5, 0, "north", [["c\\u0000", 0.5, 1, 1, 2, 2]]]',
    ],
)
def test_a_malformed_record_is_put_aside_in_its_place(record: Any) -> None:
    refusal = refused(record)
    assert refusal.code is RejectCode.MALFORMED
    assert (refusal.first_seq, refusal.seq) == (2, 2)
    assert refusal.detail


def test_an_unknown_kind_is_told_apart() -> None:
    refusal = refused(["teleport", 2, 5, 0])
    assert refusal.code is RejectCode.UNKNOWN_KIND
    assert "teleport" in refusal.detail


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    text = b'["log", 1, 5, 0, "info", "a", "C:\\\\u0000"]'
    (item,) = decode_records(raws(text), 1)
    assert not isinstance(item, Refused)


def test_a_broken_gap_still_stands_for_what_it_covers() -> None:
    items = decode_records(encoded(count(1), ["gap", 9, 5, 0, "new_reason", 5, None, 2], count(10)), 1)
    assert isinstance(items[1], Refused)
    assert (items[1].first_seq, items[1].seq) == (2, 9)


def test_a_gap_that_ends_before_it_begins_covers_its_own_place() -> None:
    (item,) = decode_records(encoded(["gap", 1, 5, 0, "outbox_full", 5, None, 7]), 1)
    assert isinstance(item, Refused)
    assert (item.first_seq, item.seq) == (1, 1)


def test_fields_of_a_later_release_are_passed_over() -> None:
    (item,) = decode_records(encoded([*COUNT, 0.5, "17", False, 3.5, "new", {"field": 1}]), 1)
    assert isinstance(item, Count)
    assert item.speed_mps == 3.5


def test_raw_text_can_be_stored_whatever_came() -> None:
    assert raw_text(msgspec.Raw(b'["\xff\x00"]')) == '["\\xff\\u0000"]'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=15,
)


@given(st.lists(json_values | st.just(None), min_size=1, max_size=6))
def test_whatever_comes_each_record_has_its_place(values: list[Any]) -> None:
    """Garbage never raises, never disappears, and never takes the place of a neighbour."""
    records = []
    for seq, value in enumerate(values, 1):
        records += [value, count(2 * seq)]
    body = envelope(json.dumps(records))
    items = decode_records(decode_batch(body).records, 1)
    assert len(items) == len(records)
    assert [item.seq for item in items[1::2]] == [2 * seq for seq in range(1, len(values) + 1)]
    assert all(isinstance(item, Count) for item in items[1::2])
