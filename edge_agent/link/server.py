"""The lights' end of the link: a Unix socket that the step loop looks at between two steps.

Nothing here waits. A look costs some microseconds when nobody speaks; what is read at one look is bounded, so that
a flood on the socket takes nothing from the lights; what a peer does not read is kept up to a bound, and then the
peer is dropped. It may connect again.

Who may speak is by the kernel's word (SO_PEERCRED): root, the daemon's own user, and members of the socket's
group. Everybody else who gets as far as connecting, which the socket's mode decides, may watch.

Bare `epoll` and sockets, since asyncio would cost a quarter of the memory that the daemon may have.
"""

import contextlib
import errno
import grp
import logging
import os
import select
import socket
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from common.commands import OrderResult
from edge_agent.link.messages import Ask, OrderAnswer, Refused, Shown, ToAgent, ToSignals

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 * 1024
MAX_PEERS = 16
MAX_BACKLOG_BYTES = 256 * 1024
"""What one peer has not read yet; one that hangs reaches it within minutes, and is dropped."""
_READ_BYTES = 32 * 1024
"""Of each peer at one look."""
_MAX_BAD_LINES = 100
_CREDENTIALS = struct.Struct("iII")
_SO_PEERGROUPS = 59
"""Linux 4.13; Python has no name for it."""
_GROUPS_BYTES = 1024
_T = TypeVar("_T")


class LinkBusy(Exception):
    """Another daemon listens on this socket."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        number: of the connection; never used again.
        may_speak: it may give orders, tell what sensors see, and take records. Else it may only watch.
    """

    number: int
    pid: int
    uid: int
    may_speak: bool


@dataclass(slots=True)
class LinkTally:
    """What happened on the link since the daemon started."""

    n_messages: int = 0
    n_bad_lines: int = 0
    n_not_allowed: int = 0
    n_dropped_peers: int = 0
    """Peers that were cut off: too slow, too loud, or talking nonsense."""


@dataclass(slots=True)
class _Connection:
    peer: Peer
    socket: socket.socket
    unread: bytearray = field(default_factory=bytearray)
    """The beginning of a line."""
    unsent: bytearray = field(default_factory=bytearray)
    waits: bool = False
    """Whether epoll tells when it can be written to."""
    n_bad_lines: int = 0


