"""The Protocols between the pure core and the world, and the errors their implementations raise.

::

    DriverError
    ├── SourceError            the picture did not come
    │   ├── SourceEnded        there is no more: the file is over
    │   ├── SourceStalled      nothing came in time; it may come back
    │   └── SourceUnusable     it cannot be opened or decoded; the message says what to do
    └── DetectorError          the model cannot be loaded or run; the message says what to do
"""

from collections.abc import Sequence
from typing import Protocol

from edge_agent.domain.frames import Detections, Frame, Image


class DriverError(Exception):
    """Something outside the program did not do what was asked."""


class SourceError(DriverError):
    """A frame source could not give a picture."""


class SourceEnded(SourceError):
    """The source is over: the last frame of a file was read."""


class SourceStalled(SourceError):
    """No frame came within the time allowed. The caller may go on reading, or close and open again."""


class SourceUnusable(SourceError):
    """The source cannot be opened or decoded."""


class DetectorError(DriverError):
    """The detector cannot be loaded, or failed on a picture. Never answered by an empty result."""


class FrameSource(Protocol):
    """Gives pictures: a camera, a stream, a file, a folder, a simulator.

    One thread calls all methods. `open` may be called again after `close`; `close` may be called at any time and
    twice. Frames come in order of `t_s`; `live` says whether they wait for the reader.
    """

    @property
    def live(self) -> bool:
        """True for a source that goes on whether it is read or not; the newest frame matters there, and older
        ones are dropped. False for one that must be read to the end, frame by frame."""

    def open(self) -> None:
        """Open the source. Blocks until it is ready.

        Raises:
            SourceUnusable: with what to do about it.
        """

    def read(self, timeout_s: float) -> Frame:
        """The next frame.

        Blocks for `timeout_s` at most, as well as the device allows; a read that may hang for ever belongs into a
        process that can be killed.

        Raises:
            SourceEnded: there are no more frames.
            SourceStalled: none came within `timeout_s`.
            SourceUnusable: it broke down.
        """

    def close(self) -> None:
        """Give the device back."""


class Detector(Protocol):
    """Finds objects in pictures. One thread calls all methods; `close` may be called twice."""

    @property
    def class_names(self) -> Sequence[str]:
        """All classes that this detector can tell apart, by class id."""

    def detect(self, image: Image) -> Detections:
        """What is in the picture, after the detector's own threshold and duplicate removal.

        Blocks. The boxes are in pixels of `image`, clipped to it.

        Raises:
            DetectorError: the model failed. An empty result always means that nothing was there.
        """

    def close(self) -> None:
        """Give memory and threads back."""
