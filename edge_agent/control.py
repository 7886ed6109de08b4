"""Orders to a running agent from its own machine: a Unix socket in the state folder, which its user alone may use.

One order a connection: the name of a camera, as JSON on one line. The answer is one line of JSON, and then, where
there is no `error` in it, a picture.
"""

import asyncio
import contextlib
import json
import logging
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from common.clock import Stamp
from common.records import Log, Record

logger = logging.getLogger(__name__)

ORDER_PATIENCE_S = 5.0
PICTURE_PATIENCE_S = 20.0
_ORDER_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")


class ControlError(Exception):
    """The order was not carried out; the message says why."""


class AgentAbsent(ControlError):
    """No agent runs on this state folder."""


class SnapshotSource(Protocol):
    """A camera that can be asked; `edge_agent.cameras.supervisor.CameraSupervisor` is one."""

    async def snapshot(self, timeout_s: float) -> bytes:
        """A JPEG in which nobody can be recognised.

        Raises:
            ControlError: there is none now.
        """


class LogSink(Protocol):
    """Where it is written down; `edge_agent.outbox.writer.OutboxWriter` is one."""

    async def put(self, record: Record, stamp: Stamp) -> None:
        """Take in a record."""


class StampClock(Protocol):
    """The machine's clocks; `edge_agent.clock_source.Clock` is one."""

    def stamp(self) -> Stamp:
        """The present moment."""


def socket_path(state_dir: Path) -> Path:
    """Where the agent listens."""
    return state_dir / "control.sock"


class Control:
    """Takes orders. Every picture that leaves is written down before it does: whose it was, and who has it."""

    def __init__(self, cameras: Mapping[str, SnapshotSource], sink: LogSink, clock: StampClock) -> None:
        self._cameras, self._sink, self._clock = cameras, sink, clock

    @contextlib.asynccontextmanager
    async def serving(self, state_dir: Path) -> AsyncIterator[None]:
        """Listen. That it cannot is no reason not to count."""
        path = socket_path(state_dir)
        listener = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            # Nobody can connect before it listens, which is after this.
            path.chmod(0o600)
            server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_ORDER_BYTES)
        except OSError as error:
            listener.close()
            logger.warning("no orders are taken: %s", error, extra={"action": "control_failed"})
            yield
            return
        try:
            yield
        finally:
            server.close()
            # A disk that became read-only is no reason to end in a failure.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ORDER_PATIENCE_S + PICTURE_PATIENCE_S):
                head, picture = await self._answer(reader, _peer(writer))
                writer.write(json.dumps(head).encode() + b"\n" + picture)
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            # Whoever goes away early, or says nothing sensible, gets nothing.
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, who: str) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(ORDER_PATIENCE_S):
            order = json.loads(await reader.readline())
        camera = order.get("snapshot") if isinstance(order, dict) else None
        if not isinstance(camera, str) or camera not in self._cameras:
            return {"error": f"there is no camera {camera!r}; there is {', '.join(self._cameras) or 'none'}"}, b""
        try:
            picture = await self._cameras[camera].snapshot(PICTURE_PATIENCE_S)
        except ControlError as error:
            return {"error": str(error)}, b""
        await self._sink.put(snapshot_taken(camera, who, len(picture)), self._clock.stamp())
        return {"taken_by": who}, picture


def snapshot_taken(camera: str, who: str, n_bytes: int) -> Log:
    """The record of a picture that left, which is put into the log too."""
    message = f"a snapshot of camera {camera} was taken by {who}"
    logger.warning("%s", message, extra={"action": "snapshot", "camera": camera, "who": who})
    return Log(1, 0, 0, "warning", "snapshot", message, {"camera": camera, "who": who, "bytes": n_bytes})


def user_name(uid: int) -> str:
    """A user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _peer(writer: asyncio.StreamWriter) -> str:
    """Who is at the other end, by the kernel's word."""
    connection = writer.get_extra_info("socket")
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return user_name(uid)


async def ask_for_snapshot(state_dir: Path, camera: str) -> bytes:
    """A picture from the agent that runs on this state folder.

    Raises:
        AgentAbsent: none does.
        ControlError: it cannot give one, or does not answer.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket_path(state_dir)))
    except PermissionError as error:
        raise ControlError("the agent belongs to another user; use sudo") from error
    except OSError as error:
        raise AgentAbsent("no agent runs here") from error
    try:
        async with asyncio.timeout(ORDER_PATIENCE_S + PICTURE_PATIENCE_S):
            writer.write(json.dumps({"snapshot": camera}).encode() + b"\n")
            head = json.loads(await reader.readline())
            picture = await reader.read()
    except (OSError, TimeoutError, ValueError) as error:
        raise ControlError("the agent does not answer") from error
    finally:
        writer.close()
    if "error" in head:
        raise ControlError(head["error"])
    return picture
