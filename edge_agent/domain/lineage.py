"""Which tracks are one vehicle: a track that goes on where another broke off is the same one (see `handover`)."""

from collections.abc import Iterable


class Lineage:
    """Names a vehicle by the first track that it had."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._first)

    def go_on(self, track: int, *, after: int) -> None:
        """`track` is the vehicle that had the track `after` before."""
        self._first[track] = self.first(after)

    def first(self, track: int) -> int:
        """The first track of the vehicle that has `track`."""
        return self._first.get(track, track)

    def forget(self, known: Iterable[int] = ()) -> None:
        """Forget all tracks but the `known`, which can still come up."""
        keep = set(known)
        self._first = {track: first for track, first in self._first.items() if track in keep}
