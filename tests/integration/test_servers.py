"""The tests' own servers keep what they promise; other tests lean on that."""

import socket
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.servers.databases import TEMPLATE
from tests.servers.postgres import PgServer
from tests.servers.proxy import LossyProxy


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that answers each line with itself in capitals."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb", buffering=0) as lines:
            try:
                for line in lines:
                    lines.write(line.upper())
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ask(port: int, line: bytes) -> bytes:
    """One line to the port, and its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(line)
        with connection.makefile("rb") as answers:
            return answers.readline()


def test_a_link_passes_cuts_and_restores(echo_port: int, lossy_proxy: Callable[[int], LossyProxy]) -> None:
    proxy = lossy_proxy(echo_port)
    assert ask(proxy.port, b"hello\n") == b"HELLO\n"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as standing:
        standing.sendall(b"up\n")
        assert standing.recv(3) == b"UP\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            standing.recv(1)
    with pytest.raises(ConnectionError):
        ask(proxy.port, b"hello\n")
    proxy.restore()
    assert ask(proxy.port, b"hello\n") == b"HELLO\n"


def test_a_link_loses_answers_to_requests_that_arrived(
    echo_port: int, lossy_proxy: Callable[[int], LossyProxy]
) -> None:
    proxy = lossy_proxy(echo_port)
    proxy.lose_answers(1)
    with pytest.raises(ConnectionError):
        ask(proxy.port, b"hello\n")
    proxy.wait_until_lost(1)
    assert ask(proxy.port, b"again\n") == b"AGAIN\n"


def test_each_test_has_an_empty_database_of_its_own(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT current_database(), count(*) FROM edge_devices").fetchone()
    assert row is not None
    assert row[0].startswith("test_")
    assert row[1] == 0


def test_what_a_durable_server_committed_survives_a_kill(pg_server: PgServer) -> None:
    with psycopg.connect(pg_server.dsn(TEMPLATE), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (1)")
        pg_server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    pg_server.start()
    assert pg_server.execute("SELECT n FROM kept", TEMPLATE) == [(1,)]
