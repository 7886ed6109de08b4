"""A camera process, as the agent holds it: started, listened to, ended."""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Mapping
from typing import Self

import msgspec

from edge_agent.cameras.messages import (
    LENGTH,
    MAX_MESSAGE_BYTES,
    SNAPSHOT_SIGNAL,
    CameraJob,
    Message,
    decode,
    encode_job,
)
from edge_agent.cameras.spawn import spawn
from edge_agent.redact import redact

logger = logging.getLogger(__name__)

ENVIRONMENT = {
    # Arenas for every thread and BLAS buffers for every core would cost tens of MB on a small machine.
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_LOG_LEVEL": "ERROR",
    # Errors of FFmpeg tell why a stream does not open; warnings come with every damaged picture.
    "OPENCV_FFMPEG_LOGLEVEL": "16",
}
_LINES_PER_SPAN = 20
_SPAN_S = 30.0
_LINE_BYTES = 8192


class ChildGarbled(Exception):
    """What came over the pipe is no message."""


class MessagePipe:
    """Messages as they come out of a pipe."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._length: int | None = None
        """Of a message whose body has not come yet: time may run out between the two."""

    async def receive(self, timeout_s: float) -> Message | None:
        """The next message; None: none came in time, or the pipe has ended (see `ended`).

        Raises:
            ChildGarbled: it makes no sense; the process must be ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if self._length is None:
                    (self._length,) = LENGTH.unpack(await self._stream.readexactly(LENGTH.size))
                if self._length > MAX_MESSAGE_BYTES:
                    raise ChildGarbled(f"a message of {self._length} bytes")
                body = await self._stream.readexactly(self._length)
        except (TimeoutError, asyncio.IncompleteReadError):
            return None
        self._length = None
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise ChildGarbled(str(error)) from error

    @property
    def ended(self) -> bool:
        """Whether all of it was received and nothing more can come."""
        return self._stream.at_eof()


class CameraChild:
    """One run of one camera process. `async with` ends it, whatever happens."""

    def __init__(
        self,
        camera: str,
        process: asyncio.subprocess.Process,
        pipe: "MessagePipe",
        transport: asyncio.BaseTransport,
    ) -> None:
        """Use `start`."""
        self._camera = camera
        self._process = process
        self._pipe = pipe
        self._transport = transport
        self._words: deque[str] = deque(maxlen=5)
        self._listener = asyncio.create_task(self._relay_stderr(), name=f"stderr of camera {camera}")

    @classmethod
    async def start(cls, job: CameraJob, environ: Mapping[str, str] = os.environ) -> "CameraChild":
        """Start a process and give it its job."""
        spawned = await spawn(
            "edge_agent.cameras.process",
            {**ENVIRONMENT, **environ},
            most_bytes=MAX_MESSAGE_BYTES,
            keep_stderr=True,
        )
        child = cls(job.camera, spawned.process, MessagePipe(spawned.pipe), spawned.transport)
        await child._hand_over(job)
        return child

    async def _hand_over(self, job: CameraJob) -> None:
        """The job goes over standard input, since arguments and environment can be read by other users."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(encode_job(job))
            await stdin.drain()
        stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines that it wrote to stderr."""
        return " | ".join(self._words)

    async def receive(self, timeout_s: float) -> Message | None:
        """The next message; see `MessagePipe.receive`."""
        return await self._pipe.receive(timeout_s)

    @property
    def ended(self) -> bool:
        """Whether all that the process ever sent was received and nothing more can come."""
        return self._pipe.ended

    def ask_for_snapshot(self) -> None:
        """It sends a `Snapshot` with its next picture. Only a process that is `Ready` understands."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(SNAPSHOT_SIGNAL)

    def ask_to_end(self) -> None:
        """It finishes what it has in hand, tells it, and ends."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """It ends at once. What it had sent can still be received."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        """Wait for its end; its exit status, negative for a signal."""
        status = await self._process.wait()
        await self._listener
        return status

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self.wait()
        self._transport.close()

    async def _relay_stderr(self) -> None:
        """What drivers and codecs write there goes into our log, without passwords and not without end."""
        stderr = self._process.stderr
        assert stderr is not None
        loop = asyncio.get_running_loop()
        span_ends_s, n_lines = loop.time() + _SPAN_S, 0
        while line := await _read_line(stderr):
            text = redact(line.decode(errors="replace").rstrip())
            if not text:
                continue
            self._words.append(text[:500])
            if loop.time() > span_ends_s:
                self._tell_left_out(n_lines - _LINES_PER_SPAN)
                span_ends_s, n_lines = loop.time() + _SPAN_S, 0
            n_lines += 1
            if n_lines <= _LINES_PER_SPAN:
                logger.info("%s: %s", self._camera, text, extra={"action": "camera_says", "camera": self._camera})
        self._tell_left_out(n_lines - _LINES_PER_SPAN)

    def _tell_left_out(self, n_lines: int) -> None:
        if n_lines > 0:
            extra = {"action": "camera_says", "camera": self._camera}
            logger.info("%s: %d more lines left out", self._camera, n_lines, extra=extra)


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """One line, or a piece of one that is longer than any should be. Empty at the end."""
    try:
        return await stream.readline()
    except ValueError:
        return await stream.read(_LINE_BYTES)
