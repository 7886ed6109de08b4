"""What the demo counts: the user's source, model and lines, checked, and made into an agent's configuration."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import available_timezones

from collector.errors import SettingError

SIMULATED = "sim:road"
MOTION = "motion"
BUNDLED = "bundled"
_ADDRESS = re.compile(r"^(rtsps?|https?|sim):", re.IGNORECASE)
_MAX_NAME_CHARS = 100

Line = str
"""A counting line as `stopline-agent` takes it: `NAME:X1,Y1,X2,Y2`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is counted. `source` and `model` are as the agent understands them, paths absolute.

    `lines` may be empty: a simulated street has its own, and other sources get one across the middle.
    """

    source: str
    model: str
    lines: tuple[Line, ...]

    @property
    def simulated(self) -> bool:
        """Whether the truth is known."""
        return self.source.startswith("sim:")

    @property
    def finite(self) -> bool:
        """Whether it is a file or a folder, which has an end."""
        is_device = self.source.startswith("/dev/") and not self.source.startswith("/dev/shm/")
        return Path(self.source).is_absolute() and not is_device

    @property
    def shown(self) -> str:
        """The source in words for a screen: without a password."""
        if self.simulated:
            return f"a simulated street ({self.source})"
        return re.sub(r"(?<=://)[^/]*@", "", self.source)

    @property
    def camera(self) -> str:
        """The camera's name: another for each source, so that their counts are never added up."""
        if self.simulated:
            return self.source.replace(":", " ")
        name = Path(self.shown.partition("?")[0]).name
        label = re.sub(r"[^\w.-]+", " ", name).strip() or "camera"
        mark = hashlib.sha256(self.source.encode()).hexdigest()[:4]
        return f"{label[: _MAX_NAME_CHARS - 10].strip()} {mark}"


def make_plan(source: str | None, model: str | None, lines: Sequence[Line]) -> Plan:
    """
    Raises:
        SettingError: something is not there, or cannot be understood.
    """
    found = _source(source) if source else SIMULATED
    return Plan(found, _model(model) if model else MOTION, tuple(lines))


def _source(text: str) -> str:
    if _ADDRESS.match(text) or text.startswith("/dev/"):
        return text
    if text.isdigit():
        return f"/dev/video{text}"
    path = Path(text).expanduser()
    if not path.exists():
        raise SettingError(
            f"--source {text}: there is no such file or folder; give a video, a folder of pictures, a camera as"
            " /dev/video0, an address as rtsp://..., or sim:road"
        )
    return str(path.resolve())


def _model(text: str) -> str:
    if text in (MOTION, BUNDLED):
        return text
    path = Path(text).expanduser()
    if path.suffix != ".onnx" or not path.is_file():
        raise SettingError(f"--model {text}: give the path of an .onnx file that is there, {BUNDLED} or {MOTION}")
    return str(path.resolve())


def middle_line(width_px: int, height_px: int) -> Line:
    """A line across the middle of a picture."""
    return f"middle:0,{height_px / 2:g},{width_px},{height_px / 2:g}"


def init_arguments(
    plan: Plan,
    lines: Sequence[Line],
    *,
    out: Path,
    state_dir: Path,
    collector_url: str,
    device: str,
    junction: str,
) -> list[str]:
    """What `stopline-agent init` needs to be told to write the agent's configuration."""
    given = {
        "--out": str(out),
        "--name": device,
        "--junction": junction,
        "--state-dir": str(state_dir),
        "--collector": collector_url,
        "--camera": plan.camera,
        "--source": plan.source,
        "--model": plan.model,
    }
    told = [f"{option}={text}" for option, text in given.items()]
    return ["init", "--yes", "--force", *told, *(f"--line={line}" for line in lines)]


def local_timezone() -> str:
    """The IANA name of this machine's time zone; UTC where it tells none that is known."""
    named = os.environ.get("TZ") or os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    return named if named in available_timezones() - {"Etc/UTC"} else "UTC"
