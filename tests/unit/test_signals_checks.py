"""What `stopline-signals check` makes of a description that is free of faults, and perhaps not right."""

from pathlib import Path

from msgspec import structs

from common.junction import Junction
from edge_agent.checks.findings import Finding, Verdict
from edge_agent.signals.checks import check_all
from edge_agent.signals.config import HeadsSettings, SignalsConfig
from tests.junctions import crossroads, with_people


def conflicts_line(junction: Junction, folder: Path) -> Finding:
    config = SignalsConfig(state_dir=str(folder), heads=HeadsSettings(driver="simulated"), junction=junction)
    (found,) = (one for one in check_all(config) if one.what == "conflicts")
    return found


def test_movements_between_which_no_clearance_is_kept_are_named(tmp_path: Path) -> None:
    for junction in (crossroads(), with_people()):
        assert conflicts_line(junction, tmp_path).verdict is Verdict.OK
    lacking = structs.replace(crossroads(), conflicts=crossroads().conflicts[1:])
    found = conflicts_line(lacking, tmp_path)
    assert found.verdict is Verdict.NOTE
    assert "north and east: never in one stage, and no conflict" in found.text
