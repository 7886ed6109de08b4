"""Cycle records: what each lane got and gave, from one beginning of the plan's first green to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.codes import Aspect
from common.junction import Junction
from common.records import Cycle
from edge_agent.domain.signals.steps import Decision, Lane


@dataclass(frozen=True, slots=True)
class TagPassage:
    """A tagged vehicle passed on a lane."""

    lane: str
    epc: str


class CycleMaker:
    """Makes cycle records out of steps."""

    def __init__(self, junction: Junction) -> None:
        self._junction = junction

    def step(
        self,
        now_s: float,
        decision: Decision,
        shown: Mapping[str, Aspect],
        lanes: Sequence[Lane],
        passages: Sequence[TagPassage] = (),
    ) -> Cycle | None:
        """The cycle that ended with this step, at `now_s`; its `seq` and `at` are filled in when it is sent.

        Args:
            shown: what is shown from `now_s` on.
            lanes: in the junction's order.
            passages: since the last step.
        """
        raise NotImplementedError
