"""`stopline-collector` as its users run it: a process with arguments, an exit code, and words."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.integration.ingest_helpers import account, counts, send
from tests.servers.commands import run_command
from tests.servers.device import FakeDevice

COMMAND = [sys.executable, "-m", "collector"]


def environment(state_dir: Path | None = None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STOPLINE_", "PG", "NOTIFY_"))}
    return kept | ({"STOPLINE_STATE_DIR": str(state_dir)} if state_dir else {})


def run(*arguments: str, state_dir: Path | None = None, typed: str = "") -> subprocess.CompletedProcess[str]:
    return run_command("collector", *arguments, typed=typed, environ=environment(state_dir))


@contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A collector in a process of its own, once it is ready; its address."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--log-format", "json", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | variables,
    )
    assert process.stderr is not None
    try:
        port = None
        for line in process.stderr:
            entry = json.loads(line)
            port = entry.get("port", port)
            if entry.get("action") == "ready":
                break
        assert port is not None, "the collector did not start"
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def device_file(folder: Path, device: FakeDevice, **changed: object) -> Path:
    key = base64.urlsafe_b64encode(device.public_key).decode().rstrip("=")
    document = {"device": str(device.id), "name": "pi-1", "public_key": key, "junction": "Main"} | changed
    path = folder / "device.json"
    path.write_text(json.dumps(document))
    return path


def test_a_device_is_added_sends_and_is_revoked(plain_dsn: str, tmp_path: Path) -> None:
    device = FakeDevice()
    file = str(device_file(tmp_path, device))
    for given in (file, "-"):
        carried = Path(file).read_text() if given == "-" else ""
        added = run("device", "add", given, "--timezone", "Europe/Berlin", "--dsn", plain_dsn, typed=carried)
        assert (added.returncode, added.stderr) == (0, ""), added.stderr
    with serving("--dsn", plain_dsn) as (url, process):
        assert send(url, device, counts(1, 3)).status_code == 200
        listed = run("device", "list", "--dsn", plain_dsn)
        assert f"{device.id}  active" in listed.stdout
        assert "pi-1  Main" in listed.stdout
        assert run("device", "revoke", str(device.id), "--dsn", plain_dsn).returncode == 0
        assert send(url, device, counts(4, 1), 4).json()["code"] == "device_revoked"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert account(plain_dsn, device) == (3, 3, 0, 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not JSON"),
        ("[]", "holds no object"),
        ("{}", "device is missing"),
        ('{"device": "me"}', "device = 'me' is not a UUID"),
        ('{"device": "0198a6a2-6f0e-7c3e-9a51-0d6e3f1f2b11", "name": "x"}', "public_key is missing"),
        (
            '{"device": "0198a6a2-6f0e-7c3e-9a51-0d6e3f1f2b11", "name": "x", "public_key": "%%"}',
            "public_key = '%%' is not 32 bytes in base64url",
        ),
        (
            '{"device": "0198a6a2-6f0e-7c3e-9a51-0d6e3f1f2b11", "name": "x", "public_key": "AAAA"}',
            "the public key has 3 bytes",
        ),
        ('{"device": "x", "private_key": "y"}', "holds a private key"),
    ],
)
def test_a_file_that_enrols_nobody_is_told(content: str, told: str, tmp_path: Path, plain_dsn: str) -> None:
    file = tmp_path / "device.json"
    file.write_text(content)
    refused = run("device", "add", str(file), "--dsn", plain_dsn)
    assert refused.returncode == 78
    assert told in refused.stderr


def test_a_port_in_use_is_told(plain_dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("serve", "--port", str(port), "--dsn", plain_dsn)
    assert refused.returncode == 69
    assert f"port = {port}: it is in use" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["serve", "--host", "no.such.host.invalid"], 78, "host = 'no.such.host.invalid'"),
        (["serve", "--host", "203.0.113.7"], 78, "this machine has no such address"),
        (["serve", "--port", "0", "--dsn", "nonsense"], 78, "dsn is no connection string"),
        (["serve", "--port", "0", "--dsn", "host=127.0.0.1 port=1 password=secret"], 69, "no database answers"),
        (["serve", "--port", "99999"], 78, "port"),
        (["serve", "--config", "/no/such/file"], 78, "/no/such/file cannot be read"),
        (["user", "add", " x "], 2, "no blank at either end"),
        (["user", "add", "\udcff"], 2, "is not UTF-8"),
        (["device", "revoke", "me"], 78, "'me' is no device's id"),
    ],
)
def test_what_cannot_be_used_is_told(arguments: list[str], code: int, told: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == code, refused.stderr
    assert told in refused.stderr
    assert "secret" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_that_refuses_is_a_setting_to_mend(plain_dsn: str) -> None:
    refused = run("migrate", "--dsn", plain_dsn.partition(" dbname=")[0] + " dbname=nowhere")
    assert refused.returncode == 78
    assert 'database "nowhere" does not exist' in refused.stderr


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    refused = run("serve", "--port", "0", state_dir=blocked / "state")
    assert refused.returncode in (69, 78), refused.stderr
    assert str(blocked) in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_a_command_the_help_is_shown() -> None:
    refused = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=60, env=environment())
    assert refused.returncode == 2
    assert "COMMAND" in refused.stderr


def test_on_an_address_of_others_readers_sign_in_unless_it_is_opened(plain_dsn: str) -> None:
    device = FakeDevice()
    device.enrol(plain_dsn)
    with serving("--dsn", plain_dsn, "--host", "0.0.0.0") as (url, _):
        for path in ("/api/junctions", "/api/counts", "/api/fleet/completeness", "/api/live/counts", "/metrics"):
            refused = httpx.get(url + path)
            assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_needed"), path
        assert httpx.get(url + "/health").status_code == 200
        assert send(url, device, counts(1, 1)).status_code == 200
    with serving("--dsn", plain_dsn, "--host", "0.0.0.0", "--open-reading") as (url, _):
        assert httpx.get(url + "/api/junctions").status_code == 200
        assert httpx.get(url + "/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert httpx.get(url + "/").headers["content-type"] == "text/html; charset=utf-8"


def test_systemd_is_told_of_every_step(plain_dsn: str, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(30)
        with serving("--dsn", plain_dsn, NOTIFY_SOCKET=str(address), WATCHDOG_USEC="200000") as (_, process):
            told = [listener.recv(100) for _ in range(4)]
            assert b"READY=1" in told
            assert told.count(b"WATCHDOG=1") >= 2
            process.send_signal(signal.SIGTERM)
            while listener.recv(100) != b"STOPPING=1":
                pass


def test_doctor_and_maintain(plain_dsn: str) -> None:
    assert run("maintain", "--dsn", plain_dsn).returncode == 0
    healthy = run("doctor", "--audit", "--dsn", plain_dsn)
    assert healthy.returncode == 0, healthy.stdout
    assert "FAIL" not in healthy.stdout
    assert "every row is accounted for" in healthy.stdout
    assert "found by an index" in healthy.stdout
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("DROP INDEX system_logs_message")
    slow = run("doctor", "--dsn", plain_dsn)
    assert slow.returncode == 0, slow.stdout
    mend = slow.stdout.partition("for an index, run: ")[2].partition("\n")[0]
    with psycopg.connect(plain_dsn, autocommit=True) as connection:
        for statement in mend.split(";"):
            connection.execute(statement.encode())
    full = run("doctor", "--dsn", f"{plain_dsn} options='-c default_transaction_read_only=on'")
    assert full.returncode == 1
    assert "FAIL writing        the database stores nothing: cannot execute" in full.stdout
    ill = run("doctor", "--dsn", "host=127.0.0.1 port=1")
    assert ill.returncode == 1
    assert "FAIL database" in ill.stdout
    assert "applied  001" in run("migrate", "--status", "--dsn", plain_dsn).stdout


@pytest.mark.parametrize("command", ["maintain", "migrate --status", "user list", "device list", "export out.csv"])
def test_who_only_looks_makes_no_database(tmp_path: Path, command: str) -> None:
    looked = run(*command.split(), state_dir=tmp_path)
    assert looked.returncode == 69
    assert f"there is no database in {tmp_path}: `stopline-collector serve` makes it" in looked.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_api_is_described_without_anything_from_elsewhere(plain_dsn: str) -> None:
    with serving("--dsn", plain_dsn) as (url, _):
        description = httpx.get(url + "/schema/openapi.json").json()
        assert "html" not in httpx.get(url + "/schema").headers["content-type"]
    paths = description["paths"]
    assert {"/api/ingest/batches", "/api/ingest/streams/{stream}", "/api/live/counts", "/health"} <= paths.keys()
    assert {"/api/junctions", "/api/counts", "/api/fleet/completeness", "/metrics"} <= paths.keys()
    batch = paths["/api/ingest/batches"]["post"]
    assert batch["security"] == [{"deviceToken": []}]
    assert {"200", "400", "401", "403", "409", "413", "429", "503"} <= batch["responses"].keys()
    text = json.dumps(description)
    for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert name in description["components"]["schemas"], f"{name} is referred to and not described"
    assert {"wire.Batch", "wire.Count", "wire.Gap", "Ack", "Problem"} <= description["components"][
        "schemas"
    ].keys()
