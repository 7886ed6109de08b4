"""The demo's junction: what it is, and how its lights' daemon is told."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from common.junction import (
    Detector,
    DetectorKind,
    Junction,
    Lane,
    Movement,
    Plan,
    PlanStage,
    Stage,
    StartUp,
)

SENSOR = "simulated"
REACH_M = 60.0
_MAX_SOCKET_PATH_BYTES = 100
"""The kernel's limit is 107."""
_APPROACHES = ("north", "east", "south", "west")
_PAIRS = (("north", "south"), ("east", "west"))


def demo_junction(name: str, timezone: str) -> Junction:
    """Crossroads in two stages. A camera looks at each lane's stop line, and at its last 60 m."""
    stages = tuple(Stage(name=f"{a}-{b}", movements=(a, b)) for a, b in _PAIRS)
    return Junction(
        name=name,
        timezone=timezone,
        lanes=tuple(Lane(name=one, approach=one) for one in _APPROACHES),
        detectors=tuple(_detectors()),
        movements=tuple(
            Movement(name=one, phase=2 * number, lanes=(one,), min_green_s=6.0)
            for number, one in enumerate(_APPROACHES, 1)
        ),
        conflicts=tuple((a, b) for a in _PAIRS[0] for b in _PAIRS[1]),
        stages=stages,
        plans=(Plan(name="day", stages=tuple(PlanStage(stage=one.name, green_s=20.0) for one in stages)),),
        startup=StartUp(stage=stages[0].name, all_red_s=3.0),
    )


def _detectors() -> list[Detector]:
    lines = [
        Detector(channel=i, lane=one, kind=DetectorKind.STOP_LINE, sensor=SENSOR, source=one)
        for i, one in enumerate(_APPROACHES, 1)
    ]
    zones = [
        Detector(
            channel=100 + i,
            lane=one,
            kind=DetectorKind.APPROACH,
            sensor=SENSOR,
            source=f"{one} approach",
            reach_m=REACH_M,
        )
        for i, one in enumerate(_APPROACHES, 1)
    ]
    return lines + zones


class LightsFiles:
    """Where the lights' daemon finds its configuration, and the agent its socket. `close` when both have ended."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "signals.json"
        self.junction = folder / "junction.json"
        self._state = folder / "signals"
        self._short: Path | None = None
        self.socket = folder / "lights.sock"
        if len(os.fsencode(self.socket)) > _MAX_SOCKET_PATH_BYTES:
            self._short = Path(tempfile.mkdtemp(prefix="stopline-"))
            self.socket = self._short / "lights.sock"

    def write(self, junction: Junction) -> None:
        """Write both files."""
        self._state.mkdir(parents=True, exist_ok=True)
        self.junction.write_bytes(msgspec.json.encode(junction))
        told = {
            "state_dir": str(self._state),
            "socket": str(self.socket),
            "junction_file": self.junction.name,
            "heads": {"driver": "simulated"},
            "loop": {"realtime": False},
        }
        self.config.write_text(json.dumps(told), encoding="utf-8")

    def close(self) -> None:
        """Leave nothing behind outside of the state folder."""
        if self._short is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._short)
