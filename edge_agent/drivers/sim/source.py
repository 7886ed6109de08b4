"""`sim:NAME`: simulated streets as frame sources, with every crossing known.

A scene is a pure function of its seed and of time. Played live, the street's clock is the wall clock, so that it
"goes on" while nobody looks, as real ones do; played as fast as possible it begins at 0.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from common.codes import Direction
from edge_agent.domain.crossing import Crossing
from edge_agent.domain.frames import Frame, Image
from edge_agent.domain.geometry import Line
from edge_agent.drivers.base import SourceEnded, SourceStalled, SourceUnusable
from edge_agent.drivers.sim.render import Camera, Look, Renderer
from edge_agent.drivers.sim.traffic import (
    BUS,
    CAR,
    MOTORCYCLE,
    PERSON,
    TRUCK,
    VAN,
    Lane,
    Passage,
    Traffic,
)

DEFAULT_SEED = 1
DEFAULT_FPS = 30.0
_SIZE_PX = (640, 360)
_MIXED = (CAR, VAN, BUS, TRUCK, MOTORCYCLE)
_LIGHT = (CAR, VAN)


@dataclass(frozen=True, slots=True)
class Scene:
    """A street, the camera over it, and where it is counted: `line_m` along y."""

    look: Look
    lanes: tuple[Lane, ...]
    line_m: float


def _street(stop_m: float | None) -> tuple[Lane, ...]:
    """Two lanes either way; what is tall keeps to the outer ones. Traffic towards the camera may have to stop."""
    return (
        Lane(-5.6, 105.0, -3.0, 11.5, (4.0, 11.0), _MIXED, stop_m),
        Lane(-1.9, 105.0, -3.0, 12.5, (3.0, 11.0), _LIGHT, stop_m),
        Lane(1.9, -3.0, 105.0, 13.5, (3.0, 12.0), _LIGHT),
        Lane(5.6, -3.0, 105.0, 11.0, (4.0, 11.0), _MIXED),
    )


def _path() -> tuple[Lane, ...]:
    """A footpath: people either way."""
    return tuple(
        Lane(x_m, *((26.0, -3.0) if x_m < 0 else (-3.0, 26.0)), 1.35, (4.0, 9.0), (PERSON,))
        for x_m in (-2.7, -1.5, 1.5, 2.7)
    )


def _scenes() -> dict[str, Scene]:
    day = Look(
        height_m=10.0, pitch_deg=30.0, focal_px=420.0, ambient=1.0, night=False, noise_levels=2.2,
        road_half_m=7.7, stop_m=42.0,
    )  # fmt: skip
    above = replace(day, height_m=24.0, pitch_deg=90.0, focal_px=480.0, road_half_m=7.6, stop_m=None)
    through = tuple(
        replace(lane, from_m=-25.0 * lane.heading, to_m=25.0 * lane.heading, stop_m=None) for lane in _street(None)
    )
    return {
        "road": Scene(day, _street(42.0), 15.0),
        "overhead": Scene(above, through, 0.0),
        "path": Scene(
            replace(day, height_m=6.0, pitch_deg=38.0, road_half_m=4.2, stop_m=None, marked=False), _path(), 8.0
        ),
        "night": Scene(replace(day, ambient=0.26, night=True, noise_levels=3.2), _street(42.0), 15.0),
    }


class SceneSource:
    """A simulated camera.

    `truth` and `lines` are there before `open` too; with `realtime` only `truth` is not, since the street's clock
    is set by `open`.
    """

    def __init__(
        self,
        name: str,
        *,
        seed: int = DEFAULT_SEED,
        fps: float = DEFAULT_FPS,
        frames: tuple[int, int] | None = None,
        every: int = 1,
        realtime: bool = True,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            name: `road`, `overhead`, `night` or `path`.
            fps: pictures per second.
            frames: first and last picture to give, from 1; None never ends.
            every: give every so many pictures only.
            realtime: pictures come at `fps`, and show the street as it is now; a slow reader misses some. Else
                they come as fast as they are read.

        Raises:
            SourceUnusable: no such scene.
        """
        scenes = _scenes()
        if name not in scenes:
            raise SourceUnusable(f"there is no simulated scene {name!r}; there are sim:{', sim:'.join(scenes)}")
        self._scene = scenes[name]
        self._seed = seed
        self._fps = fps
        self._frames = frames
        self._every = every
        self._realtime = realtime
        self._monotonic_s, self._wall_s, self._sleep = monotonic_s, wall_s, sleep
        self._traffic = Traffic(self._scene.lanes, seed)
        self._street_minus_source_s = 0.0
        self._opened_s = 0.0
        self._renderer: Renderer | None = None
        self._next_index = 0

    @property
    def live(self) -> bool:
        return self._realtime

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of its pictures."""
        return _SIZE_PX

    @property
    def lines(self) -> tuple[Line, ...]:
        """The line that the truth is about, across the whole street, `in` being towards the camera."""
        camera = Camera(self._scene.look, _SIZE_PX)
        _, y = camera.ground(0.0, self._scene.line_m)
        return (Line("street", ((0.0, round(y)), (float(_SIZE_PX[0]), round(y)))),)

    def truth(self, from_s: float, to_s: float) -> list[Crossing]:
        """What crosses the line in [from_s, to_s), on the clock of the frames' `t_s`.

        A vehicle crosses when its middle on the ground does; what is seen of it may cross a moment off that.
        """
        shift = self._street_minus_source_s
        name = self.lines[0].name
        passages = self._traffic.passages(self._scene.line_m, max(0.0, from_s + shift), max(0.0, to_s + shift))
        return [_crossing(name, passage, shift) for passage in passages]

    def picture(self, street_s: float) -> Image:
        """The street at a moment of its own clock, (height, width, 3) BGR."""
        if self._renderer is None:
            self._renderer = Renderer(self._scene.look, self._scene.lanes, _SIZE_PX, self._seed)
        return self._renderer.draw(self._traffic.vehicles(street_s), street_s)

    def open(self) -> None:
        self._next_index = 0 if self._frames is None else self._frames[0] - 1
        if self._realtime:
            self._opened_s = self._monotonic_s()
            self._street_minus_source_s = self._wall_s() - self._opened_s
        self.picture(self._opened_s + self._street_minus_source_s)

    def read(self, timeout_s: float) -> Frame:
        if self._renderer is None:
            raise SourceUnusable("the simulated camera is not open")
        if self._realtime:
            self._wait_for_turn(timeout_s)
        index = self._next_index
        if self._frames is not None and index >= self._frames[1]:
            raise SourceEnded("the last picture asked for was given")
        t_s = self._opened_s + index / self._fps
        self._next_index = index + self._every
        return Frame(self.picture(t_s + self._street_minus_source_s), t_s, index)

    def close(self) -> None:
        self._renderer = None

    def _wait_for_turn(self, timeout_s: float) -> None:
        """Until the next picture is due; past pictures that nobody read are gone."""
        due = int((self._monotonic_s() - self._opened_s) * self._fps)
        if due >= self._next_index:
            self._next_index = due
            return
        wait_s = self._opened_s + self._next_index / self._fps - self._monotonic_s()
        self._sleep(min(max(0.0, wait_s), timeout_s))
        if wait_s > timeout_s:
            raise SourceStalled(f"the next simulated picture comes in {wait_s - timeout_s:.3g} s")


def _crossing(line: str, passage: Passage, street_minus_source_s: float) -> Crossing:
    return Crossing(
        line=line,
        t_s=passage.t_s - street_minus_source_s,
        direction=Direction.IN if passage.heading < 0 else Direction.OUT,
        cls=passage.cls,
        confidence=1.0,
        track=passage.vehicle,
        inferred=False,
    )
