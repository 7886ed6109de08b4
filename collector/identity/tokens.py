"""The three kinds of tokens that people and programs show.

* An *access token* is a JWT for 15 minutes, signed with a key that all workers share. It names the user, the
  version of their tokens and the session; whether these still hold is asked on every request.
* A *refresh token* is random and used once. Only its SHA-256 is kept.
* An *API token* is random, begins with `stl_` so that searches for leaked secrets find it, and is kept likewise.
"""

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

import jwt

ACCESS_LIFETIME_S = 15 * 60
REFRESH_LIFETIME_S = 30 * 86_400
API_PREFIX = "stl_"
KEY_BYTES = 32
_ALGORITHM = "HS256"
_AUDIENCE = "stopline-users"
_LEEWAY_S = 5
MAX_TOKEN_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says."""

    user_id: UUID
    version: int
    expires_s: int
    session_id: UUID | None


def make_access_token(
    key: bytes, user_id: UUID, version: int, now_s: float, session_id: UUID | None = None
) -> str:
    """A token that holds from `now_s` (Unix) for `ACCESS_LIFETIME_S`, or until its session ends if it has one."""
    claims = {
        "sub": str(user_id),
        "ver": version,
        "aud": _AUDIENCE,
        "iat": int(now_s),
        "exp": int(now_s) + ACCESS_LIFETIME_S,
    }
    if session_id is not None:
        claims["sid"] = str(session_id)
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def read_access_token(key: bytes, token: str, now_s: float) -> Claims | None:
    """What the token says; None: it is not ours, or over."""
    if len(token) > MAX_TOKEN_CHARS:
        return None
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            # Times are compared with the `now_s` of the caller.
            options={"require": ["sub", "exp", "iat", "aud"], "verify_exp": False, "verify_iat": False},
        )
        session_id = UUID(claims["sid"]) if "sid" in claims else None
        found = Claims(UUID(claims["sub"]), int(claims["ver"]), int(claims["exp"]), session_id)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return found if now_s <= found.expires_s + _LEEWAY_S else None


def make_secret_token(prefix: str = "") -> str:
    """256 random bits as text."""
    return prefix + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is kept of a random token. It has 256 bits, so one plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
