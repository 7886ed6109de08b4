"""The status page's server bears what a network sends."""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest

from edge_agent.status.server import MAX_HEAD_BYTES, StatusServer

pytestmark = pytest.mark.anyio
Address = tuple[str, int]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    server = StatusServer(
        {"/": lambda: ("text/html", b"<p>hello"), "/status.json": lambda: ("application/json", b"{}")}
    )
    async with server.serving("127.0.0.1", 0) as found:
        yield found


async def get(address: Address, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.request(method, f"http://{address[0]}:{address[1]}{path}")


async def test_pages_and_what_is_none(address: Address) -> None:
    answer = await get(address, "/?x=1")
    assert (answer.status_code, answer.text) == (200, "<p>hello")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert (await get(address, "/status.json")).headers["Content-Type"] == "application/json"
    assert (await get(address, "/etc/passwd")).status_code == 404
    assert (await get(address, "/../../etc/passwd")).status_code == 404
    head = await get(address, "/", "HEAD")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "8")
    post = await get(address, "/", "POST")
    assert (post.status_code, post.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1 x\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"\xff\xfe / HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /" + b"a" * 2 * MAX_HEAD_BYTES, b"431"),
        (os.urandom(200).replace(b"\r", b"") + b"\r\n\r\n", b"400"),
    ],
    ids=["empty", "http0.9", "words", "tls", "method", "long", "random"],
)
async def test_garbage(address: Address, sent: bytes, status: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    line = await reader.readline()
    writer.close()
    assert line.startswith(b"HTTP/1.1 " + status)
    assert (await get(address, "/")).status_code == 200


async def test_who_says_nothing_or_leaves_does_not_block_others(address: Address) -> None:
    silent = [await asyncio.open_connection(*address) for _ in range(10)]
    for _ in range(30):
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HT")
        writer.transport.abort()
    assert (await get(address, "/")).status_code == 200
    for _, writer in silent:
        writer.close()


async def test_too_many_at_once_are_turned_away_and_forgotten(address: Address) -> None:
    open_ones = [await asyncio.open_connection(*address) for _ in range(40)]
    statuses = []
    for reader, writer in open_ones[20:]:
        statuses.append((await reader.readline())[9:12])
        writer.close()
    assert set(statuses) == {b"503"}
    for _, writer in open_ones[:20]:
        writer.close()
    async with asyncio.timeout(10):
        while (await get(address, "/")).status_code != 200:
            await asyncio.sleep(0.05)


async def test_an_address_that_is_taken(address: Address) -> None:
    with pytest.raises(OSError, match="in use"):
        async with StatusServer({}).serving(*address):
            pass
