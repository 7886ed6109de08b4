"""The MFRC522 driver by way of the real library, on an emulated chip with cards in its field."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.drivers.base import TagError
from edge_agent.drivers.tags import iso14443
from edge_agent.drivers.tags.mfrc522 import Mfrc522Reader
from tests.servers.mfrc522_chip import T_MODE, Card, Chip, crc
from tests.servers.spi_bench import spi_bench

FOUR, OTHER = bytes.fromhex("DEADBE01"), bytes.fromhex("DEADBF01")
SEVEN = bytes.fromhex("04A1B2C3D4E5F6")
TEN = bytes.fromhex("04112233445566778899")


@pytest.fixture
def bench() -> Iterator[Any]:
    with spi_bench() as bench:
        yield bench


@pytest.fixture
def chip(bench: Any) -> Chip:
    chip: Chip = bench.chip
    return chip


@pytest.fixture
def reader(chip: Chip) -> Iterator[Mfrc522Reader]:
    reader = Mfrc522Reader()
    reader.open()
    yield reader
    reader.close()


def uids(reader: Mfrc522Reader) -> list[str]:
    return sorted(read.epc for read in reader.read(0.0))


@pytest.mark.parametrize("uid", [FOUR, SEVEN, TEN], ids=["4 bytes", "7 bytes", "10 bytes"])
def test_a_card_is_read_whole(chip: Chip, reader: Mfrc522Reader, uid: bytes) -> None:
    chip.cards = [Card(uid)]
    for _ in range(3):
        assert uids(reader) == [uid.hex().upper()]


def test_an_empty_field_is_empty(chip: Chip, reader: Mfrc522Reader) -> None:
    assert uids(reader) == []
    chip.cards = [Card(FOUR)]
    assert uids(reader) == ["DEADBE01"]
    chip.cards = []
    assert uids(reader) == []


def test_an_empty_field_costs_few_transfers(chip: Chip, reader: Mfrc522Reader) -> None:
    """The library alone asks the chip 2000 times."""
    before = chip.n_transfers
    uids(reader)
    assert chip.n_transfers - before < 50


@pytest.mark.parametrize("frame_positions", [False, True])
def test_several_cards_at_once_are_told_apart(chip: Chip, reader: Mfrc522Reader, frame_positions: bool) -> None:
    chip.frame_positions = frame_positions
    chosen = random.Random(7)
    for round_ in range(40):
        together = {chosen.randbytes(chosen.choice((4, 7, 10))) for _ in range(chosen.randint(2, 4))}
        together |= {FOUR, OTHER} if round_ % 3 == 0 else set()
        together = {uid for uid in together if uid[0] != iso14443.CASCADE_TAG and uid[3:4] != b"\x88"}
        chip.cards = [Card(uid) for uid in together]
        found = set(uids(reader)) & set(uids(reader))
        assert found == {uid.hex().upper() for uid in together}


@pytest.mark.parametrize("frame_positions", [False, True])
def test_cards_that_differ_twice_are_told_apart_however_the_chip_counts(
    chip: Chip, reader: Mfrc522Reader, frame_positions: bool
) -> None:
    """The second place, counted from the answer's first byte, could be one counted from the UID's beginning."""
    chip.frame_positions = frame_positions
    together = ["11023344", "11033344", "1103B344"]
    chip.cards = [Card(bytes.fromhex(uid)) for uid in together]
    assert uids(reader) == together


@pytest.mark.parametrize("state", ["ready", "active", "halted"])
def test_a_card_that_was_left_in_the_middle_is_read(chip: Chip, reader: Mfrc522Reader, state: str) -> None:
    chip.cards = [Card(FOUR, state=state)]
    assert uids(reader) == ["DEADBE01"]


@pytest.mark.parametrize("fault", ["bad_check", "bad_crc", "deaf"])
def test_a_damaged_answer_is_no_card(
    chip: Chip, reader: Mfrc522Reader, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("edge_agent.drivers.tags.mfrc522.time.monotonic", lambda: now_s)
    card = Card(FOUR)
    setattr(card, fault, True)
    chip.cards = [card]
    assert uids(reader) == []
    now_s += 8
    assert uids(reader) == []
    now_s += 8
    with pytest.raises(TagError, match="answers and cannot be read"):
        uids(reader)
    setattr(card, fault, False)
    assert uids(reader) == ["DEADBE01"]


@pytest.mark.parametrize(("fault", "told"), [("absent", "0xFF"), ("shorted", "0x00")])
def test_a_chip_that_is_not_there_is_told(chip: Chip, fault: str, told: str) -> None:
    chip.fault = fault
    with pytest.raises(TagError, match=rf"no MFRC522.*{told}.*dtparam=spi=on"):
        Mfrc522Reader().open()


def test_a_bus_that_garbles_is_told(chip: Chip) -> None:
    chip.fault = "garbles"
    with pytest.raises(TagError, match=r"garbles.*shorten the wires"):
        Mfrc522Reader().open()


@pytest.mark.parametrize("fault", ["absent", "shorted"])
def test_a_chip_that_goes_away_is_no_empty_field(chip: Chip, reader: Mfrc522Reader, fault: str) -> None:
    assert uids(reader) == []
    chip.fault = fault
    with pytest.raises(TagError, match="does not answer any more"):
        reader.read(0.0)


def test_a_chip_that_hangs_is_told(chip: Chip, reader: Mfrc522Reader) -> None:
    chip.fault = "hangs"
    with pytest.raises(TagError, match="does not finish"):
        reader.read(0.0)


def test_a_chip_that_lost_its_settings_is_no_empty_field(chip: Chip, reader: Mfrc522Reader) -> None:
    """A dip of its 3.3 V switches its field off, and nothing else tells so."""
    chip.lose_power()
    chip.starting = 0
    with pytest.raises(TagError, match=r"lost its settings.*3\.3 V"):
        reader.read(0.0)
    reader.close()
    reader.open()
    chip.cards = [Card(SEVEN)]
    assert uids(reader) == [SEVEN.hex().upper()]


def test_a_chip_whose_timer_is_not_set_is_told(chip: Chip, reader: Mfrc522Reader) -> None:
    chip.registers[T_MODE] = 0
    with pytest.raises(TagError, match="lost its settings"):
        reader.read(0.0)


def test_no_bus_is_told_with_its_mend(bench: Any) -> None:
    with pytest.raises(TagError, match=r"/dev/spidev1\.0.*dtparam=spi=on"):
        Mfrc522Reader(bus=1).open()
    assert bench.n_open == 0


def test_a_bus_that_fails_is_told(bench: Any, reader: Mfrc522Reader) -> None:
    bench.fault = OSError(5, "Input/output error")
    with pytest.raises(TagError, match="Input/output error"):
        reader.read(0.0)
    bench.fault = None


def test_bus_and_pin_are_given_back(bench: Any) -> None:
    reader = Mfrc522Reader(reset_pin=17)
    for _ in range(3):
        reader.open()
        assert bench.pins == {17: 1}
        assert bench.chip.field_on
        reader.close()
        reader.close()
        assert not bench.chip.field_on
    assert (bench.n_open, bench.pins) == (0, {})


def test_the_library_itself_reads_the_emulated_chip(bench: Any) -> None:
    """A check of the chip: what the library's authors tried on real ones works on it too."""
    from mfrc522 import MFRC522

    bench.chip.start_transfers = 0
    bench.chip.cards = [Card(FOUR)]
    library = MFRC522()
    assert library.MFRC522_Request(library.PICC_REQIDL) == (library.MI_OK, 16)
    status, uid = library.MFRC522_Anticoll()
    assert (status, bytes(uid[:4])) == (library.MI_OK, FOUR)
    assert library.CalulateCRC([0x50, 0x00]) == [0x57, 0xCD]
    assert library.MFRC522_SelectTag(uid) == 0x08
    library.Close_MFRC522()


def test_check_bytes() -> None:
    """0x50 0x00 has 0x57 0xCD by the standard's own example of HLTA."""
    assert iso14443.crc_a([0x50, 0x00]) == (0x57, 0xCD)
    chosen = random.Random(1)
    for n_bytes in range(20):
        data = list(chosen.randbytes(n_bytes))
        assert list(iso14443.crc_a(data)) == crc(data)


def test_a_uid_with_a_wrong_check_byte_is_refused() -> None:
    good = iso14443.to_bits([0xDE, 0xAD, 0xBE, 0xEF, 0xDE ^ 0xAD ^ 0xBE ^ 0xEF])
    assert iso14443.level_of(good) == [0xDE, 0xAD, 0xBE, 0xEF]
    for i in range(40):
        with pytest.raises(iso14443.Garbled, match="check byte"):
            iso14443.level_of([bit ^ (i == j) for j, bit in enumerate(good)])
    with pytest.raises(iso14443.Garbled, match="39 bits"):
        iso14443.level_of(good[1:])
