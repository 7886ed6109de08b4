"""The commands as a technician types them."""

import json
import os
import pty
import shutil
import stat
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from edge_agent.config.loading import load_config
from tests.integration.agent_helpers import AGENT, RunningAgent, agent, clean_environment, exported, write_config
from tests.junctions import crossroads

SIM = {"name": "north", "source": "sim:road", "fps": 10.0}


class TestCommandLine:
    def test_help_lists_the_commands_and_is_quick(self) -> None:
        began_s = time.monotonic()
        answer = subprocess.run(
            [*AGENT, "--help"], capture_output=True, text=True, check=False, timeout=60, env=clean_environment()
        )
        took_s = time.monotonic() - began_s
        assert answer.returncode == 0
        for command in ("run", "count", "init", "check", "identity", "outbox"):
            assert f"\n  {command} " in answer.stdout
        assert took_s < 3, "on a busy machine; 0.1 s on an idle one"

    @pytest.mark.parametrize("command", ["run", "count", "init", "check", "identity", "outbox"])
    def test_each_command_has_help(self, command: str) -> None:
        answer = agent(command, "--help")
        assert answer.returncode == 0
        assert answer.stdout.startswith(f"usage: stopline-agent {command}")

    def test_a_wrong_command(self) -> None:
        answer = agent("chekc")
        assert answer.returncode == 2
        assert "did you mean check?" in answer.stderr
        assert agent().returncode == 0
        assert agent("--version").stdout.startswith("stopline ")
        assert agent("run", "--conf", "x").returncode == 78, "argparse takes the start of an option"


class TestSimulate:
    def test_traffic_before_lights_needs_them_and_a_junction_without_faults(self, tmp_path: Path) -> None:
        config = write_config(tmp_path)
        junction = tmp_path / "junction.json"
        told = "simulate", "--config", config, "--junction", junction
        missing = agent(*told)
        assert missing.returncode == 78
        assert f"--junction {junction}: No such file" in missing.stderr
        junction.write_bytes(msgspec.json.encode(crossroads(yellow_s=2.0)))
        unsafe = agent(*told)
        assert unsafe.returncode == 78
        assert "movements[0].yellow_s = 2" in unsafe.stderr
        junction.write_bytes(msgspec.json.encode(crossroads()))
        unlit = agent(*told)
        assert unlit.returncode == 78
        assert "no [signals] section; name the lights' socket there" in unlit.stderr
        assert agent(*told, "--vph", "4000").returncode == 2


def at_a_terminal(path: Path, answers: bytes) -> tuple[int, str]:
    """Exit status and output of `init`, asking for the file `path`."""
    ours, theirs = pty.openpty()
    asking = [*AGENT, "init", "--out", str(path)]
    process = subprocess.Popen(asking, stdin=theirs, stdout=theirs, stderr=theirs, env=clean_environment())
    os.close(theirs)
    os.write(ours, answers)
    status = process.wait(60)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return status, shown


