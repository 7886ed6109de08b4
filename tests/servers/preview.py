"""A preview as a technician starts it: a process of its own, its code read from its terminal."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunningPreview:
    """`url` is the page's address, with a slash at its end; `code` opens one session."""

    url: str
    code: str
    config: Path
    process: "subprocess.Popen[str]"

    def next_code(self) -> str:
        """The next code that it prints. Waits for it."""
        return _read_code(self.process)[1]


@contextmanager
def running_preview(config: Path, *options: str, stdin: int = subprocess.DEVNULL) -> Iterator[RunningPreview]:
    """Start it on a free port of the loopback; end it as systemd or Ctrl-C do.

    Args:
        stdin: what it takes for its keyboard.
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "edge_agent", "preview", "--config", str(config)),
            *("--host", "127.0.0.1", "--port", "0", *options),
        ],
        stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield RunningPreview(*_read_code(process), config, process)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _read_code(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """The address and the code that it prints next."""
    assert process.stdout is not None
    printed = ""
    while not (found := re.search(r"(http://\S+/)#code=(\d+)", printed)):
        line = process.stdout.readline()
        assert line, printed
        printed += line
    return found[1], found[2]
