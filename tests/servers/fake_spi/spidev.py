"""The SPI bus of a Pi, with the chip on it that a test put on the `bench`. Stands in for the real `spidev`.

In a process of its own, FAKE_SPI_CARDS=UID,UID puts an MFRC522 onto it, with these cards in its field.
"""

import os
from dataclasses import dataclass, field
from typing import Protocol


class Chip(Protocol):
    """Something on the bus."""

    def transfer(self, sent: list[int]) -> list[int]:
        """What comes back while `sent` goes out."""


@dataclass
class Bench:
    """What is on the table."""

    chip: Chip | None = None
    pins: dict[int, int] = field(default_factory=dict)
    pin_mode: int | None = None
    n_open: int = 0
    fault: OSError | None = None


_BENCH = Bench()


def bench() -> Bench:
    return _BENCH


class SpiDev:
    """One device on the bus."""

    def __init__(self) -> None:
        self.max_speed_hz = 0
        self._open = False

    def open(self, bus: int, device: int) -> None:
        if (bus, device) != (0, 0):
            raise FileNotFoundError(2, f"No such file or directory: /dev/spidev{bus}.{device}")
        self._open = True
        _BENCH.n_open += 1
        if _BENCH.chip is None and "FAKE_SPI_CARDS" in os.environ:
            _BENCH.chip = _chip_with(os.environ["FAKE_SPI_CARDS"].split(","))

    def xfer2(self, sent: list[int]) -> list[int]:
        if not self._open:
            raise OSError(9, "Bad file descriptor")
        if _BENCH.fault is not None:
            raise _BENCH.fault
        if _BENCH.chip is None:
            return [0xFF] * len(sent)
        return _BENCH.chip.transfer(list(sent))

    def close(self) -> None:
        if self._open:
            _BENCH.n_open -= 1
        self._open = False


def _chip_with(uids: list[str]) -> Chip:
    from tests.servers.mfrc522_chip import Card
    from tests.servers.mfrc522_chip import Chip as Mfrc522

    return Mfrc522([Card(bytes.fromhex(uid)) for uid in uids])
