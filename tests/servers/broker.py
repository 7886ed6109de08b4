"""A real MQTT broker, Mosquitto, for the tests of the session."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.ports import free_port

_START_TIMEOUT_S = 20.0


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture(scope="session")
def broker_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a broker on the loopback that anybody may use. It forgets everything at the end."""
    program = _mosquitto()
    if program is None:
        pytest.skip("Mosquitto is not installed: apt-get install mosquitto")
    port = free_port()
    config = tmp_path_factory.mktemp("mosquitto") / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    log = config.with_name("log")
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", program, "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, port, log)
        yield port
    finally:
        process.terminate()
        process.wait(_START_TIMEOUT_S)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"Mosquitto did not start:\n{log.read_text()}")
        time.sleep(0.02)
