"""The items that wait in memory, by stream and oldest first, until the disk has them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from common.codes import DropClass, GapReason
from edge_agent.outbox.entries import Item, Row, covered, lose, squeeze, total_bytes


class Waiting:
    """See the module's text. False when nothing waits."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._streams: dict[str, list[Item]] = {}
        self.size_bytes = 0
        """What all of it takes up, about."""

    def __bool__(self) -> bool:
        return any(self._streams.values())

    def streams(self) -> Iterator[tuple[str, Sequence[Item]]]:
        """The streams of which something waits, and what."""
        return ((stream, items) for stream, items in self._streams.items() if items)

    def of(self, stream: str) -> Sequence[Item]:
        """What waits of one stream."""
        return self._streams.get(stream, ())

    @property
    def covers(self) -> int:
        """How many sequence numbers wait."""
        return sum(covered(items) for items in self._streams.values())

    def add(self, stream: str, item: Item) -> None:
        """One more, the newest of its stream."""
        self._streams.setdefault(stream, []).append(item)
        self.size_bytes += item.size_bytes

    def take(self, stream: str, n: int) -> None:
        """The first `n` items of a stream are elsewhere now."""
        items = self._streams[stream]
        self.size_bytes -= total_bytes(items[:n])
        del items[:n]

    def take_covered(self, stream: str, n_numbers: int) -> None:
        """The items at the front that cover the first `n_numbers` numbers are elsewhere now."""
        if n_numbers > 0 and stream in self._streams:
            self.take(stream, _n_items(self._streams[stream], n_numbers))

    def withdraw(self, stream: str, items: Iterable[Item]) -> None:
        """Take back some of what was added, if it still waits."""
        withdrawn = {id(item) for item in items}
        self._replace(stream, [item for item in self._streams[stream] if id(item) not in withdrawn])

    def lose_first(self, stream: str, reason: GapReason) -> None:
        """Put a tombstone in the place of the oldest record of a stream."""
        items = self.of(stream)
        if items and isinstance(items[0], Row):
            self._replace(stream, [lose(items[0], reason), *items[1:]])

    def squeeze(self, to_bytes: int, reason: GapReason, under_way: Mapping[str, int]) -> int:
        """Drop records, class by class and oldest first, until what waits takes up no more than `to_bytes`.

        Args:
            under_way: how many numbers at the front of each stream must stay as they are.

        Returns:
            How many records were dropped.
        """
        before = self._n_rows()
        for drop_class in DropClass:
            for stream, items in self._streams.items():
                over_bytes = self.size_bytes - to_bytes
                if over_bytes <= 0:
                    break
                keep_first = _n_items(items, under_way.get(stream, 0))
                kept = squeeze(items, over_bytes, reason, classes=(drop_class,), keep_first=keep_first)
                self._replace(stream, kept)
        return before - self._n_rows()

    def _n_rows(self) -> int:
        return sum(isinstance(item, Row) for items in self._streams.values() for item in items)

    def _replace(self, stream: str, items: list[Item]) -> None:
        self.size_bytes += total_bytes(items) - total_bytes(self._streams[stream])
        self._streams[stream] = items


def n_fitting(items: Sequence[Item], room_bytes: int) -> int:
    """How many items at the front take up no more than `room_bytes`; one at least."""
    for n, item in enumerate(items):
        room_bytes -= item.size_bytes
        if room_bytes < 0:
            return max(n, 1)
    return len(items)


def _n_items(items: Sequence[Item], n_numbers: int) -> int:
    """How many items at the front cover the first `n_numbers` numbers."""
    n = 0
    while n_numbers > 0 and n < len(items):
        n_numbers -= items[n].covers
        n += 1
    return n
