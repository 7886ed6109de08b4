"""How a camera is doing, for people and health records. Kept by its supervisor, read by others."""

from dataclasses import dataclass, field
from datetime import date

from common.codes import Via
from common.records import Count, SensorHealth
from edge_agent.cameras.messages import InZone


@dataclass(slots=True)
class SourceTally:
    """What one line or zone counted today, since the agent started."""

    total: int = 0
    by_direction: dict[str, int] = field(default_factory=dict)
    by_class: dict[str, int] = field(default_factory=dict)
    speed_sum_mps: float = 0.0
    n_speeds: int = 0

    @property
    def speed_mean_mps(self) -> float | None:
        """Mean of the speeds that are known; None: none is."""
        return self.speed_sum_mps / self.n_speeds if self.n_speeds else None

    def add(self, count: Count) -> None:
        """One more."""
        self.total += 1
        self.by_direction[count.direction] = self.by_direction.get(count.direction, 0) + 1
        self.by_class[count.cls] = self.by_class.get(count.cls, 0) + 1
        if count.speed_mps is not None:
            self.speed_sum_mps += count.speed_mps
            self.n_speeds += 1


@dataclass(slots=True)
class CameraView:
    """The present state of one camera, or of one tag reader.

    Attributes:
        kind: `camera` or `reader`. A reader has readings for pictures.
        state: `starting`, `ok`, `unreachable`, `black`, `frozen`, `failed`, `paused` or `stopped`.
        detail: what to do about it, or why fewer pictures are looked at; empty where all is well.
        dropped: pictures skipped for newer ones since the camera's process began.
        restarts: how often its process was started again since the agent began.
        day: the local day that `tallies` and `truths` are of.
        zones: what is in its zones; as of the last beat, so nothing while it does not run.
    """

    name: str
    state: str = "starting"
    detail: str = ""
    fps: float | None = None
    latency_ms: float | None = None
    dropped: int = 0
    restarts: int = 0
    size_px: tuple[int, int] | None = None
    pid: int | None = None
    day: date | None = None
    tallies: dict[str, SourceTally] = field(default_factory=dict)
    truths: dict[str, SourceTally] = field(default_factory=dict)
    zones: tuple[InZone, ...] = ()
    kind: str = "camera"

    def add(self, count: Count, today: date) -> None:
        """One more count of this camera; a new day begins at 0."""
        if self.day != today:
            self.day = today
            self.tallies.clear()
            self.truths.clear()
        tallies = self.truths if count.via is Via.TRUTH else self.tallies
        tallies.setdefault(count.source, SourceTally()).add(count)

    def health(self) -> SensorHealth:
        """For the health record."""
        running = self.state not in ("failed", "paused", "stopped", "starting")
        return SensorHealth(
            sensor=self.name,
            state=self.state,
            fps=self.fps if running else None,
            dropped=self.dropped,
            latency_ms=self.latency_ms if running else None,
            restarts=self.restarts,
        )
