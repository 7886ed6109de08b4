"""Travel times as a distribution, and visits by how often, without groups so small that they tell of one. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_BINS = 25
"""About so many, up to the slowest but for one in twenty; what took longer is in the last one."""


@dataclass(frozen=True, slots=True)
class Bin:
    """So many took `from_s` seconds or more, and less than `to_s`. `to_s` None: or any time longer."""

    from_s: int
    to_s: int | None
    n: int


@dataclass(frozen=True, slots=True)
class Visits:
    """So many tags, summed over days, made so many visits on a day."""

    visits: int
    tags: int


def histogram(by_second: Mapping[str, int], p95_s: float) -> list[Bin]:
    """Bins of equal width from 0 on; none is left out in between."""
    step_s = next((step for step in _STEPS_S if p95_s <= step * _BINS), _STEPS_S[-1])
    counts: Counter[int] = Counter()
    for second, n in by_second.items():
        counts[min(int(second) // step_s, _BINS)] += n
    last = max(counts, default=-1)
    return [Bin(i * step_s, (i + 1) * step_s if i < _BINS else None, counts[i]) for i in range(last + 1)]


def by_visits(groups: Iterable[tuple[int, int]], smallest_group: int) -> tuple[list[Visits], bool]:
    """The groups (visits, tags) that are large enough, and whether any was left out.

    Together, what is left out is large enough too: it could be told from a total. So another may have to go.
    """
    sums: Counter[int] = Counter()
    for visits, tags in groups:
        sums[visits] += tags
    shown = [Visits(visits, tags) for visits, tags in sorted(sums.items()) if tags >= smallest_group]
    n_hidden = sum(sums.values()) - sum(group.tags for group in shown)
    while shown and 0 < n_hidden < smallest_group:
        n_hidden += shown.pop().tags
    return shown, n_hidden > 0
