"""How a tag's number is written down: as it is, as a keyed hash that nobody can turn back, or not at all.

The hash is HMAC-SHA-256 under a key that is derived from the master key and a period of time: within a period all
readers with the same master key write the same tag alike, so journeys can be joined; from one period to the next
nothing joins. The form is `h1:KEY:HASH`, where KEY tells which key it was, and no more. Pure.
"""

import hashlib
import hmac
from enum import StrEnum

KEY_BYTES = 32
_ID_DIGITS = 8
_HASH_DIGITS = 24
"""96 bits: among a million tags in a period, two are alike with a chance of 1 in 10^17."""


class EpcForm(StrEnum):
    """How EPCs are kept."""

    HMAC = "hmac"
    RAW = "raw"
    OFF = "off"


class EpcMask:
    """Writes EPCs in one form."""

    def __init__(self, form: EpcForm, key: bytes = b"", *, rotate_ms: int = 86_400_000) -> None:
        """
        Args:
            key: the master key; needed for HMAC.
            rotate_ms: how long a period is. Periods begin at multiples of it since 1970.

        Raises:
            ValueError: the key is too short, or the period not positive.
        """
        if form is EpcForm.HMAC and len(key) < KEY_BYTES:
            raise ValueError(f"the key must have {KEY_BYTES} bytes or more, not {len(key)}")
        if rotate_ms <= 0:
            raise ValueError("a period must be longer than nothing")
        self._form, self._key, self._rotate_ms = form, key, rotate_ms

    def write(self, epc: str, wall_ms: int, boot_id: str | None = None) -> str | None:
        """The EPC in this form; None: it is not kept.

        Args:
            wall_ms: when it was read.
            boot_id: of the machine, where its clock is not known to be right: a period then is one boot, since a
                wrong clock would stay in one period for ever.
        """
        if self._form is EpcForm.OFF:
            return None
        if self._form is EpcForm.RAW:
            return epc
        period = f"boot {boot_id}" if boot_id else f"{self._rotate_ms} {wall_ms // self._rotate_ms}"
        key = hmac.digest(self._key, f"stopline epc {period}".encode(), "sha256")
        name = hashlib.sha256(b"name of " + key).hexdigest()[:_ID_DIGITS]
        return f"h1:{name}:{hmac.digest(key, epc.encode(), 'sha256').hex()[:_HASH_DIGITS]}"
