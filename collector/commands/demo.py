"""`stopline-collector demo`: a collector, an agent that counts a street, and a junction's lights, to be watched.

All are the real commands, in processes of their own on this machine, with their state in one folder: a later demo
goes on where this one stopped. Only the vehicles and the lamps of the junction are simulated.
"""

import argparse
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collector.commands.demo_admin import admin_told
from collector.commands.demo_lights import LightsFiles, demo_junction
from collector.commands.demo_plan import (
    BUNDLED,
    MOTION,
    SIMULATED,
    Line,
    Plan,
    init_arguments,
    local_timezone,
    make_plan,
    middle_line,
)
from collector.commands.demo_processes import POLL_S, Child, Stop, Stopped, ask
from collector.commands.demo_watch import Reader, Screen, as_line
from collector.errors import SettingError, UnavailableError
from collector.listening import listening_socket
from common import PREFIX

DEFAULT_PORT = 8420
_PORTS_TRIED = 100
_COLLECTOR_START_S = 120.0
_CAMERA_START_S = 45.0
_AGENT_STOP_S = 30.0
_LIGHTS_STOP_S = 20.0
_COLLECTOR_STOP_S = 60.0
_LOOK_EVERY_S = 2.0
_HOST = "127.0.0.1"
_JUNCTION = "Demo"
_DEVICE = "demo"

_EPILOG = """\
The counts stay in the state folder, .stopline/demo in the present folder or $STOPLINE_STATE_DIR, and the next demo
goes on with them. Delete the folder to begin anew.
"""


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "demo",
        help="count a simulated street, or a video or camera of your own, beside a junction's lights, and watch",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source",
        metavar="S",
        default=os.environ.get("SOURCE") or None,
        help="video, folder of pictures, /dev/video0, rtsp:// address or sim:NAME"
        f" (default: $SOURCE, or {SIMULATED})",
    )
    parser.add_argument(
        "--model",
        metavar="M",
        default=os.environ.get("MODEL") or None,
        help=f"path of an .onnx file, {BUNDLED}, or {MOTION}, which needs none (default: $MODEL, or {MOTION})",
    )
    parser.add_argument(
        "--line",
        action="append",
        default=[],
        metavar="NAME:X1,Y1,X2,Y2",
        help="count here; may be repeated (default: a line across the middle of the picture)",
    )
    parser.add_argument(
        "--port", type=_port, help=f"port of the page (default: {DEFAULT_PORT}, or the next free one)"
    )
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not 1 to 65535")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Run until Ctrl-C."""
    plan = make_plan(options.source, options.model, options.line)
    folder = Path(os.environ.get("STOPLINE_STATE_DIR") or ".stopline/demo").absolute()
    stop = Stop()
    screen = Screen(sys.stdout, on_gone=stop.ask)
    with _alone(folder), stop.on_signals():
        port = _page_port(options.port)
        demo = Demo(folder, plan, port, screen, stop)
        try:
            if options.port is None and port != DEFAULT_PORT:
                screen.tell(f"Port {DEFAULT_PORT} is in use; the page is at {port} this time")
            demo.start()
            demo.watch()
        except Stopped:
            screen.tell("Stopping")
        finally:
            demo.end()
    screen.tell(f"Stopped. All that was counted is in {folder}; the next demo goes on with it.")
    return 0


