"""Brings a database to the schema of this release.

`sql/migrations/NNN_pre_name.sql` works with the code of the release before, so that it can run while old
collectors still serve; `NNN_post_name.sql` runs when none is left. So a database with `pre` files of a
later release is taken as it is: who goes back goes on. Files run in the order of their numbers, each in a
transaction of its own that also notes it in `schema_migrations`. One that sets `lock_timeout` is tried again when
it has waited so long: behind it, everybody waits who comes later. A file that begins with `-- no-transaction` (for
`CREATE INDEX CONCURRENTLY` and the like) runs statement by statement and must be safe to run again.

    MigrationError
      SchemaTooNew       a later release has taken away what this one needs
      MigrationChanged   a file differs from the one that was applied
      MigrationFailed    a statement failed; nothing of its file was applied
"""

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg.rows import TupleRow

from collector.errors import CollectorError, UnavailableError

_log = logging.getLogger(__name__)

_LOCK = 0x53544F50
"""Key of the advisory lock: one migration at a time in a database."""
_POLL_S = 0.1
_ATTEMPTS = 30
"""Of one that meets who writes or reads at the same time."""
_OTHER_FORMS = frozenset({"48b839f64309b89d18265e15a8317facd42bd36b8777998d575cc2701dadfab8"})
"""Checksums of files that were also applied in another form, for which a later one makes up: of 009, 016 does."""


class MigrationError(CollectorError):
    """A database could not be brought to this release's schema."""


class SchemaTooNew(MigrationError):
    """A `post` step of a later release was applied: this release's code may miss what it took away."""


class MigrationChanged(MigrationError):
    """A migration differs from the one that was applied."""


class MigrationFailed(MigrationError):
    """A statement of a migration failed."""


class Phase(StrEnum):
    """When a migration may run: while the code of the release before still serves, or only afterwards."""

    PRE = "pre"
    POST = "post"


@dataclass(frozen=True)
class Migration:
    """One file of `sql/migrations`."""

    number: int
    phase: Phase
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return not self.text.startswith("-- no-transaction")

    def __str__(self) -> str:
        return f"{self.number:03d}_{self.phase}_{self.name}"


@dataclass(frozen=True)
class Status:
    """Where a database stands. `later`: what a later release has added, with which this one works too."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    later: tuple[str, ...] = ()


_FILE = re.compile(r"(\d{3})_(pre|post)_([a-z0-9_]+)\.sql")


def bundled() -> tuple[Migration, ...]:
    """The migrations of this release, in order."""
    return read_folder(files("collector") / "sql" / "migrations")


def read_folder(folder: Traversable) -> tuple[Migration, ...]:
    """The migrations in a folder, in order. `MigrationError` for a wrong name or a number that is there twice."""
    found: dict[int, Migration] = {}
    for entry in folder.iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _FILE.fullmatch(entry.name)
        if match is None:
            raise MigrationError(f"{entry.name}: a migration is named NNN_pre_name.sql or NNN_post_name.sql")
        number = int(match[1])
        if number in found:
            raise MigrationError(f"{entry.name}: number {number} is taken by {found[number]}")
        found[number] = Migration(number, Phase(match[2]), match[3], entry.read_text(encoding="utf-8"))
    return tuple(found[number] for number in sorted(found))


def migrate(
    dsn: str, migrations: Sequence[Migration] | None = None, *, only: Phase | None = None
) -> tuple[str, ...]:
    """Applies what is pending and returns its names. Safe to call from many processes at once.

    With `only=Phase.PRE` it stops before the first pending `post` file: for an upgrade under load.
    """
    migrations = bundled() if migrations is None else migrations
    done = []
    # The lock lives in a transaction that stays open on a connection of its own, not in the session: so it holds
    # behind PgBouncer in transaction mode too, and while files run that must not be in a transaction.
    with _connect(dsn) as holder, _connect(dsn, autocommit=True) as connection:
        _await_turn(holder)
        _prepare(connection)
        pending, later = _pending(connection, migrations)
        if later:
            _log.warning(
                "The database has %s of a later release of Stopline; this one works with it as it is",
                ", ".join(later),
                extra={"action": "schema_of_later_release"},
            )
        for migration in pending:
            if only is Phase.PRE and migration.phase is Phase.POST:
                break
            _apply(connection, migration)
            done.append(str(migration))
    return tuple(done)


def status(dsn: str, migrations: Sequence[Migration] | None = None) -> Status:
    """What was applied and what is pending; changes nothing. Raises like `migrate` if the two do not fit."""
    migrations = bundled() if migrations is None else migrations
    with _connect(dsn, autocommit=True) as connection:
        if not _is_prepared(connection):
            return Status((), tuple(str(migration) for migration in migrations))
        pending, later = _pending(connection, migrations)
        return Status(
            tuple(str(migration) for migration in migrations if migration not in pending),
            tuple(str(migration) for migration in pending),
            later,
        )


def _connect(dsn: str, *, autocommit: bool = False) -> psycopg.Connection[TupleRow]:
    try:
        return psycopg.connect(dsn, autocommit=autocommit, connect_timeout=10, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise UnavailableError(f"the database cannot be reached: {str(error).strip()}") from error


def _await_turn(holder: psycopg.Connection[TupleRow]) -> None:
    """Takes the lock, in a transaction that stays open and holds no snapshot.

    It is asked for again and again rather than waited for, and without parameters, by the simple protocol: a
    session that waits, or that still has its last statement open, has a snapshot, and `CREATE INDEX CONCURRENTLY`
    waits for all older snapshots to go.
    """
    while True:
        row = holder.execute(f"SELECT pg_try_advisory_xact_lock({_LOCK})".encode()).fetchone()
        if row is not None and row[0]:
            return
        holder.rollback()
        time.sleep(_POLL_S)


def _is_prepared(connection: psycopg.Connection[TupleRow]) -> bool:
    row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def _prepare(connection: psycopg.Connection[TupleRow]) -> None:
    if _is_prepared(connection):
        return
    try:
        _begin_history(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationFailed(
            f"the database cannot be made ready: {error.diag.message_primary}. Nothing was changed. Migrate as the"
            " owner of the database; what that role may not do either, an administrator of the server does in this"
            " database first: CREATE EXTENSION IF NOT EXISTS timescaledb"
        ) from error


def _begin_history(connection: psycopg.Connection[TupleRow]) -> None:
    with connection.transaction():
        _take_timescaledb(connection)
        connection.execute(
            """
            CREATE TABLE schema_migrations (
                number     integer PRIMARY KEY,
                name       text NOT NULL,
                checksum   text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )


