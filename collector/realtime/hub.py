"""The hub: what was committed is published here, and each listener reads from a bounded queue of its own.

Events are numbered `<run>-<n>`: `n` from 1 without a hole, `run` new with each start of the collector. A listener
that comes back with the last id it saw gets what it missed from a ring of the latest events. Where the ring no
longer reaches back, or the id is of another run, it gets a `reset` first: "read the store, then go on from here".

Rule for slow readers, `slow_reader`: a listener that is more than `queue_events` behind is dropped. It is told so
and may come back with its last id; nobody else waits for it.

Live delivery is a convenience. The truth is in the store, which counts reach before they reach the hub.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from common.codes import Direction, Via
from common.records import UnixMs

RING_EVENTS = 10_000
QUEUE_EVENTS = 2_000
MAX_SUBSCRIBERS = 1_000


class LiveCount(msgspec.Struct, frozen=True):
    """One count, with all names that a listener needs to show it. `at` is UTC in ms since 1970."""

    at: UnixMs
    at_error_ms: int
    junction: UUID | None
    device: UUID
    sensor: str
    source: str
    source_id: UUID
    via: Via
    cls: str
    direction: Direction
    confidence: float | None
    inferred: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which counts a listener wants; None: all. `source` is the name or the id of a line, zone or reader."""

    junction: UUID | None = None
    source: str | None = None

    def wants(self, count: LiveCount) -> bool:
        """Whether `count` passes."""
        if self.junction is not None and count.junction != self.junction:
            return False
        return self.source is None or self.source in (count.source, str(count.source_id))


@dataclass(frozen=True, slots=True)
class Event:
    """What a listener reads. `kind` is `count`, `reset` (some events are gone) or `dropped` (read too slowly)."""

    id: str
    kind: str
    count: LiveCount | None = None


class TooManyListeners(Exception):
    """The hub takes no more listeners."""


class Subscription:
    """One listener's bounded queue. Made by `Hub.subscribe`; used by one task of the hub's event loop."""

    def __init__(self, hub: "Hub", wanted: Filter, capacity: int) -> None:
        self._hub = hub
        self._wanted = wanted
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self.dropped = False

    def offer(self, events: Sequence[Event]) -> bool:
        """Queue the wanted ones; False: the listener is too slow and was dropped."""
        wanted = [e for e in events if e.count is not None and self._wanted.wants(e.count)]
        if len(self._events) + len(wanted) > self._capacity:
            self.dropped = True
        else:
            self._events.extend(wanted)
        if wanted or self.dropped:
            self._arrived.set()
        return not self.dropped

    def push(self, event: Event) -> None:
        """Queue one event whatever the filter and the capacity say."""
        self._events.append(event)
        self._arrived.set()

    async def read(self, timeout_s: float) -> list[Event]:
        """All events that wait, or those that arrive within `timeout_s`; none by then: an empty list.

        After a drop the last event is `dropped`, and nothing follows.
        """
        if not self._events and not self.dropped:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        events = list(self._events)
        self._events.clear()
        self._arrived.clear()
        if self.dropped:
            events.append(Event(events[-1].id if events else self._hub.last_id, "dropped"))
        return events

    def close(self) -> None:
        """Stop listening. May be called twice."""
        self._hub.unsubscribe(self)


class Hub:
    """Publishes counts to its subscriptions. Belongs to one event loop; nothing here waits."""

    def __init__(
        self,
        *,
        ring_events: int = RING_EVENTS,
        queue_events: int = QUEUE_EVENTS,
        max_subscribers: int = MAX_SUBSCRIBERS,
    ) -> None:
        self._run = uuid.uuid4().hex[:12]
        self._ring: deque[Event] = deque(maxlen=ring_events)
        self._queue_events = queue_events
        self._max_subscribers = max_subscribers
        self._subscriptions: set[Subscription] = set()
        self._n = 0
        self.n_dropped = 0

    @property
    def n_subscribers(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)

    @property
    def last_id(self) -> str:
        """The id of the newest event; `<run>-0` before the first."""
        return f"{self._run}-{self._n}"

    def publish(self, counts: Sequence[LiveCount]) -> None:
        """Give `counts`, which are committed, to all who want them."""
        events = []
        for count in counts:
            self._n += 1
            events.append(Event(f"{self._run}-{self._n}", "count", count))
        self._ring.extend(events)
        for subscription in [s for s in self._subscriptions if not s.offer(events)]:
            self.n_dropped += 1
            self.unsubscribe(subscription)

    def subscribe(self, wanted: Filter, last_id: str | None = None) -> Subscription:
        """Listen from now on, or from after `last_id`.

        Raises:
            TooManyListeners: there are `max_subscribers` already.
        """
        if len(self._subscriptions) >= self._max_subscribers:
            raise TooManyListeners(f"{self._max_subscribers} listeners are connected; no more are taken")
        subscription = Subscription(self, wanted, self._queue_events)
        if last_id is not None:
            self._resume(subscription, last_id)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription. May be called twice."""
        self._subscriptions.discard(subscription)

    def _resume(self, subscription: Subscription, last_id: str) -> None:
        run, _, number = last_id.partition("-")
        seen = int(number) if number.isascii() and number.isdigit() and len(number) < 20 else -1
        oldest = self._n - len(self._ring)
        if run != self._run or not oldest <= seen <= self._n:
            subscription.push(Event(self.last_id, "reset"))
            return
        missed = [event for _, event in zip(range(self._n - seen), reversed(self._ring), strict=False)]
        if not subscription.offer(missed[::-1]):
            subscription.dropped = False
            subscription.push(Event(self.last_id, "reset"))
