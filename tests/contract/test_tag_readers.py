"""What every tag reader does, judged by one suite: MFRC522 and LLRP on emulated devices, simulated, recordings."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.drivers.base import TagError, TagRead, TagReader, TagsEnded
from edge_agent.drivers.tags.llrp import LlrpReader
from edge_agent.drivers.tags.mfrc522 import Mfrc522Reader
from edge_agent.drivers.tags.opening import make_reader
from edge_agent.drivers.tags.options import ReaderOptions
from edge_agent.drivers.tags.replay import ReplayReader
from edge_agent.drivers.tags.simulated import SimulatedReader
from tests.servers.llrp_reader import LlrpReaderDouble, tag_report
from tests.servers.mfrc522_chip import Card
from tests.servers.spi_bench import spi_bench

EPC = "04A1B2C3D4E5F6"
OTHER = "DEADBEEF"


class Rig:
    """A reader and what the test may do to its surroundings.

    Attributes:
        hardware: whether it can be broken, and tags put before it by hand.
    """

    hardware = True

    def __init__(self, reader: TagReader) -> None:
        self.reader = reader

    def show(self, *epcs: str) -> None:
        """Only these tags are there now."""

    def break_it(self) -> None:
        """The device fails."""

    def mend_it(self) -> None:
        """The device works again."""


class OnChip(Rig):
    def __init__(self, bench: Any) -> None:
        super().__init__(Mfrc522Reader())
        self._chip = bench.chip

    def show(self, *epcs: str) -> None:
        self._chip.cards = [Card(bytes.fromhex(epc)) for epc in epcs]

    def break_it(self) -> None:
        self._chip.fault = "absent"

    def mend_it(self) -> None:
        self._chip.fault = None


class OverLlrp(Rig):
    def __init__(self, double: LlrpReaderDouble) -> None:
        super().__init__(LlrpReader("127.0.0.1", double.port))
        self._double = double

    def show(self, *epcs: str) -> None:
        self._double.report(*(tag_report(bytes.fromhex(epc)) for epc in epcs))

    def break_it(self) -> None:
        self._double.stop()

    def mend_it(self) -> None:
        self._double.__enter__()


class Endless(Rig):
    hardware = False

    def show(self, *epcs: str) -> None:
        """They come by themselves."""


HARDWARE = ["mfrc522", "llrp"]


@pytest.fixture(params=[*HARDWARE, "sim", "file"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        rig: Rig
        if request.param == "mfrc522":
            rig = OnChip(stack.enter_context(spi_bench()))
        elif request.param == "llrp":
            rig = OverLlrp(stack.enter_context(LlrpReaderDouble()))
        elif request.param == "sim":
            rig = Endless(SimulatedReader(headway_s=2.0, antennas=range(1, 41)))
        else:
            path = tmp_path / "tags.jsonl"
            rows = [{"t_s": 100 + i * 0.02, "epc": EPC, "antenna": 2, "rssi_dbm": -50.5} for i in range(5000)]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            rig = Endless(ReplayReader(path))
        yield rig
        rig.reader.close()


def read_some(rig: Rig, *epcs: str) -> Sequence[TagRead]:
    rig.show(*(epcs or (EPC,)))
    until_s = time.monotonic() + 30
    while True:
        found = rig.reader.read(0.5)
        if found:
            return found
        assert time.monotonic() < until_s


def read_on(reader: TagReader) -> None:
    for _ in range(100):
        reader.read(0.2)


def test_a_tag_is_read_in_capital_hex_with_antenna_and_time(rig: Rig) -> None:
    rig.reader.open()
    before_s = time.monotonic()
    (read, *_) = read_some(rig)
    assert read.epc == read.epc.upper()
    assert len(bytes.fromhex(read.epc)) >= 4
    assert read.antenna >= 1
    assert before_s - 1 < read.t_s < time.monotonic() + 1
    assert read.rssi_dbm is None or -100 < read.rssi_dbm < 0
    if rig.hardware:
        assert read.epc == EPC


def test_times_ascend(rig: Rig) -> None:
    rig.reader.open()
    times = [read.t_s for _ in range(5) for read in read_some(rig)]
    assert times == sorted(times)


def test_each_reading_is_given_once(rig: Rig) -> None:
    rig.reader.open()
    reads = [read for _ in range(5) for read in read_some(rig)]
    assert len({(read.epc, read.t_s) for read in reads}) == len(reads)


@pytest.mark.parametrize("rig", HARDWARE, indirect=True)
def test_without_a_tag_it_comes_back_empty_in_time(rig: Rig) -> None:
    rig.reader.open()
    rig.show()
    before_s = time.monotonic()
    assert rig.reader.read(0.1) == []
    assert 0.09 < time.monotonic() - before_s < 10


def test_it_is_known_to_be_well_by_what_it_read(rig: Rig) -> None:
    rig.reader.open()
    before_s = time.monotonic()
    read_some(rig)
    assert before_s <= rig.reader.well_until_s <= time.monotonic()


@pytest.mark.parametrize("rig", HARDWARE, indirect=True)
def test_two_tags_at_once(rig: Rig) -> None:
    rig.reader.open()
    assert {read.epc for read in read_some(rig, EPC, OTHER)} == {EPC, OTHER}


def test_close_twice_and_open_again(rig: Rig) -> None:
    rig.reader.close()
    for _ in range(2):
        rig.reader.open()
        rig.reader.open()
        assert read_some(rig)
        rig.reader.close()
        rig.reader.close()


def test_read_without_open_is_told(rig: Rig) -> None:
    with pytest.raises(TagError, match="not open"):
        rig.reader.read(0.0)


@pytest.mark.parametrize("rig", HARDWARE, indirect=True)
def test_a_reader_that_fails_is_told_and_works_again_when_mended(rig: Rig) -> None:
    rig.reader.open()
    assert read_some(rig)
    rig.break_it()
    with pytest.raises(TagError):
        read_on(rig.reader)
    rig.reader.close()
    with pytest.raises(TagError):
        rig.reader.open()
    rig.mend_it()
    rig.reader.open()
    assert read_some(rig)


def test_simulated_vehicles_are_those_of_the_truth() -> None:
    now_s = 5000.0

    def sleep(span_s: float) -> None:
        nonlocal now_s
        now_s += span_s

    reader = SimulatedReader("queue", antennas=(1, 2), monotonic_s=lambda: now_s, sleep=sleep)
    reader.open()
    seen: set[tuple[str, int]] = set()
    while now_s < 5100:
        seen |= {(read.epc, read.antenna) for read in reader.read(1.0)}
    truth = {(passage.epc, passage.antenna) for passage in reader.truth(0, 99)}
    assert truth <= seen
    assert len(truth) > 25
    assert seen <= {(passage.epc, passage.antenna) for passage in reader.truth(0, 110)}


@pytest.mark.parametrize("as_fast", [False, True])
def test_a_recording_ends_and_says_so(tmp_path: Path, as_fast: bool) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("t_s,epc,rssi_dbm\n5,ab12,-50\n5.1,AB12,\n\n5.2,cd34,-70\n")
    with contextlib.closing(make_reader(ReaderOptions(str(path), as_fast=as_fast))) as reader:
        reader.open()
        reads: list[TagRead] = []
        while len(reads) < 3:
            reads += reader.read(5.0)
        for _ in range(2):
            with pytest.raises(TagsEnded):
                reader.read(1.0)
    assert [(read.epc, read.antenna, read.rssi_dbm) for read in reads] == [
        ("AB12", 1, -50.0), ("AB12", 1, None), ("CD34", 1, -70.0),
    ]  # fmt: skip
    assert reads[2].t_s - reads[0].t_s == pytest.approx(0.2)


BAD_RECORDINGS: dict[str, tuple[str, str]] = {
    "empty": ("", "holds no reading"),
    "no header": ("1,AB12\n", "line 1: must name the columns"),
    "strange column": ("t_s,epc,speed\n", "line 1: must name the columns"),
    "short row": ("t_s,epc\n1\n", "line 2: has 1 values for 2"),
    "no hex": ('{"t_s": 1, "epc": "xyz"}\n', "line 1: epc 'XYZ' is no number"),
    "no time": ('{"epc": "AB"}\n', "t_s must be a number"),
    "not finite": ('{"t_s": NaN, "epc": "AB"}\n', "t_s must be a number"),
    "backwards": ('{"t_s": 2, "epc": "AB"}\n\n{"t_s": 1, "epc": "AB"}\n', "line 3: t_s goes back"),
    "half": ('{"t_s": 1, "epc": "AB"}\n{"t_s":', "line 2: is no JSON"),
    "list": ('{"t_s": 1, "epc": "AB"}\n[1]', "line 2: is no object"),
    "unknown key": ('{"t_s": 1, "epc": "AB", "speed": 1}', "'speed' is not known"),
    "antenna": ('{"t_s": 1, "epc": "AB", "antenna": 0}', "antenna 0"),
    "wrong kind": ('{"t_s": [], "epc": "AB"}', "line 1"),
}


@pytest.mark.parametrize("kind", BAD_RECORDINGS)
def test_a_bad_recording_is_refused_whole(tmp_path: Path, kind: str) -> None:
    text, told = BAD_RECORDINGS[kind]
    path = tmp_path / "tags"
    path.write_text(text)
    with pytest.raises(TagError, match=told):
        ReplayReader(path).open()


def test_a_recording_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TagError, match="No such file"):
        ReplayReader(tmp_path / "absent").open()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TagError, match="is no text"):
        ReplayReader(tmp_path / "binary").open()


MAKERS: dict[str, Callable[[TagReader], bool]] = {
    "mfrc522": lambda r: isinstance(r, Mfrc522Reader),
    "mfrc522:1.0": lambda r: isinstance(r, Mfrc522Reader),
    "llrp://10.0.0.5": lambda r: isinstance(r, LlrpReader),
    "llrp://reader.local:5085": lambda r: isinstance(r, LlrpReader),
    "sim": lambda r: isinstance(r, SimulatedReader),
    "sim:queue": lambda r: isinstance(r, SimulatedReader),
    "tags.csv": lambda r: isinstance(r, ReplayReader),
}


@pytest.mark.parametrize("device", MAKERS)
def test_a_device_is_told_by_its_name(device: str) -> None:
    assert MAKERS[device](make_reader(ReaderOptions(device)))


@pytest.mark.parametrize(
    "device", ["", "mfrc522:x", "mfrc522:0", "llrp://", "llrp://a:99999", "llrp://a/b", "http://a", "sim:moon"]
)
def test_a_device_that_cannot_be_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make_reader(ReaderOptions(device))