def _take_timescaledb(connection: psycopg.Connection[TupleRow]) -> None:
    """TimescaleDB is used where the server has it loaded. This is decided once, when the database is made.

    Only some roles may read which libraries are loaded; a setting that TimescaleDB brings along is there for all.
    """
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
           AND current_setting('timescaledb.disable_load', true) IS NOT NULL
        """
    ).fetchone()
    if row is not None and row[0]:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")


def _pending(
    connection: psycopg.Connection[TupleRow], migrations: Sequence[Migration]
) -> tuple[list[Migration], tuple[str, ...]]:
    """What is to be applied, and what a later release has applied."""
    rows = connection.execute("SELECT number, name, checksum FROM schema_migrations ORDER BY number").fetchall()
    known = {migration.number: migration for migration in migrations}
    for number, name, checksum in rows:
        migration = known.get(number)
        if migration is None:
            _check_later(name, migrations)
        elif checksum != migration.checksum and checksum not in _OTHER_FORMS:
            raise MigrationChanged(
                f"migration {migration} is not the one that was applied to the database as {name} (checksum"
                f" {migration.checksum[:12]}, applied {checksum[:12]}): reinstall Stopline, its files were changed"
            )
    applied = {number for number, _, _ in rows}
    later = tuple(name for number, name, _ in rows if number not in known)
    return [migration for migration in migrations if migration.number not in applied], later


def _check_later(name: str, migrations: Sequence[Migration]) -> None:
    """What a later release adds before its code runs leaves this one's working; what comes afterwards need not."""
    if re.fullmatch(r"\d+_pre_.*", name) is None:
        raise SchemaTooNew(
            f"the database has migration {name}, which this release does not know: it was migrated by a later"
            f" release of Stopline. Install that release or a later one; this one knows {_span(migrations)}"
        )


def _span(migrations: Sequence[Migration]) -> str:
    return f"{migrations[0]} to {migrations[-1]}" if migrations else "no migration"


def _apply(connection: psycopg.Connection[TupleRow], migration: Migration) -> None:
    try:
        for attempt in range(_ATTEMPTS):
            try:
                _run(connection, migration)
                break
            except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable) as error:
                # It locks tables in its own order, whoever takes records in does so in that of the records.
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_POLL_S)
                _log.info("Migration %s is tried again: %s", migration, error, extra={"action": "migration_again"})
    except psycopg.Error as error:
        raise MigrationFailed(f"migration {migration} failed: {error}") from error
    _log.info("Applied migration %s", migration, extra={"action": "migrated"})


def _run(connection: psycopg.Connection[TupleRow], migration: Migration) -> None:
    if migration.transactional:
        with connection.transaction():
            connection.execute(migration.text.encode())
            _note(connection, migration)
    else:
        for statement in split_statements(migration.text):
            connection.execute(statement.encode())
        _note(connection, migration)


def _note(connection: psycopg.Connection[TupleRow], migration: Migration) -> None:
    connection.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (%s, %s, %s)",
        (migration.number, str(migration), migration.checksum),
    )


def split_statements(text: str) -> list[str]:
    """Splits a `-- no-transaction` file at the semicolons that end a line. Such files hold no function bodies."""
    statements = (
        re.sub(r"^\s*--[^\n]*\n?", "", part, flags=re.MULTILINE) for part in re.split(r";\s*$", text, flags=re.M)
    )
    return [statement.strip() for statement in statements if statement.strip()]
