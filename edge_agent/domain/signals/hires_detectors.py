"""Events of the detectors: on and off strictly in turn, whatever the agent tells and in whatever order."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.hires import Code
from common.junction import DetectorKind, Junction
from edge_agent.domain.signals.event_codes import Crossing, DetectorHealth, Event, Presence, Trouble

PULSE_S = 0.1
"""How long a crossing holds its detector on."""
APART_S = 0.001
"""Between two events of one detector: two rows of one moment are one row to most readers of such logs."""

_FAULTS = {
    Trouble.OTHER: Code.DETECTOR_FAULT_OTHER,
    Trouble.SILENT: Code.DETECTOR_FAULT_SILENT,
    Trouble.UNREACHABLE: Code.DETECTOR_FAULT_OPEN,
    Trouble.STUCK: Code.DETECTOR_FAULT_STUCK,
    Trouble.CHATTER: Code.DETECTOR_FAULT_CHATTER,
}


@dataclass(slots=True)
class _Detector:
    """One channel: whether it is on, since when, until when a pulse lasts, and what ails it."""

    channel: int
    on: Code
    off: Code
    is_on: bool = False
    last_s: float = float("-inf")
    off_at_s: float | None = None
    trouble: Trouble | None = None

    def turn_on(self, at_s: float, pulse_s: float | None) -> Iterator[Event]:
        """On. A pulse that still lasts is cut short; a second vehicle in a zone is no event."""
        if self.off_at_s is not None:
            yield self._turned_off(min(self.off_at_s, at_s - APART_S))
        if self.is_on:
            return
        self.last_s = max(at_s, self.last_s + APART_S)
        self.is_on = True
        self.off_at_s = None if pulse_s is None else self.last_s + pulse_s
        yield Event(self.on, self.channel, self.last_s)

    def turn_off(self, at_s: float) -> Iterator[Event]:
        """Off, where it was on."""
        if self.is_on:
            yield self._turned_off(at_s)

    def _turned_off(self, at_s: float) -> Event:
        self.last_s = max(at_s, self.last_s + APART_S)
        self.is_on, self.off_at_s = False, None
        return Event(self.off, self.channel, self.last_s)


class DetectorLog:
    """All detectors of a junction. Of a channel that it has not, nothing is logged."""

    def __init__(self, junction: Junction) -> None:
        self._detectors = {
            one.channel: _Detector(one.channel, Code.BUTTON_ON, Code.BUTTON_OFF)
            if one.kind is DetectorKind.BUTTON
            else _Detector(one.channel, Code.DETECTOR_ON, Code.DETECTOR_OFF)
            for one in junction.detectors
        }
        self._pulsing: set[int] = set()

    def tell(self, told: Crossing | Presence | DetectorHealth) -> Iterator[Event]:
        """The events of one telling."""
        detector = self._detectors.get(told.channel)
        if detector is None:
            return
        if isinstance(told, DetectorHealth):
            yield from self._health(detector, told)
        elif isinstance(told, Crossing):
            yield from detector.turn_on(told.at_s, PULSE_S)
            self._pulsing.add(told.channel)
        elif told.is_on:
            yield from detector.turn_on(told.at_s, None)
        else:
            yield from detector.turn_off(told.at_s)

    def step(self, now_s: float) -> Iterator[Event]:
        """Pulses that are over."""
        for channel in sorted(self._pulsing):
            detector = self._detectors[channel]
            if detector.off_at_s is None:
                self._pulsing.discard(channel)
            elif detector.off_at_s <= now_s:
                self._pulsing.discard(channel)
                yield from detector.turn_off(detector.off_at_s)

    def _health(self, detector: _Detector, told: DetectorHealth) -> Iterator[Event]:
        if told.trouble is detector.trouble:
            return
        had, detector.trouble = detector.trouble, told.trouble
        is_button = detector.on is Code.BUTTON_ON
        if told.trouble is None:
            restored = Code.BUTTON_RESTORED if is_button else Code.DETECTOR_RESTORED
            yield Event(restored, told.channel, told.at_s)
            return
        yield from detector.turn_off(told.at_s)
        if not is_button:
            yield Event(_FAULTS[told.trouble], told.channel, told.at_s)
        elif had is None:
            # Of a button the standard only knows that it failed.
            yield Event(Code.BUTTON_FAILED, told.channel, told.at_s)
