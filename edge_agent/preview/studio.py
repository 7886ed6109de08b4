"""What the page works on: one camera of the configuration, its picture, and the lines and zones drawn into it."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.cameras.jobs import camera_job, threads_per_camera
from edge_agent.cameras.messages import CameraJob, Shape, ZoneShape
from edge_agent.config.camera import CameraSettings
from edge_agent.domain.shapes import PARKED_AFTER_S
from edge_agent.preview import editing
from edge_agent.preview.child import PreviewChild
from edge_agent.preview.editing import Complaint, ConfigFile, Drawing, Unusable
from edge_agent.preview.messages import Count, HeatMap, Picture, Proposals, Propose, Report, Show, Trouble
from edge_agent.redact import redact

SILENCE_S = 25.0
_OPENING_SILENCES = 2
"""The camera's process talks twice a second, but for opening a camera and loading a model."""
_AGAIN_S = 1.0
_PROPOSE_S = 20.0
_LINGER_S = 3.0
"""Pictures are made for so long after the last one was asked for."""
_NEXT_S = 1.0
MAX_STREAMS = 4


class NotNow(Exception):
    """What was asked for cannot be had now; the text says why."""


@dataclass(slots=True)
class _Scene:
    """What is known of the camera since its process began."""

    picture: bytes | None = None
    number: int = 0
    report: Report | None = None
    heat: HeatMap | None = None
    trouble: str | None = None


