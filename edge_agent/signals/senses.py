"""What the agent, or the lanes' Pis, tell of sensors: for the controller, for the event log, and for cycles."""

import time
from collections.abc import Callable, Iterable, Sequence, Set
from typing import TYPE_CHECKING

from common.junction import CONTACTS, DetectorKind, Junction
from edge_agent.domain.signals import event_codes
from edge_agent.domain.signals.controller import Choose
from edge_agent.domain.signals.cycles import TagPassage
from edge_agent.domain.signals.event_codes import Trouble
from edge_agent.domain.signals.green.ladder import Ladder
from edge_agent.domain.signals.sensing import OFF, ON, Edge, Sensing
from edge_agent.domain.signals.steps import Chosen, Lane, Situation
from edge_agent.link.messages import Crossing, Presence
from edge_agent.signals.agent_link import Sensed

if TYPE_CHECKING:
    from edge_agent.signals.contacts import Turned

_TROUBLES = {83: None, 84: Trouble.OTHER, 85: Trouble.SILENT, 87: Trouble.STUCK, 88: Trouble.CHATTER}
_LINES = (DetectorKind.STOP_LINE, DetectorKind.ADVANCE)


def boot_ahead_ns() -> int:
    """By how much CLOCK_BOOTTIME, which the link speaks, is ahead of the lights' clock: suspensions, and what NTP
    made it gain."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Senses:
    """The books of one junction's sensors. In each step `take` what came, then `lanes`, then `told`.

    Args:
        now_s: monotonic, as in all methods.
        ahead_ns: see `boot_ahead_ns`.
    """

    def __init__(self, junction: Junction, now_s: float, ahead_ns: Callable[[], int] = boot_ahead_ns) -> None:
        self._sensing = Sensing(junction, now_s)
        self._ahead_ns = ahead_ns
        told_of = [one for one in junction.detectors if one.kind in _LINES and one.sensor != CONTACTS]
        self._lines = {(one.sensor, one.source): one for one in told_of}
        self._line_channels = {one.channel for one in self._lines.values()}
        self._told: list[event_codes.Told] = []
        self._passages: list[TagPassage] = []

    def take(self, sensed: Iterable[Sensed], now_s: float) -> None:
        """What was heard since the last step. What is dated after now was sensed now: a sensor that spoke tomorrow
        would be believed until then, though it died today."""
        ahead_ns = self._ahead_ns()
        for message in sensed:
            if message.sensor == CONTACTS:
                # Nobody else can tell of them.
                continue
            at_s = min((message.at_ns - ahead_ns) / 1e9, now_s)
            if isinstance(message, Crossing):
                self._crossed(message, at_s)
            elif isinstance(message, Presence):
                self._sensing.presence(message.sensor, message.zone, at_s, message.n, message.n_standing)
            else:
                self._sensing.sensor(message.sensor, at_s, message.measures, message.why_not)

    def take_contacts(self, turned: "Iterable[Turned]", trouble: str, now_s: float) -> None:
        """What the Pi's own contacts did since the last step, and why they cannot be read; empty: they can."""
        self._sensing.sensor(CONTACTS, now_s, not trouble, trouble)
        for one in turned:
            self._sensing.contact(one.name, one.at_s, one.is_on)

    def lanes(self, now_s: float, green: Set[str], hour: int | None) -> Sequence[Lane]:
        """What each lane tells; see `Sensing.step`."""
        lanes = self._sensing.step(now_s, green, hour)
        for edge in self._sensing.edges():
            self._told += self._of_edge(edge)
        return lanes

    def told(self) -> tuple[list[event_codes.Told], list[TagPassage]]:
        """For the event log, and who passed with a tag over a stop line, since the last call."""
        told, self._told = self._told, []
        passages, self._passages = self._passages, []
        return told, passages

    @property
    def doubts(self) -> str:
        """Which detectors are not believed, and why, for people; empty: all are."""
        return "; ".join(f"{one.sensor}/{one.source} ({one.lane}): {one.why}" for one in self._sensing.reports())

    def _crossed(self, message: Crossing, at_s: float) -> None:
        line = self._lines.get((message.sensor, message.source))
        if message.is_new:
            self._sensing.crossing(message.sensor, message.source, at_s)
            if line is not None:
                self._told.append(event_codes.Crossing(line.channel, at_s))
        if line is None:
            return
        if message.epc is not None and line.kind is DetectorKind.STOP_LINE:
            self._passages.append(TagPassage(line.lane, message.epc))

    def _of_edge(self, edge: Edge) -> list[event_codes.Told]:
        """A zone's coming and going, and a detector's trouble. Crossings are told already."""
        if edge.code in (ON, OFF) and edge.parameter not in self._line_channels:
            return [event_codes.Presence(edge.parameter, edge.at_s, edge.code == ON)]
        if edge.code in _TROUBLES:
            return [event_codes.DetectorHealth(edge.parameter, edge.at_s, _TROUBLES[edge.code])]
        return []


def ladder(junction: Junction) -> Choose:
    """Finds green times by the algorithm of the plan in force, and by a lower one where its sensors fail. Each
    plan learns for itself."""
    ladders = [Ladder(junction, plan) for plan in junction.plans]

    def choose(situation: Situation) -> Chosen:
        rung = ladders[situation.plan]
        stage = rung.decide(situation)
        return Chosen(stage, algorithm=rung.name, note=rung.note)

    return choose
