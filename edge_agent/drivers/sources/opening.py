"""Frame sources by what the user writes: a file, a folder, a device, an address, or `sim:NAME`."""

import re
from pathlib import Path

from edge_agent.drivers.base import FrameSource, SourceUnusable
from edge_agent.drivers.sim.source import DEFAULT_FPS, DEFAULT_SEED, SceneSource
from edge_agent.drivers.sources.files import PICTURE_SUFFIXES, FolderSource, VideoSource
from edge_agent.drivers.sources.live import LiveSource, Opening
from edge_agent.drivers.sources.options import SourceOptions
from edge_agent.drivers.sources.prepared import prepared
from edge_agent.redact import redact

_STREAM = re.compile(r"^(rtsps?|https?|rtmp|udp|tcp)://", re.IGNORECASE)
_PICAMERA = re.compile(r"^picamera2(?::(\d+))?$")
_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".ts", ".mpg", ".mpeg")


def open_source(
    spec: str,
    *,
    fps: float | None = None,
    frames: tuple[int, int] | None = None,
    every: int = 1,
    realtime: bool | None = None,
    options: SourceOptions | None = None,
) -> FrameSource:
    """Make the source that `spec` names. It still has to be opened, which is when most of what is wrong shows.

    Args:
        spec: a video file; a folder of pictures, or one picture; a V4L2 device (`/dev/video0`, or `0`); an
            `rtsp://` or `http://` address; `picamera2`, or `picamera2:NUMBER`; `sim:NAME`, or `sim:NAME:SEED`.
        fps: for a folder, the rate at which its pictures were taken (30 unless told); for a simulated street, the
            rate of its camera; for all others, take pictures at this rate only where the source gives more, as a
            slow computer would.
        frames: first and last picture to give, from 1, of a source with an end or a simulated one.
        every: give every so many pictures only, of a folder, a file or a simulated street.
        realtime: a simulated street runs live; the default is that it does.
        options: what is asked of a camera, and what is done to its pictures.

    Raises:
        SourceUnusable: nothing is known that fits `spec`, or an argument that it cannot follow.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise SourceUnusable(f"{fps:g} pictures per second make no sense; give a rate between 0 and 1000")
    if frames is not None and not 1 <= frames[0] <= frames[1]:
        raise SourceUnusable(
            f"pictures {frames[0]} to {frames[1]} make no range; give the first, from 1, and the last"
        )
    if every < 1:
        raise SourceUnusable(f"every {every}th picture makes no sense; give a number from 1")
    options = options or SourceOptions()
    if spec.startswith("sim:"):
        scene = _scene(spec, fps, frames, every, realtime=realtime is None or realtime)
        return prepared(scene, options)
    opening = _live_opening(spec, options)
    if opening is not None:
        if frames is not None or every > 1:
            raise SourceUnusable(f"{opening.name} is live: it has no first and last picture to choose")
        return prepared(LiveSource(opening, fps=fps), options)
    if _STREAM.match(spec):
        return prepared(VideoSource(spec, name=redact(spec), fps=fps, frames=frames, every=every), options)
    return prepared(_file_or_folder(spec, fps, frames, every), options)


def is_camera(spec: str) -> bool:
    """Whether `spec` names a real camera, which sets its own rate; files, folders and scenes take one."""
    return _live_opening(spec, SourceOptions()) is not None


def _live_opening(spec: str, options: SourceOptions) -> Opening | None:
    picamera = _PICAMERA.match(spec)
    if picamera is not None:
        return Opening.picamera(spec, int(picamera[1] or 0), options)
    device = _device_path(spec)
    if device is not None:
        return Opening.device(device, options)
    return Opening.stream(spec, redact(spec), options) if _is_live_address(spec) else None


def _scene(
    spec: str, fps: float | None, frames: tuple[int, int] | None, every: int, *, realtime: bool
) -> SceneSource:
    _, name, *rest = spec.split(":")
    if len(rest) > 1 or (rest and not rest[0].isdigit()):
        raise SourceUnusable(f"{spec!r} is not sim:NAME or sim:NAME:SEED, with a whole number as seed")
    seed = int(rest[0]) if rest else DEFAULT_SEED
    return SceneSource(name, seed=seed, fps=fps or DEFAULT_FPS, frames=frames, every=every, realtime=realtime)


def _device_path(spec: str) -> str | None:
    if spec.isdigit():
        return f"/dev/video{spec}"
    is_file = spec.startswith("/dev/shm/") or Path(spec).is_file() or Path(spec).is_dir()
    return spec if spec.startswith("/dev/") and not is_file else None


def _is_live_address(spec: str) -> bool:
    """A video file on a web server has an end and is read to it; any other address goes on whether read or not."""
    path = spec.partition("?")[0].lower()
    is_file = path.startswith("http") and path.endswith(_VIDEO_SUFFIXES)
    return bool(_STREAM.match(spec)) and not is_file


def _file_or_folder(spec: str, fps: float | None, frames: tuple[int, int] | None, every: int) -> FrameSource:
    path = Path(spec).expanduser()
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return FolderSource(path, fps=fps, frames=frames, every=every)
    return VideoSource(str(path), name=str(path), fps=fps, frames=frames, every=every)
