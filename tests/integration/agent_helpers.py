"""The agent as a user has it: a program that is started with a file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.servers.commands import run_command

AGENT = (sys.executable, "-m", "edge_agent")
_PATIENCE_S = 60.0


def clean_environment(**more: str) -> dict[str, str]:
    """Ours, without what would override settings or speak to somebody's systemd."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STOPLINE_") and k != "NOTIFY_SOCKET"}
    return {**kept, **more}


def agent(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return run_command("edge_agent", *map(str, arguments), environ=clean_environment(**environment))


def write_config(folder: Path, *cameras: dict[str, Any], **settings: Any) -> Path:
    """A configuration with its state beside it and a status page on a free port."""
    path = folder / "agent.toml"
    top = {"name": "pi", "state_dir": str(folder / "state"), "status": {"port": 0}, **settings}
    lines = [f"{key} = {json.dumps(value)}" for key, value in top.items() if not isinstance(value, dict)]
    for key, value in top.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{k} = {json.dumps(v)}" for k, v in value.items())]
    for camera in cameras:
        lines += ["[[cameras]]"]
        lines += [f"{k} = {json.dumps(v)}" for k, v in camera.items() if k not in ("lines", "zones")]
        for kind in ("lines", "zones"):
            for shape in camera.get(kind, []):
                lines += [f"[[cameras.{kind}]]", *(f"{k} = {json.dumps(v)}" for k, v in shape.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def exported(config: Path) -> list[list[Any]]:
    """All records that wait in the outbox, as they would be sent, oldest first."""
    answer = agent("outbox", "export", "--config", config)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line)["record"] for line in answer.stdout.splitlines()]


class RunningAgent:
    """`run`, as a process. Use as a context manager; it is killed at the end if it still runs."""

    def __init__(self, config: Path, *, command: Sequence[str] = ("run",), **environment: str) -> None:
        self.config = config
        self._log = config.with_suffix(".log").open("w+")
        self.process = subprocess.Popen(
            [*AGENT, *command, "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env=clean_environment(**environment),
        )

    def __enter__(self) -> "RunningAgent":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it has said."""
        text = self.config.with_suffix(".log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait, as long as it runs."""
        until_s = time.monotonic() + _PATIENCE_S
        while not condition():
            assert self.process.poll() is None, f"it ended: {self.config.with_suffix('.log').read_text()}"
            assert time.monotonic() < until_s, f"in vain: {self.config.with_suffix('.log').read_text()}"
            time.sleep(0.05)

    def until_said(self, action: str) -> dict[str, Any]:
        """Wait for a line of its log."""
        self.until(lambda: any(line.get("action") == action for line in self.log))
        return next(line for line in self.log if line.get("action") == action)

    @property
    def status_port(self) -> int:
        """Where its status page is."""
        return int([line for line in self.log if line.get("action") == "status_page"][-1]["port"])

    def status(self) -> dict[str, Any]:
        """What its status page tells."""
        self.until_said("status_page")
        found: dict[str, Any] = httpx.get(
            f"http://127.0.0.1:{self.status_port}/status.json", timeout=10, verify=False
        ).json()
        return found

    def until_counted(self, n: int = 1) -> None:
        """Wait until its cameras have counted."""
        self.until(lambda: sum(line["total"] for c in self.status()["cameras"] for line in c["lines"]) >= n)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(30)
