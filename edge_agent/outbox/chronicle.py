"""The boots and anchors that an outbox knows, and the times that follow from them."""

from collections.abc import Iterable

from common.clock import UNKNOWN_ERROR_MS, Anchor, Boot, Resolved, Stamp, Timeline, best_now, is_news

_ANCHORS_PER_BOOT = 32
_BOOT_STEP = 64
"""Between the numbers of boots there is room for some that are heard of later."""


class Chronicle:
    """Numbers boots in the order in which they happened, collects anchors, and dates stamps by them."""

    def __init__(self, boots: Iterable[tuple[int, Boot]], anchors: Iterable[Anchor]) -> None:
        self._boots = {boot.boot_id: (no, boot.last_boottime_ns) for no, boot in boots}
        self._ids = {no: boot_id for boot_id, (no, _) in self._boots.items()}
        self._anchors = list(anchors)
        self._timeline: Timeline | None = None
        self._timeline_of_known = False
        """Whether the time was known when the timeline was made."""
        self.anchors_changed = False

    def see(self, stamp: Stamp) -> int:
        """The number of the stamp's boot, which is new if it was not known; notes how far the boot has run."""
        known = self._boots.get(stamp.boot_id)
        if known is None:
            no, last_ns = max(self._ids, default=0) + _BOOT_STEP, 0
            self._ids[no] = stamp.boot_id
            self._timeline = None
        else:
            no, last_ns = known
        self._boots[stamp.boot_id] = (no, max(last_ns, stamp.boottime_ns))
        return no

    def see_earlier(self, stamp: Stamp, now: Stamp) -> None:
        """Number the boot of a stamp that others made, perhaps in an earlier boot that nothing is known about: it
        comes after all that are known before the present one, which is that of `now`."""
        present = self.see(now)
        if stamp.boot_id in self._boots:
            return
        no = max((other for other in self._ids if other < present), default=0) + 1
        if no < present:
            self._ids[no] = stamp.boot_id
            self._boots[stamp.boot_id] = (no, stamp.boottime_ns)
            self._timeline = None

    def last_sign(self) -> Stamp | None:
        """The latest moment that is known of; None: nothing is."""
        if not self._ids:
            return None
        boot_id = self._ids[max(self._ids)]
        return Stamp(boot_id, self._boots[boot_id][1], 0, False)

    def boot_id(self, no: int) -> str:
        """The boot's id; a number that nothing is known about, after a salvage, names a boot of its own."""
        return self._ids.get(no, f"unknown-{no}")

    def add_anchor(self, anchor: Anchor) -> None:
        """Keep an anchor if it tells something new."""
        if not is_news(anchor, self._anchors):
            return
        self._anchors.append(anchor)
        own = [a for a in self._anchors if a.boot_id == anchor.boot_id]
        if len(own) > _ANCHORS_PER_BOOT:
            self._anchors.remove(own[len(own) // 2])
        self._timeline = None
        self.anchors_changed = True

    def now(self, stamp: Stamp) -> Resolved:
        """The best known time at `stamp`, which is of the present boot."""
        return best_now(stamp, self._anchors)

    def resolve(self, stamp: Stamp, now: Stamp) -> Resolved:
        """When `stamp` was, as far as is known at `now`."""
        here = self.now(now)
        is_known = here.at_error_ms < UNKNOWN_ERROR_MS
        # A clock that nobody vouches for says nothing of what lies before it: an RTC at 2000, or the time that was
        # saved at the last stop, which may be days ago.
        ceiling_ms = here.at_ms + here.at_error_ms if is_known else max(here.at_ms, self._known_until_ms())
        if self._timeline is None or self._timeline_of_known != is_known:
            self.see(now)
            self._timeline = Timeline([boot for _, boot in self.boots()], self._anchors, ceiling_ms)
            self._timeline_of_known = is_known
        resolved = self._timeline.resolve(stamp, ceiling_ms=ceiling_ms)
        if is_known or any(anchor.boot_id == stamp.boot_id for anchor in self._anchors):
            return resolved
        return Resolved(resolved.at_ms, UNKNOWN_ERROR_MS)

    def _known_until_ms(self) -> int:
        """It is later than this: boots that were in time ran so long, and those after them as well."""
        until_ms = 0
        for _, boot in self.boots():
            own = [anchor.start_ms + anchor.error_ms for anchor in self._anchors if anchor.boot_id == boot.boot_id]
            until_ms = max(until_ms, *own, 0) + boot.last_boottime_ns // 1_000_000
        return until_ms

    def boots(self) -> list[tuple[int, Boot]]:
        """All boots with their numbers, oldest first."""
        return [(no, Boot(self._ids[no], self._boots[self._ids[no]][1])) for no in sorted(self._ids)]

    def anchors(self) -> list[tuple[int, Anchor]]:
        """All anchors, each with its boot's number."""
        for anchor in self._anchors:
            if anchor.boot_id not in self._boots:
                self.see(Stamp(anchor.boot_id, anchor.boottime_ns, anchor.wall_ms, False))
        return [(self._boots[anchor.boot_id][0], anchor) for anchor in self._anchors]
