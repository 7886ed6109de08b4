"""The outbox: every record from when it is made until the collector is known to have it.

What it promises:

* **Accepted is durable.** After `commit()` returned True, everything appended before is on the disk.
* **Exactly once.** A stream numbers its records from 1 without a hole; a record keeps its number, and its epoch,
  until the collector's watermark has passed it. Where a number could be given out twice (the file was put back to
  an older state, was copied to another machine, or was salvaged), a new epoch begins.
* **Never silent.** What has to be dropped leaves a tombstone in its place, which is delivered like a record.
* **A run that is killed leaves no time untold.** What its sensors had measured and not told yet, and since when
  nothing is known of them, is told when the file is opened the next time.
* **It always works.** A damaged file is moved aside and salvaged; where the disk cannot be used the outbox lives
  in memory. The one error at opening is `OutboxBusy`.

One thread calls everything. Records wait in memory from `append` to `commit`; where the disk refuses a commit they
go on waiting there, up to `Limits.memory_bytes`, and can be sent from there. That is safe: after a crash the
collector's watermark is then ahead of the file, which is handled as a file that was put back to an older state.
"""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from common.batch import Rejection
from common.clock import Anchor, Resolved, Stamp
from common.codes import GapReason
from common.records import Gap, Record
from edge_agent.outbox import accounts, marks
from edge_agent.outbox.accounts import Account, Downtime, Ledger
from edge_agent.outbox.chronicle import Chronicle
from edge_agent.outbox.codec import (
    Damaged,
    encode_run,
    text_of,
    to_entry,
    to_item,
    to_item_or_tombstone,
    tombstone,
)
from edge_agent.outbox.entries import Item, Lost, Row, covered, to_row
from edge_agent.outbox.errors import OutboxBusy, OutboxUnavailable
from edge_agent.outbox.file import EntryRow, is_corrupt, key_of, position_of
from edge_agent.outbox.model import (
    STREAM,
    Contact,
    Generation,
    Limits,
    OutboxStats,
    OutgoingBatch,
    QuarantinedRecord,
)
from edge_agent.outbox.opening import Opened, open_file, open_on_disk
from edge_agent.outbox.salvage import Known
from edge_agent.outbox.shrinking import shrink
from edge_agent.outbox.waiting import Waiting, n_fitting

logger = logging.getLogger(__name__)

_QUARANTINE_CHARS = 4000


