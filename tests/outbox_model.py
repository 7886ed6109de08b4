"""A collector in 60 lines, and the books that say whether an outbox kept its promise."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from common.clock import FLOOR_MS, Stamp
from common.codes import Direction, Via
from common.records import Count, Detections, Frames, Gap, Record, first_covered_seq
from edge_agent.outbox import Contact, Outbox, OutgoingBatch

_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
START_MS = FLOOR_MS + 100 * 86_400_000
BOOT = "2f1c6e1e-0000-4000-8000-000000000001"


def stamp_at(t_s: float, boot: str = BOOT, *, synced: bool = True) -> Stamp:
    return Stamp(boot, int(t_s * 1e9), START_MS + int(t_s * 1000), synced)


def count(serial: int) -> Count:
    """A count that can be told from all others."""
    return Count(1, 0, 0, "cam", "line", Via.CAMERA, "car", Direction.IN, track=f"n{serial}")


def frames(serial: int, padding: int = 0) -> Frames:
    """A block of frames that can be told from all others."""
    return Frames(1, 0, 0, f"n{serial}" + "x" * padding, 10_000, 10_000, 100, 0)


def detections(serial: int) -> Detections:
    return Detections(1, 0, 0, f"n{serial}", [])


def serial_of(record: Record) -> str:
    if isinstance(record, Count):
        return str(record.track)
    assert isinstance(record, Frames | Detections)
    return record.sensor.rstrip("x")


@dataclass
class Stream:
    watermark: int = 0
    stored: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    time_gaps: list[Gap] = field(default_factory=list)
    lost: int = 0


class ModelCollector:
    """Does what the protocol says a collector does, and nothing else."""

    def __init__(self) -> None:
        self.streams: dict[UUID, Stream] = {}

    def copy(self) -> "ModelCollector":
        other = ModelCollector()
        other.streams = deepcopy(self.streams)
        return other

    def watermark(self, epoch: UUID) -> int:
        return self.streams[epoch].watermark if epoch in self.streams else 0

    def receive(self, batch: OutgoingBatch) -> int:
        """Takes in a batch and gives the watermark; a hole is an AssertionError, as the sync never makes one."""
        stream = self.streams.setdefault(batch.epoch, Stream())
        assert batch.first_seq <= stream.watermark + 1, "a hole before the batch"
        expected = batch.first_seq
        for raw in batch.records:
            record = _decoder.decode(raw)
            assert first_covered_seq(record) == expected, "records must follow each other"
            assert record.at >= FLOOR_MS
            expected = record.seq + 1
            self._store(stream, record)
        assert expected == batch.last_seq + 1
        return stream.watermark

    def _store(self, stream: Stream, record: Record) -> None:
        if record.seq <= stream.watermark:
            return
        if isinstance(record, Gap) and record.from_seq is not None:
            n = record.seq - max(record.from_seq, stream.watermark + 1) + 1
            if record.dropped:
                assert sum(record.dropped.values()) == record.seq - record.from_seq + 1
            stream.lost += n
            stream.gaps.append(record)
        elif isinstance(record, Gap):
            stream.time_gaps.append(record)
        else:
            stream.stored.append(serial_of(record))
        stream.watermark = record.seq

    def stored(self) -> list[str]:
        return [serial for stream in self.streams.values() for serial in stream.stored]

    def lost(self) -> int:
        return sum(stream.lost for stream in self.streams.values())

    def gaps(self) -> Sequence[Gap]:
        return [gap for stream in self.streams.values() for gap in stream.gaps]

    def time_gaps(self) -> Sequence[Gap]:
        return [gap for stream in self.streams.values() for gap in stream.time_gaps]

    def check(self) -> None:
        """What it has adds up, and it has nothing twice."""
        for stream in self.streams.values():
            assert stream.watermark == len(stream.stored) + len(stream.time_gaps) + stream.lost
        assert len(set(self.stored())) == len(self.stored())


def fill(outbox: Outbox, first: int, last: int, make: Callable[[int], Record] = count) -> None:
    for serial in range(first, last + 1):
        outbox.append(make(serial), stamp_at(serial))
    assert outbox.commit()


def meet(outbox: Outbox, collector: ModelCollector, t_s: float = 10_000) -> Contact | None:
    epoch = outbox.contact_due()
    if epoch is None:
        return None
    return outbox.reconcile(epoch, collector.watermark(epoch), stamp_at(t_s))


def drain(outbox: Outbox, collector: ModelCollector, t_s: float = 10_000) -> list[Contact]:
    """Deliver everything; gives what the first contacts said."""
    contacts = []
    for _ in range(1000):
        while (contact := meet(outbox, collector, t_s)) is not None:
            contacts.append(contact)
        batch = outbox.next_batch(500, 100_000, stamp_at(t_s))
        if batch is None and outbox.contact_due() is not None:
            continue
        if batch is None:
            collector.check()
            return contacts
        outbox.ack(batch.epoch, collector.receive(batch))
        outbox.commit()
    raise AssertionError("it never drains")


def serials(first: int, last: int) -> set[str]:
    return {f"n{serial}" for serial in range(first, last + 1)}
