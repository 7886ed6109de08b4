"""The lights' side of the link, as the root uses it: what was heard, what is shown, records handed over."""

import time
from pathlib import Path

from edge_agent.link.handover import Handover
from edge_agent.link.messages import (
    TOO_LATE,
    Ask,
    Crossing,
    OrderAnswer,
    Presence,
    SensorState,
    Shown,
    Taken,
    TakeRecords,
)
from edge_agent.link.server import LinkServer, Peer
from edge_agent.link.spool import Spool
from edge_agent.signals.driving import Driven

SHOWN_EVERY_S = 1.0
Sensed = Crossing | Presence | SensorState


class AgentLink:
    """Opened once, then `poll`, `show` and `hand_over` in every step. Nothing waits."""

    def __init__(self, socket: Path, spool: Spool, junction: str, group: str | None = None) -> None:
        self._server = LinkServer(socket, group=group)
        self._handover = Handover(spool, self._server)
        self._junction = junction
        self._last: tuple[object, ...] = ()
        self._told_s = float("-inf")
        self._since_ns = 0

    def open(self) -> None:
        """Listen.

        Raises:
            LinkBusy: another daemon does.
            OSError: the socket cannot be made.
        """
        self._server.open()

    def poll(self) -> tuple[list[Sensed], list[tuple[Peer, Ask]]]:
        """What sensors saw, and orders, since the last call."""
        sensed: list[Sensed] = []
        asked: list[tuple[Peer, Ask]] = []
        for peer, message in self._server.poll():
            if isinstance(message, Ask):
                if message.is_late(time.clock_gettime_ns(time.CLOCK_BOOTTIME)):
                    self.answer(peer, OrderAnswer(id=message.id, result=TOO_LATE))
                else:
                    asked.append((peer, message))
            elif isinstance(message, Taken | TakeRecords):
                self._handover.heard(peer, message)
            else:
                sensed.append(message)
        return sensed, asked

    def answer(self, peer: Peer, answer: OrderAnswer) -> None:
        """To who asked."""
        self._server.tell(answer, peer)

    def show(self, driven: Driven, note: str) -> None:
        """Tell everybody what the lights show: at every change, and once a second."""
        decision = driven.decision
        news = (driven.aspects, decision.mode, decision.stage, decision.next_stage, driven.fault, note)
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if not self._last or driven.aspects != self._last[0]:
            self._since_ns = boot_ns
        if news == self._last and driven.now_s - self._told_s < SHOWN_EVERY_S - 0.01:
            return
        self._last, self._told_s = news, driven.now_s
        shown = Shown(
            junction=self._junction,
            at_ns=boot_ns,
            aspects=dict(driven.aspects),
            mode=decision.mode,
            stage=decision.stage,
            next_stage=decision.next_stage,
            plan=decision.plan,
            algorithm=decision.algorithm,
            since_ns=self._since_ns,
            fault=str(driven.fault or ""),
            note=note,
        )
        self._server.tell(shown)

    def hand_over(self) -> None:
        """Send records that the agent is to keep."""
        self._handover.step()

    def close(self) -> None:
        """Hang up. May be called twice."""
        self._server.close()
