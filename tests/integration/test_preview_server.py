"""The preview's server, spoken to as a browser speaks and as one must not."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.servers.preview import RunningPreview, running_preview
from tests.waiting import until

TEXT = """\
# of this pi
name = "pi"

[[cameras]]
name = "north"   # the one
source = "sim:road"

[[cameras.lines]]
name = "stop"
points = [[100, 180], [540, 180]]
"""
PATIENCE_S = 60.0


class Client:
    """A browser without a page. Keeps its cookie."""

    def __init__(self, preview: RunningPreview) -> None:
        parts = urlsplit(preview.url)
        self.host = parts.netloc
        self.cookie: str | None = None

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in small letters, and body of an answer."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        own = {"Origin": f"http://{self.host}", "Content-Type": "application/json"} if method == "POST" else {}
        own |= {"Cookie": self.cookie} if self.cookie else {}
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, json.dumps(body) if method == "POST" else None, own)
        response = connection.getresponse()
        answer = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        connection.close()
        return answer

    def enter(self, code: str) -> None:
        status, headers, _ = self.ask("POST", "/api/session", {"code": code})
        assert status == 200
        self.cookie = headers["set-cookie"].split(";")[0]

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", "/api/state")[2])
        return found

    def wait(self, what: str) -> dict[str, Any]:
        """The state, once it has a report, or a trouble."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            state = self.state()
            if state[what] and (what != "report" or state[what]["width_px"]):
                return state
            time.sleep(0.1)
        raise AssertionError(f"no {what}: {state}")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def preview(config: Path) -> Iterator[RunningPreview]:
    with running_preview(config) as running:
        yield running


def test_only_the_code_opens_it_and_only_once(preview: RunningPreview) -> None:
    client = Client(preview)
    assert client.ask("GET", "/")[0] == 200
    for path in ("/api/state", "/api/still.jpg", "/api/stream.mjpg", "/api/heat"):
        assert client.ask("GET", path)[0] == 401
    wrong = f"{(int(preview.code) + 1) % 10**8:08d}"
    status, headers, body = client.ask("POST", "/api/session", {"code": wrong})
    assert (status, headers["retry-after"]) == (429, "2")
    assert b"the code is wrong" in body
    # Not even the right one is looked at so soon.
    assert client.ask("POST", "/api/session", {"code": preview.code})[0] == 429
    time.sleep(1.1)
    client.enter(preview.code)
    assert client.state()["camera"] == "north"
    second = Client(preview)
    status, _, body = second.ask("POST", "/api/session", {"code": preview.code})
    assert status == 403
    assert b"used already" in body
    second.cookie = "stopline_preview=guess"
    assert second.ask("GET", "/api/state")[0] == 401


def test_enter_in_the_terminal_gives_a_code_for_another_browser(config: Path) -> None:
    keyboard, its_end = os.openpty()
    with running_preview(config, stdin=its_end) as preview:
        first, second = Client(preview), Client(preview)
        os.write(keyboard, b"\n")
        code = preview.next_code()
        assert code != preview.code
        assert first.ask("POST", "/api/session", {"code": preview.code})[0] == 429
        time.sleep(1.1)
        first.enter(code)
        os.write(keyboard, b"\n")
        second.enter(preview.next_code())
        assert first.state()["mark"] == second.state()["mark"]
    os.close(keyboard)
    os.close(its_end)


def test_foreign_pages_change_nothing(preview: RunningPreview, config: Path) -> None:
    client = Client(preview)
    client.enter(preview.code)
    body = {"drawing": {"lines": [], "zones": []}, "mark": client.state()["mark"]}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Content_Type": "text/plain"},
        {"Host": "evil.example"},
        {"Cookie": ""},
    ):
        assert client.ask("POST", "/api/save", body, **headers)[0] in (401, 403, 415, 421)
    # A name that leads here by DNS rebinding gets not even the page.
    assert client.ask("GET", "/", Host="evil.example")[0] == 421
    assert client.ask("GET", "/api/save")[0] == 404
    assert config.read_text() == TEXT
    assert client.ask("POST", "/api/save", body)[0] == 200
    assert "stop" not in config.read_text()


def test_pictures_are_live_and_never_stored(preview: RunningPreview) -> None:
    client = Client(preview)
    client.enter(preview.code)
    client.wait("report")
    pictures = []
    seen = ""
    for _ in range(3):
        status, headers, jpeg = client.ask("GET", f"/api/still.jpg?seen={seen}")
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "image/jpeg", "no-store")
        assert int(headers["x-picture"]) > int(seen or 0)
        seen = headers["x-picture"]
        pictures.append(np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)))
    assert all(picture.shape == (360, 640, 3) for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[2])
    heat = json.loads(client.ask("GET", "/api/heat")[2])
    assert (heat["columns"], heat["rows"]) == (32, 18)
    proposals = json.loads(client.ask("POST", "/api/suggest", {})[2])
    assert proposals["n_trails"] >= len(proposals["lines"])


