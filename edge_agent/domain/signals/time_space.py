"""A green wave as a picture: time to the right, the road upwards, each junction's greens, and the bands.

An SVG of its own, readable without any library: the way out goes up in blue, the way back comes down in orange.
Each junction has two lines of lights: the lower one is met by those who go out, the upper one by those who come
back.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from edge_agent.domain.signals.green_wave import Green, Wave

WIDTH_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 1120, 215, 30, 84, 64
PX_PER_JUNCTION = 110
CYCLES = 3
BAR_PX = 6
NAME_CHARACTERS = 22

_GREEN, _RED = "#1a9850", "#d73027"
_OUT, _BACK = "#2166ac", "#e08214"
_INK, _FAINT = "#222222", "#d9d9d9"
_STEPS_S = (5, 10, 15, 20, 30, 60, 120)


def time_space_svg(wave: Wave, title: str = "Green wave") -> str:
    """The picture, as the text of an SVG file."""
    plan = _Plan(wave)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{plan.height_px:.0f}" '
        f'viewBox="0 0 {WIDTH_PX} {plan.height_px:.0f}" font-family="sans-serif" font-size="13" fill="{_INK}" '
        'role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH_PX}" height="{plan.height_px:.0f}" fill="white"/>',
        '<defs><clipPath id="field">'
        f'<rect x="{LEFT_PX}" y="{TOP_PX - 14}" width="{plan.field_px:.1f}" '
        f'height="{plan.bottom_px - TOP_PX + 28:.1f}"/></clipPath></defs>',
        *_heading(wave, title),
        *_axes(plan),
        f'<g clip-path="url(#field)">{"".join(_bands(plan))}</g>',
        *_lights(plan),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Plan:
    """Where things are on the picture."""

    def __init__(self, wave: Wave) -> None:
        self.wave = wave
        self.until_s = CYCLES * wave.cycle_s
        self.field_px = float(WIDTH_PX - LEFT_PX - RIGHT_PX)
        self.bottom_px = float(TOP_PX + PX_PER_JUNCTION * max(3, min(len(wave.stops) - 1, 12)))
        self.height_px = self.bottom_px + BOTTOM_PX
        self._from_m = wave.stops[0].at_m
        self._length_m = wave.stops[-1].at_m - self._from_m

    def x(self, at_s: float) -> float:
        return LEFT_PX + at_s / self.until_s * self.field_px

    def y(self, at_m: float) -> float:
        return self.bottom_px - (at_m - self._from_m) / self._length_m * (self.bottom_px - TOP_PX)


def _heading(wave: Wave, title: str) -> Iterator[str]:
    speeds = [
        _speed([stop.out_kmh for stop in wave.stops[1:]]),
        _speed([stop.back_kmh for stop in wave.stops[1:]]),
    ]
    yield f'<text x="{LEFT_PX}" y="24" font-size="17" font-weight="bold">{escape(title)}</text>'
    yield (
        f'<text x="{LEFT_PX}" y="44">cycle {wave.cycle_s:g} s, efficiency {wave.efficiency:.0%}, '
        f"attainability {wave.attainability:.0%}</text>"
    )
    told = [
        (_OUT, f"out, upwards: {wave.out_s:.1f} s wide, {speeds[0]}"),
        (_BACK, f"back, downwards: {wave.back_s:.1f} s wide, {speeds[1]}"),
    ]
    for number, (colour, text) in enumerate(told):
        x_px = LEFT_PX + number * 330
        yield f'<rect x="{x_px}" y="53" width="22" height="11" fill="{colour}" fill-opacity="0.35"/>'
        yield f'<text x="{x_px + 28}" y="63">{text}</text>'


def _speed(speeds_kmh: Sequence[float]) -> str:
    low, high = min(speeds_kmh), max(speeds_kmh)
    return f"{low:g} km/h" if low == high else f"{low:g} to {high:g} km/h"


def _axes(plan: _Plan) -> Iterator[str]:
    step_s = next((one for one in _STEPS_S if plan.until_s / one <= 20), 300)
    for k in range(math.floor(plan.until_s / step_s) + 1):
        x_px = plan.x(k * step_s)
        yield f'<line x1="{x_px:.1f}" y1="{TOP_PX}" x2="{x_px:.1f}" y2="{plan.bottom_px:.1f}" stroke="{_FAINT}"/>'
        yield f'<text x="{x_px:.1f}" y="{plan.bottom_px + 26:.1f}" text-anchor="middle">{k * step_s}</text>'
    middle_px = LEFT_PX + plan.field_px / 2
    yield f'<text x="{middle_px:.1f}" y="{plan.bottom_px + 48:.1f}" text-anchor="middle">time in s</text>'
    half_px = (TOP_PX + plan.bottom_px) / 2
    yield (
        f'<text x="16" y="{half_px:.1f}" text-anchor="middle" transform="rotate(-90 16 {half_px:.1f})">'
        "distance in m</text>"
    )


def _lights(plan: _Plan) -> Iterator[str]:
    wave = plan.wave
    label_px = math.inf
    for stop, offset_s in zip(wave.stops, wave.offsets_s, strict=True):
        y_px = plan.y(stop.at_m)
        yield from _bar(plan, offset_s, stop.back, y_px - BAR_PX - 1)
        yield from _bar(plan, offset_s, stop.out, y_px + 1)
        # Names of junctions that lie close together would cover each other: the upper one gives way.
        label_px = min(y_px, label_px - 34)
        yield _text(LEFT_PX - 12, label_px - 3, _short(stop.name), "bold")
        yield _text(LEFT_PX - 12, label_px + 12, f"{stop.at_m:g} m, offset {offset_s:g} s")


def _text(x_px: float, y_px: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x_px:.1f}" y="{y_px:.1f}" text-anchor="end" font-weight="{weight}">{escape(text)}</text>'


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "\u2026"


def _bar(plan: _Plan, offset_s: float, green: Green, top_px: float) -> Iterator[str]:
    """One way's lights at one junction: red throughout, and the greens on it."""
    yield (f'<rect x="{LEFT_PX}" y="{top_px:.1f}" width="{plan.field_px:.1f}" height="{BAR_PX}" fill="{_RED}"/>')
    begin_s = (offset_s + green.start_s) % plan.wave.cycle_s
    for k in range(-1, CYCLES):
        from_s = max(0.0, begin_s + k * plan.wave.cycle_s)
        to_s = min(plan.until_s, begin_s + k * plan.wave.cycle_s + green.length_s)
        if to_s > from_s:
            width_px = plan.x(to_s) - plan.x(from_s)
            yield (
                f'<rect x="{plan.x(from_s):.1f}" y="{top_px:.1f}" width="{width_px:.1f}" height="{BAR_PX}" '
                f'fill="{_GREEN}"/>'
            )