class LinkServer:
    """Use: `open()` once, then `poll()` in every step, `tell()` at any time, `close()`. One thread calls all."""

    def __init__(self, path: Path, *, mode: int = 0o660, group: str | None = None) -> None:
        """
        Args:
            path: of the socket. Its folder must exist.
            mode: of the socket: who may connect.
            group: owns the socket, and its members may speak; None: the daemon's own group owns it, and only root
                and the daemon's own user may speak.
        """
        self._path, self._mode, self._group = path, mode, group
        self._gid: int | None = None
        self._listener: socket.socket | None = None
        self._epoll: select.epoll | None = None
        self._connections: dict[int, _Connection] = {}
        """By file descriptor."""
        self._inode: int | None = None
        self._n_peers = 0
        self._shown: bytes | None = None
        self._decoder = msgspec.json.Decoder(ToSignals)
        self._encoder = msgspec.json.Encoder()
        self.tally = LinkTally()

    def open(self) -> None:
        """Listen. A socket that a killed daemon left behind is replaced.

        Raises:
            LinkBusy: another daemon listens there.
            OSError: it cannot be made there.
            KeyError: there is no such group.
        """
        self._gid = grp.getgrnam(self._group).gr_gid if self._group else None
        self._clear_the_way()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.bind(str(self._path))
            # Nobody can connect before it listens, which is after this.
            if self._gid is not None:
                os.chown(self._path, -1, self._gid)
            self._path.chmod(self._mode)
            listener.listen(MAX_PEERS)
            self._inode = self._path.stat().st_ino
        except BaseException:
            listener.close()
            raise
        self._listener, self._epoll = listener, select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def _clear_the_way(self) -> None:
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise FileExistsError(errno.EEXIST, "is no socket; move it away", str(self._path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink(missing_ok=True)
                return
            except BlockingIOError:
                pass
        raise LinkBusy(f"another lights' daemon listens on {self._path}; stop it first")

    def fileno(self) -> int:
        """Readable while `poll` has something to do: a loop may wait for it until its next step is due."""
        return -1 if self._epoll is None else self._epoll.fileno()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Who is connected."""
        return tuple(connection.peer for connection in self._connections.values())

    def is_connected(self, peer: Peer) -> bool:
        """Whether `peer` still is."""
        return any(connection.peer is peer for connection in self._connections.values())

    def poll(self) -> list[tuple[Peer, ToSignals]]:
        """Everything that was said since the last call, up to a bound; sends what waits to be sent.

        Never blocks and never raises for what a peer does. Lines that are no message, or not allowed, are answered
        here. An order comes out with the kernel's word on who gave it: `by` is "alice (uid 1000)".
        """
        heard: list[tuple[Peer, ToSignals]] = []
        if self._epoll is None or self._listener is None:
            return heard
        for descriptor, events in self._epoll.poll(0):
            if descriptor == self._listener.fileno():
                self._accept()
                continue
            connection = self._connections.get(descriptor)
            if connection is not None and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(connection, heard)
            if events & select.EPOLLOUT and descriptor in self._connections:
                self._flush(self._connections[descriptor])
        return heard

    def tell(self, message: ToAgent, to: Peer | None = None) -> None:
        """Say something to one peer, or to all. Never blocks; a peer that does not read is dropped in the end.

        The last `Shown` that went to all is also the first that a new peer hears.
        """
        line = self._encoder.encode(message) + b"\n"
        if to is None and isinstance(message, Shown):
            self._shown = line
        for connection in tuple(self._connections.values()):
            if to is None or connection.peer is to:
                self._send(connection, line)

    def backlog_bytes(self, peer: Peer) -> int:
        """What waits to be read by `peer` on our side; 0 if it is gone."""
        return sum(len(c.unsent) for c in self._connections.values() if c.peer is peer)

    def close(self) -> None:
        """Hang up on all, and take the socket away. May be called twice."""
        for connection in tuple(self._connections.values()):
            self._drop(connection)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                # Only our own: another daemon may have been started on the same path.
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    # Peers come and go

    def _accept(self) -> None:
        assert self._listener is not None
        assert self._epoll is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            # Gone already, or no file is left: it is tried again at the next look.
            return
        client.setblocking(False)
        self._n_peers += 1
        if len(self._connections) >= MAX_PEERS:
            self.tally.n_dropped_peers += 1
            reason = f"{MAX_PEERS} programs are connected to the lights already; end one of them"
            with contextlib.suppress(OSError):
                client.send(self._encoder.encode(Refused(reason=reason)) + b"\n")
            client.close()
            return
        pid, uid, gid = _CREDENTIALS.unpack(
            client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        peer = Peer(self._n_peers, pid, uid, self._may_speak(client, uid, gid))
        connection = _Connection(peer, client)
        self._connections[client.fileno()] = connection
        self._epoll.register(client.fileno(), select.EPOLLIN)
        if self._shown is not None:
            self._send(connection, self._shown)

    def _may_speak(self, client: socket.socket, uid: int, gid: int) -> bool:
        if uid in (0, os.geteuid()):
            return True
        return self._gid is not None and self._gid in (gid, *_groups(client))

    def _drop(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        if self._connections.pop(descriptor, None) is not None:
            connection.socket.close()

    def _cut_off(self, connection: _Connection, why: str) -> None:
        self.tally.n_dropped_peers += 1
        self._drop(connection)
        peer = connection.peer
        logger.warning(
            "link: process %d is cut off: %s", peer.pid, why, extra={"action": "link_cut_off", "uid": peer.uid}
        )

    # What they say

    def _read(self, connection: _Connection, heard: list[tuple[Peer, ToSignals]]) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(connection.unread) + lines[0]
            connection.unread.clear()
        connection.unread += rest
        for line in lines:
            message = self._understood(connection, line)
            if message is not None:
                heard.append((connection.peer, message))
            elif connection.n_bad_lines > _MAX_BAD_LINES or connection.socket.fileno() < 0:
                # Each is answered, and a look may hold thousands.
                break
        if connection.socket.fileno() < 0:
            return
        if len(connection.unread) > MAX_LINE_BYTES:
            self.tally.n_bad_lines += 1
            self._cut_off(connection, f"it sends a line of more than {MAX_LINE_BYTES} bytes")
        elif connection.n_bad_lines > _MAX_BAD_LINES:
            self._cut_off(connection, "it talks nonsense, or does not stop asking for what it may not")

    def _understood(self, connection: _Connection, line: bytes) -> ToSignals | None:
        """The message in a line; None: it is answered already."""
        try:
            message: ToSignals = self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.tally.n_bad_lines += 1
            connection.n_bad_lines += 1
            self._refuse(connection, line, f"this is no message that the lights know: {error}")
            return None
        if not connection.peer.may_speak:
            self.tally.n_not_allowed += 1
            connection.n_bad_lines += 1
            self._refuse(connection, line, self._who_may())
            return None
        self.tally.n_messages += 1
        return _with_the_kernels_word(message, connection.peer.uid) if isinstance(message, Ask) else message

    def _who_may(self) -> str:
        group = f", and members of the group {self._group}" if self._group else ""
        return f"only root and the user of the lights' daemon{group} may do this; use sudo"

    def _refuse(self, connection: _Connection, line: bytes, reason: str) -> None:
        order = _id_of_order(line)
        answer = OrderAnswer(id=order, result=OrderResult(accepted=False, reason=reason)) if order else None
        self._send(connection, self._encoder.encode(answer or Refused(reason=reason)) + b"\n")

    # What they are told

    def _send(self, connection: _Connection, line: bytes) -> None:
        if connection.socket.fileno() < 0:
            return
        connection.unsent += line
        if not connection.waits:
            self._flush(connection)
        if len(connection.unsent) > MAX_BACKLOG_BYTES:
            self._cut_off(connection, "it does not read what it is told")

    def _flush(self, connection: _Connection) -> None:
        try:
            n_sent = connection.socket.send(connection.unsent, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            self._drop(connection)
            return
        del connection.unsent[:n_sent]
        self._wait(connection, bool(connection.unsent))

    def _wait(self, connection: _Connection, waits: bool) -> None:
        if waits != connection.waits and self._epoll is not None:
            connection.waits = waits
            events = select.EPOLLIN | select.EPOLLOUT if waits else select.EPOLLIN
            self._epoll.modify(connection.socket.fileno(), events)


class _Head(msgspec.Struct):
    """Of a line that is no message, as much as is needed to answer it."""

    type: str = ""
    id: str = ""


def _id_of_order(line: bytes) -> str:
    try:
        head = msgspec.json.decode(line, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return head.id[:100] if head.type == "ask" else ""


def _with_the_kernels_word(ask: Ask, uid: int) -> Ask:
    order = msgspec.structs.replace(ask.order, by=f"{ask.order.by[:80]} (uid {uid})")
    return msgspec.structs.replace(ask, order=order)


def _groups(client: socket.socket) -> tuple[int, ...]:
    """The supplementary groups of who connected; none where the kernel does not tell."""
    try:
        data = client.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return ()
    return struct.unpack(f"{len(data) // 4}I", data)
