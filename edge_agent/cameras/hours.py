"""A camera's working hours, by the clock on the wall of its junction."""

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from edge_agent.domain.schedule import Window, is_open, next_opening


def local_now_in(zone: tzinfo | None) -> Callable[[], datetime]:
    """A wall clock there; None: in the system's zone."""
    return lambda: datetime.now().astimezone(zone)


class Hours:
    """When a camera works.

    Args:
        windows: empty: always.
        local_now: the wall clock.
    """

    def __init__(self, windows: Sequence[Window], local_now: Callable[[], datetime]) -> None:
        self._windows = windows
        self._local_now = local_now

    def open(self) -> bool:
        """Whether it works now."""
        return is_open(self._windows, self._local_now())

    def until(self) -> str:
        """When it works again, for people."""
        moment = next_opening(self._windows, self._local_now())
        return f"by its schedule, until {moment:%a %H:%M}" if moment else "by its schedule"
