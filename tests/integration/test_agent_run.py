"""`stopline-agent run` as systemd has it: started, stopped, killed, misconfigured."""

import os
import signal
import socket
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.agent_helpers import RunningAgent, agent, exported, write_config

SIM = {"name": "north", "source": "sim:road", "fps": 10.0}
MAX_RSS_MB = 60


@pytest.mark.long
def test_a_stop_loses_nothing_and_the_next_start_tells_how_long_it_was_away(tmp_path: Path) -> None:
    config = write_config(tmp_path, SIM, outbox={"commit_every_s": 30.0})
    with RunningAgent(config) as running:
        running.until_counted(3)
        shown = {line["name"]: line["total"] for line in running.status()["cameras"][0]["lines"]}
        children = psutil.Process(running.process.pid).children()
        assert children
        assert running.stop() == 0
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    records = exported(config)
    counts = [record for record in records if record[0] == "count" and record[6] == "camera"]
    assert len(counts) >= sum(shown.values()) >= 3, "what was counted last had waited up to 30 s for its commit"
    assert [record[1] for record in records] == list(range(1, len(records) + 1))

    with RunningAgent(config) as running:
        running.until_said("downtime")
        assert running.stop() == 0
    down = [record for record in exported(config)[len(records) :] if record[0] == "gap" and record[6] is None]
    (gap,) = down
    assert gap[4] == "agent_down"
    assert 0 < gap[5] < 120_000


def test_measured_and_unmeasured_time_add_up_over_a_stop(tmp_path: Path) -> None:
    config = write_config(tmp_path, SIM)
    for _ in range(2):
        with RunningAgent(config) as running:
            running.until_counted(1)
            assert running.stop() == 0
    _check_that_all_time_is_told(exported(config))


def test_a_kill_loses_at_most_the_commit_window(tmp_path: Path) -> None:
    config = write_config(tmp_path, SIM, outbox={"commit_every_s": 0.5})
    with RunningAgent(config) as running:
        running.until_counted(2)
        shown = sum(line["total"] for line in running.status()["cameras"][0]["lines"])
        time.sleep(1.5)  # the window, and what the disk takes: this is what is promised
        (child,) = psutil.Process(running.process.pid).children()
        running.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running(), "a camera process does not outlive the agent"
    before = exported(config)
    counts = [record for record in before if record[0] == "count" and record[6] == "camera"]
    assert len(counts) >= shown
    with RunningAgent(config) as running:
        running.until_said("camera_ready")
        running.until_said("downtime")
        assert running.stop() == 0
    _check_that_all_time_is_told(exported(config))


def _check_that_all_time_is_told(records: list[list[Any]]) -> None:
    """Every moment of the camera over an end is measured or a gap; nothing was counted outside of the former."""
    spans = sorted(
        (record[2] - record[5], record[2], record[0] == "frames")
        for record in records
        if record[0] == "frames" or (record[0] == "gap" and record[6] in ("north", None))
    )
    assert {measured for *_, measured in spans} == {True, False}
    for (_, end_ms, _), (start_ms, _, _) in pairwise(spans):
        assert abs(start_ms - end_ms) < 20, spans
    for at_ms in (record[2] for record in records if record[0] == "count" and record[6] == "camera"):
        assert any(start_ms - 200 <= at_ms <= end_ms for start_ms, end_ms, measured in spans if measured), at_ms


def test_two_agents_on_one_outbox(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with RunningAgent(config) as running:
        running.until_said("started")
        second = agent("run", "--config", config)
        assert second.returncode == 75
        assert "only one agent can run" in second.stderr
        status = agent("outbox", "export", "--config", config)
        assert status.returncode == 1
        assert "stop it first" in status.stderr
        assert running.stop() == 0


def test_a_bad_configuration_opens_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, {**SIM, "fsp": 3})
    answer = agent("run", "--config", config)
    assert answer.returncode == 78
    assert "cameras[north].fsp = 3: there is no such setting here; did you mean fps?" in answer.stderr
    assert not (tmp_path / "state").exists()


def test_a_status_page_that_cannot_be_does_not_stop_the_counting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = write_config(tmp_path, status={"port": taken.getsockname()[1]})
        with RunningAgent(config) as running:
            running.until_said("started")
            assert "in use" in running.until_said("status_page_failed")["message"]
            assert running.stop() == 0


def test_a_damaged_identity_is_told(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/identity.json").write_text("{")
    answer = agent("run", "--config", config)
    assert answer.returncode == 1
    assert "identity.json is damaged" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_systemd_hears_of_it(tmp_path: Path) -> None:
    """Ready, alive for as long as all makes progress, and stopping."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(30)
        config = write_config(tmp_path)
        with RunningAgent(config, NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000") as running:
            heard = [systemd.recv(4096).decode() for _ in range(4)]
            assert "READY=1" in heard
            assert "WATCHDOG=1" in heard
            assert running.stop() == 0
        systemd.setblocking(False)
        rest = []
        while True:
            try:
                rest.append(systemd.recv(4096).decode())
            except BlockingIOError:
                break
        assert "STOPPING=1" in rest


def test_a_camera_that_hangs_does_not_stop_the_agent(tmp_path: Path) -> None:
    config = write_config(tmp_path, SIM, {"name": "south", "source": "sim:road:7", "fps": 5.0})
    with RunningAgent(config) as running:
        running.until_counted(1)
        children = psutil.Process(running.process.pid).children()
        assert len(children) == 2
        os.kill(children[0].pid, signal.SIGSTOP)
        running.until(lambda: running.status()["complaints"] or running.status()["cameras"][1]["state"] == "ok")
        assert running.stop() == 0, "it is killed when it does not end"


@pytest.mark.parametrize("collector", [None, "https://127.0.0.1:9"])
def test_the_main_process_is_small(tmp_path: Path, collector: str | None) -> None:
    config = write_config(tmp_path, **({"collector": {"url": collector}} if collector else {}))
    with RunningAgent(config) as running:
        running.until_said("started")
        running.until(lambda: running.status()["rss_mb"])
        if collector:
            running.until_said("sync_trouble")
        process = psutil.Process(running.process.pid)
        assert process.memory_info().rss / 2**20 < MAX_RSS_MB
        libraries = {Path(part.path).name.split(".")[0] for part in process.memory_maps()}
        assert not libraries & {"cv2", "_multiarray_umath", "libonnxruntime"}
        assert running.stop() == 0
