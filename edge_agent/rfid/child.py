"""A reader process, as the agent holds it: started, listened to, ended."""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Mapping
from typing import Self

import msgspec

from edge_agent.cameras.spawn import Spawned, spawn
from edge_agent.rfid.messages import MAX_MESSAGE_BYTES, Message, ReaderJob, decode, encode_job

logger = logging.getLogger(__name__)

_LINES_TOLD = 20
"""Of what one process writes to stderr; the rest is only kept for its last words."""


class ReaderGarbled(Exception):
    """What came over the pipe is no message."""


class ReaderChild:
    """One run of one reader process. `async with` ends it, whatever happens."""

    def __init__(self, reader: str, spawned: Spawned) -> None:
        """Use `start`."""
        self._reader, self._spawned = reader, spawned
        self._words: deque[str] = deque(maxlen=5)
        self._listener = asyncio.create_task(self._relay_stderr(), name=f"stderr of reader {reader}")

    @classmethod
    async def start(cls, job: ReaderJob, environ: Mapping[str, str] = os.environ) -> "ReaderChild":
        """Start a process and give it its job."""
        spawned = await spawn("edge_agent.rfid.process", environ, most_bytes=MAX_MESSAGE_BYTES, keep_stderr=True)
        stdin = spawned.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(encode_job(job))
            await stdin.drain()
        stdin.close()
        return cls(job.reader, spawned)

    @property
    def pid(self) -> int:
        return self._spawned.process.pid

    @property
    def last_words(self) -> str:
        """The last lines that it wrote to stderr."""
        return " | ".join(self._words)

    @property
    def ended(self) -> bool:
        """Whether all that the process ever sent was received and nothing more can come."""
        return self._spawned.pipe.at_eof()

    async def receive(self, timeout_s: float) -> Message | None:
        """The next message; None: none came in time, or the pipe has ended (see `ended`).

        Raises:
            ReaderGarbled: it makes no sense; the process must be ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._spawned.pipe.readline()
        except TimeoutError:
            return None
        except ValueError as error:
            raise ReaderGarbled("a line without an end") from error
        if not line.endswith(b"\n"):
            # What it was saying when it died.
            return None
        try:
            return decode(line)
        except msgspec.DecodeError as error:
            raise ReaderGarbled(str(error)) from error

    def ask_to_end(self) -> None:
        """It stops the reader, tells so, and ends."""
        with contextlib.suppress(ProcessLookupError):
            self._spawned.process.terminate()

    def kill(self) -> None:
        """It ends at once, wherever it hangs. What it had sent can still be received."""
        with contextlib.suppress(ProcessLookupError):
            self._spawned.process.kill()

    async def wait(self) -> int:
        """Wait for its end; its exit status, negative for a signal."""
        status = await self._spawned.process.wait()
        await self._listener
        return status

    async def end(self, patience_s: float = 3.0) -> None:
        """Have it stop the reader and end. What it still says is not heard."""
        self.ask_to_end()
        with contextlib.suppress(TimeoutError, ReaderGarbled):
            async with asyncio.timeout(patience_s):
                while not self.ended:
                    await self.receive(patience_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self.wait()
        self._spawned.transport.close()

    async def _relay_stderr(self) -> None:
        stderr = self._spawned.process.stderr
        assert stderr is not None
        n_told = 0
        while data := await stderr.read(8192):
            for line in data.decode(errors="replace").splitlines():
                self._words.append(line[:500])
                n_told += 1
                if n_told <= _LINES_TOLD:
                    extra = {"action": "reader_says", "reader": self._reader}
                    logger.info("%s: %s", self._reader, line[:500], extra=extra)
