"""A UHF reader that speaks LLRP, packed by hand after the standard (v1.0.1); nothing of sllurp is used."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

CAPABILITIES, CONFIG, SET_CONFIG, CLOSE = 1, 2, 3, 14
ADD, DELETE, START, ENABLE, DISABLE = 20, 21, 22, 24, 25
DELETE_ACCESS, REPORT, KEEPALIVE, EVENT, EVENTS_ON, ACK = 41, 61, 62, 63, 64, 72
_ANSWER_OF = {
    SET_CONFIG: 13,
    CONFIG: 12,
    ADD: 30,
    DELETE: 31,
    START: 32,
    ENABLE: 34,
    DISABLE: 35,
    DELETE_ACCESS: 51,
}
_HEADER = struct.Struct("!HII")


def message(kind: int, body: bytes, number: int = 0, version: int = 1) -> bytes:
    return _HEADER.pack(version << 10 | kind, _HEADER.size + len(body), number) + body


def parameter(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, 4 + len(body)) + body


def status(code: int = 0, words: bytes = b"") -> bytes:
    return parameter(287, struct.pack("!HH", code, len(words)) + words)


def event(inner: bytes) -> bytes:
    stamp = parameter(128, struct.pack("!Q", 1_700_000_000_000_000))
    return message(EVENT, parameter(246, stamp + inner))


def capabilities(n_antennas: int, powers_dbm: tuple[float, ...]) -> bytes:
    general = struct.pack("!HHIIH", n_antennas, 0x4000, 25882, 2001002, 3) + b"1.0"
    general += parameter(141, struct.pack("!HH", 4, 4))
    for number in range(1, n_antennas + 1):
        general += parameter(140, struct.pack("!HHB", number, 1, 1))
    band = b"".join(
        parameter(145, struct.pack("!Hh", i, round(dbm * 100))) for i, dbm in enumerate(powers_dbm, start=1)
    )
    band += parameter(146, b"\x00" + parameter(148, struct.pack("!HI", 1, 865700)))
    mode = struct.pack("!IBBBBIIIII", 1, 0x80, 2, 1, 2, 40000, 1500, 6250, 6250, 0)
    band += parameter(328, parameter(329, mode))
    regulatory = struct.pack("!HH", 276, 2) + parameter(144, band)
    return status() + parameter(137, general) + parameter(143, regulatory)


def tag_report(epc: bytes, antenna: int = 1, rssi_dbm: int | None = -50) -> bytes:
    """TagReportData as EPC-96 where it has 12 bytes, and as EPCData else."""
    inner = b"\x8d" + epc if len(epc) == 12 else parameter(241, struct.pack("!H", len(epc) * 8) + epc)
    inner += b"\x81" + struct.pack("!H", antenna)
    if rssi_dbm is not None:
        inner += b"\x86" + struct.pack("!b", rssi_dbm)
    return parameter(240, inner + b"\x88" + struct.pack("!H", 1))


@dataclass
class LlrpReaderDouble:
    """The reader. Use as a context manager.

    Attributes:
        busy: another client has it.
        refuse: message kind -> words with which it is refused.
        mute: it takes connections, and says nothing at all.
        silent: it does not say that it lives. Else it does, and more often than it is asked to.
        heard: kinds of the messages that came, in order.
        rospec_runs: whether it reads.
    """

    n_antennas: int = 4
    powers_dbm: tuple[float, ...] = (10.0, 20.0, 30.0)
    busy: bool = False
    refuse: dict[int, bytes] = field(default_factory=dict)
    mute: bool = False
    silent: bool = False
    port: int = 0
    heard: list[int] = field(default_factory=list)
    keepalive_ms: int = 0
    power_indices: list[int] = field(default_factory=list)
    rospec_runs: bool = False
    n_connections: int = 0
    news: threading.Condition = field(default_factory=threading.Condition)
    _sending: threading.Lock = field(default_factory=threading.Lock)
    _peer: socket.socket | None = None
    _server: socket.socket | None = None

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """The power goes."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
        self.hang_up()

    @property
    def url(self) -> str:
        return f"llrp://127.0.0.1:{self.port}"

    def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        with self.news:
            assert self.news.wait_for(condition, timeout_s)

    def hang_up(self) -> None:
        peer, self._peer = self._peer, None
        self.rospec_runs = False
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        """Whatever it is."""
        assert self._peer is not None
        self._send_to(self._peer, data)

    def _send_to(self, peer: socket.socket, data: bytes) -> None:
        with self._sending:
            peer.sendall(data)

    def _beat(self, peer: socket.socket) -> None:
        """Until this client has gone."""
        while self._peer is peer:
            if self.rospec_runs and not self.silent:
                with contextlib.suppress(OSError):
                    self._send_to(peer, message(KEEPALIVE, b""))
            time.sleep(0.1)

    def report(self, *tags: bytes) -> None:
        """A report with these `tag_report`s, if it reads."""
        self.until(lambda: self.rospec_runs)
        self.send(message(REPORT, b"".join(tags)))

    def keep_alive(self) -> None:
        self.send(message(KEEPALIVE, b""))

    # Its side of the talk

    def _accept(self) -> None:
        assert self._server is not None
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self.n_connections += 1
            self._peer = peer
            threading.Thread(target=self._beat, args=(peer,), daemon=True).start()
            with peer, contextlib.suppress(OSError):
                if not self.mute:
                    peer.sendall(event(parameter(256, struct.pack("!H", 2 if self.busy else 0))))
                self._talk(peer)
            if self._peer is peer:
                self._peer, self.rospec_runs = None, False

    def _talk(self, peer: socket.socket) -> None:
        rest = b""
        while True:
            data = peer.recv(65536)
            if not data:
                return
            rest += data
            while len(rest) >= _HEADER.size and len(rest) >= (size := _HEADER.unpack_from(rest)[1]):
                kind, _, number = _HEADER.unpack_from(rest)
                self._take(peer, kind & 0x3FF, rest[_HEADER.size : size], number)
                rest = rest[size:]

    def _take(self, peer: socket.socket, kind: int, body: bytes, number: int) -> None:
        with self.news:
            self.heard.append(kind)
            if kind == SET_CONFIG and (at := body.find(b"\x00\xdc\x00\x09")) >= 0:
                self.keepalive_ms = struct.unpack_from("!I", body, at + 5)[0]
            if kind == ADD:
                self._note_powers(body)
            refused = self.refuse.get(kind)
            if not refused:
                self.rospec_runs = {ENABLE: True, START: True, DELETE: False}.get(kind, self.rospec_runs)
            self.news.notify_all()
        if self.mute:
            return
        if kind == CAPABILITIES:
            self._send_to(peer, message(11, capabilities(self.n_antennas, self.powers_dbm), number))
        elif kind in _ANSWER_OF:
            self._send_to(peer, message(_ANSWER_OF[kind], status(100, refused) if refused else status(), number))

    def _note_powers(self, body: bytes) -> None:
        """RFTransmitter (224) of each AntennaConfiguration: hop table, channel, power."""
        at = 0
        while (at := body.find(b"\x00\xe0\x00\x0a", at)) >= 0:
            self.power_indices.append(struct.unpack_from("!HHH", body, at + 4)[2])
            at += 4
