"""The process that holds a preview's camera: started, listened to, given orders, ended."""

import asyncio
import contextlib
import os
from collections.abc import Mapping

import msgspec

from edge_agent.cameras.messages import CameraJob, encode_job
from edge_agent.cameras.spawn import spawn
from edge_agent.preview.messages import LENGTH, MAX_BYTES, News, Order, decode_news, encode_order

_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_LOG_LEVEL": "SILENT",
    # What FFmpeg has to say may hold a camera's password, and would stand between our own words.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}


class PreviewChild:
    """One run of the process."""

    def __init__(
        self, process: asyncio.subprocess.Process, pipe: asyncio.StreamReader, transport: asyncio.BaseTransport
    ) -> None:
        """Use `start`."""
        self._process = process
        self._pipe = pipe
        self._transport = transport

    @classmethod
    async def start(cls, job: CameraJob, environ: Mapping[str, str] = os.environ) -> "PreviewChild":
        """Start the process and give it its job, over standard input: others can read arguments."""
        spawned = await spawn("edge_agent.preview.camera", {**environ, **_ENVIRONMENT}, most_bytes=MAX_BYTES)
        child = cls(spawned.process, spawned.pipe, spawned.transport)
        child._write(encode_job(job) + b"\n")
        return child

    def order(self, order: Order) -> None:
        """Ask for something. A process that is gone hears nothing."""
        self._write(encode_order(order))

    async def receive(self) -> News | None:
        """The next news; None: the process is gone, or talks nonsense."""
        try:
            (length,) = LENGTH.unpack(await self._pipe.readexactly(LENGTH.size))
            return decode_news(await self._pipe.readexactly(length)) if length <= MAX_BYTES else None
        except (asyncio.IncompleteReadError, msgspec.DecodeError):
            return None

    async def end(self) -> None:
        """At once: it holds nothing that would be lost."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._transport.close()

    def _write(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(line)
