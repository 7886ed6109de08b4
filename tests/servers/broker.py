"""A real MQTT broker, Mosquitto: one for the tests of the session, and others that a test may stop and start."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.ports import free_port

_START_TIMEOUT_S = 20.0
ANYBODY = "allow_anonymous true\npersistence false\nset_tcp_nodelay true\n"


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    """A broker on the loopback.

    Args:
        settings: its configuration but for the listener's address, which comes first.
    """

    def __init__(self, folder: Path, settings: str = ANYBODY) -> None:
        program = _mosquitto()
        if program is None:
            pytest.skip("Mosquitto is not installed: apt-get install mosquitto")
        self._program = program
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{settings}")
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it listens."""
        with self.log.open("ab") as log_file:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=TERM", self._program, "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    pytest.fail(f"Mosquitto did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """May be called twice."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_START_TIMEOUT_S)
            self._process = None

    def hang(self) -> None:
        """Let it do nothing any more, and its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Without reading what was sent to it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_START_TIMEOUT_S)
        self._process = None


@pytest.fixture(scope="session")
def broker_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a broker on the loopback that anybody may use. It forgets everything at the end."""
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    try:
        yield broker.port
    finally:
        broker.stop()
