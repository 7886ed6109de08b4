"""Which emergency vehicle holds the junction, and for how long.

A lower `number` goes first: it takes over from one that holds; a higher one waits until the way is free. One that
holds goes on until its input is off and it has had its `min_dwell_s` of green. An input that stays on for longer
than `max_presence_s` is taken for stuck: it ends, is reported, and is ignored until it has been off.

One that goes on and off, and comes again as soon as it has gone, must not own the junction either: once it has
held, and somebody has been red since before that and for longer than their `max_red_s`, it has to wait until they
were served, and have had their shortest green. The first time it always holds: an emergency vehicle waits for
nobody.
"""

from collections.abc import Sequence

from common.junction import Preemption


class Preemptions:
    """The inputs of all preemptions, and the one that holds.

    Attributes:
        holding: None: nobody.
        stuck: names of those whose input is ignored.
        resting: names of those that have to let others go first.
    """

    def __init__(self, described: Sequence[Preemption]) -> None:
        self._by_name = {one.name: one for one in described}
        self._on_s: dict[str, float] = {}
        self._held_from_s = 0.0
        self._last_held_s: dict[str, float] = {}
        self.holding: Preemption | None = None
        self.stuck: set[str] = set()
        self.resting: set[str] = set()

    def switch(self, name: str, on: bool, now_s: float) -> None:
        """An input comes on or goes off."""
        if on:
            self._on_s.setdefault(name, now_s)
        else:
            self._on_s.pop(name, None)
            self.stuck.discard(name)

    def end(self) -> None:
        """Nobody holds any more: the lights flash. Inputs that are on come to their turn after start-up."""
        self.holding = None

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to do: no input is on, nobody holds, and nobody has to wait for others."""
        return not self._on_s and self.holding is None and not self.resting

    @property
    def is_waited_for(self) -> bool:
        """Whether an input is on that is not taken for stuck."""
        return not self._on_s.keys() <= self.stuck

    def update(
        self, now_s: float, green_s: float | None, *, overdue_s: Sequence[float] = (), is_served: bool = True
    ) -> bool:
        """Let time pass. True: another one holds now than before, or nobody.

        Args:
            green_s: for how long all of the present stage has been green; None: it is still coming.
            overdue_s: since when those are red who have been so for longer than they should.
            is_served: the present stage has had its shortest green.
        """
        self._rest(overdue_s, is_served)
        held = self.holding
        if held is not None and now_s - self._held_from_s >= held.max_presence_s:
            if held.name in self._on_s:
                self.stuck.add(held.name)
            self.holding = None
        elif held is not None and held.name not in self._on_s and (green_s or 0.0) >= held.min_dwell_s:
            self.holding = None
        first = self._first()
        if first is not None and (self.holding is None or first.number < self.holding.number):
            self.holding = first
        if self.holding is not held:
            self._held_from_s = now_s
            if self.holding is not None:
                self._last_held_s[self.holding.name] = now_s
        return self.holding is not held

    def _rest(self, overdue_s: Sequence[float], is_served: bool) -> None:
        """Find who has held since somebody overdue was last served."""
        for name, last_s in self._last_held_s.items():
            if self.holding is not None and self.holding.name == name:
                continue
            if any(since_s <= last_s for since_s in overdue_s):
                self.resting.add(name)
            elif is_served:
                self.resting.discard(name)

    def _first(self) -> Preemption | None:
        ignored = self.stuck | self.resting
        waiting = [self._by_name[name] for name in self._on_s if name not in ignored]
        return min(waiting, key=lambda one: one.number, default=None)