class Demo:
    """The three daemons, from their start to their end."""

    def __init__(self, folder: Path, plan: Plan, port: int, screen: Screen, stop: Stop) -> None:
        self._folder = folder
        self._plan = plan
        self._screen = screen
        self._stop = stop
        self._url = f"http://{_HOST}:{port}"
        self._status_port = free_port()
        self._config = folder / "agent.toml"
        self._reader = Reader(self._url, f"http://{_HOST}:{self._status_port}")
        environ = _without_settings(os.environ)
        self._collector_env = environ | {"STOPLINE_STATE_DIR": str(folder / "collector")}
        self._lights_files = LightsFiles(folder)
        self._agent_env = environ | {
            "STOPLINE_STATUS__PORT": str(self._status_port),
            "STOPLINE_SIGNALS__SOCKET": str(self._lights_files.socket),
        }
        self._collector = Child(
            "The collector",
            "collector",
            ["serve", "--host", _HOST, "--port", str(port)],
            self._collector_env,
            folder / "collector.log",
        )
        self._agent = Child(
            "The agent",
            "edge_agent",
            [
                *("simulate", "--config", str(self._config), "--cameras"),
                *("--junction", str(self._lights_files.junction)),
            ],
            self._agent_env,
            folder / "agent.log",
        )
        self._lights = Child(
            "The lights' daemon",
            "edge_agent.signals.cli",
            ["run", "--config", str(self._lights_files.config)],
            environ,
            folder / "lights.log",
        )

    def start(self) -> None:
        """Bring up the collector and the lights, make the agent known, bring up the agent, wait for its camera.

        Raises:
            CollectorError: a step failed; the message tells what to do.
            Stopped: asked to stop.
        """
        tell = self._screen.tell
        tell(f"Stopline demo; its state is in {self._folder}")
        began_s = time.monotonic()
        self._collector.start()
        self._lights_files.write(demo_junction(_JUNCTION, self._timezone()))
        self._configure_agent()
        self._collector.wait_until(self._reader.is_up, _COLLECTOR_START_S, self._stop)
        tell(f"The collector is up after {time.monotonic() - began_s:.1f} s")
        self._enrol_agent()
        # Together, so that their first cycle is counted already.
        self._agent.start()
        self._lights.start()
        admin = admin_told(self._folder, self._collector_env, self._stop)
        self._await_camera()
        tell(f"Counting {_described(self._plan)}; up after {time.monotonic() - began_s:.1f} s")
        tell(f"Watch it: {self._url}/    (Ctrl-C stops)")
        tell(admin)

    def watch(self) -> None:
        """Show how the counts go until asked to stop.

        Raises:
            ChildDied: one of them ended.
            Stopped: asked to stop.
        """
        while True:
            self._collector.check()
            self._agent.check()
            self._lights.check()
            agent = self._reader.agent_status()
            trouble = agent.trouble or agent.undelivered
            self._screen.show(trouble or as_line(self._reader.today(self._plan.camera)))
            self._stop.wait(_LOOK_EVERY_S)

    def end(self) -> None:
        """Stop the agent, which hands over what it has, then the others. May be called at any time.

        The lights take their time, so that nobody's green turns red at once; they are asked first, and once more
        when nobody drives there any more.
        """
        self._lights.ask_to_stop()
        if not self._agent.stop(_AGENT_STOP_S):
            self._screen.tell(f"The agent did not stop within {_AGENT_STOP_S:.0f} s and was killed")
        if not self._lights.stop(_LIGHTS_STOP_S):
            self._screen.tell(f"The lights' daemon did not stop within {_LIGHTS_STOP_S:.0f} s and was killed")
        self._lights_files.close()
        if not self._collector.stop(_COLLECTOR_STOP_S):
            self._screen.tell(f"The collector did not stop within {_COLLECTOR_STOP_S:.0f} s and was killed")

    def _configure_agent(self) -> None:
        """Write the agent's configuration. Without a line it must first be known how large the picture is."""
        lines = self._plan.lines
        self._write_config(lines)
        if not lines and not self._plan.simulated:
            self._screen.tell(f"Looking at {self._plan.shown}")
            self._write_config([middle_line(*self._picture_size_px())])

    def _write_config(self, lines: Sequence[Line]) -> None:
        arguments = init_arguments(
            self._plan,
            lines,
            out=self._config,
            state_dir=self._folder / "agent",
            collector_url=self._url,
            device=_DEVICE,
            junction=_JUNCTION,
        )
        ask("edge_agent", arguments, self._agent_env, self._stop)

    def _picture_size_px(self) -> tuple[int, int]:
        """Width and height of the camera's picture: the agent itself has a look, for as long as that takes."""
        self._agent.start()
        self._await_camera()
        size_px = self._reader.agent_status().size_px
        self._agent.stop(_AGENT_STOP_S)
        if size_px is None:
            raise UnavailableError("where to count? The camera gives no picture; name a line with --line")
        return size_px

    def _enrol_agent(self) -> None:
        """Make the agent's key, and make it known to the collector. Both are there already the second time."""
        ask("edge_agent", ["identity", "--config", str(self._config)], self._agent_env, self._stop)
        adding = ["device", "add", str(self._folder / "agent" / "device.json"), f"--timezone={self._timezone()}"]
        ask("collector", adding, self._collector_env, self._stop)

    def _timezone(self) -> str:
        """The zone that the junction's days are counted in: this machine's at the first start, and kept."""
        kept = self._folder / "timezone"
        if not kept.exists():
            kept.write_text(local_timezone(), encoding="utf-8")
        return kept.read_text(encoding="utf-8")

    def _await_camera(self) -> None:
        """Wait for the first picture. A camera on the network may come later; the agent keeps trying it.

        Raises:
            UnavailableError: a file, a folder or a line is no good, which waiting does not mend.
        """
        until_s = time.monotonic() + _CAMERA_START_S
        while not (status := self._reader.agent_status()).works:
            self._agent.check()
            if status.trouble and (self._plan.finite or self._plan.simulated):
                raise UnavailableError(status.trouble)
            if status.trouble:
                self._screen.show(status.trouble)
            if time.monotonic() > until_s:
                self._screen.tell(status.trouble or "The camera has given no picture yet")
                return
            self._stop.wait(POLL_S)


def _described(plan: Plan) -> str:
    names = {MOTION: "motion detection", BUNDLED: "the bundled model"}
    how = names.get(plan.model) or Path(plan.model).name
    again = "; at its end it begins again" if plan.finite else ""
    return f"{plan.shown} with {how}{again}"


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what was meant for other daemons: settings, and systemd's own."""
    systemd = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "STATE_DIRECTORY", "LISTEN_FDS", "LISTEN_PID")
    return {name: text for name, text in environ.items() if not name.startswith(PREFIX) and name not in systemd}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the state folder.

    Raises:
        SettingError: it cannot be made.
        UnavailableError: another demo holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "demo.lock").open("a+")
    except OSError as error:
        raise SettingError(f"{folder} cannot be used: {error.strerror}; set STOPLINE_STATE_DIR") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                f"another demo runs on {folder}: stop it first, or set STOPLINE_STATE_DIR to another folder"
            ) from error
        yield


def _page_port(wanted: int | None) -> int:
    """The port that was asked for, or the first free one from the default on.

    Raises:
        SettingError, UnavailableError: it cannot be had.
    """
    if wanted is not None:
        listening_socket(_HOST, wanted).close()
        return wanted
    for port in range(DEFAULT_PORT, DEFAULT_PORT + _PORTS_TRIED):
        with contextlib.suppress(UnavailableError):
            listening_socket(_HOST, port).close()
            return port
    raise UnavailableError(f"ports {DEFAULT_PORT} to {port} are all in use; choose one with --port")


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with listening_socket(_HOST, 0) as probe:
        port: int = probe.getsockname()[1]
        return port
