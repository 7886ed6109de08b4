"""Commands in processes of their own, whose modules are loaded already: a second of work less for each.

`run_command("collector", "device", "list")` does as `python -m collector device list` does, in a fork of a process
that only loads modules. Where the start itself is what is tested, use `subprocess`.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from collector.commands import COMMANDS

LOADED = (
    *(f"collector.commands.{name}" for name in COMMANDS),
    *("edge_agent.commands.run", "edge_agent.config.loading", "httpx"),
)
"""Nothing that starts threads, as numpy does: a fork would be without them."""

STREAMS = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))
_LOOK_EVERY_S = 5.0


def run_command(
    module: str, *arguments: str, typed: str = "", environ: Mapping[str, str], patience_s: float = 120.0
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end.

    Raises:
        subprocess.TimeoutExpired: it was killed after `patience_s`.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as connection:
        files = {name: Path(folder) / name for name, _ in STREAMS}
        for file in files.values():
            file.write_text(typed if file.name == "stdin" else "")
        order = {"module": module, "arguments": arguments, "cwd": os.getcwd(), "environ": dict(environ)}
        order["files"] = [str(file) for file in files.values()]
        connection.connect(_loaded_process())
        connection.settimeout(patience_s)
        with connection.makefile("rw") as told:
            told.write(json.dumps(order) + "\n")
            told.flush()
            pid = int(told.readline())
            try:
                code = int(told.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([module, *arguments], patience_s) from None
        return subprocess.CompletedProcess(
            [module, *arguments], code, files["stdout"].read_text(), files["stderr"].read_text()
        )


@cache
def _loaded_process() -> str:
    """Started at the first use, ended with this process; the address of its socket."""
    folder = tempfile.TemporaryDirectory()
    address = f"{folder.name}/socket"
    process = subprocess.Popen([sys.executable, "-m", __name__, address], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    def end() -> None:
        with process:
            process.kill()
        folder.cleanup()

    atexit.register(end)
    return address


def _serve(address: str) -> None:
    """Fork for each order; returns in the process that has carried one out, and otherwise when nobody is left."""
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.settimeout(_LOOK_EVERY_S)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while os.getppid() == parent:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                if os.fork():
                    continue
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                order = json.loads(connection.makefile().readline())
                if pid := os.fork():
                    _await(pid, connection)
                break
        else:
            return
    _carry_out(order)


def _await(pid: int, connection: socket.socket) -> None:
    """Tell the command's number and then its exit code; does not return."""
    connection.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _carry_out(order: dict[str, Any]) -> None:
    for number, ((_, flags), file) in enumerate(zip(STREAMS, order["files"], strict=True)):
        opened = os.open(file, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    sys.argv[1:] = order["arguments"]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # What is never looked at again at the end of a fork is not copied for it.
    _serve(sys.argv[1])
