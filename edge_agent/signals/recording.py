"""What the lights did, for the agent and the collector: events, cycles, and lines of the log."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from common.clock import Stamp
from common.commands import Order
from common.junction import DESCRIBED_ACTION, Junction
from common.records import Cycle, Log, SignalEvent
from edge_agent.clock_source import Clock
from edge_agent.domain.signals.cycles import CycleMaker, TagPassage
from edge_agent.domain.signals.event_codes import ClockSet, Event, Told, to_record
from edge_agent.domain.signals.hires import Recorder
from edge_agent.domain.signals.steps import Lane
from edge_agent.signals.changes import Changes
from edge_agent.signals.driving import Driven

CLOCK_SET_S = 1.0
"""The wall clock may run against the monotonic one by so much in a step; more, and somebody set it."""


class Sink(Protocol):
    """Where records go: `link.spool.Spool`. Never waits."""

    def put(self, record: Cycle | SignalEvent | Log, stamp: Stamp) -> None:
        """Keep this."""


class Recording:
    """Makes records of steps. Call `step` with each.

    Args:
        clock: of this machine; its stamps date the records.
        now_s: monotonic, as in all methods.
        began: the machine was started since the lights last ran.
        keeps: the override that goes on; None: there is none.
    """

    def __init__(
        self,
        junction: Junction,
        clock: Clock,
        sink: Sink,
        now_s: float,
        *,
        began: bool,
        keeps: Order | None = None,
    ) -> None:
        self._junction, self._clock, self._sink = junction, clock, sink
        self._events, self._cycles = Recorder(junction), CycleMaker(junction)
        self._n_lanes = len(junction.lanes)
        self._unknown = (Lane(),) * self._n_lanes
        self._changes = Changes()
        self._stamp, self._stamp_s = clock.stamp(), now_s
        self._put_events(self._events.started(now_s, lost_power=began))
        self._describe(keeps)

    def step(
        self,
        driven: Driven,
        lanes: Sequence[Lane] | None,
        told: Sequence[Told] = (),
        passages: Sequence[TagPassage] = (),
    ) -> None:
        """One step.

        Args:
            lanes: as the controller was told them.
            told: by detectors, since the last step.
            passages: of tags, since the last step.
        """
        told = [*told, *self._look_at_clock(driven.now_s)]
        known = lanes[: self._n_lanes] if lanes else self._unknown
        self._put_events(
            self._events.step(
                driven.now_s, driven.decision, driven.aspects, driven.fault, lanes=lanes or (), told=told
            )
        )
        cycle = self._cycles.step(driven.now_s, driven.decision, driven.aspects, known, passages)
        if cycle is not None:
            self._sink.put(cycle, self._at(driven.now_s))
        for change in self._changes.step(driven):
            self.log(change.level, change.action, change.text, junction=self._junction.name, **change.context)

    def log(self, level: str, action: str, message: str, **context: str | float | bool | None) -> None:
        """A line that the collector should see."""
        text = message[:8000]
        self._sink.put(Log(1, 0, 0, level, action, text, dict(context)), self._clock.stamp())

    def _describe(self, keeps: Order | None) -> None:
        """Tell the collector what it is that is driven, and what was ordered and goes on."""
        junction = self._junction
        message = f"{junction.name}: lanes {len(junction.lanes)}, movements {len(junction.movements)}"
        kept = {"keeps": msgspec.json.encode(keeps).decode()} if keeps is not None else {}
        self.log("info", DESCRIBED_ACTION, message, description=msgspec.json.encode(junction).decode(), **kept)

    def _look_at_clock(self, now_s: float) -> list[Told]:
        """Take the step's stamp, and tell when somebody set the wall clock."""
        before = self._stamp
        self._stamp, self._stamp_s = self._clock.stamp(), now_s
        correction_s = (self._stamp.wall_ms - before.wall_ms) / 1000 - (
            self._stamp.boottime_ns - before.boottime_ns
        ) / 1e9
        return [ClockSet(now_s, correction_s)] if abs(correction_s) >= CLOCK_SET_S else []

    def _put_events(self, events: Sequence[Event]) -> None:
        for event in events:
            self._sink.put(to_record(self._junction.name, event), self._at(event.at_s))

    def _at(self, at_s: float) -> Stamp:
        """The stamp of a moment on the lights' clock: of the last step, in which CLOCK_BOOTTIME ran alike."""
        back_s = self._stamp_s - at_s
        stamp = self._stamp
        return Stamp(
            stamp.boot_id,
            max(0, stamp.boottime_ns - round(back_s * 1e9)),
            stamp.wall_ms - round(back_s * 1000),
            stamp.synced,
        )
