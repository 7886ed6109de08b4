"""How a reader is named and set up. Needs no library of any reader."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

MFRC522 = "mfrc522"
LLRP = "llrp"
SIM = "sim"
FILE = "file"
LLRP_PORT = 5084
SCENES = ("road", "queue")
"""What a simulated reader can show: vehicles that pass, or that also wait on it."""


class ReaderOptions(msgspec.Struct, frozen=True):
    """How one reader is opened.

    Attributes:
        device: `mfrc522`, `mfrc522:BUS.DEVICE`, `llrp://HOST`, `llrp://HOST:PORT`, `sim`, `sim:NAME`, or a file.
        antennas: which of the reader's antennas are used, from 1.
        power_dbm: how strong it sends, where it can be told; None: as strong as it can.
        reset_pin: the pin that resets an MFRC522, in Broadcom's numbers.
        spi_hz: how fast the bus to an MFRC522 is.
        keepalive_s: how often an LLRP reader has to say that it is there; silence of three times that is a fault.
        as_fast: play a recording as fast as it can be read, in its own times.
    """

    device: str
    antennas: tuple[int, ...] = (1,)
    power_dbm: float | None = None
    reset_pin: int = 25
    spi_hz: int = 1_000_000
    keepalive_s: float = 5.0
    as_fast: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What `device` says, taken apart.

    Attributes:
        kind: `MFRC522`, `LLRP`, `SIM` or `FILE`.
        host, port: of an LLRP reader.
        bus, chip: of an MFRC522.
        name: of a scene, or a file's path.
    """

    kind: str
    host: str = ""
    port: int = LLRP_PORT
    bus: int = 0
    chip: int = 0
    name: str = ""


def parse_device(text: str) -> Place:
    """What `text` names.

    Raises:
        ValueError: it names no reader; the message says what would.
    """
    kind, _, rest = text.partition(":")
    if kind == MFRC522:
        return _spi(text, rest)
    if kind == LLRP:
        return _llrp(text)
    if kind == SIM:
        name = rest or SCENES[0]
        if name not in SCENES:
            raise ValueError(f"there is no simulated reader {name!r}; there is {', '.join(SCENES)}")
        return Place(SIM, name=name)
    if "://" in text:
        raise ValueError(f"no reader is reached by {kind}://; write llrp://HOST, mfrc522, sim or a file")
    if not text:
        raise ValueError("is empty; write llrp://HOST, mfrc522, sim or a file")
    return Place(FILE, name=str(Path(text).expanduser()))


def _spi(text: str, rest: str) -> Place:
    bus, _, chip = (rest or "0.0").partition(".")
    if not (bus.isdecimal() and chip.isdecimal()) or int(bus) > 9 or int(chip) > 9:
        raise ValueError(f"{text!r} names no SPI device; write mfrc522 or mfrc522:0.0 (bus.device)")
    return Place(MFRC522, bus=int(bus), chip=int(chip))


def _llrp(text: str) -> Place:
    try:
        parts = urlsplit(text)
        port = parts.port or LLRP_PORT
    except ValueError as error:
        raise ValueError(f"is no address: {error}; write it as llrp://192.168.1.20") from error
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError("is no address; write it as llrp://192.168.1.20, or with a port at its end")
    return Place(LLRP, host=parts.hostname, port=port)
