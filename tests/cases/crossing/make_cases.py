"""Writes the case folders beside it: hard situations at a line, each with what must be counted.

A folder is a case: `detections.json.gz` (frames of boxes), `expected.json` (counts per line, and at which share of
the frames they must come out the same) and `README` (one line: what makes it hard). Cases from real cameras are
added by hand in the same form; this script only makes the made-up ones:

    python tests/cases/crossing/make_cases.py
"""

import gzip
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SIZE_PX = (640, 360)
CLASSES = ("car", "bus", "truck", "motorcycle")
ACROSS = {"name": "line", "points_px": [[0, 180], [640, 180]]}

Way = Callable[[float], tuple[float, float] | None]
"""Middle of a vehicle at a time, or None while the detector does not see it."""
Box = tuple[float, float, float, float, float, int]


class Film:
    """Frames of boxes, drawn from vehicles that move along ways."""

    def __init__(self, seed: int, seconds: float, fps: float = 30.0) -> None:
        self._random = np.random.default_rng(seed)
        self._times = [number / fps for number in range(int(seconds * fps))]
        self._boxes: list[list[Box]] = [[] for _ in self._times]

    def add(
        self,
        way: Way,
        size_px: tuple[float, float] = (60, 44),
        *,
        jitter: float = 0.02,
        missed: float = 0.03,
        classes: Iterable[int] = (0,),
        score: float = 0.7,
        grows: float = 0.0,
    ) -> None:
        """One vehicle. `grows`: by what share of its size it is larger for each 100 px further down."""
        choices = list(classes)
        for number, t_s in enumerate(self._times):
            middle = way(t_s)
            if middle is None or self._random.random() < missed:
                continue
            factor = max(0.2, 1.0 + grows * (middle[1] - 180) / 100)
            half_x, half_y = size_px[0] * factor / 2, size_px[1] * factor / 2
            edges = np.array([middle[0] - half_x, middle[1] - half_y, middle[0] + half_x, middle[1] + half_y])
            edges += self._random.normal(0, jitter * math.sqrt(4 * half_x * half_y), 4)
            x1, y1, x2, y2 = np.clip(edges, 0, [*SIZE_PX, *SIZE_PX]).tolist()
            if x2 - x1 < 6 or y2 - y1 < 6:
                continue
            cls = int(self._random.choice(choices))
            shown = round(float(np.clip(self._random.normal(score, 0.08), 0.05, 0.99)), 3)
            self._boxes[number].append((round(x1, 1), round(y1, 1), round(x2, 1), round(y2, 1), shown, cls))

    def frames(self) -> list[tuple[float, list[Box]]]:
        return [(round(t_s, 4), boxes) for t_s, boxes in zip(self._times, self._boxes, strict=True)]


def straight(
    start: tuple[float, float], velocity: tuple[float, float], from_s: float = 0.0, to_s: float = math.inf
) -> Way:
    """A constant speed in pixels per second, seen from one time to another."""

    def way(t_s: float) -> tuple[float, float] | None:
        if not from_s <= t_s < to_s:
            return None
        x, y = start[0] + velocity[0] * (t_s - from_s), start[1] + velocity[1] * (t_s - from_s)
        return (x, y) if -80 < x < SIZE_PX[0] + 80 and -80 < y < SIZE_PX[1] + 80 else None

    return way


def through(points: list[tuple[float, float, float]]) -> Way:
    """Through points (t, x, y), straight and evenly between them."""
    times, xs, ys = (list(column) for column in zip(*points, strict=True))

    def way(t_s: float) -> tuple[float, float] | None:
        if not times[0] <= t_s <= times[-1]:
            return None
        return float(np.interp(t_s, times, xs)), float(np.interp(t_s, times, ys))

    return way


def hidden(way: Way, *spans_s: tuple[float, float]) -> Way:
    """The same way, unseen for some spans of time."""
    return lambda t_s: None if any(a <= t_s < b for a, b in spans_s) else way(t_s)


def behind(way: Way, cover: Way, size_px: tuple[float, float]) -> Way:
    """The same way, unseen where its middle is behind what covers it, so large and on a way of its own."""

    def shown(t_s: float) -> tuple[float, float] | None:
        at, over = way(t_s), cover(t_s)
        if at is None or over is None:
            return at
        covered = abs(at[0] - over[0]) < 0.5 * size_px[0] and abs(at[1] - over[1]) < 0.5 * size_px[1]
        return None if covered else at

    return shown


def aside(way: Way, x_px: float, y_px: float) -> Way:
    """The same way, so far aside."""

    def shifted(t_s: float) -> tuple[float, float] | None:
        at = way(t_s)
        return None if at is None else (at[0] + x_px, at[1] + y_px)

    return shifted


