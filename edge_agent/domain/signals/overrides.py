"""What a manual override makes of a plan, as control runs it."""

from common.commands import ManualOverride
from common.override_times import override_times
from edge_agent.domain.signals.layout import Layout
from edge_agent.domain.signals.program import Program


def override(layout: Layout, order: ManualOverride, plan: int) -> Program:
    """The program of an override, in the order of stages of a plan.

    Raises:
        OverrideError: it does not add up, or breaks a bound.
    """
    greens_s = [time.green_s for time in override_times(layout.junction, plan, order)]
    return Program(layout, plan, greens_s=greens_s, is_free=True)
