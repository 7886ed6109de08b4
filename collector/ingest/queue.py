"""The bounded queue between the requests and the writers.

A stream's batches are stored in the order they came: while one group holds a stream, later batches of it are
parked, and come back when the group is done. Two batches of one stream may be in one group.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from uuid import UUID

from collector.errors import ApiProblem
from collector.identity.device_tokens import Device
from common.batch import Ack, Batch

StreamKey = tuple[bytes, str, bytes]
"""Device, stream, epoch. The ids as bytes: keys are looked up often, and a UUID takes long to hash."""


def stream_key(device_id: UUID, stream: str, epoch: UUID) -> StreamKey:
    """The key of a stream."""
    return device_id.bytes, stream, epoch.bytes


@dataclass(slots=True, eq=False)
class Request:
    """A batch that waits to be stored, and for whom its answer is."""

    device: Device
    batch: Batch
    size_bytes: int
    """Of the decompressed batch."""
    queued_at_s: float
    """Monotonic."""
    answer: asyncio.Future[Ack | ApiProblem]
    turn: int | None = None
    """Of the bridge to MQTT: it is stored only as long as it is its turn. None: of no bridge."""
    stream: StreamKey = field(init=False)

    def __post_init__(self) -> None:
        self.stream = stream_key(self.device.id, self.batch.stream, self.batch.epoch)

    def settle(self, answer: Ack | ApiProblem) -> None:
        """Answer it, unless whoever asked has gone."""
        if not self.answer.done():
            self.answer.set_result(answer)


@dataclass(slots=True)
class Limits:
    """How much the queue holds, and how much a group takes from it."""

    queue_requests: int = 4096
    queue_bytes: int = 128 * 1024 * 1024
    group_requests: int = 256
    group_records: int = 20_000


@dataclass(slots=True)
class _Line:
    """What waits, in order. Parked batches wait for their stream."""

    ready: deque[Request] = field(default_factory=deque)
    parked: dict[StreamKey, deque[Request]] = field(default_factory=dict)


class BatchQueue:
    """Used by one event loop: any task puts, the writers take and release."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._line = _Line()
        self._busy: set[StreamKey] = set()
        self._waiting: set[Request] = set()
        self._arrived = asyncio.Event()
        self._size_bytes = 0

    @property
    def n_requests(self) -> int:
        """How many requests are waiting or being stored."""
        return len(self._waiting)

    @property
    def load(self) -> float:
        """How full the queue is, 0..1."""
        return max(len(self._waiting) / self._limits.queue_requests, self._size_bytes / self._limits.queue_bytes)

    def oldest_wait_s(self, now_s: float) -> float:
        """For how long the longest waiting request has been waiting; 0 if none is."""
        return max((now_s - request.queued_at_s for request in self._waiting), default=0.0)

    def put(self, request: Request) -> bool:
        """Queue a request; False: there is no room."""
        is_full = len(self._waiting) >= self._limits.queue_requests
        if is_full or self._size_bytes + request.size_bytes > self._limits.queue_bytes:
            return False
        self._waiting.add(request)
        self._size_bytes += request.size_bytes
        self._line_up(request)
        return True

    async def take(self) -> list[Request]:
        """The next group, at least one request. Its streams are held until `release`."""
        while True:
            while not self._line.ready:
                self._arrived.clear()
                await self._arrived.wait()
            group = self._take_ready()
            if group:
                return group

    def release(self, group: list[Request]) -> None:
        """A group is done with: its requests leave the queue, and its streams are free again."""
        for request in group:
            self._waiting.discard(request)
            self._size_bytes -= request.size_bytes
        for stream in {request.stream for request in group}:
            self._busy.discard(stream)
            for parked in self._line.parked.pop(stream, ()):
                self._line_up(parked)

    def _line_up(self, request: Request) -> None:
        if request.stream in self._busy:
            self._line.parked.setdefault(request.stream, deque()).append(request)
        else:
            self._line.ready.append(request)
            self._arrived.set()

    def _take_ready(self) -> list[Request]:
        ready = self._line.ready
        group: list[Request] = []
        n_records = 0
        while ready and len(group) < self._limits.group_requests and n_records < self._limits.group_records:
            request = ready.popleft()
            if request.stream in self._busy:
                self._line_up(request)
                continue
            group.append(request)
            n_records += len(request.batch.records)
        self._busy.update(request.stream for request in group)
        return group
