"""What can be asked of a camera, and what is done to its picture before anybody sees it.

Only the standard library is needed here, so that a configuration can be checked where OpenCV is not loaded.
"""

from dataclasses import dataclass
from enum import StrEnum

from edge_agent.domain.shapes import Zone

ROTATIONS_DEG = (0, 90, 180, 270)


class RtspTransport(StrEnum):
    """How the pictures of an RTSP camera travel."""

    TCP = "tcp"
    """Nothing is lost on the way; the default."""
    UDP = "udp"
    """For cameras that can do nothing else. Lost packets show as smears."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Requests to a camera, and the preparation of its pictures.

    Attributes:
        width_px, height_px, fps: what a local camera is asked for; None leaves it to the camera.
        rotation_deg: clockwise, one of `ROTATIONS_DEG`. Lines, zones and masks are drawn on the turned picture.
        masks: painted over.
    """

    rtsp_transport: RtspTransport = RtspTransport.TCP
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    rotation_deg: int = 0
    masks: tuple[Zone, ...] = ()
