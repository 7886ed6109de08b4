"""What of a reader's time was measured: from messages to blocks and gaps, without a process."""

import asyncio

import pytest

from common.clock import Stamp
from common.codes import GapReason
from common.records import Count, Frames, Gap, Record
from edge_agent.cameras.view import CameraView
from edge_agent.domain.epc import EpcForm, EpcMask
from edge_agent.domain.passage import PassageParams
from edge_agent.drivers.tags.options import ReaderOptions
from edge_agent.rfid.messages import Looked, Message, Opened, ReaderJob, TagSeen
from edge_agent.rfid.supervisor import ReaderPlan, ReaderSupervisor

S = 1_000_000_000
PLAN = ReaderPlan(
    ReaderJob("gate", ReaderOptions("sim")), PassageParams(gap_s=1.0, rearm_s=8.0), {}, EpcMask(EpcForm.RAW)
)


class Desk:
    """A supervisor, and what it wrote down."""

    def __init__(self) -> None:
        self.written: list[tuple[int, Record]] = []
        self.now_ns = 100 * S
        self.view = CameraView("gate", kind="reader")
        self.supervisor = ReaderSupervisor(PLAN, self.view, self, self, alive=lambda: None)

    def stamp(self) -> Stamp:
        return Stamp("boot", self.now_ns, 0, False)

    async def put(self, record: Record, stamp: Stamp) -> None:
        self.written.append((stamp.boottime_ns // S, record))

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """This run is not killed."""

    def tell(self, *messages: Message) -> None:
        for message in messages:
            asyncio.run(self.supervisor._take(message))

    def look(self, from_s: int, to_s: int, *epcs: str) -> None:
        """Once a second, with these tags each time."""
        for t_s in range(from_s, to_s + 1):
            self.tell(Looked(t_s * S, t_s * S, tuple(TagSeen(epc, 1, t_s * S - S // 2, None) for epc in epcs)))

    @property
    def account(self) -> list[tuple[int, int, str]]:
        found = []
        for to_s, record in self.written:
            if isinstance(record, Frames):
                assert record.span_ms == record.measured_ms
                found.append((to_s - record.span_ms // 1000, to_s, f"{record.n} readings"))
            elif isinstance(record, Gap):
                found.append((to_s - record.duration_ms // 1000, to_s, record.reason.value))
        return found

    @property
    def counted(self) -> list[str | None]:
        return [record.track for _, record in self.written if isinstance(record, Count)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_measured_time_is_told_in_blocks(desk: Desk) -> None:
    desk.tell(Opened(103 * S))
    desk.look(104, 124, "AA")
    assert desk.account == [(100, 103, "agent_down"), (103, 113, "10 readings"), (113, 123, "10 readings")]
    assert desk.counted == []


def test_a_process_that_stood_still_did_not_measure(desk: Desk) -> None:
    desk.tell(Opened(100 * S))
    desk.look(101, 105, "AA")
    desk.look(165, 176, "AA")
    desk.look(177, 190)
    assert desk.account[:3] == [(100, 105, "5 readings"), (105, 165, "reader_down"), (165, 175, "11 readings")]
    assert desk.counted == ["AA"], "who was there before and after is one passage"


def test_a_reader_that_died_unheard_measured_till_its_last_word(desk: Desk) -> None:
    desk.tell(Opened(100 * S))
    desk.look(101, 103, "AA")
    for t_s in range(104, 119):
        desk.tell(Looked(t_s * S, 103 * S))
    assert desk.counted == ["AA"], "what passed is not waited with"
    asyncio.run(desk.supervisor._close_block())
    desk.now_ns = 119 * S
    asyncio.run(desk.supervisor._fail("has said nothing for 15 s"))
    assert desk.account == [(100, 103, "3 readings"), (103, 119, "reader_down")]


def test_a_tag_that_leaves_is_counted_and_one_that_stays_away_counts_again(desk: Desk) -> None:
    desk.tell(Opened(100 * S))
    desk.look(101, 103, "AA")
    desk.look(104, 106)
    assert desk.counted == ["AA"]
    desk.look(107, 130)
    desk.look(131, 133, "AA")
    desk.look(134, 136)
    assert desk.counted == ["AA", "AA"]
    times = [t_s for t_s, record in desk.written if isinstance(record, Count)]
    assert times == [102, 132]


def test_a_reader_that_was_away_begins_with_a_gap(desk: Desk) -> None:
    desk.tell(Opened(100 * S))
    desk.look(101, 102, "AA")
    asyncio.run(desk.supervisor._close_block())
    desk.now_ns = 104 * S
    asyncio.run(desk.supervisor._fail("the cable is cut"))
    assert (desk.view.state, desk.view.detail) == ("unreachable", "the cable is cut")
    desk.tell(Opened(160 * S))
    desk.look(161, 162, "AA")
    desk.look(163, 172)
    assert desk.account == [
        (100, 102, "2 readings"), (102, 104, "reader_down"), (104, 160, "reader_down"), (160, 170, "2 readings"),
    ]  # fmt: skip
    gaps = [record for _, record in desk.written if isinstance(record, Gap)]
    assert {gap.detail for gap in gaps} == {"the cable is cut"}
    assert {gap.reason for gap in gaps} == {GapReason.READER_DOWN}
    assert desk.counted == ["AA"]
