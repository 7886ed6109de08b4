"""Descriptions that must not drive lights: all faults are told at once, each with its field, value and mend."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from collector.junctions.wanted import read_tree
from common.junction import Junction
from common.junction_checks import faults, read_junction
from common.junction_times import cycle_s, intergreen_s
from tests.junctions import crossroads, four_stages, with_people
from tests.lights import junctions

Table = dict[str, Any]


def table(**changes: Any) -> Table:
    """The crossroads as a file would have it, with some parts changed; `movements__1__yellow_s=2` goes deeper."""
    found: Table = msgspec.json.decode(msgspec.json.encode(crossroads()))
    for path, value in changes.items():
        *way, last = path.split("__")
        part: Any = found
        for step in way:
            part = part[int(step)] if step.isdigit() else part[step]
        if last.isdigit() and int(last) == len(part):
            part.append(value)
        else:
            part[int(last) if last.isdigit() else last] = value
    return found


@pytest.mark.parametrize("junction", [crossroads(), crossroads(offset_s=10.0), four_stages(), with_people()])
def test_the_samples_are_free_of_faults(junction: Junction) -> None:
    assert faults(junction) == []
    assert read_junction(msgspec.json.encode(junction)) == (junction, [])


@given(junctions())
def test_what_is_written_is_read_again(junction: Junction) -> None:
    assert read_junction(msgspec.json.encode(junction)) == (junction, [])


PREEMPTION = {"name": "fire", "stage": "ns", "number": 1}
WALK = {"name": "walk", "phase": 9, "kind": "pedestrian", "yellow_s": 0.0, "red_clearance_s": 20.0}


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"movements__1__lanes": ("norht",)}, "movements[1].lanes[0]", "did you mean north?"),
        ({"movements__1__gives_way_to": ("nobody",)}, "movements[1].gives_way_to[0]", "no such movement"),
        ({"movements__0__gives_way_to": ("east",)}, "movements[0].gives_way_to[0]", "conflict"),
        ({"movements__0__gives_way_to": ("north",)}, "movements[0].gives_way_to[0]", "itself"),
        ({"conflicts__4": ("north", "norht")}, "conflicts[4][1]", "did you mean north?"),
        ({"conflicts__4": ("north", "north")}, "conflicts[4]", "itself"),
        ({"conflicts__4": ("east", "north")}, "conflicts[4]", "twice"),
        ({"stages__0__movements": ("north", "souht")}, "stages[0].movements[1]", "did you mean south?"),
        ({"stages__0__movements": ("north", "south", "east")}, "stages[0].movements[2]", "conflicts with south"),
        ({"stages__0__movements": ("north", "north")}, "stages[0].movements[1]", "twice"),
        ({"stages__2": {"name": "none", "movements": ()}}, "stages[2].movements", "names no movement"),
        ({"stages__0__movements": ("north",)}, "plans[0].stages", "south is in none"),
        ({"movements__1__name": "north"}, "movements[1].name", "movements[0] has it"),
        ({"movements__1__phase": 2}, "movements[1].phase", "movements[0] has it"),
        ({"lanes__1__name": "north"}, "lanes[1].name", "twice"),
        ({"lanes__4": {"name": "bus", "approach": "north"}}, "lanes[4].name", "no vehicle movement"),
        ({"detectors__1__channel": 1}, "detectors[1].channel", "twice"),
        ({"detectors__1__lane": "nroth"}, "detectors[1].lane", "did you mean north?"),
        ({"movements__1__yellow_s": 2.0}, "movements[1].yellow_s", "3 to 6 s"),
        ({"movements__1__yellow_s": 6.5}, "movements[1].yellow_s", "3 to 6 s"),
        ({"movements__1__red_clearance_s": 7.0}, "movements[1].red_clearance_s", "6 s at most"),
        ({"movements__4": {**WALK, "yellow_s": 3.0}}, "movements[4].yellow_s", "make it 0"),
        ({"movements__1__min_green_s": 60.0}, "movements[1].max_green_s", "60 s"),
        ({"movements__1__min_green_s": 0.5}, "movements[1].min_green_s", "1 s or more"),
        ({"movements__1__max_red_s": 20.0}, "movements[1].max_red_s", "red for"),
        ({"movements__1__min_green_s": 70.0, "movements__1__max_green_s": 99.0}, "stages[1].movements", "west"),
        ({"plans__0__stages__0__green_s": 6.0}, "plans[0].stages[0].green_s", "from 7 to 50 s"),
        ({"plans__0__stages__0__green_s": 51.0}, "plans[0].stages[0].green_s", "from 7 to 50 s"),
        ({"plans__0__stages__0__min_green_s": 5.0}, "plans[0].stages[0].min_green_s", "need 7 s"),
        ({"plans__0__stages__0__max_green_s": 55.0}, "plans[0].stages[0].max_green_s", "allow 50 s"),
        ({"plans__0__stages__0__stage": "nss"}, "plans[0].stages[0].stage", "did you mean ns?"),
        ({"plans__0__stages": ()}, "plans[0].stages", "names no stage"),
        ({"plans__0__offset_s": 55.0}, "plans[0].offset_s", "the cycle"),
        ({"schedule": [{"plan": "dya", "start": "06:00"}]}, "schedule[0].plan", "did you mean day?"),
        ({"schedule": [{"plan": "day", "start": "06:00", "days": []}]}, "schedule[0].days", "names no day"),
        ({"schedule": [{"plan": "day", "start": "06:00", "days": [1, 1]}]}, "schedule[0].days", "twice"),
        (
            {"schedule": [{"plan": "day", "start": "06:00"}, {"plan": "day", "start": "06:00", "days": [3]}]},
            "schedule[1].start",
            "on day 3",
        ),
        ({"preemptions": [{**PREEMPTION, "stage": "x"}]}, "preemptions[0].stage", "there are ns, ew"),
        ({"preemptions": [{**PREEMPTION, "exit_stage": "we"}]}, "preemptions[0].exit_stage", "ew"),
        ({"preemptions": [PREEMPTION, {**PREEMPTION, "name": "b"}]}, "preemptions[1].number", "twice"),
        ({"preemptions": [{**PREEMPTION, "max_presence_s": 3.0}]}, "preemptions[0].max_presence_s", "7 s"),
        ({"startup__stage": "nss"}, "startup.stage", "did you mean ns?"),
        ({"timezone": "Europe/Berlim"}, "timezone", "did you mean Europe/Berlin?"),
        ({"timezone": "../etc/passwd"}, "timezone", "no such time zone"),
        ({"movements__1__min_green_s": float("nan")}, "movements[1].min_green_s", "at least 0"),
        ({"lanes__0__aproach": "north"}, "lanes[0].aproach", "did you mean approach?"),
        ({"lanes": 3}, "lanes", "a list"),
        ({"lanes__0": "north"}, "lanes[0]", "table"),
        ({"movements__0__phase": "one"}, "movements[0].phase", "a whole number"),
        ({"startup__all_red_s": 1.0}, "startup.all_red_s", "at least 3"),
        ({"seen_share": 0.0}, "seen_share", "at least 0.25"),
        ({"seen_share": 40}, "seen_share", "at most 1"),
    ],
)
def test_what_is_wrong_is_told(changes: Table, path: str, words: str) -> None:
    _, found = read_junction(table(**changes))
    messages = {fault.path: str(fault) for fault in found}
    assert path in messages, messages
    assert words in messages[path]


def test_lanes_that_two_movements_share_cannot_be_in_conflict() -> None:
    _, found = read_junction(table(movements__1__lanes=("east", "north")))
    assert any(fault.path.startswith("conflicts") and "lane north" in fault.message for fault in found)


def test_all_is_told_at_once() -> None:
    _, found = read_junction(
        table(
            movements__0__yellow_s=2.0,
            movements__1__lanes=("nowhere",),
            startup__stage="none",
            timezone="Mars",
            conflicts__4=("north", "north"),
        )
    )
    paths = {fault.path for fault in found}
    assert paths >= {"movements[0].yellow_s", "movements[1].lanes[0]", "startup.stage", "timezone", "conflicts[4]"}


def test_all_of_a_wrong_shape_is_told_at_once() -> None:
    wrong = table(lanes__0__aproach="n", movements__2__phase=99, schedule=[{"plan": "day", "start": "25:00"}])
    del wrong["startup"]
    junction, found = read_junction(wrong)
    assert junction is None
    assert {fault.path for fault in found} == {
        "lanes[0].aproach",
        "movements[2].phase",
        "schedule[0].start",
        "startup",
    }


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]", b"null", '{"name": 3}', b'{"name": "x"}'])
def test_what_is_no_junction(text: bytes | str) -> None:
    junction, found = read_junction(text)
    assert junction is None
    assert found


def test_times_between_stages() -> None:
    junction = with_people()
    assert intergreen_s(junction, "ns", "ew") == 8.0
    assert intergreen_s(junction, "ns", "ns") == 0.0
    assert cycle_s(junction, junction.plans[0]) == 25.0 + 8.0 + 20.0 + 8.0
    assert intergreen_s(crossroads(), "ns", "ew") == 5.0


def test_what_a_file_holds_is_told_in_few_and_short_words() -> None:
    deep: Any = "\x00"
    for _ in range(3_000):
        deep = {"a": deep}
    [fault] = read_tree({"name": "x", "metadata": deep}, None)[1]
    assert len(fault.path) < 200
    many = {"k" * 50_000: ["\x00"] * 1_000, "day\x00": 2**60}
    found = read_tree({"name": "x", "metadata": many}, None)[1]
    assert len(found) <= 200, "each was told with the whole of its long path"
    assert sum(len(one.path) for one in found) < 50_000
    [named, large] = read_tree({"name": "x"}, {"lanes": [{"a\x00": 2**60}]}, "description")[1]
    assert (named.path, large.path) == ("description.lanes[0].a?",) * 2
