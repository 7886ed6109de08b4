"""What our green times are held against: SUMO's own programs, and a harness that may lie beside the checkout.

The harness is called as it is, with its own sensors and its own stage machine; nothing of it is ours.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.bench.signals.junction_from_net import Light, Timing
from tests.bench.signals.world import Result, Sensing

_PARAMETERS = {
    "actuated": '<param key="max-gap" value="2"/><param key="detector-gap" value="1"/>',
    "delay_based": '<param key="detectorRange" value="50"/>',
}
HARNESS = {"exhaust": "Exhaust", "mpgap50": "MPGap", "lhgap50": "LHGap"}


def sumo_program(light: Light, timing: Timing, file: Path, *, kind: str, greens_s: Sequence[float] = ()) -> Path:
    """Writes a file for SUMO with the light's phases: our clearances.

    `static`, `actuated` with gaps that suit it, or `delay_based` with a camera's reach.

    Args:
        greens_s: of each stage; one of 0 is left out. Empty: the network's own.
    """
    states = [p for p in light.program if "y" not in p.state and set(p.state) & set("Gg")]
    durations_s = list(greens_s) or [p.duration_s for p in states]
    shown = [(p.state, s) for p, s in zip(states, durations_s, strict=True) if s > 0]
    phases = []
    for k, (state, green_s) in enumerate(shown):
        after = shown[(k + 1) % len(shown)][0]
        yellow = "".join("y" if a in "Gg" and b not in "Gg" else a for a, b in zip(state, after, strict=True))
        bounds = f'minDur="{timing.min_green_s}" maxDur="50"' if kind != "static" else ""
        phases.append(f'<phase duration="{green_s}" {bounds} state="{state}"/>')
        if "y" in yellow:
            phases.append(f'<phase duration="{timing.yellow_s}" state="{yellow}"/>')
        if "y" in yellow and timing.red_clearance_s > 0:
            phases.append(f'<phase duration="{timing.red_clearance_s}" state="{yellow.replace("y", "r")}"/>')
    file.write_text(
        f'<additional><tlLogic id="{light.tls}" programID="bench" offset="0" type="{kind}">'
        f"{_PARAMETERS.get(kind, '')}{''.join(phases)}</tlLogic></additional>"
    )
    return file


class Harness:
    """The external harness, on scenarios in a folder of ours. Raises FileNotFoundError where it is not there."""

    def __init__(self, file: Path, scenarios: Path) -> None:
        if not file.exists():
            raise FileNotFoundError(file)
        os.environ["SCENARIOS"] = str(scenarios)
        spec = importlib.util.spec_from_file_location("external_harness", file)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(file)
        self._module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)
        self._plain_sim: Any = self._module.Sim

    def run(self, scenario: str, name: str, seed: int, timing: Timing, sensing: Sensing, light: Light) -> Result:
        """One run of one of `HARNESS`, with the same timing and the same share of vehicles unseen."""
        arguments = f"min_green={timing.min_green_s:.0f},yellow={timing.yellow_s:.0f}"
        arguments += f",all_red={timing.red_clearance_s:.0f},detect={sensing.seen}"
        reach = "" if name == "exhaust" else f",R={sensing.reach_m}"
        waits_s = dict.fromkeys(light.lanes, 0.0)
        blind = frozenset(light.lanes[i] for i in sensing.blind)
        vars(self._module)["Sim"] = _watched(self._plain_sim, blind, waits_s)
        row = self._module.run(scenario, f"{HARNESS[name]}({arguments}{reach})", seed)
        return Result(
            delay_s=row["delay"],
            waiting_s=row["waiting"],
            stops=float("nan"),
            queue=float("nan"),
            longest_wait_s=row["maxwait"],
            arrived=row["arrived"],
            lane_wait_s=waits_s,
        )


def _watched(plain: Any, blind: frozenset[str], waits_s: dict[str, float]) -> Any:
    """The harness's sensors without the lanes in `blind`; `waits_s` gets the longest that anybody stood."""

    class Watched(plain):  # type: ignore[misc]
        def _sense(self) -> None:
            super()._sense()
            for lane in waits_s:
                for vehicle in self.s.lane.getLastStepVehicleIDs(lane):
                    waits_s[lane] = max(waits_s[lane], self.s.vehicle.getWaitingTime(vehicle))
            for lane in blind:
                self.cnt[lane], self._pres[lane] = 0, False
                self.last_cross[lane] = self.last_seen[lane] = -1e9

        def _next(self) -> Any:
            return [row for row in super()._next() if row[0] not in blind]

    return Watched
