"""What reader and card say to each other at 13.56 MHz (ISO 14443-3, type A). Pure: bytes in, bytes out."""

from collections.abc import Iterable, Sequence

WAKE_UP = 0x52
"""Asks all cards, halted or not; seven bits."""
HALT = (0x50, 0x00)
SELECT = (0x93, 0x95, 0x97)
"""One for each cascade level: UIDs of 4, 7 and 10 bytes."""
CASCADE_TAG = 0x88
"""Stands before three bytes of a UID that goes on in the next level."""
WHOLE = 0x70
"""Number of valid bits of a SELECT that holds a level's whole UID."""
_CASCADE = 0x04
_LEVEL_BITS = 32


class Garbled(Exception):
    """What came back makes no sense."""


def crc_a(data: Iterable[int]) -> tuple[int, int]:
    """The two check bytes of type A, low byte first."""
    crc = 0x6363
    for byte in data:
        mixed = (byte ^ crc) & 0xFF
        mixed = (mixed ^ (mixed << 4)) & 0xFF
        crc = (crc >> 8) ^ (mixed << 8) ^ (mixed << 3) ^ (mixed >> 4)
    return crc & 0xFF, crc >> 8


def check_byte(four: Iterable[int]) -> int:
    """The fifth byte of a cascade level: all four folded into one."""
    folded = 0
    for byte in four:
        folded ^= byte
    return folded


def ask_for_bits(level: int, known: Sequence[int]) -> tuple[list[int], int]:
    """An ANTICOLLISION command for cards whose UID on this level begins with the bits `known`.

    Returns:
        The bytes, and how many bits of the last one are sent (0: all eight).
    """
    n_bytes, n_bits = divmod(len(known), 8)
    valid = (2 + n_bytes) << 4 | n_bits
    return [SELECT[level], valid, *to_bytes(known)], n_bits


def to_bytes(bits: Sequence[int]) -> list[int]:
    """Bytes of `bits`, the lowest bit of a byte first, as they go over the air."""
    return [sum(bit << i for i, bit in enumerate(bits[start : start + 8])) for start in range(0, len(bits), 8)]


def to_bits(data: Iterable[int]) -> list[int]:
    """Bits of `data`, the lowest of each byte first."""
    return [byte >> i & 1 for byte in data for i in range(8)]


def level_of(bits: Sequence[int]) -> list[int]:
    """The four bytes of one cascade level.

    Raises:
        Garbled: they and their check byte do not fit, or some are missing.
    """
    if len(bits) != _LEVEL_BITS + 8:
        raise Garbled(f"{len(bits)} bits instead of 40")
    *four, check = to_bytes(bits)
    if check_byte(four) != check:
        raise Garbled("the UID's check byte is wrong")
    return four


def select_command(level: int, four: Sequence[int]) -> list[int]:
    """Selects the card with this level's UID."""
    command = [SELECT[level], WHOLE, *four, check_byte(four)]
    return [*command, *crc_a(command)]


def goes_on(answer: Sequence[int]) -> bool:
    """Whether the UID goes on in the next level, by the card's answer to SELECT.

    Raises:
        Garbled: it is no such answer.
    """
    if len(answer) != 3 or crc_a(answer[:1]) != tuple(answer[1:]):
        raise Garbled("the answer to SELECT has a wrong check")
    return bool(answer[0] & _CASCADE)


def uid_of(levels: Sequence[Sequence[int]]) -> str:
    """The UID in upper-case hex.

    Raises:
        Garbled: a level that is not the last does not begin with the cascade tag.
    """
    uid: list[int] = []
    for four in levels[:-1]:
        if four[0] != CASCADE_TAG:
            raise Garbled("a part of the UID does not begin with the cascade tag")
        uid += four[1:]
    return bytes([*uid, *levels[-1]]).hex().upper()
