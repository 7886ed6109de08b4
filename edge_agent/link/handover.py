"""Hands the lights' records to the one peer that keeps them. It belongs to the step loop: nothing here waits."""

import logging

from edge_agent.link.messages import Refused, Taken, TakeRecords
from edge_agent.link.server import LinkServer, Peer
from edge_agent.link.spool import Spool

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 200
"""Records that were sent and are not known to be durable at the agent."""
_PER_STEP = 25
_MAX_EARLY = 64
_BACKLOG_BYTES = 64 * 1024


class Handover:
    """From spool to agent. Call `heard` for each `Taken` and `TakeRecords`, and `step` in every step."""

    def __init__(self, spool: Spool, server: LinkServer) -> None:
        self._spool, self._server = spool, server
        self._peer: Peer | None = None
        self._name: str | None = None
        self._sent_to = 0
        self._in_flight: list[int] = []
        """Numbers of what was sent, in order."""
        self._early: list[Taken] = []

    @property
    def peer(self) -> Peer | None:
        """Who takes the records; None: nobody, they wait on the disk."""
        return self._peer

    def heard(self, peer: Peer, message: Taken | TakeRecords) -> None:
        """A peer takes records, or has taken some. A second one that wants them is refused while the first is
        there: each record must have one keeper."""
        if isinstance(message, Taken):
            self._taken(message)
            return
        if self._peer is not None and self._peer is not peer and self._server.is_connected(self._peer):
            reason = f"process {self._peer.pid} takes the lights' records already; only one agent can"
            self._server.tell(Refused(reason=reason), peer)
            return
        self._peer = peer
        self._begin()
        extra = {"action": "handover", "pid": peer.pid, "waiting": self._spool.n_waiting}
        logger.info("the agent takes the lights' records", extra=extra)

    def step(self) -> None:
        """Send what is due: so much that the peer is kept busy, and so little that the step stays short."""
        peer = self._peer
        if peer is None:
            return
        if not self._server.is_connected(peer):
            self._peer = None
            return
        if self._spool.name != self._name:
            self._begin()
        room = min(_PER_STEP, MAX_IN_FLIGHT - len(self._in_flight))
        if room <= 0 or self._server.backlog_bytes(peer) > _BACKLOG_BYTES:
            return
        for spooled in self._spool.after(self._sent_to, room):
            if spooled.spool != self._name:
                return
            self._server.tell(spooled, peer)
            self._in_flight.append(spooled.no)
            self._sent_to = spooled.no

    def _taken(self, message: Taken) -> None:
        if self._spool.name is None:
            # The spool's file is not open yet. What the agent knows of it has to be heard before anything is sent.
            if len(self._early) < _MAX_EARLY:
                self._early.append(message)
        elif message.spool == self._spool.name:
            self._spool.taken(message.up_to)
            self._in_flight = [no for no in self._in_flight if no > message.up_to]

    def _begin(self) -> None:
        early, self._early = self._early, []
        for message in early:
            self._taken(message)
        self._name, self._sent_to, self._in_flight = self._spool.name, self._spool.taken_to, []
