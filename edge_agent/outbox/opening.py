"""How an outbox's file is opened, whatever state it is in."""

import logging
import sqlite3
from pathlib import Path
from uuid import uuid4

import msgspec

from common.clock import Stamp
from common.codes import GapReason
from edge_agent.outbox import accounts, salvage
from edge_agent.outbox.errors import OutboxBusy
from edge_agent.outbox.file import OutboxFile, is_busy, is_corrupt
from edge_agent.outbox.model import Limits

logger = logging.getLogger(__name__)

_KEEP_BOOTS = 20
"""So many boots before the oldest record are remembered; the last of them bounds a boot that was never in time."""


class Opened(msgspec.Struct, frozen=True):
    """An open file and what had to be done for it."""

    file: OutboxFile
    trouble: str | None = None
    """Why it lives in memory."""
    gap: GapReason | None = None
    """What a gap record must tell."""
    detail: str | None = None


def open_file(
    path: Path, limits: Limits, now: Stamp, host: str | None, known: dict[int, salvage.Known] | None = None
) -> Opened:
    """Open the file at `path`; salvage it if it is damaged; go without it if it cannot be written.

    Args:
        known: what a running agent knows of the file's generations.

    Raises:
        OutboxBusy: another process has it open.
    """
    try:
        return open_on_disk(path, limits, now, host, known)
    except (OSError, sqlite3.Error) as error:
        trouble = f"{path} cannot be used ({error}); records are kept in memory only and are lost at a restart"
        logger.critical("outbox: %s", trouble, extra={"action": "outbox_in_memory"})
        detail = f"the outbox cannot be used: {error}. Records of earlier runs may be in it"
        file = OutboxFile(None, limits.memory_cap_bytes)
        return Opened(file, trouble, GapReason.DISK_ERROR, detail)


def open_on_disk(
    path: Path, limits: Limits, now: Stamp, host: str | None, known: dict[int, salvage.Known] | None = None
) -> Opened:
    """Like `open_file`, but without a disk there is no outbox.

    Raises:
        OutboxBusy: another process has it open.
        OSError, sqlite3.Error: the disk cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    salvage.finish_interrupted(path)
    try:
        return Opened(_open_sound(path, limits, now, host))
    except sqlite3.Error as error:
        if is_busy(error):
            raise OutboxBusy(f"another process has {path} open; only one agent can run on it") from error
        if not is_corrupt(error):
            raise
        logger.warning("the outbox %s is damaged: %s", path, error, extra={"action": "outbox_corrupt"})
    return _open_salvaged(path, limits, now, host, known)


def _open_sound(path: Path, limits: Limits, now: Stamp, host: str | None) -> OutboxFile:
    """Open a file that is new or undamaged, and note that it was; which also tries whether it can be written."""
    file = OutboxFile(path, limits.cap_bytes, limits.check_s)
    try:
        with file.transaction():
            file.forget_boots(_KEEP_BOOTS)
            for generation in file.generations():
                opened = generation.last if generation.opened is None else generation.opened
                file.set_generation(generation.no, generation.acked, opened)
            known_host = file.note("host")
            if host is not None and known_host not in (None, host):
                logger.warning("the outbox was made on another machine", extra={"action": "outbox_moved"})
                for stream in {generation.stream for generation in file.generations()}:
                    file.add_generation(stream, uuid4(), 0, 0, 0)
            if host is not None and host != known_host:
                file.set_note("host", host)
            _hand_over(file, str(now.wall_ms))
    except BaseException:
        file.close()
        raise
    return file


def _hand_over(file: OutboxFile, run: str) -> None:
    """The accounts of the run before are this run's to tell, unless a release that keeps none ran in between."""
    ledger = accounts.decode(file.note(accounts.NOTE))
    believed = ledger if ledger.run == file.note("opened_wall_ms") else accounts.Ledger()
    file.set_note(accounts.NOTE, accounts.encode(msgspec.structs.replace(believed, run=run)))
    file.set_note("opened_wall_ms", run)


def _open_salvaged(
    path: Path, limits: Limits, now: Stamp, host: str | None, known: dict[int, salvage.Known] | None
) -> Opened:
    """Make a sound file of a damaged one.

    Raises:
        OSError, sqlite3.OperationalError: the disk refuses. The damaged file stays, to be salvaged later.
    """
    try:
        report = salvage.rebuild(path, limits.cap_bytes, now, known)
    except sqlite3.OperationalError:
        raise
    except sqlite3.Error as error:
        logger.warning("salvage failed: %s", error, extra={"action": "outbox_salvage_failed"})
        report = salvage.start_over(path)
    file = _open_sound(path, limits, now, host)
    with file.transaction():
        for stream in {generation.stream for generation in file.generations()}:
            file.add_generation(stream, uuid4(), 0, 0, 0)
    return Opened(file, None, GapReason.OUTBOX_CORRUPT, str(report))
