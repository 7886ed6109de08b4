"""The master key that EPCs are hashed under: a file of hex, which readers that join journeys have a copy of."""

import logging
import os
import secrets
from pathlib import Path

from edge_agent.domain.epc import KEY_BYTES

logger = logging.getLogger(__name__)

_OTHERS = 0o077


class EpcKeyError(Exception):
    """The key cannot be read or made. Without it no EPC is written, so the agent does not start."""


def load_or_create_key(path: Path) -> bytes:
    """The key; made at first need, for this user's eyes alone.

    Raises:
        EpcKeyError: with what to do about it.
    """
    try:
        if path.stat().st_mode & _OTHERS:
            logger.warning(
                "others may read the key of EPCs, %s: chmod 600", path, extra={"action": "epc_key_open"}
            )
        text = path.read_text("ascii")
    except FileNotFoundError:
        return _create(path)
    except (OSError, UnicodeDecodeError) as error:
        raise EpcKeyError(f"{path}: the key of EPCs cannot be read: {error}") from error
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as error:
        raise EpcKeyError(f"{path}: the key of EPCs must be {2 * KEY_BYTES} digits of hex") from error
    if len(key) < KEY_BYTES:
        raise EpcKeyError(f"{path}: the key of EPCs must be {2 * KEY_BYTES} digits of hex, not {2 * len(key)}")
    return key


def _create(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not there: half a key would be another one.
        part = path.with_name(path.name + ".new")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        raise EpcKeyError(f"{path}: a key of EPCs cannot be made: {error.strerror}") from error
    logger.info("a key for EPCs was made: %s", path, extra={"action": "epc_key_made"})
    return key
