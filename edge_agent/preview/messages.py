"""What the preview and the process that holds its camera tell each other.

To the process, on its standard input, a line of JSON each: first a `CameraJob`, then orders. From it, over a pipe
of its own: news in MessagePack, each with its length in four bytes before it.
"""

import struct

import msgspec

from edge_agent.cameras.messages import Shape, ZoneShape

LENGTH = struct.Struct("<I")
MAX_BYTES = 16 * 1024 * 1024
"""Longer than any picture of ours."""


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Order: from now on count at these lines and zones."""

    lines: tuple[Shape, ...]
    zones: tuple[ZoneShape, ...]


class Show(msgspec.Struct, frozen=True, tag="show"):
    """Order: send pictures, or none while nobody looks."""

    on: bool


class Propose(msgspec.Struct, frozen=True, tag="propose"):
    """Order: say where lines belong, by the tracks so far."""


Order = Count | Show | Propose


class Picture(msgspec.Struct, frozen=True, tag="picture"):
    """A frame with what was found in it, as JPEG."""

    jpeg: bytes


class LineNow(msgspec.Struct, frozen=True):
    """What a line counted since it was drawn."""

    name: str
    n_in: int
    n_out: int


class ZoneNow(msgspec.Struct, frozen=True):
    """How many are in a zone now."""

    name: str
    n: int


class Report(msgspec.Struct, frozen=True, tag="report"):
    """How it goes; twice a second.

    Attributes:
        fps: frames that are looked at, a second.
        model_ms: how long the detector takes for one; None before the first.
        n_tracks: vehicles in the picture now.
        n_trails: those that passed so far.
        silent_s: since the last frame.
        fault: why lines and zones are not counted at, if they are not.
    """

    width_px: int
    height_px: int
    fps: float
    model_ms: float | None
    n_tracks: int
    n_trails: int
    silent_s: float
    lines: tuple[LineNow, ...]
    zones: tuple[ZoneNow, ...]
    fault: str | None


class HeatMap(msgspec.Struct, frozen=True, tag="heat"):
    """Where vehicles passed: per cell that anybody entered column, row, how many, and their mean direction."""

    columns: int
    rows: int
    cells: tuple[tuple[int, int, int, float, float], ...]


class Proposal(msgspec.Struct, frozen=True):
    """A line, and what speaks for it."""

    points: tuple[tuple[float, float], ...]
    share: float
    why: tuple[str, ...]


class Proposals(msgspec.Struct, frozen=True, tag="proposals"):
    """The answer to `Propose`; `n_trails` moving tracks were looked at."""

    lines: tuple[Proposal, ...]
    n_trails: int


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """There is no picture, and why; it is tried again by itself."""

    text: str


News = Picture | Report | HeatMap | Proposals | Trouble

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(News)


def encode_order(order: Order) -> bytes:
    """One line."""
    return msgspec.json.encode(order) + b"\n"


def decode_order(line: bytes) -> Order:
    """Raises:
    msgspec.DecodeError: it is none.
    """
    order: Order = msgspec.json.decode(line, type=Order)
    return order


def encode_news(news: News) -> bytes:
    """With its length before it."""
    body = _encoder.encode(news)
    return LENGTH.pack(len(body)) + body


def decode_news(body: bytes) -> News:
    """Raises:
    msgspec.DecodeError: it is none.
    """
    news: News = _decoder.decode(body)
    return news
