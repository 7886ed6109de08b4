"""The Protocols between the pure core and the world, and the errors their implementations raise.

::

    DriverError
    ├── SourceError            the picture did not come
    │   ├── SourceEnded        there is no more: the file is over
    │   ├── SourceStalled      nothing came in time; it may come back
    │   └── SourceUnusable     it cannot be opened or decoded; the message says what to do
    ├── DetectorError          the model cannot be loaded or run; the message says what to do
    ├── TagError               the reader did not answer, or cannot be opened
    │   └── TagsEnded          there are no more: the recording is over
    └── HeadsError             the lamps could not be switched or read back
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.codes import Aspect

if TYPE_CHECKING:
    # The lights' daemon loads this file and no numpy.
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


class TagError(DriverError):
    """A tag reader failed. Never answered by "no tags": what was not read is a gap."""


class TagsEnded(TagError):
    """The recording is over: its last reading was given."""


class HeadsError(DriverError):
    """The lamps did not take an order, or could not be read back. The lights have to flash."""


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

    def read(self, timeout_s: float) -> "Frame":
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

    def detect(self, image: "Image") -> "Detections":
        """What is in the picture, after the detector's own threshold and duplicate removal.

        Blocks. The boxes are in pixels of `image`, clipped to it.

        Raises:
            DetectorError: the model failed. An empty result always means that nothing was there.
        """

    def close(self) -> None:
        """Give memory and threads back."""


@dataclass(frozen=True, slots=True)
class TagRead:
    """One reading of one tag.

    Attributes:
        epc: the tag's number in upper-case hex: a UID (4, 7 or 10 bytes) or an EPC.
        antenna: which of the reader's antennas, from 1.
        t_s: monotonic.
        rssi_dbm: how strong, where the reader tells.
    """

    epc: str
    antenna: int
    t_s: float
    rssi_dbm: float | None = None


class TagReader(Protocol):
    """Reads tags. One thread calls all methods; `open` may be called again after `close`, `close` twice."""

    @property
    def well_until_s(self) -> float:
        """Up to when the reader is known to have been well (monotonic): that nothing was read till then says that
        no tag was there. A reader that is only heard now and then is known to be well by its last word."""

    def open(self) -> None:
        """Begin to read. Blocks until the reader answers.

        Raises:
            TagError: with what to do about it.
        """

    def read(self, timeout_s: float) -> Sequence[TagRead]:
        """What was read since the last call; waits `timeout_s` at most for the first. Empty: no tag there.

        Raises:
            TagError: the reader failed.
        """

    def close(self) -> None:
        """Stop the reader, the field and the threads."""


class SignalHeads(Protocol):
    """The lamps of all movements. One thread calls all methods, and none may block for longer than some ms.

    Made dark or red, as the hardware rests; nothing is lit before the first `show`.
    """

    def show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
        """Light exactly these, one a movement. Called in every step, changed or not: it also feeds the dead-man,
        and times the flashing (by `now_s`, monotonic).

        Raises:
            HeadsError: a lamp did not take it.
        """

    def read_back(self) -> Mapping[str, frozenset[Aspect]] | None:
        """The steady colours that are really lit on each head; None where the hardware cannot tell.

        Raises:
            HeadsError: it should be able to, and failed.
        """

    def fail_safe(self) -> None:
        """Greens and yellows off, reds on, as well as can be: the last act of a dying program. Never raises."""

    def close(self) -> None:
        """Give the hardware back, in its safe state: reds stay lit, nothing floats."""
