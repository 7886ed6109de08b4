"""Whether a daemon can keep what it has to remember, and whether that outlives a power cut."""

import errno
import os
import shutil
from pathlib import Path

from edge_agent.checks.findings import Finding, Verdict
from edge_agent.machine import kept_in_memory

_WHAT = "state folder"
_LOW_DISK_MB = 200
_MIB = 1024 * 1024


def check_state_folder(folder: Path, *, costs: str, no_room: Verdict, may_need_mb: int = 0) -> Finding:
    """Whether it can be written, is on a disk, and how much room there is.

    Args:
        costs: what a power cut takes away where the folder is in memory.
        no_room: how bad too little room is.
        may_need_mb: so large what is in it may become.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".trial-{os.getpid()}"
        try:
            trial.write_bytes(b"x" * 4096)
        finally:
            trial.unlink(missing_ok=True)
        free_mb = shutil.disk_usage(folder).free // _MIB
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return Finding(no_room, _WHAT, f"{folder}: the disk is full; make room")
        return Finding(Verdict.FAIL, _WHAT, f"{folder}: {error.strerror}; make it writable for this user")
    text = f"{folder}: {free_mb} MB free"
    if free_mb < _LOW_DISK_MB:
        need = f", the outbox may need {may_need_mb} MB" if may_need_mb else ""
        return Finding(no_room, _WHAT, f"{text}; make room{need}")
    if (memory := kept_in_memory(folder)) is not None:
        text += f", but in memory ({memory}): a power cut takes away {costs}; "
        return Finding(Verdict.NOTE, _WHAT, f"{text}point state_dir to a disk or a partition that is written")
    if free_mb < may_need_mb:
        return Finding(Verdict.NOTE, _WHAT, f"{text}, less than the outbox may become (max_mb)")
    return Finding(Verdict.OK, _WHAT, text)
