"""Verifying the token that a device signs its requests with (`common.tokens` has its shape and bounds).

A signature is checked once per token and remembered until the token expires; a key is remembered longer.
Whether the device may still send is another question, asked of the database on every request by whoever serves it.
`Device.public_key` is part of that question: a key that was replaced stops to work at once, like a revoked device.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from collector.errors import ApiProblem, device_problem
from common.codes import ProblemCode
from common.tokens import ALGORITHM, AUDIENCE, LEEWAY_S, MAX_LIFETIME_S

MAX_TOKEN_CHARS = 2048
CACHED_TOKENS = 200_000

LoadKey = Callable[[UUID], Awaitable[bytes | None]]
"""The public key (32 raw bytes) that a device is enrolled with; None: there is no such device."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that has proven that it holds the private key to `public_key`."""

    id: UUID
    public_key: bytes


@dataclass(frozen=True, slots=True)
class _Verified:
    device: Device
    expires_s: float


class DeviceTokens:
    """Verifies tokens and remembers the good ones. Used by one event loop."""

    def __init__(self, load_key: LoadKey, *, cached_tokens: int = CACHED_TOKENS) -> None:
        self._load_key = load_key
        self._cached_tokens = cached_tokens
        self._verified: dict[str, _Verified] = {}
        self._keys: dict[UUID, bytes] = {}

    async def verify(self, authorization: str | None, now_s: float) -> Device:
        """The device that `authorization` (the header's value) proves; `now_s` is Unix time.

        Raises ApiProblem: `token_missing`, `token_invalid`, `token_time`, `device_unknown`.
        """
        token = _bearer(authorization)
        known = self._verified.get(token)
        if known is not None and now_s <= known.expires_s:
            return known.device
        device_id = _claimed_device(token)
        device, claims = await self._check(token, device_id)
        self._remember(token, _Verified(device, _check_times(claims, now_s)), now_s)
        return device

    async def _check(self, token: str, device_id: UUID) -> tuple[Device, dict[str, Any]]:
        """Check the signature; where a remembered key does not fit, the device may have got another since."""
        remembered = self._keys.get(device_id)
        if remembered is not None:
            try:
                return Device(device_id, remembered), _checked_claims(token, device_id, remembered)
            except ApiProblem:
                del self._keys[device_id]
        public_key = await self._load_key(device_id)
        if public_key is None:
            detail = f"device {device_id} is not enrolled here: add it to this collector"
            raise device_problem(ProblemCode.DEVICE_UNKNOWN, detail)
        claims = _checked_claims(token, device_id, public_key)
        if len(self._keys) >= self._cached_tokens:
            del self._keys[next(iter(self._keys))]
        self._keys[device_id] = public_key
        return Device(device_id, public_key), claims

    def _remember(self, token: str, verified: _Verified, now_s: float) -> None:
        if len(self._verified) >= self._cached_tokens:
            self._verified = {t: v for t, v in self._verified.items() if v.expires_s >= now_s}
        if len(self._verified) >= self._cached_tokens:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = verified


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise device_problem(
            ProblemCode.TOKEN_MISSING,
            "send `Authorization: Bearer <token>`, signed with the device's key",
        )
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise device_problem(
            ProblemCode.TOKEN_MISSING, f"the header Authorization must be `Bearer <token>`, not {scheme[:20]!r}"
        )
    if len(token) > MAX_TOKEN_CHARS:
        raise _invalid(f"it is longer than {MAX_TOKEN_CHARS} characters")
    return token


def _claimed_device(token: str) -> UUID:
    """The device that the token names. Nothing is proven yet."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _invalid(str(error)) from error
    try:
        return UUID(issuer)
    except (ValueError, TypeError, AttributeError) as error:
        raise _invalid("`iss` must be the device's id") from error


def _checked_claims(token: str, device_id: UUID, public_key: bytes) -> dict[str, Any]:
    """The claims, once signature, audience, issuer and subject are found right. Times come after."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(public_key),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={
                "require": ["iss", "sub", "aud", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise _invalid(str(error)) from error
    if claims["sub"] != claims["iss"] or UUID(claims["iss"]) != device_id:
        raise _invalid("`iss` and `sub` must both be the device's id")
    return claims


def _check_times(claims: dict[str, Any], now_s: float) -> float:
    """Until when the token holds, in Unix seconds; LEEWAY_S is already in it."""
    issued_s, expires_s = (_unix_time(claims, name) for name in ("iat", "exp"))
    if not 0 < expires_s - issued_s <= MAX_LIFETIME_S:
        raise _invalid(f"it holds for {expires_s - issued_s:.0f} s; at most {MAX_LIFETIME_S} s are allowed")
    if now_s > expires_s + LEEWAY_S:
        raise device_problem(ProblemCode.TOKEN_TIME, f"the token expired {now_s - expires_s:.0f} s ago")
    if now_s < issued_s - LEEWAY_S:
        raise device_problem(
            ProblemCode.TOKEN_TIME, f"the token was issued {issued_s - now_s:.0f} s in the future"
        )
    return expires_s + LEEWAY_S


def _unix_time(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _invalid(f"`{name}` must be a number of seconds")
    return float(value)


def _invalid(why: str) -> ApiProblem:
    return device_problem(ProblemCode.TOKEN_INVALID, f"the token cannot be accepted: {why}")