def write(
    name: str, why: str, film: Film, expected: dict[str, Any], lines: list[dict[str, Any]] | None = None
) -> None:
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    scene = {
        "frame_size_px": SIZE_PX,
        "class_names": CLASSES,
        "lines": lines or [ACROSS],
        "frames": film.frames(),
    }
    packed = gzip.compress(json.dumps(scene, separators=(",", ":")).encode(), mtime=0)
    (folder / "detections.json.gz").write_bytes(packed)
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    (folder / "README").write_text(why + "\n")


def expect(
    n_in: int, n_out: int, every: tuple[int, ...] = (1, 2, 3, 5, 6), *, line: str = "line"
) -> dict[str, Any]:
    """`every`: the counts must be the same when only every k-th of 30 frames per second is looked at."""
    return {"every": every, "lines": {line: {"in": n_in, "out": n_out}}}


def waiting() -> None:
    film = Film(1, 60)
    film.add(through([(0, 300, 40), (4, 300, 180), (50, 300, 180), (54, 300, 330)]), jitter=0.05, missed=0.15)
    write(
        "waits_on_the_line",
        "A car stops with its middle on the line, jitters for 46 s, and drives on.",
        film,
        expect(1, 0),
    )

    film = Film(2, 330, fps=10)
    stand = through([(0, 300, 40), (5, 300, 184), (310, 300, 184), (314, 300, 330)])
    blinks = [(20.0 + 17 * i, 20.0 + 17 * i + (1 + i % 4) * 1.7) for i in range(16)]
    film.add(hidden(stand, *blinks), jitter=0.04, missed=0.2)
    write(
        "five_minutes_on_the_line",
        "A car waits five minutes on the line, and is lost and found 16 times.",
        film,
        expect(1, 0, (1, 2, 3)),
    )

    film = Film(3, 200, fps=10)
    stand = through([(0, 300, 40), (5, 300, 184), (180, 300, 184), (184, 300, 330)])
    turns = [
        hidden(stand, *[(40 * n + 20 * (1 - odd), 40 * n + 20 * (2 - odd)) for n in range(-1, 6)])
        for odd in (0, 1)
    ]
    shifted: Way = lambda t_s: turns[0](t_s) or aside(turns[1], 14, 0)(t_s)  # noqa: E731
    film.add(hidden(shifted, (18, 20), (38, 40), (58, 62), (78, 80), (98, 170)), jitter=0.03)
    write(
        "new_ids_on_the_line",
        "A car waits on the line; each time it is found again its box has moved aside, once after 72 s.",
        film,
        expect(1, 0, (1, 2, 3)),
    )

    film = Film(7, 100, fps=10)
    stand = through([(0, 300, 40), (4, 300, 196), (88, 300, 196), (91, 300, 340)])
    film.add(hidden(stand, (8, 88.2)), jitter=0.02)
    write(
        "stands_hidden_past_the_line",
        "A car stops just past the line, is hidden for 80 s, and is seen again as it drives on: counted already.",
        film,
        expect(1, 0, (1, 2, 3)),
    )


def stopping_and_going() -> None:
    film = Film(4, 40)
    for lane in range(4):
        x = 120 + lane * 130
        for car in range(3):
            y = 150 - car * 60
            go = 12 + car * 2.2
            film.add(through([(0, x, y), (go, x, y + 8), (go + 6, x, y + 260)]), jitter=0.03, missed=0.1)
    write(
        "creeping_queue",
        "Three cars in each of four lanes creep up to the line for 12 s, then cross it one by one.",
        film,
        expect(12, 0, (1, 2, 3, 5, 6, 10)),
    )

    film = Film(5, 40)
    steps = [(0.0, 320.0, 60.0)]
    for stop in range(10):
        steps += [(3 * stop + 1.5, 320, 130 + 10 * stop), (3 * stop + 3, 320, 130 + 10 * stop)]
    film.add(through([*steps, (36, 320, 340)]), jitter=0.04, missed=0.1)
    write(
        "stop_and_go",
        "A car crosses the line in ten small moves of a quarter of its height, standing between them.",
        film,
        expect(1, 0),
    )

    film = Film(6, 60)
    film.add(through([(0, 300, 20), (4, 300, 140), (60, 300, 140)]), jitter=0.06, missed=0.2)
    film.add(through([(0, 450, 220), (60, 450, 220)]), jitter=0.06, missed=0.2)
    write(
        "parked_beside_the_line",
        "Two cars stand for a minute, one just before the line and one just past it.",
        film,
        expect(0, 0),
    )


