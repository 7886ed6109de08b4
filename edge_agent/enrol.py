"""Who this agent is: an Ed25519 key that is made on the Pi and never leaves it.

Two files in the state folder: `identity.json` (device id and private key, readable by the agent alone) and
`device.json` (the public part, which is carried to the collector: `stopline-collector device add device.json`).
"""

import base64
import binascii
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.tokens import ALGORITHM, AUDIENCE, LIFETIME_S

IDENTITY_FILE = "identity.json"
DEVICE_FILE = "device.json"
_BACKDATE_S = 5


class IdentityError(Exception):
    """The identity cannot be read or written; the message says which file, and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device and its key."""

    device: UUID
    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """The raw 32 bytes of the public key, base64url without padding."""
        return _encode(self.key.public_key().public_bytes_raw())


def load_or_create(folder: Path, name: str, junction: str | None = None) -> Identity:
    """The identity in `folder`; made at first need. `device.json` is written anew where it differs.

    Args:
        name: what people call this Pi.
        junction: where it stands.

    Raises:
        IdentityError: the file is damaged. It is never replaced on its own, since the collector would take
            the agent for a stranger.
    """
    path = folder / IDENTITY_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        identity = _load(path) if path.exists() else _create(path)
        text = _public_text(identity, name, junction)
        public = folder / DEVICE_FILE
        if not public.exists() or public.read_text("utf-8") != text:
            _write_atomically(public, text, 0o644)
    except OSError as error:
        raise IdentityError(f"{error.filename or path} cannot be read or written: {error.strerror}") from error
    return identity


def sign_token(identity: Identity, now_s: float) -> tuple[str, float]:
    """A token for the collector, and when it runs out (seconds since 1970).

    Args:
        now_s: the best known time. It is dated back a little, so that a fraction of a second matters nothing.
    """
    issued_s = int(now_s) - _BACKDATE_S
    expires_s = issued_s + LIFETIME_S
    claims = {
        "iss": str(identity.device),
        "sub": str(identity.device),
        "aud": AUDIENCE,
        "iat": issued_s,
        "exp": expires_s,
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, identity.key, algorithm=ALGORITHM), float(expires_s)


def _create(path: Path) -> Identity:
    identity = Identity(uuid4(), Ed25519PrivateKey.generate())
    document = {"device": str(identity.device), "private_key": _encode(identity.key.private_bytes_raw())}
    _write_atomically(path, json.dumps(document, indent=2) + "\n", 0o600)
    return identity


def _load(path: Path) -> Identity:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        path.chmod(0o600)
    try:
        document = json.loads(path.read_text("utf-8"))
        device = UUID(document["device"])
        key = Ed25519PrivateKey.from_private_bytes(_decode(document["private_key"]))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise IdentityError(
            f"{path} is damaged ({error}): put it back from a backup, or delete it and add the new {DEVICE_FILE} "
            "to the collector"
        ) from error
    return Identity(device, key)


def _public_text(identity: Identity, name: str, junction: str | None) -> str:
    document = {
        "device": str(identity.device),
        "name": name,
        "public_key": identity.public_key,
        "junction": junction,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _write_atomically(path: Path, text: str, mode: int) -> None:
    """Old or new, never half: a power cut at any moment leaves one of the two."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
