"""Passwords: what is taken for one, and Argon2id of it, away from the event loop and a few at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from collector.errors import ApiProblem

MIN_CHARS = 12
MAX_CHARS = 1000
_AT_ONCE = 2
"""Each takes 64 MiB while it runs; more at once would let anybody who signs in take the machine's memory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password is right; `rehash` True: its hash was made with weaker figures than are usual now."""

    is_right: bool
    rehash: bool = False


class Passwords:
    """Hashes and verifies. Used by one event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()  # RFC 9106, the second recommended choice
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._nobodys: str | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to verify in: only few go on at once, the others wait."""
        async with self._turns:
            yield

    async def hash(self, password: str) -> str:
        """Argon2id in its usual text form. Not within a turn: it takes one of its own."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, known_hash: str | None) -> Verdict:
        """Whether it is right; within a `turn`. For nobody (None) it takes as long, so that time does not tell."""
        if known_hash is None:
            if self._nobodys is None:
                self._nobodys = await asyncio.to_thread(self._hasher.hash, "nobody has this password")
            await self._verify(password, self._nobodys)
            return Verdict(False)
        return await self._verify(password, known_hash)

    async def _verify(self, password: str, known_hash: str) -> Verdict:
        try:
            await asyncio.to_thread(self._hasher.verify, known_hash, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return Verdict(False)
        return Verdict(True, rehash=self._hasher.check_needs_rehash(known_hash))


def password_fault(password: str, name: str) -> str | None:
    """What is wrong with a new password, in words; None: nothing.

    Length is what counts; rules about kinds of letters make passwords worse.
    """
    if len(password) < MIN_CHARS:
        return f"it has {len(password)} characters; {MIN_CHARS} are needed, and some words in a row are well"
    if len(password) > MAX_CHARS:
        return f"it has {len(password)} characters; {MAX_CHARS} are the most"
    if len(set(password)) < 5:
        return "it is made of fewer than 5 different characters"
    if name and name.lower() in password.lower() and len(password) - len(name) < MIN_CHARS - 4:
        return "it is hardly more than the user's name"
    return None


def check_password(password: str, name: str) -> None:
    """Raises ApiProblem (422) for a password that cannot be taken."""
    fault = password_fault(password, name)
    if fault is not None:
        raise ApiProblem(422, "password_refused", "This password cannot be taken", f"password: {fault}")
