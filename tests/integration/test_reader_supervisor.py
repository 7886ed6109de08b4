"""Reader processes as they are: they hang, die, lose their reader. All of the reader's time is accounted for."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.codes import Direction, GapReason, Via
from common.records import Count, Frames, Gap, StreamQuality
from edge_agent.domain.epc import EpcForm, EpcMask
from edge_agent.domain.passage import PassageParams
from edge_agent.drivers.tags.options import ReaderOptions
from edge_agent.rfid.messages import ReaderJob
from edge_agent.rfid.supervisor import ReaderPlan
from tests.integration.reader_helpers import watching
from tests.servers.llrp_reader import LlrpReaderDouble, tag_report

pytestmark = pytest.mark.anyio

EPC, OTHER = bytes.fromhex("E28011700000020A6E7C1234"), bytes.fromhex("AB12CD34")
QUICK = PassageParams(gap_s=0.3, rearm_s=600.0)
RAW = EpcMask(EpcForm.RAW)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def double() -> Iterator[LlrpReaderDouble]:
    with LlrpReaderDouble() as double:
        yield double


def plan(device: str, **changes: object) -> ReaderPlan:
    settings: dict[str, object] = {"passage": QUICK, "mask": RAW, **changes}
    options = ReaderOptions(device, (1, 2), keepalive_s=30.0)
    return ReaderPlan(ReaderJob("gate", options), **settings)  # type: ignore[arg-type]


async def show(double: LlrpReaderDouble, *tags: bytes, antenna: int = 1) -> None:
    """Each is read twice, which makes a passage."""
    for _ in range(2):
        await asyncio.to_thread(double.report, *(tag_report(tag, antenna) for tag in tags))


async def test_tags_are_counted_under_their_antennas_names(double: LlrpReaderDouble) -> None:
    async with watching(plan(double.url, sources={1: "left", 2: "right"})) as reader:
        await show(double, EPC)
        await show(double, OTHER, antenna=2)
        await reader.until(lambda: len(reader.tags) == 2)
        await reader.until_measuring()
        assert reader.view.state == "ok"
    counts = {count.track: count for count in reader.of(Count)}
    left, right = counts[EPC.hex().upper()], counts["AB12CD34"]
    assert (left.sensor, left.source, right.source) == ("gate", "left", "right")
    assert (left.via, left.cls, left.direction, left.confidence) == (Via.RFID, "object", Direction.NONE, None)
    assert reader.account() == ["agent_down", "measured"]
    assert sum(block.n for block in reader.of(Frames)) == 4
    assert {name: tally.total for name, tally in reader.view.tallies.items()} == {"left": 1, "right": 1}


async def test_who_is_there_when_it_ends_is_counted(double: LlrpReaderDouble) -> None:
    async with watching(plan(double.url, passage=PassageParams(gap_s=60.0, rearm_s=60.0))) as reader:
        await show(double, EPC)
        await reader.until(lambda: reader.supervisor._counter.present)
    assert reader.tags == [EPC.hex().upper()]


async def test_a_reader_that_breaks_off_is_a_gap_and_no_second_passage(double: LlrpReaderDouble) -> None:
    async with watching(plan(double.url)) as reader:
        await show(double, EPC)
        await reader.until(lambda: reader.tags)
        await reader.until_measuring()
        double.hang_up()
        await reader.until(lambda: reader.view.restarts == 1)
        await reader.until_measuring()
        await show(double, EPC, OTHER)
        await reader.until(lambda: "AB12CD34" in reader.tags)
    assert reader.tags == [EPC.hex().upper(), "AB12CD34"], "who waits through it is one passage"
    assert reader.account() == ["agent_down", "measured", "reader_down", "measured"]
    down = [gap for gap in reader.of(Gap) if gap.reason is GapReason.READER_DOWN]
    assert {gap.sensor for gap in down} == {"gate"}
    assert "hung up" in (down[0].detail or "")


async def test_a_reader_that_is_not_there_and_comes(double: LlrpReaderDouble) -> None:
    double.stop()
    async with watching(plan(double.url)) as reader:
        await reader.until(lambda: reader.view.restarts >= 2)
        assert reader.view.state == "unreachable"
        assert "check its power" in reader.view.detail
        double.__enter__()
        await show(double, EPC)
        await reader.until(lambda: reader.tags)
        await reader.until_measuring()
    assert reader.account() == ["agent_down", "reader_down", "measured"]
    states = [record.state for record in reader.of(StreamQuality)]
    assert states[0] == "unreachable"
    assert states[-1] == "ok"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_dies_or_hangs_is_started_again(
    double: LlrpReaderDouble, how: signal.Signals
) -> None:
    async with watching(plan(double.url)) as reader:
        await show(double, EPC)
        await reader.until(lambda: reader.tags)
        await reader.until_measuring()
        pid = reader.view.pid
        assert pid is not None
        os.kill(pid, how)
        await reader.until(lambda: reader.view.state == "unreachable")
        assert ("SIGKILL" if how is signal.SIGKILL else "hangs") in reader.view.detail
        await reader.until_measuring()
        assert not Path(f"/proc/{pid}").exists()
    assert reader.account() == ["agent_down", "measured", "reader_down", "measured"]


async def test_a_recording_goes_round_and_the_cut_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("t_s,epc\n0,AA\n0.1,AA\n0.8,BB\n0.9,BB\n1.5,CC\n")
    async with watching(plan(str(path), passage=PassageParams(gap_s=0.3, rearm_s=0.4))) as reader:
        await reader.until(lambda: len(reader.tags) >= 4)
    assert reader.tags[:4] == ["AA", "BB", "AA", "BB"]
    assert reader.account()[:4] == ["agent_down", "measured", "reader_down", "measured"]


async def test_epcs_are_hashed_where_that_is_configured(double: LlrpReaderDouble) -> None:
    async with watching(plan(double.url, mask=EpcMask(EpcForm.HMAC, bytes(32)))) as reader:
        await show(double, EPC)
        await reader.until(lambda: reader.of(Count))
    (hashed,) = reader.tags
    assert hashed is not None
    assert hashed.startswith("h1:")
    assert EPC.hex() not in repr(reader.records).lower()
