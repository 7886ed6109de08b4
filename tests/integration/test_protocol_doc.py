"""What docs/protocol.md says is so: its tables are those of the code, its examples parse, its program counts."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from common.batch import BATCHES_PATH, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, STREAMS_PATH, Batch
from common.codes import GapReason, ProblemCode, Via
from common.records import KINDS, Count, Frames, Record
from common.tokens import AUDIENCE, LEEWAY_S, MAX_LIFETIME_S
from common.topics import CHANNELS, ROOT, CarCounts, read
from tests.integration.ingest_helpers import rows
from tests.servers.collector import running_collector
from tests.servers.device import FakeDevice

TEXT = (Path(__file__).parents[2] / "docs/protocol.md").read_text("utf-8")
AFTERWARDS = {GapReason.OUTBOX_FULL, GapReason.OUTBOX_CORRUPT, GapReason.DISK_ERROR, GapReason.TOO_LARGE}
"""Reasons of an outbox that lost what it had."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_kind_of_record_stands_there_with_its_members_in_their_order() -> None:
    for kind, record in KINDS.items():
        members = [field.name + "?" * (not field.required) for field in msgspec.structs.fields(record)[3:]]
        assert f"| `{kind}` | {', '.join(members)} |" in TEXT


def test_every_word_of_the_protocol_stands_there() -> None:
    words: list[str] = [*ProblemCode, *Via, *(reason for reason in GapReason if reason not in AFTERWARDS)]
    words += [BATCHES_PATH, f"{STREAMS_PATH}/main", AUDIENCE, f"{MAX_LIFETIME_S} s", f"{LEEWAY_S} s"]
    words += [f"{MAX_BATCH_BYTES >> 20} MiB", f"{MAX_BATCH_RECORDS:,} records"]
    assert [word for word in words if word not in TEXT] == []
    for channel in CHANNELS:
        topic = channel.pattern.removeprefix(f"{ROOT}/{{junction}}/")
        assert f"| `{topic}` | {channel.qos} | {'yes' if channel.retain else 'no'} |" in TEXT


def test_its_examples_parse() -> None:
    _, batch, message = (text.encode() for text in blocks("json"))
    records = [msgspec.json.decode(raw, type=Record) for raw in msgspec.json.decode(batch, type=Batch).records]
    assert [type(record) for record in records] == [Count, Frames]
    assert isinstance(read(f"{ROOT}/Market Square/lanes/north/car-counts", message), CarCounts)


def test_its_program_counts_each_vehicle_once(dsn: str, tmp_path: Path) -> None:
    device = FakeDevice()
    device.enrol(dsn)
    key = tmp_path / "key.pem"
    key.write_bytes(device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    program = tmp_path / "counter.py"
    [source] = blocks("python")
    program.write_text(source)

    def count(url: str, vehicles: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(program), url, str(device.id), str(key)]
        return subprocess.run(
            command, cwd=tmp_path, input=vehicles, capture_output=True, text=True, timeout=60, check=False
        )

    assert "ConnectError" in count("http://127.0.0.1:9", "bus\n").stderr
    with running_collector(dsn) as collector:
        for vehicles in ("car\n\n", "car\n"):
            ended = count(collector.url, vehicles)
            assert ended.returncode == 0, ended.stderr
        [stream] = rows(dsn, "SELECT last_seq, stored FROM ingest_streams WHERE device_id = %s", device.id)
        assert stream == {"last_seq": 7, "stored": 7}
        answer: Any = httpx.get(f"{collector.url}/api/sources").json()
    counted = rows(dsn, "SELECT cls FROM count_events ORDER BY seq")
    assert [row["cls"] for row in counted] == ["bus", "car", "object", "car"]
    assert "stop line" in json.dumps(answer)
