"""A load on a collector that costs next to nothing itself: requests are made before the clock starts."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import zstandard

from common.batch import BATCHES_PATH
from tests.servers.device import FakeDevice


def http_request(device: FakeDevice, body: bytes, now_s: float) -> bytes:
    """A whole request with a zstd-compressed batch, as it goes over the wire."""
    packed = zstandard.compress(body)
    head = (
        f"POST {BATCHES_PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Encoding: zstd\r\nContent-Length: {len(packed)}\r\n"
        f"Authorization: Bearer {device.token(now_s)}\r\n\r\n"
    )
    return head.encode() + packed


class _Client(asyncio.Protocol):
    """One connection that sends its requests one after the other."""

    def __init__(self, requests: Sequence[bytes], done: "asyncio.Future[None]", waits_s: list[float]) -> None:
        self._requests = deque(requests)
        self.done = done
        self._waits_s = waits_s
        self._received = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def send_next(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._requests.popleft())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        self._waits_s.append(time.perf_counter() - self._sent_s)
        if not head.startswith(b"HTTP/1.1 200"):
            self._finish(RuntimeError(self._received.decode() or head.decode() + body.decode()))
        elif self._requests:
            self.send_next()
        else:
            self._finish(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(ConnectionError("the collector hung up"))

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self._transport.close()


@dataclass(frozen=True)
class Outcome:
    """How long a load took, and how long each request waited."""

    took_s: float
    waits_s: list[float]

    def percentile_ms(self, share: float) -> float:
        return sorted(self.waits_s)[int(share * (len(self.waits_s) - 1))] * 1000


def _same(client: _Client) -> _Client:
    return client


async def run_load(port: int, connections: Sequence[Sequence[bytes]]) -> Outcome:
    """Send each connection's requests in turn, all connections at once."""
    loop = asyncio.get_running_loop()
    waits_s: list[float] = []
    clients = [_Client(requests, loop.create_future(), waits_s) for requests in connections]
    for client in clients:
        await loop.create_connection(partial(_same, client), "127.0.0.1", port)
    started_s = time.perf_counter()
    for client in clients:
        client.send_next()
    await asyncio.gather(*(client.done for client in clients))
    return Outcome(time.perf_counter() - started_s, waits_s)
