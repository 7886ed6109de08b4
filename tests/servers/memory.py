"""Temporary files in memory, where this machine has plenty: databases come and go by the thousand.

Each is some hundred small files. A disk's journal takes many times longer to make and remove them than PostgreSQL
does, and each `fsync` waits for what everybody else writes. Nothing is proved the less: a process that is killed
leaves the same files behind in memory as in a disk's cache.

Set TMPDIR, and they are there instead, and stay after the tests.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

_MEMORY = Path("/dev/shm")
_PREFIX = "slt-"
"""Short: a socket's path has 107 bytes, and theirs lie deep below."""
_ROOM_BYTES = 6 * 2**30
"""A server takes 70 MB, and each process has two; the tests' own files come to some hundred."""
_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """For this process and all that it starts, before any of them has made a file."""
    if "TMPDIR" in os.environ or not _has_room():
        return
    _remove_left_over()
    folder = _MEMORY / f"{_PREFIX}{os.getpid()}"
    folder.mkdir()
    config.stash[_FOLDER] = folder
    folder.chmod(0o1777)  # of all users, as /tmp
    if _programs_run_in(folder):
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_FOLDER, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    return (
        os.access(_MEMORY, os.W_OK)
        and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
        and psutil.virtual_memory().available > _ROOM_BYTES
        and _left_by_limit_bytes() > _ROOM_BYTES
    )


def _left_by_limit_bytes() -> float:
    """What a container that has a limit may still take: files in memory count as its memory."""
    limit, taken = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    try:
        return float(limit.read_text().strip().replace("max", "inf")) - float(taken.read_text())
    except OSError:
        return float("inf")


def _programs_run_in(folder: Path) -> bool:
    """Some tests write a program and start it, which a container may forbid there."""
    program = folder / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    try:
        return subprocess.run([program], check=False).returncode == 0
    except OSError:
        return False
    finally:
        program.unlink()


def _remove_left_over() -> None:
    """Take away the folders of test runs that were killed."""
    for path in _MEMORY.glob(f"{_PREFIX}*"):
        with contextlib.suppress(ValueError):
            if not psutil.pid_exists(int(path.name.removeprefix(_PREFIX))):
                shutil.rmtree(path, ignore_errors=True)
