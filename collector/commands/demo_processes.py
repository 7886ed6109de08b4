"""The demo's children: real commands as processes of their own, watched, and stopped in order.

Each child is a session of its own, so that a Ctrl-C in the terminal reaches the demo alone, which then stops them
one after the other. Where the kernel can do it, it ends them when the demo is killed. What they say goes to a log
file each; the end of it is shown when one of them dies.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from collector.errors import EXIT_SETTING, CollectorError, SettingError, UnavailableError

POLL_S = 0.05
TAIL_LINES = 15
_MAX_LOG_BYTES = 5_000_000
_SPEAKER = re.compile(r"^stopline-\w+( \w+)?: ")
"""How our commands begin what they complain about; here the demo speaks."""
_WHAT_TO_DO = "Start the demo again: it goes on where it was. If it ends so once more, the log tells what to mend."
_USAGE = (2, EXIT_SETTING)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """The user wants the demo to stop. No error; raised where the demo waits, and nowhere else."""


class ChildDied(UnavailableError):
    """A child ended by itself. The message tells the last that it said."""


class Stop:
    """Whether to stop. Signals only set a flag, so that nothing is torn in the middle."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Be set by Ctrl-C, SIGTERM and a closed terminal."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def ask(self) -> None:
        """Ask to stop."""
        self.asked = True

    def wait(self, seconds: float) -> None:
        """Sleep.

        Raises:
            Stopped: at once when asked to stop.
        """
        until_s = time.monotonic() + seconds
        while not self.asked and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left_s))
        if self.asked:
            raise Stopped

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self.asked = True


class Child:
    """One process. `name` is how the user knows it, at the beginning of a sentence."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = [*_ends_with_us(), sys.executable, "-m", module, *arguments]
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; what it says is added to its log."""
        if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """
        Raises:
            ChildDied: it ended.
        """
        if self._process is not None and self._process.poll() is not None:
            how = _how_it_ended(self._process.returncode)
            raise ChildDied(f"{self.name} {how}.{self.last_words()}\n{_WHAT_TO_DO}")

    def wait_until(self, ready: Callable[[], bool], patience_s: float, stop: Stop) -> None:
        """Wait until `ready()`.

        Raises:
            ChildDied: it ended instead.
            UnavailableError: nothing came of it in `patience_s`.
            Stopped: asked to stop.
        """
        until_s = time.monotonic() + patience_s
        while not ready():
            self.check()
            if time.monotonic() > until_s:
                raise UnavailableError(f"{self.name} is not ready after {patience_s:.0f} s.{self.last_words()}")
            stop.wait(POLL_S)

    def ask_to_stop(self) -> None:
        """Ask it to end, and do not wait."""
        if self.running and self._process is not None:
            self._process.terminate()

    def stop(self, patience_s: float) -> bool:
        """Ask it to end, and wait. False: it had to be killed."""
        if self._process is None or self._process.poll() is not None:
            return True
        self._process.terminate()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return False
        return True

    def last_words(self) -> str:
        """The end of what it said since it was started, under a headline; nothing where it said nothing."""
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
            if lines:
                return "\n".join(["", f"The last lines of {self.log}:", *(f"  {line}" for line in lines)])
        return ""


def ask(module: str, arguments: Sequence[str], env: Mapping[str, str], stop: Stop) -> str:
    """Run a command to its end; what it printed.

    Raises:
        CollectorError: it failed; the message is its own.
        Stopped: asked to stop while it ran; it was ended.
    """
    process = subprocess.Popen(
        [*_ends_with_us(), sys.executable, "-m", module, *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        while True:
            try:
                printed, complaint = process.communicate(timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                stop.wait(0)
    except BaseException:
        process.terminate()
        process.communicate()
        raise
    if process.returncode != 0:
        complaint = _SPEAKER.sub("", complaint.strip()) or f"`{module}` {_how_it_ended(process.returncode)}"
        raise (SettingError if process.returncode in _USAGE else CollectorError)(complaint)
    return printed


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}" if code else "ended by itself"


def _ends_with_us() -> list[str]:
    """What goes before a command so that it is told to end when this process dies; nothing without util-linux."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []
