"""Puts a source's own clock beside the machine's: when was the moment `t_s` of this source?"""

_DRIFT = 200e-6
"""By how much the two clocks may run apart, as a share."""
_RESTART_S = 5.0
"""A change of the difference by more than this is no delay and no drift: the source began anew."""


class SourceClock:
    """Learns how far a source's clock is from CLOCK_BOOTTIME, from when its frames arrive.

    A frame is late by as long as it waited in buffers, which varies; it is never early. So the smallest difference
    ever seen is the best one, save that the clocks drift apart slowly.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._seen_s = 0.0

    def observe(self, t_s: float, boottime_s: float) -> None:
        """A frame of time `t_s` arrived at `boottime_s`."""
        offset_s = boottime_s - t_s
        if self._offset_s is not None and abs(offset_s - self._offset_s) < _RESTART_S:
            grown_s = max(0.0, boottime_s - self._seen_s) * _DRIFT
            offset_s = min(offset_s, self._offset_s + grown_s)
        self._offset_s, self._seen_s = offset_s, boottime_s

    def boottime_s(self, t_s: float) -> float:
        """When `t_s` was, as CLOCK_BOOTTIME.

        Raises:
            ValueError: no frame was observed yet.
        """
        return t_s + self._known_s()

    def source_s(self, boottime_s: float) -> float:
        """What the source's clock showed at `boottime_s`.

        Raises:
            ValueError: no frame was observed yet.
        """
        return boottime_s - self._known_s()

    def _known_s(self) -> float:
        if self._offset_s is None:
            raise ValueError("no frame was observed yet")
        return self._offset_s