def turning() -> None:
    film = Film(10, 20)
    film.add(through([(0, 200, 40), (4, 200, 240), (6, 260, 260), (8, 320, 240), (12, 320, 40)]))
    write("u_turn", "A car crosses, turns and comes back: once each way.", film, expect(1, 1))

    film = Film(11, 20)
    film.add(through([(0, 300, 40), (4, 300, 172), (6, 300, 180), (8, 300, 172), (12, 300, 40)]))
    write(
        "turns_back_on_the_line",
        "A car comes up to the line, touches it, and backs off: nothing.",
        film,
        expect(0, 0),
    )

    film = Film(12, 30)
    path = [(0.0, 300.0, 60.0)]
    for lap in range(3):
        path += [(lap * 8 + 4.0, 300, 280), (lap * 8 + 8.0, 300, 60)]
    film.add(through(path))
    write("to_and_fro", "A car shunts over the line three times each way; all of it counts.", film, expect(3, 3))

    film = Film(13, 16)
    film.add(straight((20, 184), (45, 0)), jitter=0.04)
    film.add(straight((620, 176), (-45, 0), 1.0), jitter=0.04)
    write("along_the_line", "Two cars drive along the line, their middles on it: nothing.", film, expect(0, 0))


def broken() -> None:
    film = Film(20, 20)
    for i in range(4):
        way = straight((100 + 130 * i, 20), (0, 60), 1.5 * i)
        middle_s = 1.5 * i + 160 / 60
        film.add(hidden(way, (middle_s - 0.6, middle_s + 0.5)), missed=0.05)
    write("hidden_at_the_line", "Each of four cars is unseen for 1.1 s while it crosses.", film, expect(4, 0))

    film = Film(21, 20)
    for i in range(4):
        film.add(straight((100 + 130 * i, 196), (0, 70), 4.0 + 2 * i))
    write(
        "born_past_the_line",
        "Four cars are first seen just past the line, driving away from it: inferred, and counted.",
        film,
        {**expect(4, 0, (1, 2, 3)), "inferred": 4},
    )

    film = Film(22, 20)
    for i in range(3):
        film.add(straight((150 + 130 * i, 200), (0, 60), 0.0))
    write(
        "there_from_the_start",
        "Three cars are past the line in the first frame: they crossed before anything was measured.",
        film,
        expect(0, 0),
    )

    film = Film(23, 20)
    for i in range(3):
        way = straight((150 + 150 * i, 30), (0, 55), 2 * i)
        film.add(way, missed=0.05)
        part = hidden(aside(way, -14, 2), (0, 2 * i + 0.4))
        film.add(part, (30, 40), jitter=0.05, missed=0.4, score=0.34)
    write(
        "parts_and_wholes",
        "Of each of three cars the detector sees the whole and, now and then, a part.",
        film,
        expect(3, 0),
    )

    film = Film(24, 20)
    for i in range(4):
        film.add(straight((100 + 130 * i, 30), (0, 55), 1.5 * i), classes=(0, 2), jitter=0.02)
        film.add(straight((100 + 130 * i, 30), (0, 55), 1.5 * i), (64, 46), classes=(2,), jitter=0.02, score=0.5)
    write("doubled_boxes", "Every car is seen twice, as a car and as a truck.", film, expect(4, 0))