class TestInit:
    def test_from_options(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        answer = agent(
            "init", "--out", path, "--name", "pi 3", "--collector", "https://c.example", "--source", "rtsp://u:p@h/1",
            "--camera", "north", "--line", "stop:0,180,640,180", "--zone", "queue:0,0,9,0,9,9",
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        config = load_config(path, {})
        assert [list(point) for point in config.cameras[0].lines[0].points] == [[0, 180], [640, 180]]
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, "it may hold passwords"
        again = agent("init", "--out", path, "--name", "other")
        assert again.returncode == 1
        assert "--force" in again.stderr
        assert load_config(path, {}).name == "pi 3"
        path.chmod(0o600)
        forced = agent("init", "--out", path, "--name", "other", "--force")
        assert forced.returncode == 0, forced.stderr
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, "as it was"
        nowhere = agent("init", "--out", tmp_path / "absent" / "a.toml", "--name", "other")
        assert f"there is no folder {tmp_path / 'absent'}" in nowhere.stderr

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], "name: is missing"),
            (["--name", "x", "--collector", "http://c"], "set allow_plain_http"),
            (["--name", "x", "--source", "rstp://h"], "known are rtsp"),
            (["--name", "x", "--source", "0", "--line", "a:1,2"], "write NAME:X1,Y1,X2,Y2"),
            (["--name", "x", "--source", "0", "--line", "a:1,2,1,2"], "two ends of a piece are the same"),
            (["--name", "x", "--line", "a:1,2,3,4"], "--source"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, arguments: list[str], expected: str) -> None:
        answer = agent("init", "--out", tmp_path / "a.toml", *arguments)
        assert answer.returncode == 2
        assert expected in answer.stderr
        assert not (tmp_path / "a.toml").exists()

    def test_asking(self, tmp_path: Path) -> None:
        """At a terminal, with a wrong answer in between that is asked for again."""
        path = tmp_path / "a.toml"
        status, shown = at_a_terminal(path, b"pi 3\n\x04")
        assert status == 1
        assert shown.endswith("stopped; nothing is written\r\n")
        assert not path.exists()
        answers = (
            b"pi 3\n\nhttp://collector\nhttps://collector\n/dev/video0\nbundeld\n\nstop:1,2,1,2\nstop:0,9,9,9\n\n"
        )
        status, shown = at_a_terminal(path, answers + b"http://reader\nllrp://reader\n")
        assert status == 0
        assert "set allow_plain_http" in shown
        assert "two ends of a piece are the same" in shown
        config = load_config(path, {})
        assert config.collector is not None
        assert config.collector.url == "https://collector"
        assert config.cameras[0].lines[0].name == "stop"
        assert "there is no model 'bundeld'" in shown
        assert config.cameras[0].model == "bundled"
        assert "no reader is reached by http://" in shown
        assert config.readers[0].device == "llrp://reader"


class TestCheck:
    def test_all_is_well(self, tmp_path: Path) -> None:
        answer = agent("check", "--config", write_config(tmp_path, SIM))
        assert answer.returncode == 0, answer.stdout
        verdicts = [line.split(":")[0].split() for line in answer.stdout.splitlines()]
        assert ["ok", "config"] in verdicts
        assert ["ok", "camera", "north"] in verdicts
        assert "640 x 360 px, 10 pictures/s; motion takes" in answer.stdout

    def test_what_is_to_be_mended(self, tmp_path: Path) -> None:
        model = tmp_path / "m.onnx"
        model.write_bytes(b"junk")
        config = write_config(
            tmp_path,
            {"name": "gone", "source": "/dev/video99"},
            {"name": "far", **{k: v for k, v in SIM.items() if k != "name"},
             "lines": [{"name": "l", "points": [[0, 900], [640, 900]]}]},
            {"name": "broken", "source": "sim:road", "model": str(model)},
            {"name": "slow", "source": "sim:road", "model": "bundled", "fps": 2.0, "classes": ["car", "lorry"],
             "lines": [{"name": "s", "points": [[0, 180], [640, 180]]}]},
            collector={"url": "https://127.0.0.1:9"},
        )  # fmt: skip
        answer = agent("check", "--config", config)
        assert answer.returncode == 1
        failed = {line.split(":")[0]: line for line in answer.stdout.splitlines() if line.startswith("FAIL")}
        assert "is it plugged in" in failed["FAIL  camera gone"]
        assert "line 'l': its point (0, 900) is outside" in failed["FAIL  camera far"]
        assert "m.onnx is not a model" in failed["FAIL  camera broken"]
        assert "stopline-agent identity" in failed["FAIL  collector"]
        (noted,) = [line for line in answer.stdout.splitlines() if line.startswith("note  camera slow:")]
        assert "the model does not know lorry, and counts none of them" in noted
        assert "badly below 3: raise fps" in noted
        assert agent("identity", "--config", config).returncode == 0
        assert "127.0.0.1:9 refuses connections" in agent("check", "--config", config).stdout

    def test_offline_leaves_the_world_alone(self, tmp_path: Path) -> None:
        config = write_config(
            tmp_path, {"name": "c", "source": "/dev/video99"}, collector={"url": "https://127.0.0.1:9"}
        )
        answer = agent("check", "--offline", "--config", config)
        assert answer.returncode == 0, answer.stdout
        assert answer.stdout.count("skip") >= 2
        assert "note  camera c: has no line" in answer.stdout

    def test_a_bad_configuration(self, tmp_path: Path) -> None:
        config = write_config(tmp_path, {"name": "c", "source": "rstp://u:s3cret@h", "fps": 0.0})
        answer = agent("check", "--config", config)
        assert answer.returncode == 78
        assert answer.stdout.count("FAIL  config: ") == 2
        assert "s3cret" not in answer.stdout + answer.stderr


