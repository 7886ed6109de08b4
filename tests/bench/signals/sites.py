"""The junctions and demands that the benchmark of green times makes itself.

Those tagged `tuned` were looked at while the algorithms were made; the `held` ones were not.
"""

from tests.bench.signals.drawn import PREFIX, drawn
from tests.bench.signals.nets import Arm, Flow, Site

_TURNS = (0.2, 0.6, 0.2)
_THROUGH = (0.1, 0.8, 0.1)
TUNED, HELD = frozenset({"tuned"}), frozenset({"held"})


def _cross(ns_lanes: int, ew_lanes: int, speed_mps: float = 13.89) -> tuple[Arm, ...]:
    return tuple(
        Arm(angle_deg, lanes, speed_mps)
        for angle_deg, lanes in ((90, ns_lanes), (180, ew_lanes), (270, ns_lanes), (0, ew_lanes))
    )


def _steady(vph: float, turns: tuple[float, ...] = _TURNS, platoon: int = 1, trucks: float = 0.0) -> Flow:
    return Flow(((0.0, vph),), turns, platoon, trucks)


def find(name: str) -> Site | None:
    """The site of this name, of these or drawn; None: no site of ours."""
    if name.startswith(PREFIX):
        return drawn(int(name.removeprefix(PREFIX)))
    return next((site for site in sites() if site.name == name), None)


def sites() -> tuple[Site, ...]:
    """All that are not drawn."""
    return (
        Site("balanced", _cross(1, 1), tuple(_steady(330) for _ in range(4)), tags=TUNED),
        Site(
            "lopsided",
            _cross(2, 1),
            (_steady(900, _THROUGH), _steady(150), _steady(700, _THROUGH), _steady(250)),
            tags=TUNED,
        ),
        Site("night", _cross(2, 2), tuple(_steady(vph) for vph in (120, 60, 90, 40)), tags=TUNED),
        Site(
            "burst",
            _cross(1, 1),
            (_steady(500, _THROUGH, 10), _steady(250), _steady(450, _THROUGH, 8), _steady(200)),
            tags=TUNED,
        ),
        Site("four-stages", _cross(2, 2), tuple(_steady(v) for v in (500, 350, 420, 300)), "incoming", tags=TUNED),
        *_held(),
    )


def _held() -> tuple[Site, ...]:
    peak = ((0.0, 500.0), (900.0, 1_000.0), (2_100.0, 400.0))
    side = ((0.0, 300.0), (900.0, 550.0), (2_100.0, 250.0))
    return (
        Site("rush", _cross(3, 2), tuple(Flow(p, _TURNS) for p in (peak, side, peak, side)), tags=HELD),
        Site(
            "tee",
            (Arm(180, 2), Arm(270, 1), Arm(0, 2)),
            (_steady(650, (0.25, 0.75)), _steady(220, (0.5, 0.5)), _steady(600, (0.75, 0.25))),
            tags=HELD,
        ),
        Site(
            "trucks",
            _cross(2, 1, 19.4),
            (
                _steady(650, _THROUGH, trucks=0.2),
                _steady(200, trucks=0.1),
                _steady(750, _THROUGH, trucks=0.2),
                _steady(160),
            ),
            tags=HELD,
        ),
        Site(
            "platoons",
            _cross(2, 2),
            (_steady(700, _THROUGH, 12), _steady(350, _TURNS, 6), _steady(250, _THROUGH), _steady(500, _TURNS, 8)),
            "incoming",
            tags=HELD,
        ),
        Site("quiet", _cross(1, 1), tuple(_steady(vph) for vph in (150, 40, 90, 60)), tags=HELD),
        Site("skewed", _cross(1, 2), tuple(_steady(vph) for vph in (180, 800, 300, 420)), tags=HELD),
        *_fresh(),
    )


def _fresh() -> tuple[Site, ...]:
    east, west = ((0.0, 900.0), (1_800.0, 250.0)), ((0.0, 250.0), (1_800.0, 900.0))
    star = tuple(Arm(angle_deg, lanes) for angle_deg, lanes in ((90, 2), (162, 1), (234, 2), (306, 1), (18, 2)))
    lefts = ((0.1, 0.45, 0.45), (0.2, 0.4, 0.4), (0.1, 0.5, 0.4), (0.3, 0.4, 0.3))
    return (
        Site(
            "five-arms",
            star,
            tuple(_steady(vph, (0.15, 0.4, 0.3, 0.15)) for vph in (380, 150, 420, 180, 300)),
            "incoming",
            tags=HELD,
        ),
        Site(
            "tide",
            _cross(2, 2),
            (_steady(400), Flow(east, _TURNS), _steady(400), Flow(west, _TURNS)),
            tags=HELD,
        ),
        Site(
            "left-heavy",
            _cross(2, 2),
            tuple(_steady(vph, turns) for vph, turns in zip((450, 350, 400, 300), lefts, strict=True)),
            tags=HELD,
        ),
        Site(
            "village",
            _cross(1, 1, 8.33),
            tuple(_steady(vph, (0.3, 0.4, 0.3)) for vph in (260, 180, 240, 160)),
            tags=HELD,
        ),
        Site(
            "arterial",
            _cross(3, 1, 19.44),
            (_steady(1_500, _THROUGH, 8), _steady(60), _steady(1_300, _THROUGH, 6), _steady(90)),
            tags=HELD,
        ),
        Site(
            "rare-exit",
            (Arm(180, 2), Arm(270, 1), Arm(0, 2)),
            (_steady(700, (0.03, 0.97)), _steady(25, (0.5, 0.5)), _steady(750, (0.97, 0.03))),
            "incoming",
            tags=HELD,
        ),
    )
