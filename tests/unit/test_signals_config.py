"""The lights' configuration: read whole, and every mistake told with where, what, and what would be right."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from collector.junctions.template import TemplateKind, template
from edge_agent.config.faults import ConfigError
from edge_agent.exit_codes import EXIT_USAGE
from edge_agent.signals import cli
from edge_agent.signals.config import SignalsConfig, wiring_of
from edge_agent.signals.loading import load_signals_config
from tests.integration.signals_helpers import PINS, quick_junction, write_signals_config

EXAMPLES = Path(__file__).parents[2] / "systemd/examples"


def faults(path: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_signals_config(path, environ)
    return [str(fault).replace(str(path.parent) + "/", "") for fault in caught.value.faults]


def changed(folder: Path, *changes: tuple[str, str], **settings: Any) -> Path:
    """The sound configuration, with words of it replaced."""
    path = write_signals_config(folder, **settings)
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    config = load_signals_config(write_signals_config(tmp_path, read_back=True), {})
    assert config.described.name == "crossroads"
    wiring = wiring_of(config.heads)
    assert {name: {str(c): lamp.pin for c, lamp in head.items()} for name, head in wiring.lamps.items()} == PINS
    assert wiring.reads_back


def test_the_file_that_the_collector_takes_serves_the_lights(tmp_path: Path) -> None:
    (tmp_path / "junction.toml").write_text(template(TemplateKind.FOUR_WAY, "Märkt / 1", "Europe/Berlin"))
    path = tmp_path / "signals.toml"
    path.write_text('state_dir = "."\njunction_file = "junction.toml"\n[heads]\ndriver = "simulated"')
    assert load_signals_config(path, {}).described.name == "Märkt / 1"


def test_the_junction_may_stand_in_the_file_itself(tmp_path: Path) -> None:
    junction = (EXAMPLES / "junction.toml").read_text()
    text = (EXAMPLES / "signals.toml").read_text().replace('junction_file = "junction.toml"\n', "")
    named = re.sub(r"^\[\[", "[[junction.", junction, flags=re.MULTILINE)
    path = tmp_path / "signals.toml"
    path.write_text(f"{text}\n[junction]\n{named}")
    config = load_signals_config(path, {})
    assert config.described == load_signals_config(EXAMPLES / "signals.toml", {}).described
    path.write_text(f'junction_file = "junction.toml"\n{text}\n[junction]\n{named}')
    assert "give one of the two" in " ".join(faults(path))


def test_paths_are_beside_the_file(tmp_path: Path) -> None:
    config = load_signals_config(write_signals_config(tmp_path, state_dir="here", socket="run/link"), {})
    assert config.state_dir == str(tmp_path / "here")
    assert config.socket == str(tmp_path / "run/link")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """In two files, of every kind."""
    junction = quick_junction()
    junction["movements"][1]["yellow_s"] = 2.0
    junction["plans"][0]["stages"][0]["stage"] = "nss"
    path = changed(
        tmp_path,
        ("red = { pin = 2 }", "red = { pin = 9 }"),
        ("yellow = { pin = 5 }", "yelow = { pin = 5 }"),
        ("[heads.lamps.south]", "[heads.lamps.soouth]"),
        ("dead_man_pin", "dead_man_pins"),
        junction=junction,
    )
    told = "\n".join(faults(path))
    for expected in (
        "heads.dead_man_pins = 26: there is no such setting here; did you mean dead_man_pin?",
        "heads.lamps.east.yelow: there is no such setting here; did you mean yellow?",
        "junction.json: movements[east].yellow_s = 2.0: ",
        'junction.json: plans[day].stages[#1].stage = "nss": ',
    ):
        assert expected in told, told
    path = changed(
        tmp_path,
        ("red = { pin = 2 }", "red = { pin = 9 }"),
        ("green = { pin = 10 }", "green = 8"),
        ("[heads.lamps.south]", "[heads.lamps.soouth]"),
        junction=quick_junction(),
    )
    told = "\n".join(faults(path))
    for expected in (
        "line 13: heads.lamps.north.green.pin = 9: GPIO 9 is used twice: it is lamps.north.red.pin already",
        "heads.lamps.east.green = 8: a green must be on GPIO 9 to 27",
        "heads.lamps.soouth: the junction has no such movement; did you mean south?",
        "heads.lamps.south: is missing: this movement of the junction has no head",
    ):
        assert expected in told, told


def test_mistakes_in_contacts_are_told(tmp_path: Path) -> None:
    junction = quick_junction()
    junction["preemptions"] = [{"name": "fire-east", "stage": "ew", "number": 1}]
    wired = {"lane": "north", "sensor": "contacts"}
    junction["detectors"] += [
        wired | {"channel": 70, "kind": "button", "source": "buton"},
        wired | {"channel": 71, "kind": "approach", "source": "loop"},
    ]
    contacts = {
        "button": "pin = 14",
        "loop": "pin = 9",
        "fire": 'pin = 30\npreempts = "fire-est"',
        "key": 'pin = 15\nflashes = true\npreempts = "fire-east"',
    }
    told = "\n".join(faults(write_signals_config(tmp_path, junction, contacts=contacts)))
    for expected in (
        "contacts.button: does nothing: no detector of the junction has",
        "contacts.loop.pin = 9: GPIO 9 is used twice: it is heads.lamps.north.green.pin already",
        "contacts.fire.pin = 30: must be a GPIO (BCM number) from 2 to 27",
        'contacts.fire.preempts = "fire-est": the junction has no such preemption; did you mean fire-east?',
        "contacts.key: can either preempt or flash; take one of the two out",
        'detectors[#9].source = "buton": no contact of this name is in [contacts] of the lights\' configuration',
        "configuration; did you mean button?",
        'detectors[#10].kind = "approach": a contact does not tell how many there are',
    ):
        assert expected in told, told
    assert len(told.splitlines()) == 7
    pulled = write_signals_config(tmp_path, contacts={"key": 'pin = 2\nflashes = true\nactive = "high"'})
    pulled.write_text(pulled.read_text().replace("red = { pin = 2 }", "red = { pin = 27 }"))
    assert "GPIO 2 is pulled up on the board, whatever is set; take another" in faults(pulled)[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ('driver = "gpio"', 'driver = "gpoi"'),
            'heads.driver = "gpoi": must be one of: gpio, simulated, lanes; did',
        ),
        (('driver = "gpio"', 'driver = "lanes"'), "mqtt: is missing"),
        (("late_s = 1.5", "late_s = 20.0"), "loop.late_s = 20.0: must be a number of 2.0 or less"),
        (("late_s = 1.5", 'late_s = "soon"'), 'loop.late_s = "soon": must be a number'),
        (("realtime = false", "realtime = 1"), "loop.realtime = 1: must be true or false"),
        (('"junction.json"', '"junctoin.json"'), "junctoin.json: there is no such file; copy it there"),
        (("[heads]", "[heads"), "is not TOML"),
        (("pin = 2 }", 'pin = 2, active = "low" }'), ""),
        (("pin = 9 }", 'pin = 9, active = "low" }'), 'green.active = "low": a green that is lit by a low level'),
    ],
)
def test_one_mistake_is_told_in_words(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    path = changed(tmp_path, change)
    if not told:
        load_signals_config(path, {})
        return
    found = faults(path)
    assert len(found) == 1
    assert told in found[0]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "there is no such file" in faults(tmp_path / "none.toml")[0]
    (tmp_path / "signals.toml").write_bytes(b"\xff")
    assert "is not UTF-8" in faults(tmp_path / "signals.toml")[0]
    path = write_signals_config(tmp_path)
    (tmp_path / "junction.json").write_text("[]")
    assert "must be a JSON object" in faults(path)[0]
    (tmp_path / "junction.json").write_text('{"name": ')
    assert "junction.json, line 1: is not JSON" in faults(path)[0]
    for text, told in (
        ('{"name": ' + "[" * 100_000, "is nested too deeply"),
        ('{"name": ' + "1" * 5000 + "}", "holds a number that is none here"),
        (json.dumps(quick_junction() | {"name": "\ud800"}), "holds half a character"),
        (" " * 2**21, "has more than 1024 kB"),
    ):
        (tmp_path / "junction.json").write_text(text)
        assert told in faults(path)[0]
    before = path.read_text()
    path.write_text("a = " + "[" * 5000)
    assert "is nested too deeply" in faults(path)[0]
    path.write_text(before)
    (tmp_path / "junction.json").write_text(json.dumps(quick_junction() | {"timezone": "Mars/Olympus"}))
    (told,) = faults(path)
    assert 'timezone = "Mars/Olympus": there is no such time zone here' in told


def test_the_environment_overrides_single_values(tmp_path: Path) -> None:
    path = write_signals_config(tmp_path)
    config = load_signals_config(
        path,
        {
            "STOPLINE_LIGHTS__STATE_DIR": "/elsewhere",
            "STOPLINE_LIGHTS__LOOP__LATE_S": "0.7",
            "STOPLINE_LIGHTS__MQTT__HOST": "broker",
            "STOPLINE_LIGHTS__MQTT__PASSWORD": "1234",
            "STOPLINE_STATE_DIR": "/the/agents",
        },
    )
    assert (config.state_dir, config.loop.late_s) == ("/elsewhere", 0.7)
    assert config.mqtt is not None
    assert (config.mqtt.host, config.mqtt.password) == ("broker", "1234")


def test_a_mistake_in_the_environment_is_told_by_its_name(tmp_path: Path) -> None:
    path = write_signals_config(tmp_path)
    wrong = faults(path, STOPLINE_LIGHTS__LOOP__LATE_S="never", STOPLINE_LIGHTS__HEADS="x")
    assert any("environment variable STOPLINE_LIGHTS__LOOP__LATE_S: loop.late_s" in fault for fault in wrong)
    assert any("STOPLINE_LIGHTS__HEADS: leads to no single setting" in fault for fault in wrong)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    path = write_signals_config(tmp_path)
    path.write_text(path.read_text() + '[mqtt]\nhost = "b"\npassword = ["geheim"]\n')
    assert "geheim" not in " ".join(faults(path))


def test_an_unchecked_configuration_has_no_junction() -> None:
    tree = {"state_dir": "s", "heads": {"driver": "simulated"}}
    import msgspec

    with pytest.raises(ValueError, match="was not checked"):
        _ = msgspec.convert(tree, SignalsConfig).described


def test_an_option_is_not_taken_for_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--config", "--help"])
    assert ended.value.code == EXIT_USAGE
    assert "expected one argument" in capsys.readouterr().err