def _bands(plan: _Plan) -> Iterator[str]:
    wave = plan.wave
    yield from _of_way(plan, wave.out_travel_s, wave.out_from_s, wave.out_s, _OUT)
    yield from _of_way(plan, wave.back_travel_s, wave.back_from_s, wave.back_s, _BACK)


def _of_way(plan: _Plan, travel_s: Sequence[float], from_s: float, width_s: float, colour: str) -> Iterator[str]:
    """One way's band, in each cycle that touches the picture; no band at all where it is nothing wide."""
    if width_s <= 0.0:
        return
    places = [(time_s, plan.y(stop.at_m)) for time_s, stop in zip(travel_s, plan.wave.stops, strict=True)]
    before = math.ceil((from_s + max(travel_s) + width_s) / plan.wave.cycle_s)
    for k in range(-before, CYCLES):
        start_s = from_s + k * plan.wave.cycle_s
        head = [(plan.x(start_s + time_s), y_px) for time_s, y_px in places]
        tail = [(plan.x(start_s + width_s + time_s), y_px) for time_s, y_px in places]
        points = " ".join(f"{x_px:.1f},{y_px:.1f}" for x_px, y_px in [*head, *reversed(tail)])
        yield f'<polygon points="{points}" fill="{colour}" fill-opacity="0.28"/>'
        for edge in (head, tail):
            for (x1_px, y1_px), (x2_px, y2_px) in pairwise(edge):
                yield (
                    f'<line x1="{x1_px:.1f}" y1="{y1_px:.1f}" x2="{x2_px:.1f}" y2="{y2_px:.1f}" '
                    f'stroke="{colour}" stroke-width="1.2"/>'
                )
