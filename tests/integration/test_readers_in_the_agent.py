"""Readers as a user has them: a file, and programs that are started with it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agent_helpers import RunningAgent, agent, exported
from tests.servers.llrp_reader import LlrpReaderDouble, tag_report

CHECKOUT = Path(__file__).parents[2]
EPC = bytes.fromhex("E28011700000020A6E7C1234")


@pytest.fixture
def double() -> Iterator[LlrpReaderDouble]:
    with LlrpReaderDouble() as double:
        yield double


def config(folder: Path, device: str, *more: str) -> Path:
    path = folder / "agent.toml"
    lines = ['name = "pi"', f'state_dir = "{folder / "state"}"', "[status]", "port = 0"]
    lines += ["[[readers]]", 'name = "gate"', f'device = "{device}"', "gap_s = 0.3", "keepalive_s = 30.0", *more]
    path.write_text("\n".join(lines) + "\n")
    return path


def of(kind: str, records: list[list[Any]]) -> list[list[Any]]:
    return [record for record in records if record[0] == kind]


def test_passages_go_into_the_outbox_with_their_proof(tmp_path: Path, double: LlrpReaderDouble) -> None:
    path = config(tmp_path, double.url)
    with RunningAgent(path) as running:
        running.until_said("reader_ready")
        for _ in range(2):
            double.report(tag_report(EPC))
        running.until(lambda: any(reader["lines"] for reader in running.status()["readers"]))
        (reader,) = running.status()["readers"]
        assert (reader["name"], reader["kind"], reader["state"]) == ("gate", "reader", "ok")
        double.hang_up()
        running.until_said("reader_failed")
        running.until(lambda: double.n_connections > 1)
        assert running.stop() == 0
    records = exported(path)
    (count,) = of("count", records)
    assert count[4:9] == ["gate", "gate", "rfid", "object", "none"]
    assert count[10].startswith("h1:")
    assert {frames[4] for frames in of("frames", records)} == {"gate"}
    assert ["reader_down", "gate"] in [[gap[4], gap[6]] for gap in of("gap", records)]
    sensors = of("health", records)[0][-2]
    assert [sensor[0] for sensor in sensors] == ["gate"]
    key = tmp_path / "state/epc.key"
    assert len(key.read_text().strip()) == 64
    assert key.stat().st_mode & 0o777 == 0o600
    assert EPC.hex().upper() not in json.dumps(records)


def test_a_key_that_is_none_is_told(tmp_path: Path) -> None:
    path = config(tmp_path, "sim")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/epc.key").write_text("secret")
    answer = agent("run", "--config", path)
    assert answer.returncode == 1
    assert "epc.key" in answer.stderr
    assert "64 digits of hex" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_check_tries_each_reader(tmp_path: Path, double: LlrpReaderDouble) -> None:
    good = agent("check", "--config", config(tmp_path, double.url))
    assert "ok    reader gate: answers; no tag is before it now" in good.stdout
    double.busy = True
    bad = agent("check", "--config", config(tmp_path, double.url))
    assert bad.returncode == 1
    assert "FAIL  reader gate: LLRP reader 127.0.0.1" in bad.stdout
    assert "skip  reader gate" in agent("check", "--offline", "--config", config(tmp_path, double.url)).stdout


def test_tags_plays_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("t_s,epc,rssi_dbm\n1,aa11,-50\n1.2,AA11,-49\n9,BB22,-60\n9.1,BB22,-60\n20,CC,-80\n")
    answer = agent("tags", "--reader", path)
    assert answer.returncode == 0
    assert [line.split()[:3] for line in answer.stdout.splitlines()] == [
        ["1.200", "s", "AA11"],
        ["9.100", "s", "BB22"],
    ]
    assert "passed: 2, 1 with too few readings" in answer.stderr


def test_tags_shows_what_passes_and_as_the_configuration_says(tmp_path: Path) -> None:
    answer = agent("tags", "--config", config(tmp_path, "sim:queue"), "--seconds", "4")
    assert answer.returncode == 0, answer.stderr
    assert "gate: sim:queue answers" in answer.stderr
    assert "  h1:" in answer.stdout
    assert "E280" not in answer.stdout


def test_tags_reads_cards_by_the_real_library_in_its_process() -> None:
    path = os.pathsep.join([str(CHECKOUT / "tests/servers/fake_spi"), str(CHECKOUT)])
    found = agent(
        "tags", "--reader", "mfrc522", "--seconds", "1", PYTHONPATH=path, FAKE_SPI_CARDS="04A1B2C3D4E5F6"
    )
    assert found.returncode == 0, found.stderr
    assert "  04A1B2C3D4E5F6  antenna 1  " in found.stdout
    empty = agent("tags", "--reader", "mfrc522", "--seconds", "1", PYTHONPATH=path)
    assert empty.returncode == 1
    assert "no MFRC522 at /dev/spidev0.0 (it reads 0xFF); check its seven wires" in empty.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--reader", "llrp://127.0.0.1:9"], 1, "check its power"),
        (["--reader", "http://x"], 2, "no reader is reached by http://"),
        (["--config", "/nowhere.toml"], 78, "there is no such file"),
    ],
)
def test_tags_says_what_is_wrong(arguments: list[str], code: int, told: str) -> None:
    answer = agent("tags", *arguments)
    assert answer.returncode == code
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr


def test_init_writes_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    answer = agent("init", "--out", path, "--yes", "--name", "pi", "--reader", "llrp://10.0.0.9")
    assert answer.returncode == 0, answer.stderr
    assert "\n[[readers]]\n" in path.read_text()
    bad = agent("init", "--out", tmp_path / "x.toml", "--yes", "--name", "pi", "--reader", "http://10.0.0.9")
    assert bad.returncode == 2
    assert "readers[reader].device: no reader is reached by http://" in bad.stderr
