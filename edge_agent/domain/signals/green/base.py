"""What a way of finding green times is."""

from typing import Protocol

from edge_agent.domain.signals.steps import Situation


class GreenTime(Protocol):
    """Says which stage is wanted next. Pure, but for what it learned from the situations before.

    It is asked some times a second at most, and may be asked only while a green is shown that had its minimum;
    whoever asks keeps minimum greens, yellows and clearances, and may refuse. Durations are seconds.
    """

    @property
    def name(self) -> str:
        """As in `common.junction.Algorithm`."""
        ...

    def decide(self, situation: Situation) -> int | None:
        """The stage wanted next, by its index in the junction's description; None: keep the one that is green."""
        ...
