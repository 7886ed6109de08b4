"""Network cameras for the tests: MJPEG over HTTP and JPEG over RTSP, which can be told to misbehave.

The RTSP side speaks what FFmpeg asks of a camera: RFC 2326 with Basic authentication, RTP inside the connection or
beside it, and JPEG as RFC 2435 packs it.
"""

import base64
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tests.servers.pictures import jpeg, street

_PACKET_BYTES = 1300
_BOUNDARY = b"frame"


@dataclass
class NetworkCamera:
    """One camera at a port of its own. `start` and `stop` are its plug; the port stays the same.

    Attributes:
        picture: what it sees, by the time since it was made.
        silent: it keeps its connections and sends nothing.
        fps: pictures a second; 0 is as fast as they are taken.
        credentials: `user:password` that it asks for.
        per_connection: so many pictures are sent to each client, and then the connection is closed.
    """

    picture: Callable[[float], np.ndarray] = street
    fps: float = 20.0
    credentials: str | None = None
    per_connection: int | None = None
    silent: bool = False
    n_connections: int = 0
    requests: list[str] = field(default_factory=list)
    scheme = "http"

    def __post_init__(self) -> None:
        self.made_s = time.monotonic()
        self.made_boottime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.port = 0
        self._plugged = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clients: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/live"

    def url_for(self, credentials: str) -> str:
        """Its address with a user and a password in it."""
        return f"{self.scheme}://{credentials}@127.0.0.1:{self.port}/live"

    def start(self) -> None:
        """Plug it in."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self._plugged.set()
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        """Pull the plug: connections break, new ones are refused."""
        self._plugged.clear()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> "NetworkCamera":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, args=(connection,))
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while self._plugged.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.n_connections += 1
            self._clients.add(client)
            self._spawn(self._serve_safely, client)

    def _serve_safely(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self.serve(client)
        self._clients.discard(client)

    def serve(self, client: socket.socket) -> None:
        """Answer one client until it, or the plug, goes."""
        self.requests.append(_head(client))
        if not self._is_let_in(self.requests[-1]):
            client.sendall(b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"\r\n')
            client.sendall(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            return
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        for data in self.pictures():
            head = b"--" + _BOUNDARY + b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
            client.sendall(head + data + b"\r\n")

    def pictures(self) -> Iterator[bytes]:
        """Coded pictures in their own time, until unplugged."""
        n_sent = 0
        while self._plugged.is_set() and n_sent != self.per_connection:
            if not self.silent:
                yield jpeg(self.picture(time.monotonic() - self.made_s))
                n_sent += 1
            if self.fps:
                time.sleep(1 / self.fps)

    def _is_let_in(self, request: str) -> bool:
        if self.credentials is None:
            return True
        return f"Basic {base64.b64encode(self.credentials.encode()).decode()}" in request


class RtspCamera(NetworkCamera):
    """The same by RTSP."""

    scheme = "rtsp"

    def serve(self, client: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            self._converse(client, datagrams)

    def _converse(self, client: socket.socket, datagrams: socket.socket) -> None:
        send: Callable[[bytes], object] | None = None
        while True:
            request = _head(client)
            self.requests.append(request)
            method = request.partition(" ")[0]
            if method == "SETUP":
                send = _sender(client, datagrams, request)
            self._answer(client, method, request)
            if method == "PLAY" and send is not None and self._is_let_in(request):
                self._play(client, send)
                return

    def _answer(self, client: socket.socket, method: str, request: str) -> None:
        status, headers, body = "200 OK", [f"CSeq: {_field(request, 'CSeq')}"], b""
        if method == "OPTIONS":
            headers.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif not self._is_let_in(request):
            status = "401 Unauthorized"
            headers.append('WWW-Authenticate: Basic realm="camera"')
        elif method == "DESCRIBE":
            headers += ["Content-Type: application/sdp", f"Content-Base: {self.url}/"]
            body = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n"
            body += b"a=control:track1\r\n"
        elif method == "SETUP":
            server = "" if "TCP" in _field(request, "Transport") else ";server_port=6970-6971"
            headers += [f"Transport: {_field(request, 'Transport')}{server}", "Session: 1"]
        else:
            headers.append("Session: 1")
        headers.append(f"Content-Length: {len(body)}")
        client.sendall("\r\n".join([f"RTSP/1.0 {status}", *headers, "", ""]).encode() + body)

    def _play(self, client: socket.socket, send: Callable[[bytes], object]) -> None:
        number = 0
        client.setblocking(True)
        for data in self.pictures():
            for packet in _rtp_packets(data, number, int((time.monotonic() - self.made_s) * 90_000)):
                number += 1
                send(packet)


def _head(client: socket.socket) -> str:
    """One request without a body."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        piece = client.recv(1)
        if not piece:
            raise ConnectionError("the client has gone")
        text += piece
    return text.decode()


def _field(request: str, name: str) -> str:
    lines = (line.partition(":") for line in request.split("\r\n")[1:])
    return next((value.strip() for key, _, value in lines if key.lower() == name.lower()), "")


def _sender(client: socket.socket, datagrams: socket.socket, setup: str) -> Callable[[bytes], object]:
    """How packets go to the client: within the connection, or as datagrams to the port that it names."""
    transport = _field(setup, "Transport")
    if "TCP" in transport:
        return lambda packet: client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
    port = int(transport.partition("client_port=")[2].partition("-")[0])
    host = client.getpeername()[0]
    return lambda packet: datagrams.sendto(packet, (host, port))


def _rtp_packets(data: bytes, first_number: int, timestamp: int) -> Iterator[bytes]:
    tables, kind, (width, height), scan = _jpeg_parts(data)
    pieces = [scan[at : at + _PACKET_BYTES] for at in range(0, len(scan), _PACKET_BYTES)]
    for n, piece in enumerate(pieces):
        last = 0x80 if n == len(pieces) - 1 else 0
        head = struct.pack(">BBHII", 0x80, last | 26, (first_number + n) & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
        offset = struct.pack(">I", n * _PACKET_BYTES)
        head += offset + struct.pack(">BBBB", kind, 255, width // 8, height // 8)
        if n == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        yield head + piece


def _jpeg_parts(data: bytes) -> tuple[bytes, int, tuple[int, int], bytes]:
    """Quantisation tables, RFC 2435's type, size, and the coded scan of a baseline JPEG."""
    tables, kind, size, at = b"", 0, (0, 0), 2
    while True:
        marker, length = struct.unpack(">HH", data[at : at + 4])
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            tables += b"".join(body[n + 1 : n + 65] for n in range(0, len(body), 65))
        elif marker == 0xFFC0:
            height, width = struct.unpack(">HH", body[1:5])
            size = width, height
            kind = 1 if body[7] == 0x22 else 0
        elif marker == 0xFFDA:
            return tables, kind, size, data[at:-2]
