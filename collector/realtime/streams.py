"""One listener's stream: what it is told, in what words, until it ends, and why it does."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol
from uuid import UUID

import msgspec
import psycopg

from collector.realtime.events import Filter
from collector.realtime.hub import Event, Hub
from collector.realtime.visitors import Visitor

_log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
_ENCODE = msgspec.json.Encoder().encode
_NOTICES = {
    "reset": "events were missed: read the store, then go on from here",
    "paused": "live events do not come through now; a reset follows when they do",
    "dropped": "slow_reader",
}


class Ending(Enum):
    """Why a stream ended: the code that a WebSocket is closed with, and the reason."""

    SIGN_IN = (4401, "sign_in_needed")
    UNKNOWN = (4404, "junction_unknown")
    SLOW = (4408, "slow_reader")
    TOO_MANY = (1013, "too_many_listeners")
    STOPPING = (1012, "the collector stops")
    STORE_AWAY = (1013, "store_unavailable")


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire; `data` is JSON."""

    id: str
    kind: str
    data: bytes


class JunctionGone(Exception):
    """There is no such junction, or not for this listener."""


class Words(Protocol):
    """How events are told."""

    async def begin(self, start_id: str) -> Sequence[Message]:
        """What comes first. `start_id`: what the listener has seen by then."""

    async def tell(self, events: Sequence[Event]) -> Sequence[Message]:
        """These events. Raises JunctionGone: what they are about is there no more."""

    def check(self, seen: frozenset[UUID] | None) -> None:
        """The listener may hear of these junctions only by now. Raises JunctionGone likewise."""


class PlainWords:
    """Events as they are."""

    async def begin(self, start_id: str) -> Sequence[Message]:
        return ()

    async def tell(self, events: Sequence[Event]) -> Sequence[Message]:
        return [plain_message(event) for event in events]

    def check(self, seen: frozenset[UUID] | None) -> None:
        pass


def plain_message(event: Event) -> Message:
    """An event as it is."""
    data = {"reason": _NOTICES[event.kind]} if event.data is None else event.data
    return Message(event.id, event.kind, _ENCODE(data))


def message(event: Event, kind: str, data: msgspec.Struct) -> Message:
    """An event in other words."""
    return Message(event.id, kind, _ENCODE(data))


class LiveStream:
    """Made when a listener comes; `close` it when it has left. `ending` says why it ended by itself.

    Raises TooManyListeners when it is made.
    """

    def __init__(
        self, hub: Hub, visitor: Visitor, wanted: Filter, words: Words, last_id: str | None, heartbeat_s: float
    ) -> None:
        self._hub, self._visitor, self._words = hub, visitor, words
        self._heartbeat_s = heartbeat_s
        self._subscription = hub.subscribe(replace(wanted, seen=visitor.seen), last_id)
        self.start_id = self._subscription.start_id
        self.ending: Ending | None = None

    def close(self) -> None:
        """May be called twice."""
        self._hub.unsubscribe(self._subscription)

    async def messages(self) -> AsyncIterator[Sequence[Message]]:
        """What is to be sent at once; nothing: a sign of life is due."""
        try:
            if first := await self._words.begin(self.start_id):
                yield first
            while self.ending is None:
                yield await self._next()
        except JunctionGone:
            self.ending = Ending.UNKNOWN
        except psycopg.OperationalError as error:
            _log.warning("A listener was sent away: %s", error, extra={"action": "live_store_unavailable"})
            self.ending = Ending.STORE_AWAY

    async def _next(self) -> Sequence[Message]:
        subscription = self._subscription
        events = await subscription.read(self._heartbeat_s)
        if not await self._visitor.is_welcome():
            self.ending = Ending.SIGN_IN
            return ()
        if self._visitor.seen != subscription.wanted.seen:
            events = self._take_rights(events)
        if subscription.dropped:
            self.ending = Ending.SLOW
        elif subscription.ended:
            self.ending = Ending.STOPPING
        return await self._words.tell(events)

    def _take_rights(self, events: Sequence[Event]) -> list[Event]:
        """From now on the listener hears of other junctions than before; what it has still to hear, too."""
        seen = self._visitor.seen
        self._subscription.wanted = replace(self._subscription.wanted, seen=seen)
        self._words.check(seen)
        return [event for event in events if event.data is None or _may_hear(event.data.junction, seen)]


def _may_hear(junction: UUID | None, seen: frozenset[UUID] | None) -> bool:
    return seen is None or junction in seen
