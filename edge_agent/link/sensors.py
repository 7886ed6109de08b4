"""What cameras see, in the words of the lights."""

from collections.abc import Sequence

from common.codes import Direction, Via
from common.records import Count
from edge_agent.cameras.messages import InZone
from edge_agent.link.client import LightsLink
from edge_agent.link.messages import Crossing, Presence, SensorState

_WHY_CHARS = 500


class CameraReports:
    """Passes on what camera supervisors hear, as soon as they do."""

    def __init__(self, link: LightsLink) -> None:
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