def test_identity(tmp_path: Path) -> None:
    config = write_config(tmp_path, junction="Main")
    first, second = agent("identity", "--config", config), agent("identity", "--config", config)
    assert first.returncode == 0
    assert first.stdout == second.stdout
    public = json.loads((tmp_path / "state/device.json").read_text())
    assert public["device"] == first.stdout.strip()
    assert public["junction"] == "Main"
    assert "private" not in json.dumps(public)


@pytest.fixture(scope="module")
def state_of_an_agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an agent left behind."""
    folder = tmp_path_factory.mktemp("counted")
    config = write_config(folder, SIM)
    with RunningAgent(config) as running:
        running.until_counted(2)
        status = agent("outbox", "status", "--config", config)
        assert "an agent runs, and its status page" in status.stderr, "it took a free port"
        port = running.status_port
        status = agent("outbox", "status", "--config", config, STOPLINE_STATUS__PORT=str(port))
        assert "the agent runs" in status.stdout
        assert "look at" in status.stdout or running.status()["clock_synced"]
        assert running.stop() == 0
    return folder / "state"


class TestOutbox:
    @pytest.fixture
    def config(self, state_of_an_agent: Path, tmp_path: Path) -> Path:
        """With a copy of it."""
        shutil.copytree(state_of_an_agent, tmp_path / "state")
        return write_config(tmp_path, SIM)

    def test_status_export_verify(self, config: Path, tmp_path: Path) -> None:
        before = (tmp_path / "state/outbox.db").read_bytes()
        records = exported(config)
        n_counts = sum(record[0] == "count" for record in records)
        status = agent("outbox", "status", "--config", config).stdout
        assert f"waiting       {len(records)}: " in status
        assert f"{n_counts} count" in status
        verified = agent("outbox", "verify", "--config", config)
        assert (verified.returncode, verified.stdout[:4]) == (0, "ok  ")
        table = agent("outbox", "export", "--config", config, "--format", "csv").stdout.splitlines()
        assert len(table) == n_counts + 1
        assert table[0].startswith("epoch,seq,at,")
        out = tmp_path / "rescued.jsonl"
        assert agent("outbox", "export", "--file", tmp_path / "state/outbox.db", "--out", out).returncode == 0
        assert len(out.read_text().splitlines()) == len(records)
        assert agent("outbox", "export", "--config", config, "--out", out).returncode == 1, "never written over"
        assert (tmp_path / "state/outbox.db").read_bytes() == before, "nothing was changed"

    def test_damage_is_found(self, config: Path, tmp_path: Path) -> None:
        path = tmp_path / "state/outbox.db"
        content = path.read_bytes()
        path.write_bytes(content.replace(b'"north","street","camera"', b'"north","street",,camera,'))
        verified = agent("outbox", "verify", "--config", config)
        assert verified.returncode == 1
        assert "the row is damaged" in verified.stdout
        path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
        verified = agent("outbox", "verify", "--config", config)
        assert verified.returncode == 1
        assert "is damaged" in verified.stderr
        assert "Traceback" not in verified.stderr

    def test_there_is_none(self, tmp_path: Path) -> None:
        answer = agent("outbox", "status", "--file", tmp_path / "none.db")
        assert answer.returncode == 1
        assert "there is no outbox" in answer.stderr
