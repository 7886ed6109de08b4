"""Fixtures: a migrated database of its own for each test, on each edition of the store that this machine can run.

`dsn` runs a test once on plain PostgreSQL and once on TimescaleDB, `plain_dsn` and `timescaledb_dsn` on the one.
`module_dsn` (plain) and `each_module_dsn` (once per edition) are shared by tests of a module, which make devices
and junctions of their own and look at those alone: a collector there is built once, and not for each test.
`pg_server` is a plain server of the test's own that keeps its promises through a crash: kill it, start it again.
"""

import fcntl
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.postgres import (
    Installation,
    PgServer,
    ServerUnavailable,
    copy_data,
    plain_installation,
    timescaledb_installation,
)

EDITIONS: dict[str, Callable[[], Installation]] = {
    "plain": plain_installation,
    "timescaledb": timescaledb_installation,
}
EACH_EDITION = ("plain", pytest.param("timescaledb", marks=pytest.mark.timescaledb))
TEMPLATE = "stopline_template"
REQUIRE_TIMESCALE = "STOPLINE_REQUIRE_TIMESCALE"


@contextmanager
def running_server(edition: str, *, durable: bool, like: Path | None = None) -> Iterator[PgServer]:
    """A server of `edition` with an empty, migrated database named `TEMPLATE` to copy.

    Args:
        like: the data of one that was made before, to begin with.

    Raises:
        ServerUnavailable: this machine cannot run it.
    """
    from collector.migrate import migrate

    installation = EDITIONS[edition]()
    try:
        server = PgServer(installation, durable=durable, like=like)
        try:
            server.start()
            if like is None:
                migrate(server.create_database(TEMPLATE))
            yield server
        finally:
            server.destroy()
    finally:
        installation.remove_scratch()


@contextmanager
def cloned_database(server: PgServer, name: str) -> Iterator[str]:
    """A copy of the migrated database; gives its connection string, and drops it in the end."""
    yield server.create_database(name, template=TEMPLATE)
    if server.running:
        server.drop_database(name)


@pytest.fixture(scope="session")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The data that a server of an edition begins with: made by the first process of the session that needs it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def made(edition: str) -> Path:
        data = folder / f"{edition} data"
        with (folder / f"{edition} lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not data.exists():
                with running_server(edition, durable=False) as server:
                    server.stop()
                    copy_data(server.dir / "data", data)
        return data

    return made


@pytest.fixture(scope="session")
def plain_server(data_of: Callable[[str], Path]) -> Iterator[PgServer]:
    """The process's plain PostgreSQL. Shared: do not stop it; `pg_server` is there for that."""
    with running_server("plain", durable=False, like=data_of("plain")) as server:
        yield server


@pytest.fixture(scope="session")
def timescaledb_server(data_of: Callable[[str], Path]) -> Iterator[PgServer]:
    """The process's TimescaleDB. Shared: do not stop it."""
    try:
        timescaledb_installation()
    except ServerUnavailable as reason:
        if os.environ.get(REQUIRE_TIMESCALE) == "1":
            pytest.fail(f"{REQUIRE_TIMESCALE}=1, and {reason}")
        pytest.skip(str(reason))
    with running_server("timescaledb", durable=False, like=data_of("timescaledb")) as server:
        yield server


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    """Names that no other test of this process has."""
    return (f"test_{number}" for number in itertools.count(1))


@pytest.fixture
def plain_dsn(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """A fresh migrated database on plain PostgreSQL."""
    with cloned_database(plain_server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture
def timescaledb_dsn(timescaledb_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """A fresh migrated database on TimescaleDB."""
    with cloned_database(timescaledb_server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture(params=EACH_EDITION)
def dsn(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database, once per edition."""
    found: str = request.getfixturevalue(f"{request.param}_dsn")
    return found


@pytest.fixture(scope="module")
def module_dsn(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """A migrated database on plain PostgreSQL for all tests of a module."""
    with cloned_database(plain_server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture(scope="module", params=EACH_EDITION)
def each_module_dsn(request: pytest.FixtureRequest, database_names: Iterator[str]) -> Iterator[str]:
    """A migrated database for all tests of a module, once per edition."""
    server: PgServer = request.getfixturevalue(f"{request.param}_server")
    with cloned_database(server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture
def pg_server(plain_server: PgServer, data_of: Callable[[str], Path]) -> Iterator[PgServer]:
    """A durable plain server of the test's own; `pg_server.dsn(TEMPLATE)` is its migrated database."""
    server = PgServer(plain_server.installation, durable=True, like=data_of("plain"))
    try:
        server.start()
        yield server
    finally:
        server.destroy()
