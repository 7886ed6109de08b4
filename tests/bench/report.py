"""How a benchmark prints a figure: its value, what it is held against, the ratio, and whether it passes.

Machines differ and are noisy, so a figure is always a ratio against a limit or against a peer measured in the
same run. A miss does not fail the run; it is shown.
"""


def limit(name: str, value: float, at_most: float, unit: str) -> None:
    """A figure that must not exceed a limit."""
    _line(name, value, unit, f"limit {_number(at_most)} {unit}", value / at_most, passes=value <= at_most)


def peer(name: str, value: float, peer_value: float, unit: str, *, at_least: float) -> None:
    """A figure that must reach `at_least` times its peer's."""
    ratio = value / peer_value
    _line(
        name,
        value,
        unit,
        f"peer {_number(peer_value)} {unit}, needs x{at_least:g}",
        ratio,
        passes=ratio >= at_least,
    )


def plain(name: str, value: float, unit: str, note: str = "") -> None:
    """A figure without a bar, for the reader to judge."""
    print(f"{'':4} {name:<58} {_number(value):>10} {unit:<10} {note}", flush=True)


def _line(name: str, value: float, unit: str, against: str, ratio: float, *, passes: bool) -> None:
    mark = "ok" if passes else "MISS"
    print(f"{mark:4} {name:<58} {_number(value):>10} {unit:<10} {against:<34} x{ratio:.3g}", flush=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
