"""The embedded PostgreSQL: killed, adopted, recovered, shared, and refused with a reason."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from collector.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedVersionError, server_settings
from collector.embedded_user import SYSTEM_USER
from collector.errors import SettingError

HOLD = """
import pathlib, signal, sys
# As at a terminal: what a shell runs in the background is born deaf to Ctrl-C, this test's process for one.
signal.signal(signal.SIGINT, signal.default_int_handler)
from collector.embedded import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.readline()
"""

# Nobody, who may however read what lies below /root, as a Python there.
AS_NOBODY = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
    sys.executable,
    "-c",
    HOLD,
]


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that any user can reach; what still runs in it afterwards is a failure."""
    folder = Path(tempfile.mkdtemp(prefix="stopline-embedded-"))
    folder.chmod(0o711)
    yield folder
    left = _processes_in(folder)
    for process in left:
        process.kill()
    shutil.rmtree(folder)
    assert not left


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose database was made, and stopped in order, to copy."""
    folder = tmp_path_factory.mktemp("made")
    with EmbeddedPostgres(folder):
        pass
    return folder


@pytest.fixture
def database(state: Path, made: Path) -> Path:
    """A state folder with a database that was stopped in order. To make one anew takes a second, and the disk."""
    subprocess.run(["cp", "-a", f"{made}/.", state], check=True)
    return state


@pytest.fixture
def hold(state: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Starts another process that uses the server, as a collector does."""
    holders: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert int(holder.stdout.readline()) > 0
        return holder

    yield start
    for holder in holders:
        with holder:
            holder.kill()


def _processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            # A zombie has ended; it waits for whoever inherited it, which in a container may be nobody.
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _kill_postmaster(server: EmbeddedPostgres) -> int:
    pid = server.pid
    assert pid is not None
    process = psutil.Process(pid)
    process.kill()
    process.wait(10)
    return pid


def test_data_stays_from_one_start_to_the_next_and_no_server_is_left_behind(database: Path) -> None:
    with EmbeddedPostgres(database) as server, psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
    assert server.pid is None
    with EmbeddedPostgres(database) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(7,)]


def test_the_server_is_durable_and_checks_its_pages(database: Path) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
    }
    with EmbeddedPostgres(database) as server, psycopg.connect(server.dsn) as connection:
        for name, value in expected.items():
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,), name
        assert connection.execute("SELECT upper('ä'), 'B' < 'a'").fetchone() == ("Ä", True)


def test_nobody_else_can_enter_its_folder(state: Path) -> None:
    with EmbeddedPostgres(state):
        for folder in (state / "postgres", state / "postgres/data", state / "postgres/run"):
            assert folder.stat().st_mode & 0o077 == 0, folder


def test_the_callers_environment_changes_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with EmbeddedPostgres(state) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("stopline",)


@pytest.mark.usefixtures("database")
def test_a_server_that_outlived_a_killed_collector_is_adopted(
    state: Path, hold: Callable[[], "subprocess.Popen[str]"]
) -> None:
    holder = hold()
    first = EmbeddedPostgres(state).pid
    holder.kill()
    holder.wait(10)
    with EmbeddedPostgres(state) as server, psycopg.connect(server.dsn) as connection:
        assert server.pid == first
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert server.pid is None


