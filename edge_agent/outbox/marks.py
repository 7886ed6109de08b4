"""How far the outbox has what others keep for it until it does. Pure.

A source numbers what it hands over. Its mark is the last number that is durable here, and is written in the same
transaction as what it stands for, so that neither a crash here nor one there loses or doubles anything.
"""

import msgspec

NOTE = "marks"
"""The name that they are kept under."""
_MAX_SOURCES = 16
"""A source gets a new name when its numbers begin anew, which is rare. The newest names are kept."""

Marks = tuple[tuple[str, int], ...]
"""(source, number), the one that was heard of last at the end."""

_decoder = msgspec.json.Decoder(Marks)


def decode(text: str | None) -> Marks:
    """The marks in a note. What is unreadable is none: the source sends again what it has kept."""
    try:
        return _decoder.decode(text or "[]")
    except msgspec.MsgspecError:
        return ()


def encode(marks: Marks) -> str:
    """The note of marks."""
    return msgspec.json.encode(marks).decode()


def advanced(marks: Marks, source: str, no: int) -> Marks:
    """`marks` with one source at a number."""
    others = [mark for mark in marks if mark[0] != source]
    return (*others, (source, no))[-_MAX_SOURCES:]


def merged(first: Marks, second: Marks) -> Marks:
    """Both, each source at its higher number."""
    for source, no in second:
        first = advanced(first, source, max(no, mark_of(first, source) or 0))
    return first


def mark_of(marks: Marks, source: str) -> int | None:
    """The number of a source; None: nothing is known of it."""
    return dict(marks).get(source)
