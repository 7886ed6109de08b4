"""A TCP link that misbehaves on command: cut, deaf, or losing the answers to requests that arrived."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

_CHUNK_BYTES = 65536
_TIMEOUT_S = 30.0


class _Link:
    """One connection: the client's socket, and ours to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.broken = False

    def reset(self) -> None:
        """Have `close` drop both ends without a goodbye, as a link that breaks does."""
        self.broken = True
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads, and tells the other side nothing yet

    def close(self) -> None:
        self.client.close()
        self.server.close()


class LossyProxy:
    """Passes connections on to `target_port` on this machine, until told otherwise. Any thread may steer it."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._links: set[_Link] = set()
        self._is_cut = False
        self._to_lose = 0
        self._n_lost = 0
        self._closed = False
        threading.Thread(target=self._accept, name="lossy-proxy", daemon=True).start()

    @property
    def n_lost(self) -> int:
        """How many answers have been lost so far."""
        with self._changed:
            return self._n_lost

    def cut(self) -> None:
        """Break all connections, and every new one, until `restore`."""
        with self._changed:
            self._is_cut = True
            for link in self._links:
                link.reset()
            self._changed.wait_for(lambda: not self._links, _TIMEOUT_S)

    def restore(self) -> None:
        """Let connections through again."""
        with self._changed:
            self._is_cut = False
            self._to_lose = 0

    def lose_answers(self, n: int = 1) -> None:
        """Break the next `n` connections on which the server answers: it did its work, the client never knows."""
        with self._changed:
            self._to_lose = n

    def wait_until_lost(self, n: int) -> None:
        """Wait until `n` answers in all have been lost."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._n_lost >= n, _TIMEOUT_S):
                raise TimeoutError(f"{self._n_lost} of {n} answers were lost within {_TIMEOUT_S} s")

    def close(self) -> None:
        """Break everything and stop listening."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open(client)

    def _open(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        with self._changed:
            refused = self._is_cut
            if not refused:
                self._links.add(link)
        if refused:
            link.reset()
            link.close()
            return
        threading.Thread(target=self._carry, args=(link,), daemon=True).start()

    def _carry(self, link: _Link) -> None:
        """Both ways until both ends are done; the way to the server has a thread of its own."""
        forth = threading.Thread(target=self._pump, args=(link, link.client, link.server, _always), daemon=True)
        forth.start()
        self._pump(link, link.server, link.client, self._answer_passes)
        forth.join()
        link.close()
        with self._changed:
            self._links.discard(link)
            self._changed.notify_all()

    def _pump(self, link: _Link, source: socket.socket, sink: socket.socket, passes: Callable[[], bool]) -> None:
        try:
            while chunk := source.recv(_CHUNK_BYTES):
                if not passes():
                    link.reset()
                if link.broken:
                    return
                sink.sendall(chunk)
            if not link.broken:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            link.reset()

    def _answer_passes(self) -> bool:
        with self._changed:
            if self._to_lose == 0:
                return True
            self._to_lose -= 1
            self._n_lost += 1
            self._changed.notify_all()
            return False


def _always() -> bool:
    return True


@pytest.fixture
def lossy_proxy() -> Iterator[Callable[[int], LossyProxy]]:
    """Makes proxies to a port of this machine; they close with the test."""
    with contextlib.ExitStack() as opened:

        def make(target_port: int) -> LossyProxy:
            proxy = LossyProxy(target_port)
            opened.callback(proxy.close)
            return proxy

        yield make
