"""Small files that are never half written."""

import contextlib
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)


def write_safely(path: Path, data: bytes) -> None:
    """The whole of it or nothing, and on the disk.

    Raises:
        OSError: the disk refuses.
    """
    trial = path.with_name(f".{path.name}.new")
    handle = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        # A disk that is nearly full takes a part, and says so only here.
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except OSError:
        trial.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    trial.replace(path)
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def written(path: Path, data: bytes) -> bool:
    """The same, for a thread that nobody waits for: whether the disk took it; the log tells why not."""
    try:
        write_safely(path, data)
    except OSError as error:
        logger.warning("%s cannot be written: %s", path, error, extra={"action": "unwritable"})
        return False
    return True
