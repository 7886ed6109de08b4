"""Files to begin with. Pure."""

from enum import StrEnum

APPROACHES = ("north", "east", "south", "west")
_LONGEST_NAME = 80
"""So that names made of it are no longer than names may be."""


class TemplateKind(StrEnum):
    """Which junctions there are templates for."""

    FOUR_WAY = "four_way"
    """Four approaches of one lane each, each with a counter and a light controller, green one after the other."""


def template(kind: TemplateKind, name: str, timezone: str) -> str:
    """A junction as a TOML file, to be edited and imported."""
    assert kind is TemplateKind.FOUR_WAY
    return _four_way(name, timezone)


def _four_way(name: str, timezone: str) -> str:
    short = name[:_LONGEST_NAME].strip()
    devices = [f"{short} {approach} {role}" for approach in APPROACHES for role in ("counter", "lights")]
    pairs = [(a, b) for i, a in enumerate(APPROACHES) for b in APPROACHES[i + 1 :]]
    parts = [
        f"# {_comment(name)}: four approaches, a lane each. All times are seconds.",
        "# Edit it, then: stopline-collector junction import FILE",
        f"name = {_text(name)}",
        f"timezone = {_text(timezone)}  # IANA name; days and hours begin when they begin there",
        "",
        "# The Pis that stand here, by name or id. Those that are not enrolled yet are awaited.",
        f"devices = {_list(devices)}",
        "",
        "# Who must never go together: here, each with each.",
        "conflicts = [",
        *(f"  {_list(list(pair))}," for pair in pairs),
        "]",
        "",
        "# Where detectors see only a share of the vehicles, as those with a tag; take the # away.",
        "# seen_share = 0.4",
        "",
        "# Where it is; fill in and take the # away.",
        "# [location]",
        f"# name = {_text(name)}",
        "# latitude = 52.5200",
        "# longitude = 13.4050",
        '# address = ""',
        "",
        "[startup]",
        'stage = "north"',
        "",
        *(line for approach in APPROACHES for line in _lane(approach)),
        *(line for i, approach in enumerate(APPROACHES, 1) for line in _detectors(approach, i)),
        *(line for i, approach in enumerate(APPROACHES, 1) for line in _movement(approach, 2 * i)),
        *(line for approach in APPROACHES for line in _stage(approach)),
        "[[plans]]",
        'name = "day"',
        'algorithm = "adaptive"  # or actuated, fixed, webster, proportional, max_pressure',
        "stages = [",
        *(f"  {{ stage = {_text(approach)}, green_s = 15.0 }}," for approach in APPROACHES),
        "]",
    ]
    return "\n".join(parts) + "\n"


def _lane(approach: str) -> list[str]:
    return [
        "[[lanes]]",
        f"name = {_text(approach)}",
        f"approach = {_text(approach)}  # vehicles come from there",
        "saturation_flow_vph = 1800.0",
        "",
    ]


def _detectors(approach: str, number: int) -> list[str]:
    """A camera on each approach: its line at the stop line, and its zone before it."""
    return [
        "[[detectors]]",
        f"channel = {number}",
        f"lane = {_text(approach)}",
        'kind = "stop_line"',
        f"sensor = {_text(f'cam-{approach}')}",
        'source = "stop"',
        "",
        "[[detectors]]",
        f"channel = {100 + number}",
        f"lane = {_text(approach)}",
        'kind = "approach"',
        f"sensor = {_text(f'cam-{approach}')}",
        'source = "approach"',
        "reach_m = 50.0",
        "",
    ]


def _movement(approach: str, phase: int) -> list[str]:
    return [
        "[[movements]]",
        f"name = {_text(approach)}",
        f"phase = {phase}",
        f"lanes = [{_text(approach)}]",
        "min_green_s = 7.0",
        "max_green_s = 50.0",
        "yellow_s = 3.0",
        "red_clearance_s = 2.0",
        "max_red_s = 120.0",
        "",
    ]


def _stage(approach: str) -> list[str]:
    return ["[[stages]]", f"name = {_text(approach)}", f"movements = [{_text(approach)}]", ""]


def _list(values: list[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A TOML string."""
    return '"' + "".join(_letter(letter) for letter in value) + '"'


def _letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if ord(letter) >= 32 and letter != "\x7f" else f"\\u{ord(letter):04x}"


def _comment(value: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in value)
