"""What the agent tells of sensors, in the terms of the event log and of the controller."""

import time
from collections.abc import Iterable, Sequence

from common.junction import DetectorKind, Junction
from edge_agent.domain.signals import event_codes
from edge_agent.domain.signals.cycles import TagPassage
from edge_agent.link.messages import Crossing
from edge_agent.signals.agent_link import Sensed


def boot_ahead_ns() -> int:
    """By how much CLOCK_BOOTTIME, which the link speaks, is ahead of the monotonic clock: suspensions."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Detectors:
    """Which detector of the junction a message of the agent speaks of."""

    def __init__(self, junction: Junction) -> None:
        self._by_source = {
            (one.sensor, one.source): one
            for one in junction.detectors
            if one.kind in (DetectorKind.STOP_LINE, DetectorKind.ADVANCE)
        }

    def told(self, sensed: Iterable[Sensed], ahead_ns: int) -> tuple[list[event_codes.Told], list[TagPassage]]:
        """For the event log, and who passed with a tag over a stop line."""
        events: list[event_codes.Told] = []
        passages: list[TagPassage] = []
        for message in sensed:
            if not isinstance(message, Crossing):
                continue
            found = self._by_source.get((message.sensor, message.source))
            if found is None:
                continue
            events.append(event_codes.Crossing(found.channel, (message.at_ns - ahead_ns) / 1e9))
            if message.epc is not None and found.kind is DetectorKind.STOP_LINE:
                passages.append(TagPassage(found.lane, message.epc))
        return events, passages


Passages = Sequence[TagPassage]
