"""What a machine tells about itself. Everything that it cannot tell is None, never 0."""

import logging
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_agent.domain.pacing import Strain

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
_VCGENCMD_TIMEOUT_S = 2.0
_FIRST_CPU_S = 1.0
_CPU_ZONES = ("cpu", "soc", "x86_pkg")
_THROTTLED = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}
"""Bits of the Raspberry Pi firmware's `get_throttled`. The second half tells what happened at some time."""
_THROTTLED_NOW = 1 << 2
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_OVERLAID = ("boot=overlay", "overlayroot=tmpfs")
"""Boot options by which Raspberry Pi OS and Debian leave their card alone."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """A machine at one moment."""

    uptime_s: float
    cpu_percent: float | None
    memory_percent: float | None
    rss_mb: float | None
    """Of this process and all below it."""
    temperature_c: float | None
    disk_free_mb: float | None
    throttled: str | None


class Machine:
    """Reads a machine's figures. Blocks for some milliseconds; call it in a thread.

    Args:
        state_dir: the disk it lies on is looked at.
        sysfs: where the kernel shows devices; another folder in tests.
    """

    def __init__(self, state_dir: Path, sysfs: Path = Path("/sys"), vcgencmd: str | None = None) -> None:
        self._state_dir = state_dir
        self._sysfs = sysfs
        self._vcgencmd = shutil.which("vcgencmd") if vcgencmd is None else vcgencmd
        self._process = psutil.Process()
        self._since_s = time.monotonic()
        psutil.cpu_percent()

    def vitals(self) -> Vitals:
        """How the machine is. CPU load is the mean since the last call."""
        now_s = time.monotonic()
        # Over a moment the load is any number; the first call would tell it since boot.
        cpu_percent = psutil.cpu_percent() if now_s - self._since_s >= _FIRST_CPU_S else None
        self._since_s = now_s
        return Vitals(
            uptime_s=round(time.clock_gettime(time.CLOCK_BOOTTIME), 1),
            cpu_percent=cpu_percent,
            memory_percent=psutil.virtual_memory().percent,
            rss_mb=self._rss_mb(),
            temperature_c=read_temperature_c(self._sysfs),
            disk_free_mb=self._disk_free_mb(),
            throttled=self._throttled(),
        )

    def _rss_mb(self) -> float:
        total_bytes = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                total_bytes += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return round(total_bytes / _MIB, 1)

    def _disk_free_mb(self) -> float | None:
        try:
            return round(shutil.disk_usage(self._state_dir).free / _MIB, 1)
        except OSError:
            return None

    def _throttled(self) -> str | None:
        flags = read_throttled_flags(self._sysfs)
        if flags is None and self._vcgencmd:
            flags = ask_vcgencmd(self._vcgencmd)
        return None if flags is None else throttled_in_words(flags)


def machine_id(root: Path = Path("/")) -> str | None:
    """What tells this machine from others: the board's serial number, else the system's id.

    The board's comes first, since a copied SD card takes the system's id along.
    """
    for name in ("proc/device-tree/serial-number", "etc/machine-id"):
        try:
            text = (root / name).read_text("ascii", "replace").strip(" \n\0")
        except OSError:
            continue
        if text:
            return text
    return None


def kept_in_memory(folder: Path, proc: Path = Path("/proc")) -> str | None:
    """The file system of `folder`, if what is written there does not outlive a power cut.

    That is a `tmpfs`, or an `overlay` that puts one over a card which is only read. None: it is on a disk, or that
    cannot be told.

    Args:
        proc: where the kernel tells of itself; another folder in tests.
    """
    try:
        mounts = [line.split(" ") for line in (proc / "self/mounts").read_text("utf-8", "replace").splitlines()]
        boot_options = (proc / "cmdline").read_text("utf-8", "replace").split()
    except OSError:
        return None
    kinds = {Path(_unescaped(where)): kind for _, where, kind, *_ in mounts}
    place = folder.resolve()
    kind = next((kinds[above] for above in (place, *place.parents) if above in kinds), None)
    if kind in _IN_MEMORY:
        return kind
    # What a container writes is an overlay on a disk.
    has_overlay = any(option.startswith(_OVERLAID) for option in boot_options)
    return kind if kind == "overlay" and has_overlay else None


def _unescaped(path: str) -> str:
    """A path as the kernel's tables write it: blanks and the like in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def read_temperature_c(sysfs: Path) -> float | None:
    """The processor's temperature; of several zones the one that is the processor's by its name."""
    found: dict[str, float] = {}
    for zone in sorted(sysfs.glob("class/thermal/thermal_zone*")):
        try:
            kind = (zone / "type").read_text("ascii", "replace").strip()
            found[kind] = int((zone / "temp").read_text("ascii")) / 1000
        except (OSError, ValueError):
            continue
    for kind, temperature_c in found.items():
        if any(name in kind for name in _CPU_ZONES):
            return temperature_c
    return next(iter(found.values()), None)


def read_throttled_flags(sysfs: Path) -> int | None:
    """The flags as the Raspberry Pi's kernel shows them; None on other machines."""
    for path in sysfs.glob("devices/platform/soc*/soc*:firmware/get_throttled"):
        try:
            return int(path.read_text("ascii").strip(), 16)
        except (OSError, ValueError):
            continue
    return None


def read_strain(sysfs: Path) -> Strain:
    """What the processor bears at this moment."""
    flags = read_throttled_flags(sysfs) or 0
    return Strain(read_temperature_c(sysfs), bool(flags & _THROTTLED_NOW))


def ask_vcgencmd(program: str) -> int | None:
    """The flags as the Raspberry Pi's own tool tells them; None where it fails, as for users without access."""
    try:
        answer = subprocess.run(
            [program, "get_throttled"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_VCGENCMD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        return int(answer.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        logger.debug("%s: %s", program, error)
        return None


def throttled_in_words(flags: int) -> str:
    """The flags for people; `no` where none is set."""
    return ", ".join(words for bit, words in _THROTTLED.items() if flags >> bit & 1)[:100] or "no"