@pytest.mark.usefixtures("database")
def test_a_collector_killed_while_it_starts_the_server_is_followed_by_one_that_finds_it(state: Path) -> None:
    for wait_s in (0.25, 0.3, 0.35, 0.4, 0.5, 0.7):
        starting = subprocess.Popen([sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE)
        with starting:
            with contextlib.suppress(subprocess.TimeoutExpired):
                starting.wait(wait_s)
            starting.kill()
        with EmbeddedPostgres(state) as server, psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.usefixtures("database")
def test_who_gives_up_while_the_server_starts_leaves_none_behind(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM just after `pg_ctl` has made the server's process, which has not told its number yet."""
    run, started = subprocess.run, []

    def interrupted(command: list[str], **how: Any) -> Any:
        if "start" not in command:
            return run(command, **how)
        late = ["sh", "-c", 'sleep 0.3; exec "$@"', "sh", *command]
        started.append(
            subprocess.Popen(late, pass_fds=how["pass_fds"], env=how["env"], cwd="/", stderr=subprocess.DEVNULL)
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedPostgres(state).start()
    monkeypatch.undo()
    started.pop().wait()
    assert not _processes_in(state)


@pytest.mark.usefixtures("database")
def test_the_last_user_stops_the_server(state: Path, hold: Callable[[], "subprocess.Popen[str]"]) -> None:
    holder = hold()
    with EmbeddedPostgres(state) as server:
        pid = server.pid
    assert server.pid == pid
    with holder:
        assert holder.stdin is not None
        holder.stdin.write("\n")
    assert server.pid is None


def test_what_was_committed_survives_a_killed_server(database: Path) -> None:
    with EmbeddedPostgres(database) as server:
        with psycopg.connect(server.dsn) as connection:
            connection.execute("CREATE TABLE t (n int)")
        for round_no in range(3):
            with psycopg.connect(server.dsn) as connection:
                connection.execute("INSERT INTO t VALUES (%s)", (round_no,))
            killed = _kill_postmaster(server)
            assert server.ensure_running()
            assert server.pid not in (None, killed)
            assert not server.ensure_running()
            with psycopg.connect(server.dsn) as connection:
                rows = connection.execute("SELECT n FROM t ORDER BY n").fetchall()
            assert rows == [(n,) for n in range(round_no + 1)]


def test_a_pid_file_that_names_a_stranger_is_stale(database: Path) -> None:
    """As after a power cut, or in a container, where numbers of processes come again."""
    server = EmbeddedPostgres(database)
    server.start()
    pid_file = database / "postgres/data/postmaster.pid"
    socket_lock = database / "postgres/run/.s.PGSQL.5432.lock"
    _kill_postmaster(server)
    with subprocess.Popen(["/bin/sleep", "600"], user=pid_file.stat().st_uid) as stranger:
        for file in (pid_file, socket_lock):
            lines = file.read_text().split("\n")
            file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        assert server.pid is None
        assert server.ensure_running()
        assert stranger.poll() is None
        server.stop()
        stranger.kill()


def test_initdb_that_was_cut_short_is_done_again(state: Path) -> None:
    half = state / "postgres/data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(state) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not half.exists()


def test_a_long_path_gets_its_socket_elsewhere(state: Path) -> None:
    deep = state / "/".join(["a folder with 'quotes' in it"] * 4)
    with EmbeddedPostgres(deep) as server, psycopg.connect(server.dsn) as connection:
        folder = connection.execute("SELECT current_setting('unix_socket_directories')").fetchone()
    assert folder is not None
    assert not Path(folder[0].strip('"')).is_relative_to(state)
    shutil.rmtree(folder[0].strip('"'))


def test_settings_of_ones_own_are_kept(database: Path) -> None:
    with EmbeddedPostgres(database) as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 17")
    with EmbeddedPostgres(database) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("17",)


def test_data_of_another_major_version_is_refused(database: Path) -> None:
    (database / "postgres/data/PG_VERSION").write_text("17\n")
    with pytest.raises(
        EmbeddedVersionError, match=r"written by PostgreSQL 17, and the embedded one is 18: install"
    ):
        EmbeddedPostgres(database).start()


def test_a_folder_that_holds_no_database_is_refused(state: Path) -> None:
    (state / "postgres/data").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match="holds no database: move it away"):
        EmbeddedPostgres(state).start()


def test_a_server_that_cannot_start_says_why(database: Path) -> None:
    with EmbeddedPostgres(database) as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")
    with pytest.raises(EmbeddedError, match="no_such_library"):
        EmbeddedPostgres(database).start()


def test_a_folder_that_cannot_be_made_is_a_setting_error(state: Path) -> None:
    (state / "file").write_text("")
    with pytest.raises(SettingError, match="set STOPLINE_STATE_DIR"):
        EmbeddedPostgres(state / "file").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that others cannot reach")
def test_root_may_keep_its_state_where_only_root_can_go(state: Path) -> None:
    state.chmod(0o700)
    with EmbeddedPostgres(state / "below") as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert server.pid is not None
        assert psutil.Process(server.pid).username() == SYSTEM_USER
    assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_folder_is_refused(database: Path) -> None:
    refused = subprocess.run([*AS_NOBODY, str(database)], capture_output=True, text=True, check=False)
    assert "run as that user, or set STOPLINE_STATE_DIR" in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_runs_without_being_root(state: Path) -> None:
    os.chown(state, 65534, 65534)
    with subprocess.Popen(
        [*AS_NOBODY, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        pid = int(holder.stdout.readline())
        assert psutil.Process(pid).uids().real == 65534
        # Root may use it too, and does not take it away from its user.
        with EmbeddedPostgres(state) as server, psycopg.connect(server.dsn) as connection:
            assert server.pid == pid
            assert connection.execute("SELECT 1").fetchone() == (1,)
        holder.stdin.write("\n")
    assert holder.returncode == 0
    assert server.pid is None


def test_memory_follows_the_machine() -> None:
    settings = server_settings(Path("/run/x"), Path("/log"))
    assert 64 <= int(settings["shared_buffers"].removesuffix("MB")) <= 1024


def test_a_socket_of_the_wrong_owner_is_not_trusted(state: Path) -> None:
    run = state / "postgres/run"
    run.mkdir(parents=True)
    run.chmod(0o777)
    with pytest.raises(EmbeddedError, match="is not a folder of user"):
        EmbeddedPostgres(state).start()


@pytest.mark.usefixtures("database")
def test_ctrl_c_at_the_terminal_does_not_reach_the_server(
    state: Path, hold: Callable[[], "subprocess.Popen[str]"]
) -> None:
    holder = hold()
    pid = EmbeddedPostgres(state).pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(holder.pid)
    holder.send_signal(signal.SIGINT)
    holder.wait(100)  # a disk that others keep busy takes its time
    assert EmbeddedPostgres(state).pid is None