class Outbox:
    """See the module's text. Made by `Outbox.open`."""

    def __init__(self, path: Path, now: Stamp, limits: Limits, host: str | None) -> None:
        """Use `Outbox.open`."""
        self._limits = limits
        self._path = path
        self._host = host
        self._waiting = Waiting()
        self._aside: list[tuple[str, int, str, str, str]] = []
        self._trouble: str | None = None
        self._dropped = 0
        self._marks: marks.Marks = ()
        self._ledger = self._ledger_saved = Ledger()
        self._previous_end: Stamp | None = None
        """The latest that is known of the run before: a record, or the collector's word; None: there was none, or
        it is on a disk that cannot be read yet, or it is in the ledger."""
        self._now = now
        self._adopt(open_file(path, limits, now, host))
        self._take_over()

    @classmethod
    def open(cls, path: Path, now: Stamp, limits: Limits | None = None, host: str | None = None) -> "Outbox":
        """Open the outbox at `path`, or make it.

        Args:
            now: the present moment.
            host: what tells this machine from others (a serial number). Where it differs from the one that the
                file was made on, the file was copied, and new records get a new epoch.

        Raises:
            OutboxBusy: another process has it open.
        """
        return cls(path, now, limits or Limits(), host)

    def _adopt(self, opened: Opened) -> None:
        """Take over a file that was just opened, and tell in a gap what was lost before."""
        self._file = opened.file
        self._trouble = opened.trouble
        self._chronicle = Chronicle(opened.file.boots(), opened.file.anchors())
        self._boots_saved = 0
        self._generations = [Generation.of(row) for row in opened.file.generations()]
        self._dropped = max(self._dropped, int(opened.file.note("dropped") or 0))
        self._dropped_saved = self._dropped
        self._marks_saved = marks.decode(opened.file.note(marks.NOTE))
        self._marks = marks.merged(self._marks_saved, self._marks)
        self._ledger_saved = accounts.decode(opened.file.note(accounts.NOTE))
        self._ledger = msgspec.structs.replace(self._ledger, run=self._ledger_saved.run)
        if opened.gap is not None:
            self.append(Gap(1, 0, 0, opened.gap, 0, detail=opened.detail), self._now)

    def _take_over(self) -> None:
        """The run before had the file that was just opened: what it did not come to tell is told now."""
        before = self._ledger_saved
        self._previous_end = accounts.last_of(before, self._chronicle.last_sign())
        self._ledger = msgspec.structs.replace(self._ledger, downtimes=before.downtimes)
        if self._previous_end is not None:
            for record, stamp in accounts.rest(before, self._previous_end):
                self.append(record, stamp)

    # Records come in

    def append(self, record: Record, stamp: Stamp, stream: str = STREAM) -> None:
        """Take in a record, to be made durable by the next `commit`. Its seq and times are placeholders.

        Raises:
            RecordRefused: it could never be delivered.
        """
        self.append_items(stream, [to_row(record, stamp)])

    def append_items(self, stream: str, items: Iterable[Item]) -> None:
        """Take in items, oldest first."""
        for item in items:
            self._waiting.add(stream, item)
            if isinstance(item, Lost):
                self._dropped += item.covers
        if self._waiting.size_bytes > self._limits.memory_bytes:
            self._squeeze_waiting(self._limits.memory_bytes * 7 // 8)

    def account(self, sensors: Mapping[str, Account]) -> None:
        """How far the time of sensors is told, with the records that were appended so far: kept with the next
        commit of records."""
        self._ledger = msgspec.structs.replace(self._ledger, sensors={**self._ledger.sensors, **sensors})

    def downtimes(self, start: Stamp) -> tuple[Downtime, ...]:
        """When the agent did not run, as far as it is not told yet, the latest at the end.

        Args:
            start: when this run began.
        """
        end, self._previous_end = self._previous_end, None
        if end is not None:
            self._ledger = accounts.with_downtime(self._ledger, end, start)
        return self._ledger.downtimes

    def tell_downtime(self, downtime: Downtime, gap: Gap, now: Stamp) -> None:
        """Take in the gap that one of `downtimes` is. `now`: the present moment."""
        self._chronicle.see_earlier(downtime.start, now)
        self.append(gap, downtime.start)
        left = tuple(other for other in self._ledger.downtimes if other != downtime)
        self._ledger = msgspec.structs.replace(self._ledger, downtimes=left)

    def known_sources(self) -> dict[str, int]:
        """All sources and what is durable here of each."""
        return {} if self.in_memory else dict(self._marks_saved)

    def take_in(self, source: str, numbered: Sequence[tuple[int, Row]], now: Stamp, stream: str = STREAM) -> bool:
        """Take in what another daemon keeps until it is durable here. What the source's mark covers is left out.

        Args:
            numbered: records with the source's numbers, in order.

        Returns:
            False where the disk refuses: what is beyond the mark was not taken in then, is not sent, and must be
            offered again. True: all of it is durable here.
        """
        reached = marks.mark_of(self._marks_saved, source)
        left = [(no, row) for no, row in numbered if reached is None or no > reached]
        while left:
            n = n_fitting([row for _, row in left], self._file.main_cap_bytes // 32)
            if not self._take_in_at_once(source, left[:n], now, stream):
                return False
            del left[:n]
        return True

    def _take_in_at_once(self, source: str, part: Sequence[tuple[int, Row]], now: Stamp, stream: str) -> bool:
        """So few that they fit into one transaction, together with their mark."""
        if self.in_memory or not self.commit():
            return False
        rows = [row for _, row in part]
        for row in rows:
            self._chronicle.see_earlier(row.stamp, now)
        self.append_items(stream, rows)
        self._marks = marks.advanced(self._marks_saved, source, part[-1][0])
        if self.commit():
            return True
        # The source goes on keeping them, so they must not be sent from memory.
        self._waiting.withdraw(stream, rows)
        self._marks = self._marks_saved
        return False

    def add_anchor(self, anchor: Anchor) -> None:
        """Somebody told the time. It is kept, with the next commit, if it is news."""
        self._chronicle.add_anchor(anchor)

    def now(self, stamp: Stamp) -> Resolved:
        """What time it is at `stamp`, as well as the outbox knows."""
        return self._chronicle.now(stamp)

    def resolve(self, stamp: Stamp, now: Stamp) -> Resolved:
        """When `stamp` was, as far as is known at `now`."""
        return self._chronicle.resolve(stamp, now)

    def commit(self) -> bool:
        """Make everything durable: records, acknowledgements, anchors.

        Returns:
            False where the disk refuses. Nothing is lost by that, only not durable; `stats().trouble` tells why.
            Try again later.
        """
        retries = 1
        while self._is_dirty():
            try:
                with self._file.transaction():
                    write = self._write()
            except sqlite3.Error as error:
                if not self._recovered(error) or retries == 0:
                    return False
                retries -= 1
            else:
                self._written(write)
                self._shrink()
        return self._file.path is not None and self._trouble is None

    def _is_dirty(self) -> bool:
        return bool(
            self._waiting
            or self._aside
            or self._chronicle.anchors_changed
            or self._dropped != self._dropped_saved
            or self._marks != self._marks_saved
            or self._ledger.downtimes != self._ledger_saved.downtimes
            or any(g.acked != g.stored_acked for g in self._generations)
        )

    def _write(self) -> "_Written":
        """What is not on the disk yet; of very much only so many records that the file stays below its cap.

        Gives the generations as they will then be, and what was taken from memory.
        """
        file, after = self._file, [replace(g) for g in self._generations]
        acked = any(g.acked != g.stored_acked for g in after)
        for generation in after:
            if generation.acked != generation.stored_acked:
                file.delete(key_of(generation.no, 0), key_of(generation.no, generation.acked))
                file.set_generation(generation.no, generation.acked, generation.opened)
                generation.stored_acked = generation.acked
        taken: dict[str, int] = {}
        room_bytes = file.main_cap_bytes // 32
        for stream, items in self._waiting.streams():
            taken[stream] = n = n_fitting(items, room_bytes)
            newest = _newest(after, stream) or self._begin(stream, after)
            file.insert(self._numbered(newest, items[:n]))
            newest.last += covered(items[:n])
        for done in [g for g in after if g.acked == g.last and g is not _newest(after, g.stream)]:
            file.delete_generation(done.no)
            after.remove(done)
        boots = self._chronicle.boots()
        if acked or len(boots) != self._boots_saved:
            file.put_boots(boots)
        if self._chronicle.anchors_changed:
            file.replace_anchors(self._chronicle.anchors())
        if self._aside:
            file.put_aside(self._aside, self._limits.quarantine_records)
        if self._dropped != self._dropped_saved:
            file.set_note("dropped", str(self._dropped))
        # A mark must not be ahead of what it stands for.
        whole = all(taken[stream] == len(items) for stream, items in self._waiting.streams())
        if whole and self._marks != self._marks_saved:
            file.set_note(marks.NOTE, marks.encode(self._marks))
        # Nor must an account be behind: it would be told again.
        ledger = self._ledger if whole else msgspec.structs.replace(self._ledger, sensors={})
        if ledger != self._ledger_saved and (taken or ledger.downtimes != self._ledger_saved.downtimes):
            file.set_note(accounts.NOTE, accounts.encode(ledger))
        else:
            ledger = self._ledger_saved
        return _Written(after, taken, self._marks if whole else self._marks_saved, ledger)

    def _written(self, written: "_Written") -> None:
        """A transaction of `_write` is on the disk."""
        self._generations = written.generations
        for stream, n in written.taken.items():
            self._waiting.take(stream, n)
        self._aside.clear()
        self._boots_saved = len(self._chronicle.boots())
        self._chronicle.anchors_changed = False
        self._dropped_saved = self._dropped
        self._marks_saved = written.marks
        self._ledger_saved = written.ledger
        if self._trouble and self._file.path is not None:
            logger.warning("the outbox can be written again", extra={"action": "outbox_writable"})
            self._trouble = None

    def _begin(self, stream: str, generations: list[Generation]) -> Generation:
        """A new generation of `stream`, at the end of `generations`."""
        epoch = uuid4()
        no = self._file.add_generation(stream, epoch, 0, 0, 0)
        generations.append(Generation(no, stream, epoch, opened=0))
        return generations[-1]

    def _numbered(self, generation: Generation, items: Iterable[Item]) -> Iterable[EntryRow]:
        position = generation.last
        for item in items:
            position += item.covers
            yield to_entry(key_of(generation.no, position), item, self._chronicle)

    # Records go out

    def contact_due(self, stream: str = STREAM) -> UUID | None:
        """The epoch whose watermark must be asked for before more of `stream` can be sent; None: none."""
        generation = self._sending(stream)
        return generation.epoch if generation is not None and generation.opened is not None else None

    def reconcile(self, epoch: UUID, watermark: int, now: Stamp) -> Contact:
        """The collector says how far it has an epoch: at first contact, and when it asks for another number.

        Raises:
            OutboxUnavailable: the disk refuses; nothing of this epoch may be sent yet.
        """
        self._now = now
        generation = self._find(epoch)
        if generation is None:
            return Contact.AS_EXPECTED
        reached = generation.base + watermark
        try:
            if reached > max(
                generation.sent if generation.opened is None else generation.opened, generation.acked
            ):
                self._new_epoch(generation)
                return Contact.COLLECTOR_AHEAD
            if reached < generation.stored_acked:
                self._tell_lost(generation, reached)
                return Contact.COLLECTOR_BEHIND
            self._in_contact(generation)
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"the outbox cannot be written: {error}") from error
        self._advance(generation, reached)
        return Contact.AS_EXPECTED

    def next_batch(
        self, max_records: int, max_bytes: int, now: Stamp, stream: str = STREAM
    ) -> OutgoingBatch | None:
        """The oldest run of `stream` that is not acknowledged, dated as well as is known at `now`.

        Args:
            max_bytes: of the encoded records together. At least one record is given, however large.

        Returns:
            None: there is nothing to send, or `contact_due` says what to ask first.

        Raises:
            OutboxUnavailable: the disk cannot be read.
        """
        self._now = now
        generation = self._sending(stream)
        if generation is None or generation.opened is not None:
            return None
        try:
            items = self._next_items(generation, max_records)
        except sqlite3.Error as error:
            if self._recovered(error):
                return None
            raise OutboxUnavailable(f"the outbox cannot be read: {error}") from error
        return encode_run(generation, items, max_bytes, self._chronicle, now)

    def ack(self, epoch: UUID, watermark: int, rejected: Sequence[Rejection] = ()) -> Contact:
        """The collector has everything of an epoch up to `watermark`. Durable with the next commit.

        Raises:
            OutboxUnavailable: only where the watermark is ahead of all that was sent.
        """
        generation = self._find(epoch)
        if generation is None:
            return Contact.AS_EXPECTED
        reached = generation.base + watermark
        if reached > generation.sent:
            return self.reconcile(epoch, watermark, self._now)
        for rejection in rejected:
            position = generation.base + rejection.seq
            if generation.acked < position <= reached:
                self._put_aside(generation, position, rejection.code.value, rejection.detail)
        self._advance(generation, reached)
        return Contact.AS_EXPECTED

    def give_up_on(self, epoch: UUID, seq: int, reason: GapReason, detail: str) -> None:
        """The record `seq` can never be delivered: it goes to the quarantine, and a tombstone takes its place.

        Raises:
            OutboxUnavailable: the disk refuses.
        """
        generation = self._find(epoch)
        if generation is None:
            return
        position = generation.base + seq
        self._put_aside(generation, position, reason.value, detail)
        index = position - generation.last - 1
        if index >= 0:
            # From memory only the front can have been sent, and a batch of one record is its first.
            if index == 0:
                self._waiting.lose_first(generation.stream, reason)
            return
        key = key_of(generation.no, position)
        try:
            with self._file.transaction():
                for row in self._file.read(key, key, 1):
                    self._bury(row, reason)
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"the outbox cannot be written: {error}") from error
        self._dropped += 1

    def stats(self) -> OutboxStats:
        """How it stands."""
        uncommitted = self._waiting.covers
        return OutboxStats(
            durable=self._file.path is not None and self._trouble is None,
            trouble=self._trouble,
            waiting=uncommitted + sum(g.last - g.acked for g in self._generations),
            uncommitted=uncommitted,
            size_bytes=self._file.size_bytes(),
            dropped=self._dropped,
        )

    def quarantine(self) -> list[QuarantinedRecord]:
        """The newest records that were put aside, newest first."""
        return [QuarantinedRecord(*row) for row in [*reversed(self._aside), *self._file.quarantine()]]

    def close(self) -> None:
        """Commit what can be committed, and close. May be called twice."""
        if self._file.closed:
            return
        if not self.commit() and self._waiting:
            logger.error("closed with records that the disk refused", extra={"action": "outbox_close"})
        self._file.close()

    @property
    def in_memory(self) -> bool:
        """Whether there was no disk to open the outbox on."""
        return self._file.path is None

    def return_to_disk(self, now: Stamp) -> bool:
        """Where the outbox lives in memory: try the disk again, and move everything there.

        Returns:
            Whether it is on the disk now.
        """
        if self._file.path is not None:
            return True
        try:
            opened = open_on_disk(self._path, self._limits, now, self._host)
        except (OSError, sqlite3.Error, OutboxBusy):
            return False
        memory, old_chronicle, moved = self._file, self._chronicle, self._generations
        self._now = now
        self._adopt(opened)
        self._take_over()
        for _, anchor in old_chronicle.anchors():
            self._chronicle.add_anchor(anchor)
        for generation in moved:
            rows = memory.read(key_of(generation.no, 0), key_of(generation.no, generation.last), 1 << 30)
            items = [to_item_or_tombstone(row, old_chronicle, now) for row in rows]
            self._move_in(generation, [position_of(row.key) for row in rows], items)
        memory.close()
        logger.warning("the outbox is on the disk now", extra={"action": "outbox_on_disk"})
        return True

    def _move_in(self, generation: Generation, positions: list[int], items: list[Item]) -> None:
        with self._file.transaction():
            generation.no = self._file.add_generation(
                generation.stream, generation.epoch, generation.base, generation.acked, generation.opened
            )
            keys = (key_of(generation.no, position) for position in positions)
            self._file.insert(to_entry(key, item, self._chronicle) for key, item in zip(keys, items, strict=True))
            self._file.put_boots(self._chronicle.boots())
        generation.stored_acked = generation.acked
        self._generations.append(generation)

    def _sending(self, stream: str) -> Generation | None:
        """The oldest generation of `stream` that has something to send, or else the newest."""
        own = [g for g in self._generations if g.stream == stream]
        return next((g for g in own if g.acked < g.last), own[-1] if own else None)

    def _find(self, epoch: UUID) -> Generation | None:
        return next((g for g in self._generations if g.epoch == epoch), None)

    def _next_items(self, generation: Generation, max_records: int) -> list[tuple[int, Item]]:
        """Items from the disk, each with the position that it ends at; where the disk refuses also from memory."""
        keys = key_of(generation.no, generation.acked + 1), key_of(generation.no, generation.last)
        items = [self._checked(generation, row) for row in self._file.read(*keys, max_records)]
        if self._trouble and generation is _newest(self._generations, generation.stream):
            position = generation.last
            for item in self._waiting.of(generation.stream)[: max_records - len(items)]:
                position += item.covers
                items.append((position, item))
        return items

    def _checked(self, generation: Generation, row: EntryRow) -> tuple[int, Item]:
        """The item of a row; one that is damaged is put aside and buried."""
        position = position_of(row.key)
        try:
            return position, to_item(row, self._chronicle)
        except Damaged as error:
            with self._file.transaction():
                lost = self._bury(row, GapReason.OUTBOX_CORRUPT)
            self._dropped += 1
            self._aside.append(
                (str(generation.epoch), position - generation.base, "damaged", str(error), text_of(row))
            )
            return position, lost

    def _bury(self, row: EntryRow, reason: GapReason) -> Lost:
        """Put a tombstone in the place of a row; within a transaction."""
        lost = tombstone(row, reason, self._chronicle, self._now)
        self._file.delete(row.key, row.key)
        self._file.insert([to_entry(row.key, lost, self._chronicle)])
        return lost

    def _put_aside(self, generation: Generation, position: int, code: str, detail: str) -> None:
        """Note one record for the quarantine; it is written with the next commit."""
        key = key_of(generation.no, position)
        rows = self._file.read(key, key, 1)
        index = position - generation.last - 1
        waiting = self._waiting.of(generation.stream)
        if rows:
            text = text_of(rows[0])
        elif 0 <= index < len(waiting) and isinstance(waiting[index], Row):
            text = text_of(to_entry(key, waiting[index], self._chronicle))
        else:
            text = ""
        seq = position - generation.base
        self._aside.append(
            (str(generation.epoch), seq, code, detail[:_QUARANTINE_CHARS], text[:_QUARANTINE_CHARS])
        )
        del self._aside[: -self._limits.quarantine_records]

    # What the collector's watermark changes

    def _advance(self, generation: Generation, reached: int) -> None:
        """Everything up to a position is delivered. What was sent from memory leaves it."""
        self._waiting.take_covered(generation.stream, reached - generation.last)
        generation.last = max(generation.last, reached)
        generation.acked = max(generation.acked, reached)
        generation.sent = max(generation.sent, generation.acked)

    def _in_contact(self, generation: Generation) -> None:
        """Note on the disk, before anything is sent, that from now on the collector may be ahead of `opened`."""
        if generation.opened is not None:
            with self._file.transaction():
                self._file.set_generation(generation.no, generation.stored_acked, None)
            generation.opened = None
            generation.sent = generation.acked

    def _tell_lost(self, generation: Generation, reached: int) -> None:
        """The collector lost what it had acknowledged and what is deleted here."""
        n = generation.stored_acked - reached
        key = key_of(generation.no, generation.stored_acked)
        lost = Lost(n, GapReason.COLLECTOR_LOST, self._now, self._now, {})
        with self._file.transaction():
            self._file.set_generation(generation.no, reached, None)
            self._file.insert([to_entry(key, lost, self._chronicle)])
        generation.acked = generation.sent = generation.stored_acked = reached
        generation.opened = None
        logger.error(
            "the collector lost %d records that it had acknowledged", n, extra={"action": "collector_behind"}
        )

    def _new_epoch(self, generation: Generation) -> None:
        """The collector has numbers that were never sent from this file.

        At first contact everything that was there at `opened` was delivered before the file was put back. Within a
        contact another machine sends under the same epoch, so that nothing after `acked` can have been stored.
        """
        bound = generation.acked if generation.opened is None else max(generation.opened, generation.acked)
        epoch = uuid4()
        with self._file.transaction():
            self._file.rename_generation(generation.no, epoch, bound)
            self._file.delete(key_of(generation.no, 0), key_of(generation.no, bound))
        logger.error(
            "the collector has records of epoch %s that this outbox does not know: its disk refused them, or it "
            "was put back to an older state or copied. %d newer records get a new epoch",
            generation.epoch,
            generation.last - bound,
            extra={"action": "collector_ahead"},
        )
        generation.epoch, generation.base, generation.opened = epoch, bound, None
        generation.acked = generation.stored_acked = generation.sent = bound
        generation.last = max(generation.last, bound)

    # Bounds and failures

    def _squeeze_waiting(self, to_bytes: int) -> None:
        """Drop from memory, which happens only while the disk refuses. What is under way stays."""
        reason = GapReason.DISK_ERROR if self._trouble else GapReason.OUTBOX_FULL
        # The newest generation of a stream is its last.
        under_way = {g.stream: g.sent - g.last for g in self._generations}
        self._dropped += self._waiting.squeeze(to_bytes, reason, under_way)

    def _shrink(self) -> None:
        """Drop from the disk, class by class and oldest first, until the file is well below its cap."""
        if self._file.live_bytes() <= self._file.main_cap_bytes * 15 // 16:
            return
        target_bytes = self._file.main_cap_bytes * 14 // 16
        before = self._dropped
        spans = [(key_of(g.no, g.sent + 1), key_of(g.no, g.last)) for g in self._generations if g.last > g.sent]
        try:
            for n_dropped in shrink(self._file, self._chronicle, spans, target_bytes, self._now):
                self._dropped += n_dropped
        except sqlite3.Error as error:
            self._recovered(error)
            return
        logger.warning(
            "the outbox is full: %d records were dropped", self._dropped - before, extra={"action": "outbox_full"}
        )

    def _recovered(self, error: sqlite3.Error) -> bool:
        """What can be done about an error of the file. True: try again."""
        if self._file.path is not None and is_corrupt(error):
            logger.error("the outbox broke while in use: %s", error, extra={"action": "outbox_corrupt"})
            known = {g.no: Known(g.stream, g.epoch, g.base, g.acked, g.opened, g.last) for g in self._generations}
            self._file.close()
            self._adopt(open_file(self._file.path, self._limits, self._now, self._host, known))
            return True
        trouble = f"the disk refuses records ({error}); they wait in memory"
        if self._trouble is None:
            logger.error("outbox: %s", trouble, extra={"action": "outbox_disk_error"})
        self._trouble = trouble
        return False


class _Written(NamedTuple):
    """What one transaction wrote."""

    generations: list[Generation]
    taken: dict[str, int]
    """How many items at the front of each stream's waiting ones."""
    marks: marks.Marks
    ledger: Ledger


def _newest(generations: Sequence[Generation], stream: str) -> Generation | None:
    """The generation of `stream` that new records go to."""
    return next((g for g in reversed(generations) if g.stream == stream), None)
