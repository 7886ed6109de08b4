"""What of a sensor's time a run that was killed had measured and not told: the next one tells it."""

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from common.clock import Anchor, Stamp
from common.codes import GapReason
from common.records import Frames, Gap, Record
from edge_agent.outbox import Outbox
from edge_agent.outbox.accounts import Account
from edge_agent.outbox.writer import OutboxWriter
from tests.outbox_model import BOOT, count, stamp_at

pytestmark = pytest.mark.anyio
OTHER_BOOT = "2f1c6e1e-0000-4000-8000-000000000002"
decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def block(from_s: float, to_s: float, sensor: str = "north") -> Frames:
    span_ms = int((to_s - from_s) * 1000)
    return Frames(1, 0, 0, sensor, span_ms, span_ms, 7, 0)


def kill(outbox: Outbox) -> None:
    """It ends without a word, as by kill -9: what is not committed is gone."""
    outbox._file.close()


def spans(outbox: Outbox) -> list[tuple[float, float, str | None, str]]:
    """From, to, sensor and what of all time that is told in what waits."""
    assert outbox.commit()
    epoch = outbox.contact_due()
    if epoch is not None:
        outbox.reconcile(epoch, 0, stamp_at(10_000))
    batch = outbox.next_batch(100, 10**6, stamp_at(10_000))
    assert batch is not None
    found: list[tuple[float, float, str | None, str]] = []
    for record in map(decoder.decode, batch.records):
        to_s = (record.at - stamp_at(0).wall_ms) / 1000
        if isinstance(record, Frames):
            found.append((to_s - record.measured_ms / 1000, to_s, record.sensor, "measured"))
        elif isinstance(record, Gap):
            found.append((to_s - record.duration_ms / 1000, to_s, record.sensor, record.reason.value))
    return found


def run_and_kill(path: Path) -> None:
    """A run that told of ten seconds, measured three more, and counted in the last of them."""
    outbox = Outbox.open(path, stamp_at(1))
    outbox.append(block(2, 12), stamp_at(12))
    outbox.append(count(1), stamp_at(14.5))
    outbox.account({"north": Account(stamp_at(15), block(12, 15)), "gate": Account(stamp_at(9))})
    assert outbox.commit()
    kill(outbox)


EXPECTED = [
    (2.0, 12.0, "north", "measured"),
    (12.0, 15.0, "north", "measured"),
    (9.0, 15.0, "gate", "agent_down"),
]


def test_what_it_had_measured_is_told_and_the_rest_is_a_gap(path: Path) -> None:
    run_and_kill(path)
    outbox = Outbox.open(path, stamp_at(20))
    assert spans(outbox) == EXPECTED
    (downtime,) = outbox.downtimes(stamp_at(20))
    assert (downtime.end, downtime.start) == (stamp_at(15), stamp_at(20)), (
        "from the last that is told of any sensor"
    )


def test_it_is_told_once_however_often_the_next_runs_are_killed(path: Path) -> None:
    run_and_kill(path)
    for t_s in (20, 21):
        kill(Outbox.open(path, stamp_at(t_s)))
    outbox = Outbox.open(path, stamp_at(22))
    assert spans(outbox) == EXPECTED
    kill(outbox)
    outbox = Outbox.open(path, stamp_at(23, OTHER_BOOT))
    assert spans(outbox) == EXPECTED


def test_a_record_that_tells_the_time_takes_the_place_of_the_block_in_the_making(path: Path) -> None:
    run_and_kill(path)
    outbox = Outbox.open(path, stamp_at(20))
    outbox.account({"north": Account(stamp_at(26), block(21, 26))})
    outbox.append(block(21, 31), stamp_at(31))
    outbox.account({"north": Account(stamp_at(31))})
    outbox.append(count(2), stamp_at(33))
    assert outbox.commit()
    kill(outbox)
    outbox = Outbox.open(path, stamp_at(40))
    assert spans(outbox)[-2:] == [(21.0, 31.0, "north", "measured"), (31.0, 33.0, "north", "agent_down")]


def test_a_release_that_keeps_no_accounts_ran_in_between(path: Path) -> None:
    run_and_kill(path)
    with sqlite3.connect(path) as db:  # what it does when it opens the file
        db.execute("UPDATE meta SET value = '77' WHERE name = 'opened_wall_ms'")
    db.close()
    assert spans(Outbox.open(path, stamp_at(500))) == EXPECTED[:1]


def test_a_note_that_is_damaged_tells_nothing(path: Path) -> None:
    run_and_kill(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '{\"sensors\": 7}' WHERE name = 'accounts'")
    db.close()
    assert spans(Outbox.open(path, stamp_at(20))) == EXPECTED[:1]


def test_downtimes_wait_for_the_run_that_can_tell_them(path: Path) -> None:
    """Twice the plug is pulled before the clock is set."""
    run_and_kill(path)
    outbox = Outbox.open(path, stamp_at(3, OTHER_BOOT))
    outbox.downtimes(stamp_at(4, OTHER_BOOT))
    outbox.append(count(2), stamp_at(9, OTHER_BOOT))
    assert outbox.commit()
    kill(outbox)
    third = "2f1c6e1e-0000-4000-8000-000000000003"
    outbox = Outbox.open(path, stamp_at(5, third))
    first, second = outbox.downtimes(stamp_at(6, third))
    assert (first.end.boot_id, first.start) == (BOOT, stamp_at(4, OTHER_BOOT))
    assert (second.end.boot_id, second.end.boottime_ns, second.start) == (
        OTHER_BOOT,
        9 * 10**9,
        stamp_at(6, third),
    )
    assert outbox.downtimes(stamp_at(6, third)) == (first, second)
    outbox.tell_downtime(second, Gap(1, 0, 0, GapReason.AGENT_DOWN, 77), stamp_at(8, third))
    assert outbox.commit()
    kill(outbox)
    outbox = Outbox.open(path, stamp_at(30, third))
    assert outbox.downtimes(stamp_at(31, third))[:1] == (first,), "what was told is not told again"
    assert (77, None) in [(round(1000 * (to - since)), sensor) for since, to, sensor, _ in spans(outbox)]


class Clock:
    def stamp(self) -> Stamp:
        return stamp_at(1)

    def anchor(self) -> Anchor | None:
        return None


async def test_the_writer_keeps_what_is_held_with_the_records_beside_it(path: Path) -> None:
    async with OutboxWriter(path, Clock()) as writer:
        writer.hold("north", None, stamp_at(2))
        await writer.put(block(2, 12), stamp_at(12))
        writer.hold("north", block(12, 15), stamp_at(15))
        assert await writer.flush()
        writer.hold("north", block(12, 19), stamp_at(19))
        assert await writer.flush()
        outbox: Any = writer._open()
        await writer._call(kill, outbox)
    outbox = Outbox.open(path, stamp_at(20))
    assert spans(outbox) == EXPECTED[:2], "what was held alone was not worth a write"


async def test_what_the_run_before_left_is_committed_though_nothing_else_happens(path: Path) -> None:
    run_and_kill(path)
    async with OutboxWriter(path, Clock()) as writer, anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        with anyio.fail_after(30):
            while (await writer.stats()).uncommitted:
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
