"""The file that `init` writes is good as it stands, and so is everything in it that is commented out."""

import re
from pathlib import Path

import pytest

from edge_agent.config.loading import parse_config
from edge_agent.config.settings import AgentConfig
from edge_agent.config.writer import render_config

SETTING = re.compile(r"^# (?=\[|[a-z_0-9]+ = )")
CAMERA = {
    "name": "north",
    "source": 'rtsp://user:pä"ss\\word@host/1',
    "lines": [{"name": "a 'line' #1", "points": [[0, 1.5], [2, 3]]}],
    "zones": [{"name": "z", "points": [[0, 0], [5, 0], [5, 5]]}],
}


def parse(text: str) -> AgentConfig:
    return parse_config(text, Path("/etc/agent.toml"), {}, files_must_exist=False)


def with_everything(text: str) -> str:
    """The text with all that is commented out put in force."""
    return "".join(SETTING.sub("", line) for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(
    "tree",
    [
        {"name": "pi"},
        {"name": "pi", "collector": {"url": "https://c"}},
        {"name": "pi", "junction": "J", "cameras": [CAMERA], "health": {"interval_s": 5.0}},
        {"name": "pi", "cameras": [CAMERA, {"name": "south", "source": "0"}]},
    ],
    ids=["name", "collector", "camera", "cameras"],
)
def test_it_says_what_it_was_given_and_nothing_else(tree: dict[str, object]) -> None:
    config = parse(render_config(tree))
    dumped = config.model_dump(mode="json", exclude_unset=True)
    for section in ("outbox", "health", "status", "log", "epc"):
        if not dumped.get(section):
            dumped.pop(section, None)
    assert dumped == tree


def test_what_is_commented_out_is_good_too() -> None:
    text = with_everything(render_config({"name": "pi"}))
    config = parse(text)
    assert config.collector is not None
    assert config.cameras[0].lines
    assert config.cameras[0].zones
    missing = [key for key in AgentConfig.model_fields if key not in config.model_fields_set]
    assert not missing, "a setting that is not explained"


def test_defaults_that_are_shown_are_the_defaults() -> None:
    shown = parse(with_everything(render_config({"name": "pi"})))
    assert shown.outbox == parse('name = "pi"').outbox
    assert shown.status == parse('name = "pi"').status
    assert (
        shown.cameras[0].black_after_s
        == parse(render_config({"name": "pi", "cameras": [CAMERA]})).cameras[0].black_after_s
    )


def test_every_setting_is_explained() -> None:
    lines = render_config({"name": "pi"}).splitlines()
    for number, line in enumerate(lines):
        if re.match(r"^(# )?[a-z_0-9]+ = ", line):
            assert lines[number - 1].startswith("# "), line
            assert len(lines[number - 1]) > 5
