"""Who runs the embedded PostgreSQL: the user of this process, or, as PostgreSQL refuses to run as root, another.

Root hands the folder to a system user that it makes, `stopline-db`. A folder that another user's collector made
keeps its owner, so that a command run with `sudo` beside a service does no harm.
"""

import contextlib
import logging
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from collector.errors import SettingError

_log = logging.getLogger(__name__)

SYSTEM_USER = "stopline-db"


class Account:
    """The user that the server runs as, and how this process becomes it for a command."""

    def __init__(self, uid: int, gid: int, prefix: list[str]) -> None:
        self.uid = uid
        self.gid = gid
        self._prefix = prefix

    def become(self, command: list[str]) -> list[str]:
        return [*self._prefix, *command]


def prepare_home(home: Path, bin_dir: Path) -> Account:
    """Makes the folder, and finds the user that runs the server: its owner, this process's or a system user."""
    as_root = os.geteuid() == 0
    try:
        home.parent.mkdir(mode=0o711 if as_root else 0o700, parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        owner_uid = home.stat().st_uid
        if not as_root:
            if owner_uid != os.geteuid():
                raise SettingError(
                    f"{home} belongs to user {owner_uid}: run as that user, or set STOPLINE_STATE_DIR"
                )
            home.chmod(0o700)
            return Account(os.geteuid(), os.getegid(), [])
        user = _system_user() if owner_uid == 0 else _user_of(owner_uid)
        os.chown(home, user.pw_uid, user.pw_gid)
        home.chmod(0o700)
    except OSError as error:
        raise SettingError(f"{home} cannot be used for the database: {error}; set STOPLINE_STATE_DIR") from error
    return _reaching_account(user, home, bin_dir)


def _user_of(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise SettingError(f"the database's folder belongs to user {uid}, who is unknown here: chown it") from None


def _system_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    mend = f"make a system user {SYSTEM_USER}, run the collector as another user, or name a server with --dsn"
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise SettingError(f"PostgreSQL does not run as root, and there is no `useradd` to make its user: {mend}")
    command = [program, "--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent"]
    made = subprocess.run(
        [*command, "--shell=/usr/sbin/nologin", SYSTEM_USER], capture_output=True, text=True, check=False
    )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise SettingError(
            f"PostgreSQL does not run as root, and its user cannot be made ({made.stderr.strip()}): {mend}"
        ) from None


def _reaching_account(user: pwd.struct_passwd, home: Path, bin_dir: Path) -> Account:
    """An account that gets to its data and programs, even below a folder that only root can enter (`/root`).

    There it is lent one capability, the least that does: to search folders, or else to pass over permissions. The
    secure bit makes the lent one count in `access(2)` too, which PostgreSQL asks about its own programs.
    """
    switch = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if shutil.which("setpriv") is None:
        raise SettingError("PostgreSQL does not run as root, and there is no `setpriv` (util-linux) to leave it")
    for lent in ([], ["dac_read_search"], ["dac_override"]):
        caps = [f"--{kind}-caps=+{name}" for name in lent for kind in ("inh", "ambient")]
        prefix = [*switch, "--securebits=+no_setuid_fixup", *caps] if lent else switch
        reach = ["test", "-w", str(home), "-a", "-x", str(bin_dir / "postgres")]
        if subprocess.run([*prefix, *reach], cwd="/", capture_output=True, check=False).returncode == 0:
            if lent:
                _log.info("%s gets %s to reach %s", user.pw_name, lent[0], home, extra={"action": "postgres_user"})
            return Account(user.pw_uid, user.pw_gid, prefix)
    raise SettingError(
        f"user {user.pw_name} cannot reach {home} and {bin_dir}: set STOPLINE_STATE_DIR to a folder such as"
        " /var/lib/stopline and install Stopline where all users may read it, such as /opt/stopline"
    )


def environment() -> dict[str, str]:
    """Nothing of the caller's: PGDATA, PGPORT or a locale would change what the server does."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