def fast() -> None:
    film = Film(30, 24)
    for i in range(8):
        film.add(straight((60 + 65 * i, -20), (0, 330), 2.4 * i), (50, 40), missed=0.05)
    write("fast", "Eight cars cross the picture in little more than a second.", film, expect(8, 0, (1, 2, 3, 5)))

    lines = [
        {"name": "first", "points_px": [[0, 172], [640, 172]]},
        {"name": "second", "points_px": [[0, 186], [640, 186]]},
    ]
    film = Film(31, 16)
    for i in range(5):
        film.add(straight((100 + 100 * i, 20), (0, 160), 2.0 * i), missed=0.02)
    both = {"in": 5, "out": 0}
    write("two_lines_in_one_step", "Two lines 14 px apart; between two frames a car passes both.", film,
          {"every": (1, 2, 3, 5, 6), "lines": {"first": both, "second": both}}, lines)  # fmt: skip

    film = Film(32, 16)
    for i in range(4):
        film.add(straight((-30, 60 + 70 * i), (110, 0), 1.5 * i))
        film.add(straight((670, 95 + 70 * i), (-110, 0), 1.5 * i))
    vertical = [{"name": "line", "points_px": [[320, 0], [320, 360]]}]
    write("vertical_line", "A line from top to bottom: `in` is from right to left.", film, expect(4, 4), vertical)

    film = Film(33, 16)
    for i in range(4):
        film.add(straight((120 + 120 * i, 40), (0, 70), 1.5 * i), (70, 50))
        film.add(straight((170 + 110 * i, 400), (0, -70), 0.5 + 1.5 * i), (70, 50))
    edge = [{"name": "line", "points_px": [[0, 350], [640, 350]]}]
    write(
        "line_at_the_edge",
        "A line 10 px above the lower edge of the picture, where boxes are cut.",
        film,
        expect(4, 4, (1, 2, 3)),
        edge,
    )

    film = Film(34, 16)
    film.add(straight((100, 40), (0, 60)))
    film.add(straight((330, 40), (0, 60), 1.0))
    film.add(straight((560, 40), (0, 60), 2.0))
    short = [{"name": "line", "points_px": [[270, 180], [390, 180]]}]
    write(
        "beside_the_ends",
        "A line over the middle one of three lanes: only that one counts.",
        film,
        expect(1, 0),
        short,
    )

    film = Film(35, 20)
    for i in range(5):
        film.add(straight((60 + 130 * i, 20), (0, 60), 1.7 * i))
    film.add(straight((60, 380), (60, -50), 3.0))
    bent = [{"name": "line", "points_px": [[0, 120], [200, 220], [320, 140], [480, 230], [640, 160]]}]
    write("bent_line", "A line of four pieces; cars cross it near its bends.", film, expect(5, 1), bent)


def hidden_and_doubled() -> None:
    film = Film(40, 30)
    truck = straight((-150, 196), (75, 0), 3.0)
    film.add(truck, (230, 120), missed=0.0, classes=(2,))
    for i in range(5):
        way = straight((100 + 110 * i, 20), (0, 45), 0.6 * i)
        film.add(behind(way, truck, (230, 120)), (52, 40), missed=0.05)
    write(
        "hidden_by_a_truck",
        "A truck drives along just past the line while five cars cross it behind the truck, unseen for seconds.",
        film,
        expect(5, 0, (1, 2, 3, 5)),
    )

    film = Film(41, 26)
    bus = lambda t_s: (320.0, 168.0)  # noqa: E731
    film.add(bus, (150, 90), missed=0.02, classes=(1,))
    for i in range(4):
        way = straight((660, 150), (-95, 0), 1.0 + 5 * i)
        film.add(behind(way, bus, (150, 90)), (64, 42), missed=0.05)
    down = [{"name": "line", "points_px": [[320, 20], [320, 340]]}]
    write(
        "hidden_by_a_parked_bus",
        "A bus stands on the line; four cars pass behind it, hidden for two and a half seconds.",
        film,
        expect(4, 0, (1, 2, 3, 5, 6)),
        down,
    )

    for name, offset, why in (
        (
            "shadow_goes_before",
            (6, 26),
            "Each car's shadow falls before it, and is now and then seen as another car.",
        ),
        (
            "shadow_follows",
            (-10, -24),
            "Each car's shadow falls behind it, and is now and then seen as another car.",
        ),
    ):
        film = Film(42, 20)
        for i in range(4):
            way = straight((100 + 130 * i, 20), (0, 60), 2.0 * i)
            film.add(way, (60, 44), missed=0.03)
            film.add(aside(way, *offset), (58, 26), jitter=0.08, missed=0.6, score=0.3)
        write(name, why, film, expect(4, 0, (1, 2, 3, 5)))

    film = Film(43, 24)
    for i in range(4):
        way = straight((100 + 130 * i, 20), (0, 60), 2.5 * i)
        shaded = [(0.4 * k, 0.4 * k + 0.2) for k in range(60)]
        film.add(hidden(way, *shaded), (60, 44))
        lit = [(0.4 * k + 0.2, 0.4 * k + 0.4) for k in range(60)]
        film.add(hidden(aside(way, 16, 9), *lit), (92, 62))
    write(
        "shadow_joins",
        "Each car's box takes in its shadow for a fifth of a second, and leaves it out for the next.",
        film,
        expect(4, 0, (1, 2, 3, 5, 6)),
    )


