"""A camera's password is told to the camera and to nobody else, however the camera fails."""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest

from tests.integration.agent_helpers import RunningAgent, agent, write_config
from tests.servers.network_camera import NetworkCamera, RtspCamera
from tests.servers.ports import free_port

USER, PASSWORD = "admin", "hunt3r#2;pw"
SECRETS = (
    PASSWORD,
    quote(PASSWORD, safe=""),
    "hunt3r",
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
)
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"


@contextlib.contextmanager
def babbling() -> Iterator[int]:
    """A port that answers everything with what it was asked, and nonsense."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, contextlib.suppress(OSError):
                        client.sendall(client.recv(4096) + b"\r\n" + bytes(range(256)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def sources() -> Iterator[dict[str, str]]:
    """Sources with a password that fail, each in its own way; and one that works."""
    with contextlib.ExitStack() as stack:
        rtsp, http, silent, drops, good = (
            stack.enter_context(kind(credentials=credentials, per_connection=n, silent=quiet))
            for kind, credentials, n, quiet in (
                (RtspCamera, "admin:other", None, False),
                (NetworkCamera, "admin:other", None, False),
                (RtspCamera, None, None, True),
                (NetworkCamera, None, 20, False),
                (RtspCamera, f"{USER}:{PASSWORD}", None, False),
            )
        )
        nonsense = stack.enter_context(babbling())
        yield {
            "wrong password": rtsp.url_for(LOGIN),
            "wrong password http": http.url_for(LOGIN),
            "silent": silent.url_for(LOGIN),
            "drops": drops.url_for(LOGIN),
            "good": good.url_for(LOGIN),
            "refused": f"rtsp://{LOGIN}@127.0.0.1:{free_port()}/x",
            "nonsense": f"rtsp://{LOGIN}@127.0.0.1:{nonsense}/x?password={quote(PASSWORD, safe='')}",
            "nowhere": f"http://{LOGIN}@no-such-camera.invalid/x",
        }


def told_by_processes(process: psutil.Process) -> str:
    """Command lines and environments of the agent and all below it, as other users might read them."""
    told = ""
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            told += Path(f"/proc/{one.pid}/cmdline").read_text() + Path(f"/proc/{one.pid}/environ").read_text()
    return told


def test_no_password_is_anywhere(tmp_path: Path, sources: dict[str, str]) -> None:
    cameras = [{"name": name, "source": source} for name, source in sources.items()]
    config = write_config(tmp_path, *cameras, log={"level": "debug"})
    with RunningAgent(config) as running:
        told = ""

        def all_have_said_something() -> bool:
            nonlocal told
            told += told_by_processes(psutil.Process(running.process.pid))
            views = running.status()["cameras"]
            return all(view["state"] not in ("starting",) or view["name"] == "silent" for view in views) and any(
                view["state"] == "ok" for view in views
            )

        running.until(all_have_said_something)
        told += httpx.get(f"http://127.0.0.1:{running.status_port}/").text
        told += httpx.get(f"http://127.0.0.1:{running.status_port}/status.json").text
        assert running.stop() == 0
    log = config.with_suffix(".log").read_text()
    states = {path.name: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    exported = agent("outbox", "export", "--config", config)
    told += log + exported.stdout + exported.stderr
    assert "camera_failed" in log
    assert "does not take this user or password" in exported.stdout, "what failed is told, with all else"
    for secret in SECRETS:
        assert secret not in told
        assert not [name for name, data in states.items() if secret.encode() in data]


@pytest.mark.parametrize("how", ["wrong password", "refused", "nonsense", "nowhere"])
def test_commands_do_not_tell_it(tmp_path: Path, sources: dict[str, str], how: str) -> None:
    counted = agent("count", sources[how], "--line", "a:0,10,100,10", "--json")
    assert counted.returncode == 2
    told = counted.stdout + counted.stderr
    if how == "wrong password":
        config = write_config(tmp_path, {"name": "c", "source": sources[how]})
        checked = agent("check", "--config", config)
        assert "does not take this user or password" in checked.stdout
        told += checked.stdout + checked.stderr
    assert "***" in told
    for secret in SECRETS:
        assert secret not in told
