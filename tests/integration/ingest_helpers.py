"""What the tests of ingest share: sending batches over HTTP, and what the database then holds."""

import gzip
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import psycopg
import zstandard
from psycopg.rows import dict_row

from common.batch import BATCHES_PATH, STREAMS_PATH
from tests.servers.collector import RunningCollector
from tests.servers.device import FakeDevice

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.compress,
    "gzip": gzip.compress,
    "identity": bytes,
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def count(seq: int, at_ms: int | None = None, **changed: Any) -> list[Any]:
    """A count on the wire; `changed` by name."""
    fields = {
        "sensor": "north",
        "source": "line",
        "via": "camera",
        "cls": "car",
        "direction": "in",
        "confidence": 0.5,
        "track": f"t{seq}",
    }
    fields |= changed
    return ["count", seq, now_ms() - 1000 if at_ms is None else at_ms, 0, *fields.values()]


def counts(first_seq: int, n: int, **changed: Any) -> list[list[Any]]:
    return [count(seq, **changed) for seq in range(first_seq, first_seq + n)]


def send(
    to: RunningCollector | str,
    device: FakeDevice,
    records: Sequence[Any],
    first_seq: int = 1,
    *,
    encoding: str = "zstd",
    **changed: Any,
) -> httpx.Response:
    """Post a batch."""
    return post(to, device.batch(records, first_seq=first_seq, **changed), device.token(), encoding)


def post(to: RunningCollector | str, body: bytes, token: str | None, encoding: str = "identity") -> httpx.Response:
    """Post bytes as a batch, encoded as `encoding` says where that is known."""
    url = to if isinstance(to, str) else to.url
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    content = ENCODERS.get(encoding, bytes)(body)
    return httpx.post(url + BATCHES_PATH, content=content, headers=headers, timeout=30, verify=False)


def ask(collector: RunningCollector, device: FakeDevice, stream: str = "agent") -> httpx.Response:
    """Ask where a stream stands."""
    headers = {"Authorization": f"Bearer {device.token()}"}
    params = {"epoch": str(device.epoch)}
    return httpx.get(
        f"{collector.url}{STREAMS_PATH}/{stream}", headers=headers, params=params, timeout=30, verify=False
    )


def rows(dsn: str, query: str, *parameters: Any) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def stored_seqs(dsn: str, device: FakeDevice, stream: str = "agent") -> list[int]:
    """The sequence numbers of a stream's counts, in order, with doubles."""
    found = rows(
        dsn,
        "SELECT seq FROM count_events c JOIN ingest_streams s ON s.no = c.stream_no"
        " WHERE device_id = %s AND epoch = %s AND stream = %s ORDER BY seq",
        device.id,
        device.epoch,
        stream,
    )
    return [row["seq"] for row in found]


def account(dsn: str, device: FakeDevice, stream: str = "agent") -> tuple[int, int, int, int]:
    """A stream's last_seq, stored, rejected and lost; zeros if there is none."""
    found = rows(
        dsn,
        "SELECT last_seq, stored, rejected, lost FROM ingest_streams"
        " WHERE device_id = %s AND epoch = %s AND stream = %s",
        device.id,
        device.epoch,
        stream,
    )
    return tuple(found[0].values()) if found else (0, 0, 0, 0)
