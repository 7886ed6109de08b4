"""What a junction does, in its operators' words: `car_count`, `green_time`, `signal`, `mode`, `log`.

First comes a `snapshot`: how the junction is. What follows may be in it already, since it is read after listening
has begun; a `signal` that is older than what was told is left out. Times are as in the rest of the API, not in ms.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from collector.db import VIEWER, Pool
from collector.junctions.lights_queries import read_junction_lights
from collector.junctions.lights_routes import SignalsAnswer, signals_answer
from collector.realtime.events import LiveCount, LiveCycle, LiveLane, LiveLog, LiveMode, LiveOccupancy, LiveSignal
from collector.realtime.hub import Event, Hub
from collector.realtime.streams import JunctionGone, Message, message, plain_message
from common.codes import Aspect, Direction, SignalMode, Via
from common.junction import DESCRIBED_ACTION, DetectorKind

_SHARED_FOR_S = 2.0


class CarCount(msgspec.Struct, frozen=True):
    """One vehicle or person was counted.

    `lane` and `detector` are known where the junction's description names the line or reader. A lane may have
    several detectors: those of kind `stop_line` count what leaves it, `advance` what comes.
    """

    at: datetime
    lane: str | None
    detector: DetectorKind | None
    cls: Annotated[str, msgspec.Meta(description="`car`, `bus`, `person`, ...")] = msgspec.field(name="class")
    direction: Direction
    via: Via
    sensor: str
    source: str
    device: UUID
    inferred: bool


class GreenTime(msgspec.Struct, frozen=True):
    """A signal cycle of `cycle_s` ended at `at`: what each lane got. `vehicles` null: not measured."""

    at: datetime
    cycle_s: float
    mode: str
    algorithm: str
    plan: str | None
    lanes: list[LiveLane]
    device: UUID


class SignalChange(msgspec.Struct, frozen=True):
    """A movement shows `aspect` since `since`. `movement` null: its phase is not described."""

    movement: str | None
    phase: int
    aspect: Aspect
    since: datetime


class ModeChange(msgspec.Struct, frozen=True):
    """How the lights are run now. `order`: the one of which something became known, where that is the news."""

    at: datetime
    mode: SignalMode | None
    flash: str | None
    plan: str | None
    order: dict[str, Any] | None


class LogLine(msgspec.Struct, frozen=True):
    """A warning or worse, or something about the lights. `device` null: the collector's own."""

    at: datetime
    level: str
    action: str
    message: str
    device: UUID | None


class JunctionReader:
    """Reads how junctions are, once for all who ask at the same time. Used by one event loop."""

    def __init__(self, pool: Pool, hub: Hub) -> None:
        self._pool, self._hub = pool, hub
        self._key: tuple[str, int] | None = None
        self._reading: dict[UUID, asyncio.Task[SignalsAnswer | None]] = {}

    async def read(self, junction: UUID) -> SignalsAnswer:
        """How it is: at least what was published by now. Raises JunctionGone: there is none."""
        key = (self._hub.last_id, int(time.monotonic() / _SHARED_FOR_S))
        if key != self._key:
            self._key, self._reading = key, {}
        task = self._reading.get(junction)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._reading[junction] = asyncio.create_task(self._read(junction))
        found = await asyncio.shield(task)
        if found is None:
            raise JunctionGone
        return found

    async def _read(self, junction: UUID) -> SignalsAnswer | None:
        VIEWER.set(None)  # For all who ask; whether they may was asked before.
        found = await read_junction_lights(self._pool, junction)
        return None if found is None else signals_answer(found)


class JunctionWords:
    """For one listener of one junction."""

    def __init__(self, junction: UUID, reader: JunctionReader) -> None:
        self._junction, self._reader = junction, reader
        self._detectors: dict[tuple[str, str], tuple[str, DetectorKind]] = {}
        self._movements: dict[int, str] = {}
        self._since: dict[int, datetime] = {}
        self._run_by: tuple[SignalMode | None, str | None, str | None] = (None, None, None)

    def check(self, seen: frozenset[UUID] | None) -> None:
        if seen is not None and self._junction not in seen:
            raise JunctionGone

    async def begin(self, start_id: str) -> Sequence[Message]:
        return [await self._snapshot(Event(start_id, "snapshot"))]

    async def tell(self, events: Sequence[Event]) -> Sequence[Message]:
        told: list[Message] = []
        for event in events:
            told += await self._tell(event)
        return told

    async def _tell(self, event: Event) -> Sequence[Message]:
        match event.data:
            case LiveCount() as count:
                return [message(event, "car_count", self._count(count))]
            case LiveCycle() as cycle:
                return [message(event, "green_time", _green_time(cycle))]
            case LiveSignal(phase=None):
                return await self._unit_change(event)
            case LiveSignal() as signal:
                return self._signal(event, signal)
            case LiveMode() as mode:
                return [message(event, "mode", ModeChange(_time(mode.at), *self._run_by, mode.order))]
            case LiveLog() as log:
                line = message(
                    event, "log", LogLine(_time(log.at), log.level, log.action, log.message, log.device)
                )
                return [line, await self._snapshot(event)] if log.action == DESCRIBED_ACTION else [line]
            case LiveOccupancy():
                return []
        notice = plain_message(event)
        return [notice, await self._snapshot(event)] if event.kind == "reset" else [notice]

    async def _snapshot(self, event: Event) -> Message:
        answer = await self._reader.read(self._junction)
        self._learn(answer)
        return message(event, "snapshot", answer)

    def _learn(self, answer: SignalsAnswer) -> None:
        known = answer.description
        self._detectors = {(d.sensor, d.source): (d.lane, d.kind) for d in known.detectors} if known else {}
        self._movements = {head.phase: head.movement for head in answer.movements if head.movement}
        self._since = {head.phase: head.since for head in answer.movements if head.since}
        self._run_by = (answer.mode, answer.flash, answer.plan)

    def _count(self, count: LiveCount) -> CarCount:
        lane, detector = self._detectors.get((count.sensor, count.source), (None, None))
        what = (count.cls, count.direction, count.via, count.sensor, count.source, count.device, count.inferred)
        return CarCount(_time(count.at), lane, detector, *what)

    def _signal(self, event: Event, signal: LiveSignal) -> Sequence[Message]:
        assert signal.phase is not None
        assert signal.aspect is not None
        since = _time(signal.at)
        if since < self._since.get(signal.phase, since):
            return []
        self._since[signal.phase] = since
        movement = self._movements.get(signal.phase)
        return [message(event, "signal", SignalChange(movement, signal.phase, signal.aspect, since))]

    async def _unit_change(self, event: Event) -> Sequence[Message]:
        """Who decides, or what they decide by, may have changed. With flash all heads change at once."""
        before = self._run_by
        answer = await self._reader.read(self._junction)
        self._learn(answer)
        if self._run_by == before:
            return []
        assert event.data is not None
        changed = message(event, "mode", ModeChange(_time(event.data.at), *self._run_by, None))
        if answer.flash == before[1]:
            return [changed]
        return [changed, message(event, "snapshot", answer)]


def _green_time(c: LiveCycle) -> GreenTime:
    return GreenTime(_time(c.at), c.length_s, c.mode, c.algorithm, c.plan, c.lanes, c.device)


def _time(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
