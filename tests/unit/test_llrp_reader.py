"""The LLRP driver by way of sllurp, on an emulated reader: real sockets, hand-packed messages."""

import contextlib
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from edge_agent.drivers.base import TagError, TagRead
from edge_agent.drivers.tags.llrp import LlrpReader
from tests.servers.llrp_reader import (
    ADD,
    CLOSE,
    DELETE,
    EVENT,
    KEEPALIVE,
    REPORT,
    SET_CONFIG,
    LlrpReaderDouble,
    event,
    message,
    parameter,
    tag_report,
)

EPC = bytes.fromhex("E28011700000020A6E7C1234")
SHORT = bytes.fromhex("AB12CD34")


@pytest.fixture
def double() -> Iterator[LlrpReaderDouble]:
    with LlrpReaderDouble() as double:
        yield double


@pytest.fixture
def reader(double: LlrpReaderDouble) -> Iterator[LlrpReader]:
    reader = LlrpReader("127.0.0.1", double.port, antennas=(1, 2))
    reader.open()
    yield reader
    reader.close()


def read_until(reader: LlrpReader, n: int) -> list[TagRead]:
    found: list[TagRead] = []
    until_s = time.monotonic() + 30
    while len(found) < n:
        assert time.monotonic() < until_s
        found += reader.read(1.0)
    return found


def read_on(reader: LlrpReader) -> None:
    for _ in range(100):
        assert reader.read(0.2) == []


def test_tags_come_with_antenna_and_strength(double: LlrpReaderDouble, reader: LlrpReader) -> None:
    double.report(tag_report(EPC, 2, -61), tag_report(SHORT, 1, None))
    first, second = read_until(reader, 2)
    assert (first.epc, first.antenna, first.rssi_dbm) == (EPC.hex().upper(), 2, -61.0)
    assert (second.epc, second.antenna, second.rssi_dbm) == ("AB12CD34", 1, None)
    assert abs(first.t_s - time.monotonic()) < 10


def test_a_report_in_pieces_is_read(double: LlrpReaderDouble, reader: LlrpReader) -> None:
    whole = message(REPORT, tag_report(EPC)) + message(KEEPALIVE, b"") + message(REPORT, tag_report(SHORT))
    double.until(lambda: double.rospec_runs)
    for start in range(0, len(whole), 7):
        double.send(whole[start : start + 7])
    assert [read.epc for read in read_until(reader, 2)] == [EPC.hex().upper(), "AB12CD34"]


def test_it_is_asked_to_tell_that_it_lives_and_is_answered(double: LlrpReaderDouble, reader: LlrpReader) -> None:
    assert double.keepalive_ms == 5000
    double.keep_alive()
    assert reader.read(0.0) == []
    until_s = time.monotonic() + 30
    while 72 not in double.heard:
        assert reader.read(0.1) == []
        assert time.monotonic() < until_s


def test_an_empty_report_is_no_tag(double: LlrpReaderDouble, reader: LlrpReader) -> None:
    double.report()
    double.report(tag_report(SHORT))
    assert [read.epc for read in read_until(reader, 1)] == ["AB12CD34"]


@pytest.mark.parametrize(("power_dbm", "index"), [(None, 3), (29.9, 2), (5.0, 1)])
def test_power_is_no_more_than_asked_for(double: LlrpReaderDouble, power_dbm: float | None, index: int) -> None:
    with contextlib.closing(LlrpReader("127.0.0.1", double.port, antennas=(1, 2), power_dbm=power_dbm)) as reader:
        reader.open()
    assert double.power_indices == [index, index]


def test_close_stops_it_and_opening_again_starts_it(double: LlrpReaderDouble, reader: LlrpReader) -> None:
    reader.close()
    assert double.heard.count(DELETE) == 2, "once at the beginning, once at the end"
    assert not double.rospec_runs
    reader.close()
    reader.open()
    double.report(tag_report(SHORT))
    assert [read.epc for read in read_until(reader, 1)] == ["AB12CD34"]


def test_silence_is_told(double: LlrpReaderDouble) -> None:
    double.silent = True
    with contextlib.closing(LlrpReader("127.0.0.1", double.port, keepalive_s=0.05)) as reader:
        reader.open()
        heard_s = reader.well_until_s
        with pytest.raises(TagError, match="has said nothing for"):
            read_on(reader)
        assert reader.well_until_s == heard_s, "since then nothing is known"


BAD: dict[str, tuple[Callable[[LlrpReaderDouble], None], str]] = {
    "garbage": (lambda d: d.send(b"\xff" * 40), "no LLRP"),
    "http": (lambda d: d.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no LLRP"),
    "far too long": (lambda d: d.send(struct.pack("!HII", 1 << 10 | REPORT, 2**31, 1)), "no LLRP"),
    "broken report": (lambda d: d.send(message(REPORT, b"\x00\xf0\x00\x40\x8d\x01")), "cannot be read"),
    "hangs up": (lambda d: d.hang_up(), "has hung up|reset"),
    "close event": (lambda d: d.send(event(parameter(257, b""))), "hangs up"),
    "antenna lost": (lambda d: d.send(event(parameter(255, struct.pack("!BH", 0, 2)))), "lost antenna 2.*cable"),
    "stopped": (lambda d: d.send(event(parameter(249, struct.pack("!BII", 1, 1, 0)))), "has stopped to read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_reader_that_fails_is_no_empty_road(double: LlrpReaderDouble, reader: LlrpReader, kind: str) -> None:
    do, told = BAD[kind]
    double.until(lambda: double.rospec_runs)
    do(double)
    with pytest.raises(TagError, match=told):
        read_on(reader)


def test_another_reader_s_antenna_is_none_of_ours(double: LlrpReaderDouble, reader: LlrpReader) -> None:
    double.until(lambda: double.rospec_runs)
    double.send(event(parameter(255, struct.pack("!BH", 0, 4))))
    double.report(tag_report(SHORT))
    assert len(read_until(reader, 1)) == 1


def test_no_reader_is_told_with_its_mend() -> None:
    with LlrpReaderDouble() as double:
        port = double.port
    with pytest.raises(TagError, match=rf"127\.0\.0\.1:{port}.*check its power"):
        LlrpReader("127.0.0.1", port).open()


def test_a_reader_that_says_nothing_is_told(double: LlrpReaderDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.drivers.tags.llrp._START_S", 0.3)
    double.mute = True
    with pytest.raises(TagError, match="does not start to read"):
        LlrpReader("127.0.0.1", double.port).open()


def test_a_busy_reader_is_told(double: LlrpReaderDouble) -> None:
    double.busy = True
    with pytest.raises(TagError, match="another program may be using it"):
        LlrpReader("127.0.0.1", double.port).open()


@pytest.mark.parametrize("kind", [SET_CONFIG, ADD, 24])
def test_a_refusal_is_told_in_its_words(double: LlrpReaderDouble, kind: int) -> None:
    double.refuse[kind] = b"no such thing here"
    with pytest.raises(TagError, match="no such thing here"):
        LlrpReader("127.0.0.1", double.port).open()


def test_an_antenna_that_it_has_not_is_told(double: LlrpReaderDouble) -> None:
    with pytest.raises(TagError, match=r"antenna.*available=1,2,3,4"):
        LlrpReader("127.0.0.1", double.port, antennas=(1, 9)).open()
    assert CLOSE not in double.heard
    assert EVENT not in double.heard
