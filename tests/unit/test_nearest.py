"""Which name somebody may have meant."""

import subprocess
import sys

import pytest

from common.nearest import nearest


@pytest.mark.parametrize(
    ("name", "names", "meant"),
    [
        ("nroth", ["south", "north", "east"], "north"),
        ("fires", ["tram", "fire"], "fire"),
        ("Europe/Berln", ["Europe/Brussels", "Europe/Berlin", "America/Bermuda"], "Europe/Berlin"),
        ("NORTH", ["north"], "north"),
        ("yelow_s", ["min_green_s", "yellow_s", "red_clearance_s"], "yellow_s"),
        ("south", ["north", "east", "west"], None),
        ("Mars/Olympus", ["Europe/Berlin", "Asia/Kolkata", "UTC"], None),
        ("", ["north"], None),
        ("north", [], None),
        ("", [""], ""),
    ],
)
def test_what_is_meant(name: str, names: list[str], meant: str | None) -> None:
    assert nearest(name, names) == meant


def test_a_wrong_order_loads_nothing_between_two_steps() -> None:
    """A module that has to come from a slow disk first makes a step late, which is a fault."""
    script = (
        "import sys; from common.override_times import check_order; from common.commands import Preempt;"
        "from tests.junctions import crossroads; junction = crossroads(); before = set(sys.modules);"
        "print(check_order(junction, Preempt(by='x', preemption='fire', on=True)).reason);"
        "print(sorted(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[1:] == ["[]"]
