"""The hub: what was committed is published here, and each listener reads from a bounded queue of its own.

Events are numbered `<run>-<n>`: `n` from 1 without a hole. With one worker `run` is new with each start of the
collector; several workers take both from what they share (`collector.realtime.relay`). A listener that comes back
with the last id it saw gets what it missed from a ring of the latest events. Where the ring no longer reaches
back, the id is of another run, or events were lost on the way here, it gets a `reset` first: "read the store, then
go on from here".

Rule for slow readers, `slow_reader`: a listener that is more than `queue_events` behind is dropped. It is told so
and may come back with its last id; nobody else waits for it.

Live delivery is a convenience. The truth is in the store, which everything reaches before it reaches the hub.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from collector.errors import CollectorError
from collector.realtime.events import Delivery, Filter, Live, kind_of

RING_EVENTS = 20_000
QUEUE_EVENTS = 50_000
"""More than one group commit can bring at once: who reads as fast as it can is never too slow. All queues and the
ring hold the same deliveries, so that a thousand slow listeners cost no more memory than one."""
MAX_SUBSCRIBERS = 2_000


class Publisher(Protocol):
    """Where what was committed is told. Neither call waits, and neither fails."""

    def publish(self, delivery: Delivery) -> None:
        """Give what is committed to all who want it, on all workers."""

    def lose(self) -> None:
        """Something that was committed may not have been published: all listeners have to read the store."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a listener reads. `kind` is that of `data`, `reset` (some events are gone), `paused` (nothing comes
    until a `reset`) or `dropped` (read too slowly)."""

    id: str
    kind: str
    data: Live | None = None


class TooManyListeners(CollectorError):
    """The hub takes no more listeners."""


class Subscription:
    """One listener's bounded queue. Made by `Hub.subscribe`; used by one task of the hub's event loop."""

    def __init__(self, run: str, wanted: Filter, capacity: int, start_id: str) -> None:
        self.start_id = start_id
        """What the listener has seen before its first event: to come back with, should there never be one."""
        self.wanted = wanted
        """May be replaced at any time; what waits already is not looked at again."""
        self._run = run
        self._capacity = capacity
        self._waiting: deque[tuple[int, Delivery, Sequence[int]]] = deque()
        """Number of the delivery's first event, the delivery, the places in it that are wanted."""
        self._n_waiting = 0
        self._reset_at: int | None = None
        self._paused = False
        self._last_n = 0
        self._arrived = asyncio.Event()
        self.dropped = False
        self.ended = False
        """The hub takes leave: nothing follows."""

    def offer(self, first_n: int, delivery: Delivery, start: int = 0) -> bool:
        """Queue what is wanted of a delivery; False: the listener is too slow and is dropped."""
        places = self.wanted.select(delivery, start)
        if not places:
            return True
        if self._n_waiting + len(places) > self._capacity:
            self.dropped = True
        else:
            self._waiting.append((first_n, delivery, places))
            self._n_waiting += len(places)
        self._arrived.set()
        return not self.dropped

    def reset(self, run: str, last_n: int) -> None:
        """Tell the listener first that it missed events; it goes on after `last_n` of `run`."""
        self._waiting.clear()
        self._n_waiting = 0
        self.dropped = False
        self._run = run
        self._reset_at = last_n
        self._paused = False
        self._arrived.set()

    def pause(self) -> None:
        """Tell the listener that nothing comes for a while; a `reset` follows."""
        self._paused = True
        self._arrived.set()

    def end(self) -> None:
        """Have the listener read what waits, and then leave."""
        self.ended = True
        self._arrived.set()

    async def read(self, timeout_s: float) -> list[Event]:
        """All events that wait, or those that arrive within `timeout_s`; none by then: an empty list.

        After a drop the last event is `dropped`, and nothing follows.
        """
        if not self._arrived.is_set():
            # Cheaper than a timeout, which would be most of what a message costs here.
            timer = asyncio.get_running_loop().call_later(timeout_s, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                timer.cancel()
        self._arrived.clear()
        return list(self._take())

    def _take(self) -> Iterator[Event]:
        if self._reset_at is not None:
            self._last_n, self._reset_at = self._reset_at, None
            yield Event(f"{self._run}-{self._last_n}", "reset")
        for first_n, delivery, places in self._waiting:
            for place in places:
                self._last_n = first_n + place
                live = delivery.live(place)
                yield Event(f"{self._run}-{self._last_n}", kind_of(live), live)
        self._waiting.clear()
        self._n_waiting = 0
        if self._paused:
            self._paused = False
            yield Event(f"{self._run}-{self._last_n}", "paused")
        if self.dropped:
            yield Event(f"{self._run}-{self._last_n}", "dropped")


class Hub:
    """Gives events to its subscriptions. Belongs to one event loop; nothing here waits.

    Alone it is a `Publisher` itself: it numbers what is published. Where a relay feeds it, only `restart`, `take`,
    `skip` and `pause` are called.
    """

    def __init__(
        self,
        *,
        ring_events: int = RING_EVENTS,
        queue_events: int = QUEUE_EVENTS,
        max_subscribers: int = MAX_SUBSCRIBERS,
    ) -> None:
        self._run = uuid.uuid4().hex[:12]
        self._ring: deque[tuple[int, Delivery]] = deque()
        self._ring_events = ring_events
        self._n_in_ring = 0
        self._queue_events = queue_events
        self._max_subscribers = max_subscribers
        self._subscriptions: set[Subscription] = set()
        self._n = 0
        self._paused = False
        self._closed = False
        self.n_dropped = 0
        self.n_resets = 0

    @property
    def n_subscribers(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)

    @property
    def last_id(self) -> str:
        """The id of the newest event; `<run>-0` before the first."""
        return f"{self._run}-{self._n}"

    @property
    def last_n(self) -> int:
        """The number of the newest event."""
        return self._n

    @property
    def is_paused(self) -> bool:
        """Nothing comes in now: a relay has lost its server."""
        return self._paused

    def publish(self, delivery: Delivery) -> None:
        """Give what is committed to all who want it."""
        self.take(self._n + 1, delivery)

    def lose(self) -> None:
        """Something may not have been published: all are told to read the store."""
        self.skip(self._n + 1)

    def take(self, first_n: int, delivery: Delivery) -> None:
        """As `publish`, with the number of its first event, which follows the one before."""
        self._keep(first_n, delivery)
        for subscription in [s for s in self._subscriptions if not s.offer(first_n, delivery)]:
            self.n_dropped += 1
            self.unsubscribe(subscription)

    def skip(self, last_n: int) -> None:
        """Events up to `last_n` did not come, and never will: all are told to read the store.

        `last_n` is no event's number, so that nobody who comes back has it as the last that they saw.
        """
        self._begin(self._run, last_n)

    def restart(self, run: str, last_n: int, ring: Iterable[tuple[int, Delivery]] = ()) -> None:
        """Go on with `run` after `last_n`; `ring` are deliveries before that, without a hole up to its end."""
        self._begin(run, last_n)
        for first_n, delivery in ring:
            self._keep(first_n, delivery)

    def pause(self) -> None:
        """Nothing comes for a while: all are told, also those to come. A `restart` or `skip` ends it."""
        if not self._paused:
            self._paused = True
            for subscription in self._subscriptions:
                subscription.pause()

    def subscribe(self, wanted: Filter, last_id: str | None = None) -> Subscription:
        """Listen from now on, or from after `last_id`.

        Raises:
            TooManyListeners: there are `max_subscribers` already.
        """
        if len(self._subscriptions) >= self._max_subscribers:
            raise TooManyListeners(f"{self._max_subscribers} listeners are connected; no more are taken")
        subscription = Subscription(
            self._run, wanted, self._queue_events, self.last_id if last_id is None else last_id
        )
        if last_id is not None:
            self._resume(subscription, last_id)
        if self._paused:
            subscription.pause()
        if self._closed:
            subscription.end()
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription. May be called twice."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Take leave of all listeners, also of those to come: the collector stops."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()

    def _keep(self, first_n: int, delivery: Delivery) -> None:
        self._n = first_n + len(delivery) - 1
        self._ring.append((first_n, delivery))
        self._n_in_ring += len(delivery)
        while self._n_in_ring > self._ring_events and len(self._ring) > 1:
            self._n_in_ring -= len(self._ring.popleft()[1])

    def _begin(self, run: str, last_n: int) -> None:
        self._ring.clear()
        self._n_in_ring = 0
        self._run, self._n = run, last_n
        self._paused = False
        self.n_resets += 1
        for subscription in self._subscriptions:
            subscription.reset(run, last_n)

    def _resume(self, subscription: Subscription, last_id: str) -> None:
        run, _, number = last_id.rpartition("-")
        seen = int(number) if number.isascii() and number.isdigit() and len(number) < 20 else -1
        if run != self._run or not self._n - self._n_in_ring <= seen <= self._n:
            subscription.reset(self._run, self._n)
            return
        for first_n, delivery in self._ring:
            if not subscription.offer(first_n, delivery, max(0, seen + 1 - first_n)):
                subscription.reset(self._run, self._n)
                return
