"""What cameras see and readers read, in the words of the lights."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from common.clock import Stamp
from common.codes import Direction, Via
from common.records import Count
from edge_agent.cameras.messages import InZone
from edge_agent.cameras.view import CameraView
from edge_agent.domain.fusion import FusedCrossing
from edge_agent.link.messages import Crossing, Presence, SensorState

_WHY_CHARS = 500
_STATES_EVERY_S = 1.0


class Lights(Protocol):
    """Who is told; `edge_agent.link.client.LightsLink` is one."""

    def tell(self, message: Crossing | Presence | SensorState) -> bool:
        """Pass it on; False: they are not there."""


class CameraReports:
    """Passes on what camera supervisors hear, as soon as they do."""

    def __init__(self, link: Lights) -> None:
        self._link = link

    def counted(self, count: Count, at_ns: int) -> None:
        """A crossing of a line. The lights have no use for others: a visit of a zone is known when it is over, and
        a turn was counted by its lines."""
        if count.via is Via.CAMERA and count.direction is not Direction.NONE:
            self._link.tell(
                Crossing(
                    sensor=count.sensor,
                    source=count.source,
                    at_ns=max(0, at_ns),
                    cls=count.cls,
                    direction=count.direction,
                )
            )

    def in_zones(self, camera: str, zones: Sequence[InZone], at_ns: int) -> None:
        """What is in each zone."""
        for seen in zones:
            self._link.tell(
                Presence(sensor=camera, zone=seen.zone, at_ns=max(0, at_ns), n=seen.n, n_standing=seen.n_standing)
            )

    def measures(self, camera: str, at_ns: int, why_not: str) -> None:
        """Whether it measures."""
        self._link.tell(
            SensorState(sensor=camera, at_ns=max(0, at_ns), measures=not why_not, why_not=why_not[:_WHY_CHARS])
        )


class TagReports:
    """Passes on passages of tags, and each vehicle of a fused lane once, whichever sensor saw it.

    Args:
        readers: what is known of each reader.
        lanes: of each fused lane why it is not measured; "" where it is.
    """

    def __init__(
        self, link: Lights, readers: Sequence[CameraView], lanes: Callable[[], Mapping[str, str]]
    ) -> None:
        self._link, self._readers, self._lanes = link, readers, lanes

    def counted(self, count: Count, stamp: Stamp) -> None:
        """A passage of a reader; cameras tell theirs themselves, and sooner."""
        if count.via is Via.RFID:
            self._link.tell(
                Crossing(
                    sensor=count.sensor,
                    source=count.source,
                    at_ns=stamp.boottime_ns,
                    cls=count.cls,
                    epc=count.track,
                    direction=count.direction,
                )
            )

    def fused(self, lane: str, crossing: FusedCrossing) -> None:
        """A vehicle of a fused lane, which is a sensor and a line of its own."""
        if crossing.late and crossing.epc is None:
            return  # only its class is new
        self._link.tell(
            Crossing(
                sensor=lane,
                source=lane,
                at_ns=max(0, int(crossing.t_s * 1e9)),
                cls=crossing.cls,
                epc=crossing.epc,
                is_new=not crossing.late,
            )
        )

    async def run(self) -> None:
        """Tell once a second who measures. Ends by cancellation."""
        while True:
            at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            for reader in self._readers:
                self._state(reader.name, at_ns, "" if reader.state == "ok" else reader.detail or reader.state)
            for lane, why_not in self._lanes().items():
                self._state(lane, at_ns, why_not)
            await asyncio.sleep(_STATES_EVERY_S)

    def _state(self, sensor: str, at_ns: int, why_not: str) -> None:
        self._link.tell(
            SensorState(sensor=sensor, at_ns=at_ns, measures=not why_not, why_not=why_not[:_WHY_CHARS])
        )