def edges_and_beginnings() -> None:
    film = Film(50, 20)
    for i in range(4):
        film.add(straight((120 + 120 * i, 20), (0, 60), 1.5 * i))
        film.add(straight((60 + 130 * i, 380), (0, -60), 0.7 + 1.5 * i))
    slanted = [{"name": "line", "points_px": [[20, 80], [620, 290]]}]
    write(
        "diagonal_line",
        "A line across the picture at 19 degrees; cars cross it at a slant, both ways.",
        film,
        expect(4, 4, (1, 2, 3, 5, 6)),
        slanted,
    )

    film = Film(51, 24)
    for i in range(5):
        way = through([(4.0 * i, 720, 176), (4.0 * i + 2.0, 420, 300), (4.0 * i + 5.0, -60, 330)])
        film.add(hidden(way, (4.0 * i, 4.0 * i + 0.38)), (110, 62))
    write(
        "comes_in_beside_the_line",
        "Cars come in over the picture's right edge, past the line already, and drive away from it: nothing.",
        film,
        expect(0, 0, (1, 2, 3, 5, 6, 10)),
    )

    film = Film(52, 10)
    for i in range(3):
        film.add(straight((150 + 150 * i, 178), (0, 60)), missed=0.0)
    write(
        "starts_on_the_line",
        "Three cars are about the line, just before it, in the first frame, and drive on: seen to cross.",
        film,
        expect(3, 0, (1, 2, 3, 5, 6)),
    )

    film = Film(53, 40)
    for i in range(20):
        film.add(straight((300, -40), (0, 150), 1.3 * i + 0.02 * (i % 3)), (56, 42), missed=0.03)
    write(
        "one_behind_the_other",
        "Twenty cars, each as far behind the next as it drives in a few frames: one is soon where the other was.",
        film,
        expect(20, 0, (1, 2, 3, 5, 6)),
    )


def weak_detectors() -> None:
    film = Film(60, 9)
    for i in range(3):
        way = straight((120 + 190 * i, 270), (0, -26), 0.9 * i)
        film.add(way, (90, 92), score=0.5)
        film.add(aside(way, -22, 20), (46, 50), missed=0.3, score=0.45)
    write(
        "whole_and_part",
        "Each van is shown by its whole and, most of the time, by a part of it, nearly as surely: one vehicle.",
        film,
        expect(0, 3, (1, 2)),
    )

    film = Film(61, 8)
    for i in range(3):
        x = 120 + 190 * i
        queue = straight((x, 158), (0, 0))
        film.add(queue, (60, 46), score=0.6)
        shifts = through([(1.0 + i, x, 172), (1.35 + i, x, 156), (1.6 + i, x, 172), (7.9, x, 172)])
        film.add(shifts, (52, 34), missed=0.1, jitter=0.01, score=0.36)
    write(
        "slips_for_a_moment",
        "A second box comes up on a car that waits near the line, slips up it for a moment and returns: nothing.",
        film,
        expect(0, 0, (1, 2, 3)),
    )

    film = Film(62, 12)
    for i, sizes in enumerate((-0.3, -0.2, -0.13, 0.03, 0.06, 0.13, 0.3)):
        x, y = 60 + 86 * i, 180 + 44 * sizes
        film.add(through([(0, x, y), (6, x, y), (7, x, y + 20), (10, x, 360)]), missed=0.0)
    write(
        "stood_there_from_the_start",
        "Seven cars stand about the line in the first frame and drive on later. Three stand before it and cross; "
        "four are past it: they may have been counted before anybody looked, and are not counted.",
        film,
        expect(3, 0, (1, 2, 3, 5, 6)),
    )

    film = Film(63, 16)
    for i, sizes in enumerate((-0.09, -0.07, -0.05, 0.05, 0.07, 0.09)):
        x, y = 60 + 104 * i, 180 + 44 * sizes
        film.add(through([(0, x, y), (10, x, y), (11, x, y + 20), (14, x, 360)]), missed=0.0, jitter=0.03)
    write(
        "stood_close_to_the_line",
        "Six cars stand closer to the line than their boxes are sure, three on either side, for ten seconds; the "
        "mean of many boxes tells where. Those before it cross.",
        film,
        expect(3, 0, (1, 2, 3, 5, 6)),
    )

    film = Film(64, 12)
    for i in range(3):
        x, from_s = 120 + 190 * i, 1.5 * i
        film.add(straight((x, 20), (0, 55), from_s), (110, 90), classes=(1,))
        film.add(straight((x + 12 * (i - 1), 40), (0, 55), from_s), (32, 46), classes=(3,), score=0.5)
    write(
        "rides_before_a_bus",
        "A motorcycle rides before each of three buses, in its box all the time, less surely seen: two vehicles.",
        film,
        expect(6, 0, (1, 2, 3, 5, 6)),
    )


if __name__ == "__main__":
    for make in (
        waiting,
        stopping_and_going,
        turning,
        broken,
        fast,
        hidden_and_doubled,
        edges_and_beginnings,
        weak_detectors,
    ):
        make()