def test_the_stream_is_many_pictures_and_few_may_watch(preview: RunningPreview) -> None:
    client = Client(preview)
    client.enter(preview.code)
    client.wait("report")
    streams = []
    for _ in range(4):
        connection = http.client.HTTPConnection(client.host, timeout=10)
        connection.request("GET", "/api/stream.mjpg", headers={"Cookie": client.cookie or ""})
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("cache-control") == "no-store"
        streams.append((connection, response))
    for _, response in streams:
        data = b""
        while data.count(b"\xff\xd8\xff") < 3:
            data += response.read1(65536)
    assert client.ask("GET", "/api/stream.mjpg")[0] == 503
    for connection, response in streams:
        response.close()
        connection.close()
    until_s = time.monotonic() + PATIENCE_S
    # Who went away makes room.
    while (connection_status := _stream_status(client)) == 503 and time.monotonic() < until_s:
        time.sleep(0.1)
    assert connection_status == 200


def _stream_status(client: Client) -> int:
    connection = http.client.HTTPConnection(client.host, timeout=10)
    connection.request("GET", "/api/stream.mjpg", headers={"Cookie": client.cookie or ""})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_file_that_changed_is_not_written_over(preview: RunningPreview, config: Path) -> None:
    client = Client(preview)
    client.enter(preview.code)
    state = client.state()
    line = {"name": "new", "points": [[10, 20], [600, 20]], "was": None}
    body = {"drawing": {"lines": [*state["saved"]["lines"], line], "zones": []}, "mark": state["mark"]}
    config.write_text(TEXT + "# mine\n")
    status, _, answer = client.ask("POST", "/api/save", body)
    assert status == 409
    assert b"Read it again" in answer
    assert config.read_text() == TEXT + "# mine\n"
    fresh = json.loads(client.ask("POST", "/api/reload", {})[2])
    assert client.ask("POST", "/api/save", {**body, "mark": fresh["mark"]})[0] == 200
    assert (
        config.read_text() == TEXT + '\n[[cameras.lines]]\nname = "new"\npoints = [[10, 20], [600, 20]]\n# mine\n'
    )
    assert config.with_name("agent.toml.bak").read_text() == TEXT + "# mine\n"


def test_what_is_wrong_is_told_and_not_counted_at(preview: RunningPreview) -> None:
    client = Client(preview)
    client.enter(preview.code)
    client.wait("report")
    outside = {"name": "far", "points": [[10, 20], [6000, 20]], "was": None}
    status, _, body = client.ask("POST", "/api/try", {"lines": [outside], "zones": []})
    assert status == 422
    (complaint,) = json.loads(body)["complaints"]
    assert (complaint["kind"], complaint["index"], complaint["field"]) == ("lines", 0, "points")
    assert "6000" in complaint["message"]
    assert client.ask("POST", "/api/try", {"lines": "all"})[0] == 400


def test_bad_requests(preview: RunningPreview) -> None:
    post = b"POST /api/session HTTP/1.1\r\nHost: localhost\r\n"
    for sent in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 10000 + b"\r\n\r\n",
        post + b"Content-Length: 99999999\r\n\r\n",
        post + b"Content-Length: -1\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ):
        parts = urlsplit(preview.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as link:
            link.sendall(sent)
            assert link.recv(12).startswith(b"HTTP/1.1 4")
    assert Client(preview).ask("GET", "/")[0] == 200


def test_a_camera_that_is_not_there_says_what_to_do(config: Path) -> None:
    config.write_text(TEXT.replace("sim:road", "/dev/video77"))
    with running_preview(config) as preview:
        client = Client(preview)
        client.enter(preview.code)
        trouble = client.wait("trouble")["trouble"]
        assert "/dev/video77" in trouble["text"]
        assert "systemctl stop stopline-agent" in trouble["mend"]
        # Lines can be drawn and saved all the same.
        line = {"name": "blind", "points": [[10, 20], [600, 20]], "was": None}
        body = {"drawing": {"lines": [line], "zones": []}, "mark": client.state()["mark"]}
        assert client.ask("POST", "/api/save", body)[0] == 200


def test_a_camera_process_that_dies_comes_back(preview: RunningPreview) -> None:
    client = Client(preview)
    client.enter(preview.code)
    client.wait("report")
    children = Path(f"/proc/{preview.process.pid}/task/{preview.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), 9)
    assert "started again" in client.wait("trouble")["trouble"]["text"]
    until(lambda: client.state()["trouble"] is None)
    until(lambda: client.ask("GET", "/api/still.jpg")[0] == 200)


def test_passwords_are_not_shown(config: Path) -> None:
    config.write_text(TEXT.replace("sim:road", "rtsp://admin:s3cret@127.0.0.1:1/x"))
    with running_preview(config) as preview:
        client = Client(preview)
        client.enter(preview.code)
        assert "s3cret" not in json.dumps(client.wait("trouble"))


@pytest.mark.parametrize(
    ("text", "told"),
    [("name = 1\n", "must be text"), ('name = "pi"\n', "has no [[cameras]] section")],
)
def test_a_configuration_that_is_of_no_use(config: Path, text: str, told: str) -> None:
    config.write_text(text)
    command = [sys.executable, "-m", "edge_agent", "preview", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78
    assert told in done.stderr
