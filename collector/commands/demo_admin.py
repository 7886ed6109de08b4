"""The demo's admin: made at the first start, told once, and kept as all else of the demo's state is."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from collector.commands.demo_processes import Stop, ask
from collector.errors import SettingError

NAME = "admin"


def admin_told(folder: Path, collector_env: Mapping[str, str], stop: Stop) -> str:
    """Make the admin if there is none yet; what to tell about them.

    `collector_env` is the environment of the demo's collector, whose state is below `folder`.

    Raises:
        CollectorError, Stopped: as `ask` does.
    """
    made = folder / "admin-made"
    if not made.exists():
        try:
            printed = ask("collector", ["user", "add", NAME, "--generate"], collector_env, stop)
        except SettingError as error:
            # Made, and not noted, if an earlier demo was killed in between.
            if "there is a user" not in str(error):
                raise
        else:
            made.touch()
            return f"Sign in as {NAME}, {printed.splitlines()[-1]}    (told this once)"
        made.touch()
    state = shlex.quote(collector_env["STOPLINE_STATE_DIR"])
    return (
        f"Sign in as {NAME}, with the password of the first start. To set another:"
        f" STOPLINE_STATE_DIR={state} stopline-collector user password {NAME} --generate"
    )
