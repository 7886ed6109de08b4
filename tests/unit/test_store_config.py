"""The collector's settings: where they come from, and what is said of wrong ones."""

from argparse import Namespace
from pathlib import Path

import pytest

from collector.commands import database
from collector.config import CollectorConfig, default_state_dir, keys, load_config
from collector.errors import SettingError


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "collector.toml"
    path.write_text(text)
    return path


def test_nothing_given_gives_a_private_collector() -> None:
    config = load_config(None, {})
    assert (config.dsn, config.host, config.open_reading) == (None, "127.0.0.1", False)


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, 'host = "a"\nport = 1\nstate_dir = "/x"\n[pool]\nmax_size = 5\nmin_size = 3\n')
    environ = {"STOPLINE_PORT": "2", "STOPLINE_POOL__MAX_SIZE": "6", "STOPLINE_OTHER": "not ours"}
    config = load_config(file, environ, {"port": 3, "host": None})
    assert (config.host, config.port, config.state_dir) == ("a", 3, Path("/x"))
    assert (config.pool.max_size, config.pool.min_size) == (6, 3)


def test_what_is_typed_beside_an_installed_collector_means_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second PostgreSQL would be made otherwise, with a user that nobody can sign in as."""
    monkeypatch.delenv("STOPLINE_STATE_DIR", raising=False)
    monkeypatch.setattr(database, "DEFAULT_CONFIG", _file(tmp_path, 'state_dir = "/srv/installed"\n'))
    typed = Namespace(config=None, dsn=None, log_format="text")
    installed = Path("/srv/installed")
    assert database.settings(typed).state_dir == installed
    assert database.settings(Namespace(config=None, dsn="dbname=x", log_format="text")).state_dir != installed
    monkeypatch.setenv("STOPLINE_STATE_DIR", str(tmp_path))
    assert database.settings(typed).state_dir == tmp_path, "the demo's"
    monkeypatch.delenv("STOPLINE_STATE_DIR")
    monkeypatch.setattr(database, "DEFAULT_CONFIG", tmp_path / "absent")
    assert database.settings(typed).state_dir != installed


def test_every_key_can_be_set_from_the_environment() -> None:
    assert {"dsn", "state_dir", "pool.prepare_statements", "retention.count_events"} <= set(keys())
    assert {"mqtt.host", "mqtt.password", "retention.mqtt_messages", "smallest_group"} <= set(keys())
    config = load_config(None, {"STOPLINE_RETENTION__COUNT_EVENTS": "forever", "STOPLINE_MQTT__PASSWORD": "x y"})
    assert "x y" not in repr(config)
    assert config.retention.count_events == "forever"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot = 1", "prot: there is no such key; there are dsn, state_dir, host, port, open_reading, "),
        ("[pool]\nsize = 1", "pool.size: there is no such key; there are pool.min_size"),
        ("port = 70000", "port = 70000: Input should be less than or equal to 65535"),
        ("[retention]\ncount_events = 0", "retention.count_events = 0: "),
        ('[retention]\ncount_events = "ever"', "retention.count_events = 'ever': "),
        ("pool = 3", "pool = 3: "),
        ('trusted_proxies = "10.0.0.0/8, x"', "trusted_proxies = '10.0.0.0/8, x': "),
        ("port = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_told_by_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = _file(tmp_path, text)
    with pytest.raises(SettingError) as caught:
        load_config(file, {})
    assert str(caught.value).startswith(str(file))
    assert expected in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none.toml cannot be read: No such file"):
        load_config(tmp_path / "none.toml", {})


def test_a_wrong_variable_and_a_wrong_argument_are_told_by_name() -> None:
    with pytest.raises(SettingError, match="STOPLINE_PORT: port = 'http'"):
        load_config(None, {"STOPLINE_PORT": "http"})
    with pytest.raises(SettingError, match="--port: port = -1"):
        load_config(None, {}, {"port": -1})


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    file = _file(tmp_path, "port = -1\nhots = 1\n")
    with pytest.raises(SettingError) as caught:
        load_config(file, {})
    assert len(str(caught.value).splitlines()) == 2


def test_systemd_and_the_user_tell_where_state_goes() -> None:
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a")
    assert CollectorConfig().state_dir.name == "stopline"


def test_a_variable_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(SettingError, match=r"STOPLINE_POOL__MAXSIZE: .* did you mean STOPLINE_POOL__MAX_SIZE"):
        load_config(None, {"STOPLINE_POOL__MAXSIZE": "6"})
