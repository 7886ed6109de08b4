"""The outbox against a model collector, in any order of everything that can happen to the two."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.clock import Stamp
from common.records import Record
from edge_agent.outbox import Contact, Limits, Outbox
from edge_agent.outbox.entries import total_bytes
from edge_agent.outbox.file import OutboxFile
from tests.outbox_model import ModelCollector, count, detections, frames, stamp_at


def _refusing() -> NoReturn:
    """In the place of a transaction: a disk that refuses."""
    raise sqlite3.OperationalError("disk I/O error")


class OutboxAgainstCollector(RuleBasedStateMachine):
    """delivered + told as lost + still queued = generated, and nothing twice.

    What a crash may take with it are records that were never committed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.path = self.folder / "outbox.db"
        self.collector = ModelCollector()
        self.t_s = 1.0
        self.serial = 0
        self.uncommitted: list[str] = []
        self.committed: list[str] = []
        self.failing = False
        self.lost_from_memory = False
        self.only_delivered: set[str] = set()
        """Sent from memory and never on the disk: with the collector that has them, they are gone."""
        self.old_collector: ModelCollector | None = None
        self.open()

    def now(self) -> Stamp:
        self.t_s += 0.5
        return stamp_at(self.t_s)

    def open(self) -> None:
        self.outbox = Outbox.open(self.path, self.now(), Limits(memory_bytes=64 * 1024))
        self.failing = False

    def teardown(self) -> None:
        self.disk_recovers()
        # That the collector was put back shows with the next record, and there always is one.
        self.make(1, count)
        self.drain()
        self.check_books()
        self.outbox.close()
        shutil.rmtree(self.folder)

    # Records

    @rule(n=st.integers(1, 20), kind=st.sampled_from([count, frames, detections]))
    def make(self, n: int, kind: Callable[[int], Record]) -> None:
        for _ in range(n):
            self.serial += 1
            self.outbox.append(kind(self.serial), self.now())
            self.uncommitted.append(f"n{self.serial}")

    @rule()
    def commit(self) -> None:
        if self.outbox.commit():
            self.committed += self.uncommitted
            self.uncommitted.clear()

    @rule(share=st.floats(0.0, 1.0))
    def drop(self, share: float) -> None:
        """The outbox is over its cap."""
        if self.failing:
            return
        file = self.outbox._file
        whole_bytes = file.main_cap_bytes
        file.main_cap_bytes = int(file.live_bytes() * share)
        self.commit()
        self.outbox._shrink()
        file.main_cap_bytes = whole_bytes

    @precondition(lambda self: not self.failing)
    @rule()
    def disk_refuses(self) -> None:
        self.failing = True
        self.outbox._file.transaction = _refusing  # type: ignore[method-assign]

    @rule()
    def disk_recovers(self) -> None:
        if self.failing:
            self.failing = False
            file = self.outbox._file
            file.transaction = OutboxFile.transaction.__get__(file)  # type: ignore[method-assign]

    @precondition(lambda self: self.failing)
    @rule()
    def memory_overflows(self) -> None:
        for _ in range(20):
            self.serial += 1
            self.outbox.append(frames(self.serial, padding=90), self.now())
            self.uncommitted.append(f"n{self.serial}")
        self.outbox._squeeze_waiting(0)

    # The collector

    @precondition(lambda self: self.outbox.contact_due() is None or not self.failing)
    @rule(max_records=st.integers(1, 30), max_bytes=st.integers(1, 3000), answer_arrives=st.booleans())
    def send(self, max_records: int, max_bytes: int, answer_arrives: bool) -> None:
        self.contact()
        batch = self.outbox.next_batch(max_records, max_bytes, self.now())
        if batch is None:
            return
        if batch.first_seq > self.collector.watermark(batch.epoch) + 1:
            self.outbox_hears_409(batch.epoch)
            return
        watermark = self.collector.receive(batch)
        if answer_arrives:
            self.outbox.ack(batch.epoch, watermark)

    def outbox_hears_409(self, epoch: UUID) -> None:
        if not self.failing:
            contact = self.outbox.reconcile(epoch, self.collector.watermark(epoch), self.now())
            assert contact is not Contact.COLLECTOR_AHEAD

    def contact(self) -> None:
        epoch = self.outbox.contact_due()
        if epoch is not None:
            self.outbox.reconcile(epoch, self.collector.watermark(epoch), self.now())

    # What goes wrong

    @rule()
    def crash(self) -> None:
        # Until it has written again, the outbox sends from memory, also where the disk would take records by now.
        sends_from_memory = self.outbox.stats().trouble is not None
        self.outbox._file.close()
        if self.uncommitted and (self.failing or sends_from_memory):
            # Some may have been delivered from memory, or have become tombstones that were.
            delivered = [serial for serial in self.uncommitted if serial in set(self.collector.stored())]
            self.committed += delivered
            self.only_delivered.update(delivered)
            self.lost_from_memory = True
        self.uncommitted.clear()
        self.open()

    @rule()
    def collector_is_saved(self) -> None:
        self.old_collector = self.collector.copy()

    @precondition(lambda self: self.old_collector is not None)
    @rule()
    def collector_is_put_back(self) -> None:
        assert self.old_collector is not None
        self.collector = self.old_collector
        self.old_collector = None
        gone = self.only_delivered.difference(self.collector.stored())
        self.committed = [serial for serial in self.committed if serial not in gone]

    # The books

    def drain(self) -> None:
        while self.uncommitted:
            self.commit()
        for _ in range(10_000):
            self.contact()
            batch = self.outbox.next_batch(1000, 10**6, self.now())
            if batch is None:
                return
            if batch.first_seq > self.collector.watermark(batch.epoch) + 1:
                self.outbox_hears_409(batch.epoch)
                continue
            self.outbox.ack(batch.epoch, self.collector.receive(batch))
            self.outbox.commit()
        raise AssertionError("it never drains")

    @invariant()
    def nothing_twice(self) -> None:
        self.collector.check()

    @invariant()
    def what_waits_is_weighed(self) -> None:
        waiting = self.outbox._waiting
        assert waiting.size_bytes == sum(total_bytes(items) for _, items in waiting.streams())

    def check_books(self) -> None:
        self.collector.check()
        stored = self.collector.stored()
        assert set(stored) <= set(self.committed)
        assert len(stored) + self.collector.lost() >= len(self.committed)
        if not self.lost_from_memory:
            assert len(stored) + self.collector.lost() == len(self.committed)
        assert self.outbox.stats().waiting == 0


TestOutboxAgainstCollector = OutboxAgainstCollector.TestCase
TestOutboxAgainstCollector.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
