"""What becomes of a batch, given where its stream stands."""

import json
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ApiProblem
from collector.ingest.decode import Refused
from collector.ingest.settling import EARLIEST_MS, LATEST_AHEAD_MS, Settled, is_resend, settle
from common.batch import Batch, ClockState
from common.codes import ProblemCode, RejectCode
from common.records import Gap

NOW_MS = 1_800_000_000_000
CLOCK = ClockState(synced=True)


def count(seq: int, at_ms: int = NOW_MS) -> list[Any]:
    return ["count", seq, at_ms, 0, "north", "line", "camera", "car", "in"]


def gap(from_seq: int | None, seq: int) -> list[Any]:
    return ["gap", seq, NOW_MS, 0, "outbox_full", 5, None, from_seq, {}]


def batch(records: list[Any], first_seq: int) -> Batch:
    raws = [msgspec.Raw(json.dumps(record).encode()) for record in records]
    return Batch(uuid4(), "agent", uuid4(), first_seq, NOW_MS, CLOCK, raws)


def settled(records: list[Any], first_seq: int, watermark: int) -> Settled:
    return settle(batch(records, first_seq), watermark, NOW_MS)


def account(result: Settled) -> tuple[int, int, int, int]:
    return result.to_seq, result.stored, result.rejected, result.lost


def test_all_new() -> None:
    result = settled([count(1), count(2), count(3)], 1, 0)
    assert account(result) == (3, 3, 0, 0)
    assert result.last_at_ms == NOW_MS


def test_what_is_known_is_skipped() -> None:
    result = settled([count(4), count(5), count(6)], 4, 5)
    assert account(result) == (6, 1, 0, 0)
    assert result.n_duplicates == 2
    assert [item.seq for item in result.items] == [6]
    assert len(result.raws) == 1


def test_a_resend_is_seen_by_its_last_record() -> None:
    assert is_resend(batch([count(4), count(5)], 4), 5)
    assert is_resend(batch([["garbage"], count(5)], 4), 9)
    assert not is_resend(batch([count(4), count(5)], 4), 4)
    assert not is_resend(batch([count(4), {}], 4), 4)
    assert account(settled([count(4), {}], 4, 9)) == (9, 0, 0, 0)


def test_a_hole_before_the_batch_names_the_record_to_send() -> None:
    with pytest.raises(ApiProblem) as problem:
        settled([count(7)], 7, 4)
    assert problem.value.code == ProblemCode.SEQUENCE_GAP
    assert problem.value.members["expected_seq"] == 5


@pytest.mark.parametrize(
    "records",
    [
        [count(1), count(3)],
        [count(1), count(1)],
        [count(2)],
        [count(1), gap(3, 5)],
        [count(1), gap(1, 5)],
        [count(1), gap(2, 5), count(7)],
        [count(1), ["nonsense"], count(2)],
    ],
)
def test_a_hole_within_a_batch_is_malformed(records: list[Any]) -> None:
    with pytest.raises(ApiProblem) as problem:
        settled(records, 1, 0)
    assert problem.value.code == ProblemCode.BATCH_MALFORMED


def test_a_gap_stands_for_the_records_that_it_covers() -> None:
    result = settled([count(1), gap(2, 9), count(10), gap(None, 11)], 1, 0)
    assert account(result) == (11, 3, 0, 8)


def test_a_gap_over_records_that_were_stored_after_all_is_clipped() -> None:
    """The acknowledgement of 1..5 was lost, and then the outbox had to drop 3..8."""
    result = settled([gap(3, 8), count(9)], 3, 5)
    assert account(result) == (9, 1, 0, 3)
    (clipped, _) = result.items
    assert isinstance(clipped, Gap)
    assert clipped.from_seq == 6


@pytest.mark.parametrize("at_ms", [0, -1, EARLIEST_MS - 1, NOW_MS + LATEST_AHEAD_MS + 1, 3_786_912_000_000])
def test_a_time_that_cannot_be_is_never_stored_as_fact(at_ms: int) -> None:
    result = settled([count(1), count(2, at_ms), count(3)], 1, 0)
    assert account(result) == (3, 2, 1, 0)
    assert result.rejections[0].seq == 2
    assert result.rejections[0].code is RejectCode.TIME_IMPLAUSIBLE
    assert str(at_ms) in result.rejections[0].detail


@pytest.mark.parametrize("at_ms", [EARLIEST_MS, NOW_MS + LATEST_AHEAD_MS])
def test_times_at_the_bounds_are_stored(at_ms: int) -> None:
    assert account(settled([count(1, at_ms)], 1, 0)) == (1, 1, 0, 0)


def test_a_refused_gap_counts_once_as_rejected() -> None:
    result = settled([["gap", 6, 5, 0, "outbox_full", 5, None, 1, {}], count(7)], 1, 0)
    assert account(result) == (7, 1, 1, 5)
    assert isinstance(result.items[0], Refused)


pieces = st.lists(st.sampled_from(["count", "garbage", "gap", "old", "reason"]), min_size=1, max_size=30)


@given(pieces, st.integers(0, 60))
def test_the_account_always_adds_up(kinds: list[str], watermark: int) -> None:
    records: list[Any] = []
    seq = 0
    for kind in kinds:
        seq += 4 if kind == "gap" else 1
        made = {
            "count": count(seq),
            "garbage": {"seq": seq},
            "gap": gap(seq - 3, seq),
            "old": count(seq, 5),
            "reason": ["gap", seq, NOW_MS, 0, "new reason", 5],
        }
        records.append(made[kind])
    result = settled(records, 1, watermark)
    assert result.to_seq == max(seq, watermark)
    assert result.stored + result.rejected + result.lost == result.to_seq - watermark
    assert len(result.items) == len(result.raws)
    assert result.n_duplicates + len(result.items) == len(records)
