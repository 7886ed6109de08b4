"""What `stopline-signals check` makes of a description that is free of faults, and perhaps not right."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from common.junction import Junction
from edge_agent.checks.findings import Finding, Verdict
from edge_agent.signals.checks import check_all
from edge_agent.signals.config import HeadsSettings, LoopSettings, SignalsConfig
from tests.junctions import crossroads, with_people
from tests.unit.test_actuated_coordination import held_up_arterial


def line(what: str, junction: Junction, folder: Path, loop: LoopSettings | None = None) -> Finding:
    heads, loop = HeadsSettings(driver="simulated"), loop or LoopSettings()
    config = SignalsConfig(state_dir=str(folder), heads=heads, junction=junction, loop=loop)
    (found,) = (one for one in check_all(config) if one.what == what)
    return found


def conflicts_line(junction: Junction, folder: Path) -> Finding:
    return line("conflicts", junction, folder)


def test_movements_that_may_have_been_forgotten_among_the_conflicts_are_named(tmp_path: Path) -> None:
    for junction in (crossroads(), with_people()):
        assert conflicts_line(junction, tmp_path).verdict is Verdict.OK
    lacking = structs.replace(crossroads(), conflicts=crossroads().conflicts[1:])
    found = conflicts_line(lacking, tmp_path)
    assert found.verdict is Verdict.NOTE
    assert "north and east: never in one stage, and so kept apart as if they conflicted" in found.text


def test_coordinated_plans_tell_their_cycle_and_what_may_be_left(tmp_path: Path) -> None:
    base = crossroads(offset_s=12.0)
    told = line("plan day", base, tmp_path)
    assert (told.verdict, told.text) == (Verdict.OK, "cycle 55 s, offset 12 s; all greens have their own times")
    actuated = structs.replace(base.plans[0], actuated_coordination=True)
    told = line("plan day", structs.replace(base, plans=(actuated,)), tmp_path)
    assert told.text == "cycle 55 s, offset 12 s; the other stages may leave 13 s of it to ns"
    first, second = actuated.stages
    full = structs.replace(actuated, stages=(structs.replace(first, max_green_s=first.green_s), second))
    told = line("plan day", structs.replace(base, plans=(full,)), tmp_path)
    assert told.verdict is Verdict.NOTE
    assert "nothing can be left to ns: raise its max_green_s" in told.text


def test_a_coordinated_plan_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    told = line("coordination", held_up_arterial(), tmp_path)
    assert told.verdict is Verdict.NOTE
    assert "south begins 3 s late in every cycle, since north still clears" in told.text


def test_who_gets_no_real_time_is_told_what_follows_and_what_to_do(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    assert (
        "loop.realtime is false: " in line("priority", crossroads(), tmp_path, LoopSettings(realtime=False)).text
    )
    assert line("priority", crossroads(), tmp_path).verdict in (Verdict.OK, Verdict.NOTE)
    assert os.sched_getscheduler(0) == before, "asking for it leaves this process as it was"

    if shutil.which("setpriv") is None or shutil.which("prlimit") is None:
        pytest.skip("setpriv and prlimit are not installed: apt-get install util-linux")
    without = ["prlimit", "--rtprio=0"]
    if os.geteuid() == 0:
        without += ["setpriv", "--bounding-set=-sys_nice"]
    script = "from edge_agent.signals.checks import _priority as p; print(p(wanted=True).text)"
    told = subprocess.run(
        [*without, sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith("no real time for this user here (Operation not permitted): ")
    assert "LimitRTPRIO=" in told
