"""One line a case: ours against the best reference, paired by seed, and against the case's bars."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench import report
from tests.bench.signals.world import Result

OURS, STOP_LINE = "ours: camera", "ours: stop line"
WORSE, LANE_WORSE = 1.05, 1.2
"""How many times the best reference's delay, and its longest wait on a lane, ours may have."""

Found = Mapping[str, Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one case.

    Attributes:
        ours_s, best_s: mean delay.
        error: standard error of their difference over seeds, of the best's delay; NaN with one seed.
        lane_s, best_lane_s: the longest that anybody stood on one lane, mean over seeds.
    """

    title: str
    tags: str
    n: int
    ours_s: float
    best: str
    best_s: float
    error: float
    lane_s: float
    best_lane_s: float

    @property
    def ratio(self) -> float:
        return self.ours_s / self.best_s


def verdict(title: str, tags: str, found: Found) -> Verdict:
    """Of a case's results; there is a reference always, SUMO's own."""
    others = {name: delay_s(results) for name, results in found.items() if not name.startswith("ours")}
    best = min(others, key=lambda name: others[name])
    pairs = zip(found[OURS], found[best], strict=True)
    differences = [(ours.delay_s - theirs.delay_s) / others[best] for ours, theirs in pairs]
    n = len(differences)
    error = statistics.stdev(differences) / math.sqrt(n) if n > 1 else math.nan
    lanes_s = [mean(found[name], lambda r: max(r.lane_wait_s.values(), default=math.nan)) for name in (OURS, best)]
    return Verdict(title, tags, n, delay_s(found[OURS]), best, others[best], error, *lanes_s)


def delay_s(results: Sequence[Result]) -> float:
    return mean(results, lambda r: r.delay_s)


def mean(results: Sequence[Result], pick: Callable[[Result], float]) -> float:
    return statistics.mean(pick(result) for result in results)


def summary(verdicts: Sequence[Verdict]) -> None:
    """The table of all cases, and how often ours is the best."""
    if not verdicts:
        return
    print(f"\nOurs with a camera against the best reference; +- is one standard error over {verdicts[0].n} seeds")
    heads = ("ours s", "best s", "ratio", "+-", "lane s", "best's")
    print(f"     {'case':26}{'':6} {'best':14}" + "".join(f"{head:>8}" for head in heads))
    for v in verdicts:
        mark = "ok" if v.ratio <= WORSE else "MISS"
        lane = "" if not v.lane_s > LANE_WORSE * v.best_lane_s else "  lane waits longer"
        row = (v.ours_s, v.best_s, v.ratio, v.error, v.lane_s, v.best_lane_s)
        print(
            f"{mark:4} {v.title:26}{v.tags:6} {v.best:14}" + "".join(f"{x:8.2f}" for x in row) + lane, flush=True
        )
    print()
    n = len(verdicts)
    report.plain("at or below the best reference, with a camera", sum(v.ratio <= 1.0 for v in verdicts), f"of {n}")
    report.plain("mean of the ratios", statistics.mean(v.ratio for v in verdicts), "")
    worst = max(verdicts, key=lambda v: v.ratio)
    report.limit(f"the worst of them, over its best reference: {worst.title}", worst.ratio, WORSE, "")