class Studio:
    """One for all viewers: they see the same camera, and work on the same file.

    `run` holds the camera's process; a process that hangs is ended and started again, and the page goes on.
    """

    def __init__(
        self,
        path: Path,
        camera: str | None,
        environ: Mapping[str, str] = os.environ,
        *,
        silence_s: float = SILENCE_S,
    ) -> None:
        """
        Args:
            silence_s: a camera's process that says nothing for so long hangs.

        Raises:
            ConfigError: the file cannot be used.
            NotNow: it has no such camera.
        """
        self._environ = environ
        self._silence_s = silence_s
        self._file: ConfigFile = editing.read_file(path, environ)
        self._camera = self._named(camera)
        self._drawing = editing.drawing_of(self._file.config, self._camera.name)
        self._scene = _Scene()
        self._child: PreviewChild | None = None
        self._restart = asyncio.Event()
        self._fresh = asyncio.Condition()
        self._proposals: asyncio.Future[Proposals] | None = None
        self._n_streams = 0
        self._wanted_until_s = 0.0
        self._showing = False

    @property
    def source(self) -> str:
        """The camera's source, without passwords."""
        return redact(self._camera.source)

    @property
    def camera(self) -> str:
        return self._camera.name

    def _named(self, name: str | None) -> CameraSettings:
        cameras = self._file.config.cameras
        if not cameras:
            raise NotNow(f"{self._file.path} has no [[cameras]] section; add one with name and source")
        found = [camera for camera in cameras if name in (None, camera.name)]
        if not found:
            raise NotNow(f"there is no camera {name!r}; there is {', '.join(camera.name for camera in cameras)}")
        return found[0]

    # --- the camera's process ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold the camera's process until cancelled."""
        while True:
            self._restart.clear()
            self._scene, self._showing = _Scene(trouble=self._scene.trouble), False
            child = await PreviewChild.start(self._job())
            self._child = child
            try:
                await self._listen(child)
            finally:
                self._child = None
                await child.end()

    async def _listen(self, child: PreviewChild) -> None:
        """Take in news until another camera is chosen, or the process is gone or silent."""
        restart = asyncio.create_task(self._restart.wait())
        try:
            while not restart.done():
                news = asyncio.create_task(child.receive())
                timeout_s = self._silence_s * (1 if self._scene.report else _OPENING_SILENCES)
                await asyncio.wait({news, restart}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if restart.done() or not news.done():
                    news.cancel()
                    await self._tell_hung(child, restart)
                    return
                told = news.result()
                if told is None:
                    await self._tell_gone(restart)
                    return
                await self._take(told)
        finally:
            restart.cancel()

    async def _tell_hung(self, child: PreviewChild, restart: "asyncio.Task[bool]") -> None:
        if not restart.done():
            await child.end()
            self._scene.trouble = (
                f"the camera hangs in its driver: no sign of it for {self._silence_s:.0f} s. It is opened again; "
                "if that does not help, unplug it and plug it in again"
            )
            await asyncio.wait({restart}, timeout=_AGAIN_S)

    async def _tell_gone(self, restart: "asyncio.Task[bool]") -> None:
        self._scene.trouble = "the camera's process ended by itself; it is started again"
        await asyncio.wait({restart}, timeout=_AGAIN_S)

    async def _take(self, news: object) -> None:
        scene = self._scene
        match news:
            case Picture(jpeg):
                async with self._fresh:
                    scene.picture, scene.number = jpeg, scene.number + 1
                    self._fresh.notify_all()
            case Report():
                scene.report = news
                if news.width_px and news.silent_s < _NEXT_S:
                    scene.trouble = None
                self._show(asyncio.get_running_loop().time() < self._wanted_until_s)
            case HeatMap():
                scene.heat = news
            case Proposals():
                if self._proposals is not None and not self._proposals.done():
                    self._proposals.set_result(news)
            case Trouble(text):
                scene.trouble = redact(text)

    def _job(self) -> CameraJob:
        threads = threads_per_camera(os.cpu_count() or 1, 1)
        job = camera_job(self._camera, threads)
        lines, zones = self._shapes(self._drawing)
        return msgspec.structs.replace(job, lines=lines, zones=zones)

    def _shapes(self, drawing: Drawing) -> tuple[tuple[Shape, ...], tuple[ZoneShape, ...]]:
        anchors = editing.anchors_of(self._file.config, self._camera.name)

        def shape(drawn: editing.Drawn) -> Shape:
            return drawn.name, drawn.points, str(anchors.get(drawn.was or "", "auto"))

        lines, zones = tuple(map(shape, drawing.lines)), tuple(map(shape, drawing.zones))
        # How many a zone is for, and who is parked in it, is nothing that the page tells.
        return lines, tuple((*zone, None, PARKED_AFTER_S) for zone in zones)

    # --- pictures ------------------------------------------------------------------------------------------------

    def _want(self) -> None:
        self._wanted_until_s = asyncio.get_running_loop().time() + _LINGER_S
        self._show(True)

    def _show(self, on: bool) -> None:
        if self._child is not None and on != self._showing:
            self._showing = on
            self._child.order(Show(on))

    @property
    def is_full(self) -> bool:
        """Whether no more may watch."""
        return self._n_streams >= MAX_STREAMS

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """One more watches."""
        self._n_streams += 1
        try:
            yield
        finally:
            self._n_streams -= 1

    async def next_picture(self, seen: int) -> tuple[int, bytes] | None:
        """The newest picture, once it is another than number `seen`; None if none comes for a second."""
        self._want()
        try:
            async with asyncio.timeout(_NEXT_S), self._fresh:
                await self._fresh.wait_for(lambda: self._scene.picture is not None and self._scene.number != seen)
        except TimeoutError:
            return None
        assert self._scene.picture is not None
        return self._scene.number, self._scene.picture

    # --- what the page asks --------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that the page shows, but for the picture."""
        scene = self._scene
        return {
            "cameras": [camera.name for camera in self._file.config.cameras],
            "camera": self._camera.name,
            "source": self.source,
            "model": Path(self._camera.model).name,
            "file": str(self._file.path),
            "mark": self._file.mark,
            "saved": editing.drawing_of(self._file.config, self._camera.name),
            "report": scene.report,
            "trouble": self._trouble(),
        }

    def _trouble(self) -> dict[str, str] | None:
        if self._scene.trouble is None:
            return None
        source = self._camera.source
        users = ", ".join(holders(source))
        held = f"In use now by: {users}. " if users else ""
        return {"text": self._scene.trouble, "mend": held + mend(source)}

    def heat(self) -> HeatMap | None:
        """Where vehicles passed."""
        return self._scene.heat

    def choose(self, name: str) -> None:
        """Another camera.

        Raises:
            NotNow: there is none of that name.
        """
        self._camera = self._named(name)
        self._drawing = editing.drawing_of(self._file.config, self._camera.name)
        self._scene = _Scene()
        self._restart.set()

    def attempt(self, drawing: Drawing) -> None:
        """Count at these lines and zones from now on, without saving them.

        Raises:
            Unusable: with each field that is wrong.
        """
        self._checked(drawing)
        counted_at, self._drawing = self._shapes(self._drawing), drawing
        if self._child is not None and self._shapes(drawing) != counted_at:
            self._child.order(Count(*self._shapes(drawing)))

    def save(self, drawing: Drawing, mark: str) -> None:
        """Write them into the file.

        Raises:
            Unusable: with each field that is wrong.
            ChangedMeanwhile: the file is not the one that the page was made of.
            OSError: it cannot be written.
        """
        if mark != self._file.mark:
            raise editing.ChangedMeanwhile(str(self._file.path))
        text = self._checked(drawing)
        editing.save(self._file, text)
        counted_at = self._shapes(self._drawing)
        self._file = editing.read_file(self._file.path, self._environ)
        self._camera = self._named(self._camera.name)
        self._drawing = editing.drawing_of(self._file.config, self._camera.name)
        if self._child is not None and self._shapes(self._drawing) != counted_at:
            self._child.order(Count(*self._shapes(self._drawing)))

    def reload(self) -> None:
        """Read the file again, since somebody changed it.

        Raises:
            ConfigError: it cannot be used any more.
            NotNow: the camera is gone from it.
        """
        self._file = editing.read_file(self._file.path, self._environ)
        self.choose(self._camera.name)

    def _checked(self, drawing: Drawing) -> str:
        report = self._scene.report
        size_px = (report.width_px, report.height_px) if report and report.width_px else None
        text, _ = editing.checked(self._file, self._camera.name, drawing, self._environ, size_px)
        return text

    async def propose(self) -> Proposals:
        """Where lines belong, by the tracks so far.

        Raises:
            NotNow: there is no camera to ask, or no answer.
        """
        if self._child is None or self._scene.report is None:
            raise NotNow("the camera gives no picture yet")
        if self._proposals is None or self._proposals.done():
            self._proposals = asyncio.get_running_loop().create_future()
            self._child.order(Propose())
        try:
            return await asyncio.wait_for(asyncio.shield(self._proposals), _PROPOSE_S)
        except TimeoutError as error:
            raise NotNow("no answer from the camera's process; try again") from error


def holders(source: str, proc: Path = Path("/proc")) -> list[str]:
    """The programs that hold a device open, as far as this user may know: command and process id."""
    device = Path(f"/dev/video{source}" if source.isdigit() else source)
    if not source.isdigit() and not source.startswith("/dev/"):
        return []
    found = []
    for process in proc.glob("[0-9]*"):
        # Most of them belong to other users, or are gone by now.
        with contextlib.suppress(OSError):
            if any(link.resolve() == device.resolve() for link in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().split(b"\0")
                name = " ".join(word.decode(errors="replace") for word in words[:4]).strip()
                found.append(f"{redact(name)} (process {process.name})")
    return found


def mend(source: str) -> str:
    """What to do where a source gives no picture."""
    if source.startswith("/dev/") or source.isdigit():
        return (
            "A camera serves one program at a time. If the agent counts on it, stop it: "
            "sudo systemctl stop stopline-agent; when the lines are drawn: sudo systemctl start stopline-agent. "
            "Else look whether it is plugged in: v4l2-ctl --list-devices"
        )
    if source.startswith("sim:"):
        return "Simulated streets are sim:road, sim:overhead and sim:night."
    if "://" in source:
        return (
            "Is the camera switched on and in this network? Are address, user and password right? Try the same "
            "address in VLC. Some cameras allow few viewers: stop the agent (sudo systemctl stop stopline-agent) "
            "while you draw"
        )
    return "Look whether the file or folder is there and may be read by this user."


__all__ = ["Complaint", "NotNow", "Studio", "Unusable", "holders", "mend"]
