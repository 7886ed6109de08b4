"""Which of the names that there are somebody may have meant.

As `difflib` would tell, but in a fraction of its time and memory: the lights answer a wrong order with it between
two steps, and nothing may be read from the disk for that.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

ALIKE = 0.6
"""Of letters and of pairs of neighbours, so many have to be the same."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one that is most alike; None: none is."""
    mine = _marks(name)
    found = max(((_alike(mine, _marks(other)), other) for other in dict.fromkeys(names)), default=None)
    return found[1] if found is not None and found[0] >= ALIKE else None


def _marks(name: str) -> Counter[object]:
    text = name.casefold()
    return Counter[object](text) + Counter[object](pairwise(text))


def _alike(mine: Counter[object], its: Counter[object]) -> float:
    n = mine.total() + its.total()
    return 2.0 * (mine & its).total() / n if n else 1.0
