"""Just enough of protocol buffers to change a message without knowing its schema.

A model's file is one message. The library that knows all of its schema is as large as the agent; what is to be
changed here is a handful of numbers. So a message is taken as a list of fields, and the rest stays byte for byte.
"""

from collections.abc import Iterable
from dataclasses import dataclass

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
_WIDTHS = {FIXED_64: 8, FIXED_32: 4}
_MOST_BITS = 70


class NotAMessage(ValueError):
    """These bytes are no such message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: which one, by the schema.
        kind: how its value is written: one of `VARINT`, `FIXED_64`, `BYTES`, `FIXED_32`.
        value: a whole number for `VARINT`, else its bytes.
    """

    number: int
    kind: int
    value: int | bytes

    @property
    def data(self) -> bytes:
        """The value as bytes: of a text, a message within, packed numbers.

        Raises:
            NotAMessage: it is a number.
        """
        if isinstance(self.value, int):
            raise NotAMessage(f"field {self.number} is a number, where bytes are expected")
        return self.value


def fields_of(message: bytes) -> list[Field]:
    """The fields of a message, in order.

    Raises:
        NotAMessage: it is cut off, or something else.
    """
    fields, place = [], 0
    while place < len(message):
        key, place = _number_at(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _number_at(message, place)
            fields.append(Field(number, kind, value))
            continue
        if kind == BYTES:
            width, place = _number_at(message, place)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise NotAMessage(f"a field of the unknown kind {kind}")
        if place + width > len(message):
            raise NotAMessage("it is cut off")
        fields.append(Field(number, kind, message[place : place + width]))
        place += width
    return fields


def message_of(fields: Iterable[Field]) -> bytes:
    """The message that consists of these fields."""
    parts = bytearray()
    for field in fields:
        parts += varint(field.number << 3 | field.kind)
        if isinstance(field.value, int):
            parts += varint(field.value)
            continue
        if field.kind == BYTES:
            parts += varint(len(field.value))
        parts += field.value
    return bytes(parts)


def varint(value: int) -> bytes:
    """A whole number as it is written in a message. A negative one is taken as 64 bits."""
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number_at(message: bytes, place: int) -> tuple[int, int]:
    """A whole number of 0 or more, and where it ends."""
    value = shift = 0
    while place < len(message) and shift < _MOST_BITS:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
    raise NotAMessage("it is cut off")


def numbers_in(packed: bytes) -> list[int]:
    """Whole numbers that are written one after the other, each taken as 64 bits with a sign."""
    numbers, place = [], 0
    while place < len(packed):
        number, place = _number_at(packed, place)
        numbers.append(signed(number))
    return numbers


def signed(value: int) -> int:
    """A number of 64 bits as one with a sign."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
