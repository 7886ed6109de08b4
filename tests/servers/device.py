"""A made-up device for tests: its key, its tokens, its batches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt
import msgspec
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.batch import ClockState
from common.tokens import ALGORITHM, AUDIENCE, LIFETIME_S


@dataclass(frozen=True)
class FakeDevice:
    """A device with its own key and epoch. `epoch` may be replaced, as a new outbox does."""

    id: UUID = field(default_factory=uuid4)
    epoch: UUID = field(default_factory=uuid4)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def token(self, now_s: float | None = None, **changed: Any) -> str:
        """A token of now, or of `now_s`; `changed` replaces claims, and None takes one away."""
        issued_s = time.time() if now_s is None else now_s
        claims: dict[str, Any] = {"iss": str(self.id), "sub": str(self.id), "aud": AUDIENCE}
        claims |= {"iat": issued_s, "exp": issued_s + LIFETIME_S} | changed
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, self.key, algorithm=ALGORITHM)

    def batch(self, records: Sequence[Any], *, first_seq: int, stream: str = "agent", **changed: Any) -> bytes:
        """The JSON of a batch; `changed` replaces members of the envelope."""
        envelope: dict[str, Any] = {"v": 1, "device": self.id, "stream": stream, "epoch": self.epoch}
        envelope |= {"first_seq": first_seq, "sent_at": time.time_ns() // 1_000_000}
        envelope |= {"clock": ClockState(synced=True, error_ms=5), "records": records}
        return msgspec.json.encode(envelope | changed)

    def enrol(self, dsn: str, junction: UUID | None = None) -> None:
        """Make the device known to the collector on `dsn`."""
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "INSERT INTO edge_devices (id, name, public_key, junction_id) VALUES (%s, %s, %s, %s)",
                (self.id, f"device {str(self.id)[:8]}", self.public_key, junction),
            )
