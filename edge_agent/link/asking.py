"""The link for a technician's commands: connect, ask, hear the answer, hang up. Blocks, for so long as is said."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from common.commands import Order, OrderResult
from edge_agent.link.messages import Ask, OrderAnswer, Refused, Shown, ToAgent

PATIENCE_S = 5.0
_LINE_BYTES = 1024 * 1024


class LightsUnreachable(Exception):
    """There is no answer from the lights' daemon; the message says why, and what to do."""


class Asking:
    """A connection. Use as a context manager."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        """Connect.

        Raises:
            LightsUnreachable: nobody is there, or this user may not.
        """
        self._path, self._patience_s = path, patience_s
        self._decoder = msgspec.json.Decoder(ToAgent)
        self._unread = bytearray()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise LightsUnreachable(why_unreachable(error, path)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def order(self, order: Order) -> OrderResult:
        """Give an order; what became of it. One that is not read in time is not carried out.

        Raises:
            LightsUnreachable: it is not known what did.
        """
        try:
            until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + round(self._patience_s * 1e9)
            self._socket.sendall(msgspec.json.encode(Ask(id="1", order=order, until_ns=until_ns)) + b"\n")
        except OSError as error:
            raise LightsUnreachable(f"the lights' daemon hung up: {error}") from error
        deadline_s = time.monotonic() + self._patience_s
        for message in self._messages(deadline_s):
            if isinstance(message, OrderAnswer) and message.id == "1":
                return message.result
            if isinstance(message, Refused):
                return OrderResult(accepted=False, reason=message.reason)
        raise LightsUnreachable("the lights' daemon hung up before it answered; see its log")

    def shown(self, patience_s: float | None = None) -> Iterator[Shown]:
        """What the lights show: at once, at every change, and once a second.

        Raises:
            LightsUnreachable: nothing came for `patience_s`, or the daemon hung up.
        """
        patience_s = patience_s or self._patience_s
        messages = self._messages(time.monotonic() + patience_s)
        while True:
            for message in messages:
                if isinstance(message, Refused):
                    raise LightsUnreachable(message.reason)
                if isinstance(message, Shown):
                    break
            else:
                raise LightsUnreachable("the lights' daemon hung up; see its log")
            yield message
            messages = self._messages(time.monotonic() + patience_s)

    def _messages(self, deadline_s: float) -> Iterator[ToAgent]:
        """Until the daemon hangs up."""
        while True:
            while (end := self._unread.find(b"\n")) >= 0:
                line = bytes(self._unread[:end])
                del self._unread[: end + 1]
                try:
                    yield self._decoder.decode(line)
                except msgspec.MsgspecError as error:
                    text = f"{self._path} does not speak as the lights' daemon of this version does: {error}"
                    raise LightsUnreachable(text) from error
            data = self._receive(deadline_s)
            if not data:
                return
            self._unread += data

    def _receive(self, deadline_s: float) -> bytes:
        left_s = deadline_s - time.monotonic()
        try:
            if left_s <= 0 or len(self._unread) > _LINE_BYTES:
                raise TimeoutError
            self._socket.settimeout(left_s)
            return self._socket.recv(65536)
        except TimeoutError as error:
            text = f"the lights' daemon at {self._path} does not answer; look at the lights, and at its log"
            raise LightsUnreachable(text) from error
        except OSError as error:
            raise LightsUnreachable(f"the lights' daemon hung up: {error}") from error


def why_unreachable(error: OSError, path: Path) -> str:
    """Why there is no connection, and what to do."""
    if isinstance(error, FileNotFoundError):
        return (
            f"there is no {path}: the lights' daemon does not run (systemctl status stopline-signals), or listens "
            "elsewhere (name it with --socket)"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens on {path}: the lights' daemon does not run (systemctl status stopline-signals)"
    if isinstance(error, PermissionError):
        return f"{path} may not be used by this user: use sudo, or add the user to the socket's group"
    return f"{path} cannot be used: {error}"
