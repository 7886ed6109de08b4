"""How tags' numbers are written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.epc import EpcForm, EpcMask

KEY = bytes(range(32))
DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + 12345
EPC = "E28011700000020A6E7C1234"
periods = st.integers(0, 40_000)


def test_the_forms() -> None:
    assert EpcMask(EpcForm.RAW).write(EPC, NOW_MS) == EPC
    assert EpcMask(EpcForm.OFF).write(EPC, NOW_MS) is None
    # Worked out once by hand with openssl's HMAC; changes to it break journeys between old and new agents.
    assert EpcMask(EpcForm.HMAC, KEY).write(EPC, NOW_MS) == "h1:529714c3:e0ca95acaaae52b640887f70"


@given(periods, periods, st.integers(0, DAY_MS - 1), st.integers(0, DAY_MS - 1))
def test_within_a_period_all_readers_write_alike_and_beyond_it_none(
    one: int, other: int, early_ms: int, late_ms: int
) -> None:
    first, second = EpcMask(EpcForm.HMAC, KEY), EpcMask(EpcForm.HMAC, KEY)
    a = first.write(EPC, one * DAY_MS + early_ms)
    b = second.write(EPC, other * DAY_MS + late_ms)
    assert (a == b) == (one == other)
    assert a is not None
    assert b is not None
    assert (a.split(":")[1] == b.split(":")[1]) == (one == other), "the key is told, and changes"
    assert a.split(":")[2] != b.split(":")[2] or one == other


@given(st.text("0123456789ABCDEF", min_size=8, max_size=24), st.binary(min_size=32, max_size=40))
def test_neither_tag_nor_key_shows(epc: str, key: bytes) -> None:
    written = EpcMask(EpcForm.HMAC, key).write(epc, NOW_MS)
    assert written is not None
    assert epc.lower() not in written
    assert len(written) <= 100
    assert written != EpcMask(EpcForm.HMAC, key + b"x").write(epc, NOW_MS)
    assert written != EpcMask(EpcForm.HMAC, key).write(epc + "0", NOW_MS)


def test_a_clock_that_may_be_wrong_joins_no_boots() -> None:
    mask = EpcMask(EpcForm.HMAC, KEY)
    assert mask.write(EPC, 0, "boot-1") == mask.write(EPC, 10 * DAY_MS, "boot-1")
    assert len({mask.write(EPC, 0, "boot-1"), mask.write(EPC, 0, "boot-2"), mask.write(EPC, 0)}) == 3


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        EpcMask(EpcForm.HMAC, b"short")
